-- The state machine: the view, the diagrams and the guard agree with what is published.
\set ECHO none
\set QUIET 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS provconn CASCADE;
SELECT * FROM no_plan();

CREATE TEMP TABLE published (from_status text, command text, to_status text, position serial);
INSERT INTO published (from_status, command, to_status) VALUES
    (NULL, 'initiate', 'pending'),
    (NULL, 'connect', 'active'),
    ('pending', 'connect', 'active'),
    ('pending', 'mark_failed', 'failed'),
    ('pending', 'disconnect', 'disconnected'),
    ('active', 'refresh', 'active'),
    ('active', 'record_sync', 'active'),
    ('active', 'mark_expired', 'expired'),
    ('active', 'mark_revoked', 'revoked'),
    ('active', 'disconnect', 'disconnected'),
    ('expired', 'reauthenticate', 'active'),
    ('expired', 'disconnect', 'disconnected'),
    ('revoked', 'reauthenticate', 'active'),
    ('revoked', 'disconnect', 'disconnected'),
    ('failed', 'reauthenticate', 'active'),
    ('failed', 'disconnect', 'disconnected'),
    ('disconnected', 'disconnect', 'disconnected');

SELECT bag_eq('SELECT from_status::text, command, to_status::text FROM provconn_transitions',
              'SELECT from_status, command, to_status FROM published',
              'provconn_transitions lists the published transitions');
SELECT bag_eq('SELECT * FROM provconn_list_transitions()', 'SELECT * FROM provconn_transitions',
              'and is the list of the library');

-- Every cell of the table of states and commands.
SELECT is((SELECT to_status::text FROM provconn_transitions AS t
           WHERE t.from_status IS NOT DISTINCT FROM s AND t.command = c),
          (SELECT to_status FROM published AS p
           WHERE p.from_status IS NOT DISTINCT FROM s::text AND p.command = c),
          format('%s in state %s', c, coalesce(s::text, '(new)')))
FROM unnest(enum_range(NULL::provconn_status) || NULL) AS s,
     (SELECT DISTINCT command AS c FROM published) AS commands
ORDER BY s NULLS FIRST, c;

-- The diagrams are drawn from the same table.
SELECT is(provconn_state_diagram(), provconn_state_diagram('mermaid'), 'mermaid is the default');
SELECT is(provconn_state_diagram('mermaid'),
          E'stateDiagram-v2\n'
          || string_agg(format(E'    %s --> %s: %s\n', coalesce(from_status, '[*]'), to_status, command), ''
                        ORDER BY position)
          || E'    disconnected --> [*]\n', 'mermaid') FROM published;
SELECT is(provconn_state_diagram('dot'),
          E'digraph provconn {\n'
          || string_agg(format(E'    "%s" -> "%s" [label="%s"];\n', coalesce(from_status, 'new'), to_status, command), ''
                        ORDER BY position)
          || E'}\n', 'dot') FROM published;
SELECT throws_ok($$SELECT provconn_state_diagram('svg')$$, '22023', 'no such format', 'no other format');
SELECT is(provconn_state_diagram(NULL), NULL, 'no diagram for null');

SELECT provconn_register_provider('tap', 'TAP', 'custom') AS provider \gset

-- So are the commands: each, on a connection brought into each state by commands alone.

CREATE FUNCTION pg_temp.brought(someone uuid, wanted provconn_status) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    provider uuid := (SELECT provider_id FROM provconn_providers WHERE slug = 'tap');
    r provconn_result := provconn_initiate(someone, provider, 'tap');
BEGIN
    IF wanted = 'failed' THEN
        r := provconn_unwrap(provconn_mark_failed(r.connection_id));
    ELSIF wanted <> 'pending' THEN
        r := provconn_unwrap(provconn_connect(provconn_connect_command(someone, provider, 'tap', provconn_credentials('s', 'custom'))));
    END IF;
    CASE wanted
        WHEN 'expired' THEN r := provconn_unwrap(provconn_mark_expired(r.connection_id));
        WHEN 'revoked' THEN r := provconn_unwrap(provconn_mark_revoked(r.connection_id));
        WHEN 'disconnected' THEN r := provconn_unwrap(provconn_disconnect(provconn_disconnect_command(someone, r.connection_id)));
        ELSE NULL;
    END CASE;
    RETURN r.connection_id;
END
$$;
-- What the connection is afterwards; null where the command was refused or went elsewhere.
CREATE FUNCTION pg_temp.commanded(command text, from_status provconn_status) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    someone uuid := gen_random_uuid();
    id uuid := pg_temp.brought(someone, from_status);
    provider uuid := (SELECT provider_id FROM provconn_providers WHERE slug = 'tap');
    r provconn_result;
BEGIN
    r := CASE command
        WHEN 'initiate' THEN provconn_initiate(someone, provider, 'tap')
        WHEN 'connect' THEN provconn_connect(provconn_connect_command(someone, provider, 'tap', provconn_credentials('s', 'custom')))
        WHEN 'refresh' THEN provconn_refresh(provconn_refresh_command(id, provconn_credentials('s', 'custom')))
        WHEN 'record_sync' THEN provconn_record_sync(id)
        WHEN 'reauthenticate' THEN provconn_reauthenticate(someone, id, provconn_credentials('s', 'custom'))
        WHEN 'mark_expired' THEN provconn_mark_expired(id)
        WHEN 'mark_revoked' THEN provconn_mark_revoked(id)
        WHEN 'mark_failed' THEN provconn_mark_failed(id)
        WHEN 'disconnect' THEN provconn_disconnect(provconn_disconnect_command(someone, id))
    END;
    IF NOT r.ok OR r.connection_id <> id THEN
        -- then nothing has happened to it
        RETURN (SELECT NULLIF(status, from_status)::text FROM provconn_connections WHERE connection_id = id);
    END IF;
    RETURN (SELECT status::text FROM provconn_connections WHERE connection_id = id AND status = r.status);
END
$$;
CREATE FUNCTION pg_temp.status_of(id uuid) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT status FROM provconn_connections WHERE connection_id = id);
END
$$;
SELECT is(pg_temp.status_of(pg_temp.brought(gen_random_uuid(), s)), s::text, format('a connection is brought into state %s', s))
FROM unnest(enum_range(NULL::provconn_status)) AS s;
SELECT is(pg_temp.commanded(c, s), (SELECT to_status FROM published WHERE from_status = s::text AND command = c),
          format('provconn_%s on a connection that is %s', c, s))
FROM unnest(enum_range(NULL::provconn_status)) AS s, (SELECT DISTINCT command AS c FROM published) AS commands
ORDER BY c, s;

-- Direct SQL by a superuser is held to it, too.

SELECT provconn_register_provider('direct', 'Direct', 'custom') AS provider \gset
CREATE FUNCTION pg_temp.make(status provconn_status) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    someone uuid := gen_random_uuid();
    id uuid := encode(set_byte(set_byte(uuid_send(gen_random_uuid()),
                                        6, 112 + provconn_shard(someone) / 256),
                               7, provconn_shard(someone) % 256), 'hex')::uuid;
    sealed bytea := CASE WHEN status IN ('pending', 'disconnected') THEN NULL ELSE '\x00' END;
BEGIN
    INSERT INTO provconn.connection
        (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at,
         credential, credential_type)
    VALUES (provconn_shard(someone), id, someone, (SELECT provider_id FROM provconn_providers WHERE slug = 'direct'),
            CASE WHEN status IN ('pending', 'failed', 'disconnected') THEN 'pending' ELSE 'active' END::provconn_status,
            0, now(), now(),
            CASE WHEN status = 'failed' THEN NULL ELSE sealed END,
            CASE WHEN status = 'failed' OR sealed IS NULL THEN NULL ELSE 'custom' END::provconn_credential_type);
    UPDATE provconn.connection AS c SET status = make.status
    WHERE connection_id = id AND c.status <> make.status;
    RETURN id;
END
$$;
CREATE FUNCTION pg_temp.move(id uuid, target provconn_status) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE provconn.connection SET status = target,
        credential = CASE WHEN target = 'active' THEN '\x00'
                          WHEN target IN ('pending', 'disconnected') THEN NULL ELSE credential END::bytea,
        credential_type = CASE WHEN target = 'active' THEN 'custom'
                               WHEN target IN ('pending', 'disconnected') THEN NULL
                               ELSE credential_type END::provconn_credential_type
    WHERE connection_id = id;
    RETURN 'allowed';
EXCEPTION WHEN SQLSTATE 'PV108' THEN
    RETURN 'forbidden';
END
$$;
SELECT is(pg_temp.move(pg_temp.make(a), b),
          CASE WHEN a = b OR EXISTS (SELECT FROM published WHERE from_status = a::text AND to_status = b::text)
               THEN 'allowed' ELSE 'forbidden' END,
          format('UPDATE by a superuser from %s to %s', a, b))
FROM unnest(enum_range(NULL::provconn_status)) AS a, unnest(enum_range(NULL::provconn_status)) AS b
ORDER BY a, b;
SELECT throws_ok(format($$INSERT INTO provconn.connection (shard_key, connection_id, user_id, provider_id, status,
                              version, created_at, updated_at)
                          SELECT shard_key, connection_id, user_id, provider_id, %L, 0, now(), now()
                          FROM provconn.connection LIMIT 1$$, s), 'PV108', NULL,
                 format('INSERT by a superuser as %s', s))
FROM unnest(enum_range(NULL::provconn_status)) AS s WHERE s NOT IN ('pending', 'active');
SELECT is(count(*), count(DISTINCT (connection_id, seq)), 'and each change has its audit row')
FROM provconn_audit_log WHERE action = 'direct' AND provider_slug = 'direct';
SELECT is(sum(audit_seq),
          (SELECT count(*) FROM provconn_audit_log WHERE action = 'direct' AND provider_slug = 'direct')::numeric,
          'with gapless numbers')
FROM provconn.connection WHERE provider_id = :'provider';
SELECT throws_ok('DELETE FROM provconn.connection', 'PV109', 'connection rows are never deleted', 'DELETE');
SELECT throws_ok('TRUNCATE provconn.connection', 'PV109', 'connection rows are never deleted', 'TRUNCATE');

SELECT * FROM finish();
ROLLBACK;
