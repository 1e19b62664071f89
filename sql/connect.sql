-- provconn_connect: the order of its checks, the lengths it counts, and which
-- pending connection it completes.
\set SHOW_CONTEXT never
\set oauth 'provconn_oauth2_credentials(\'at\', \'rt\')'

-- accepted
CREATE TEMP TABLE got AS
SELECT r.* FROM provconn_connect(provconn_connect_command(t.u('connect'), t.p('schwab'), 'schwab', :oauth, 'My IRA')) AS r;
SELECT ok, connection_id IS NOT NULL AS id, status, version, error_code, message, needs_user_action FROM got;
SELECT connection_id AS got_id FROM got \gset
SELECT user_id = t.u('connect') AS user_id, provider_id = t.p('schwab') AS provider_id, alias, status, version,
       credential_type, expires_at IS NULL AS never_expires, connected_at = created_at AND created_at = updated_at AS times,
       created_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS recent,
       last_sync_at IS NULL AND metadata IS NULL AND failure_count = 0 AND last_failure IS NULL
       AND next_attempt_at IS NULL AND lease IS NULL AND leased_by IS NULL AND leased_until IS NULL AS rest
FROM provconn.connection WHERE connection_id = :'got_id' \gx
-- the id: a UUIDv7 of now that carries the user's shard
SELECT substr(:'got_id', 15, 1) AS version, substr(:'got_id', 20, 1) IN ('8', '9', 'a', 'b') AS variant,
       provconn_shard_of(:'got_id') = provconn_shard(t.u('connect')) AS shard,
       abs(('x' || translate(left(:'got_id', 13), '-', ''))::bit(48)::bigint
           - extract(epoch FROM created_at) * 1000) < 2 AS time
FROM provconn.connection WHERE connection_id = :'got_id';
SELECT provconn_shard('00000000-0000-0000-0000-000000000000'), provconn_shard('f81d4fae-7dec-11d0-a765-00a0c91e6bf6');
SELECT bool_and(provconn_shard(u) = get_byte(h, 0) * 16 + get_byte(h, 1) / 16) AS as_published
FROM (SELECT u, sha256(uuid_send(u)) AS h FROM (SELECT t.u(i::text) AS u FROM generate_series(1, 500) AS i) AS v) AS v;
SELECT provconn_shard_of('00000000-0000-7abc-8000-000000000000') = x'abc'::int AS read_back,
       provconn_shard_of('ffffffff-ffff-7000-bfff-ffffffffffff') AS least,
       provconn_shard_of('00000000-0000-7fff-8000-000000000000') AS greatest,
       provconn_shard(NULL) IS NULL AND provconn_shard_of(NULL) IS NULL AS strict;
-- many connections to one provider, under one alias too
SELECT count(DISTINCT r.connection_id) AS connections, bool_and(r.ok AND r.version = 1) AS ok
FROM generate_series(1, 3) AS i,
     provconn_connect(provconn_connect_command(t.u('connect'), t.p('schwab'), 'schwab', :oauth,
		CASE WHEN i > 0 THEN 'My IRA' END)) AS r;
SELECT count(*) FROM provconn_connections WHERE user_id = t.u('connect');

-- Order of the checks: every combination of what may be wrong.  The earliest
-- check that fails, as the contract lists them, gives the code.
CREATE TEMP TABLE tried AS
SELECT u.fault AS user_fault, c.fault AS credentials_fault, s.fault AS slug_fault, a.fault AS alias_fault,
       p.fault AS provider_fault,
       CASE WHEN u.fault IS NOT NULL THEN 'invalid_user'
            WHEN c.fault IS NOT NULL THEN 'invalid_credentials'
            WHEN s.fault IN ('null', 'empty', '51') THEN 'invalid_provider_slug'
            WHEN a.fault IS NOT NULL THEN 'invalid_alias'
            WHEN p.fault IN ('null', 'unknown') THEN 'provider_not_found'
            WHEN p.fault = 'closed' THEN 'provider_inactive'
            WHEN s.fault = 'mismatch' THEN 'invalid_provider_slug' END AS expected,
       r.*
FROM (VALUES (NULL, t.u('connect order')), ('null', NULL)) AS u (fault, user_id),
     (VALUES (NULL, provconn_credentials('s', 'custom')), ('null', NULL), ('null secret', provconn_credentials(NULL, 'custom')),
             ('empty secret', provconn_credentials('', 'custom')), ('null type', provconn_credentials('s'))) AS c (fault, credentials),
     (VALUES (NULL, NULL), ('null', NULL), ('empty', ''), ('51', repeat('s', 51)), ('mismatch', 'plaid')) AS s (fault, slug),
     (VALUES (NULL, 'fine'), ('101', repeat('a', 101))) AS a (fault, alias),
     (VALUES (NULL, t.p('schwab'), 'schwab'), ('null', NULL, 'schwab'), ('unknown', t.p('unknown'), 'schwab'),
             ('closed', t.p('closed'), 'closed')) AS p (fault, provider_id, slug),
     LATERAL (SELECT CASE WHEN s.fault IS NULL THEN p.slug ELSE s.slug END AS provider_slug) AS slug,
     provconn_connect(provconn_connect_command(u.user_id, p.provider_id, slug.provider_slug, c.credentials, a.alias)) AS r;
SELECT count(*) AS combinations, count(*) FILTER (WHERE error_code IS DISTINCT FROM expected) AS wrong FROM tried;
SELECT * FROM tried WHERE error_code IS DISTINCT FROM expected;
SELECT error_code, message, count(*), bool_or(ok) AS ok, count(connection_id) AS ids, count(status) AS statuses,
       count(version) AS versions, bool_or(needs_user_action) AS needs_user_action
FROM tried GROUP BY 1, 2 ORDER BY error_code COLLATE "C" NULLS FIRST;
-- each left one audit row, and nothing else did
SELECT (SELECT count(*) FROM provconn_connections WHERE user_id = t.u('connect order')) AS connections,
       (SELECT count(*) FROM provconn_audit_log WHERE user_id = t.u('connect order')) = count(*) AS audited
FROM tried WHERE user_fault IS NULL;

-- Lengths are counted in characters.  A slug that passes the length check is
-- told by what comes behind it: no such provider.
SELECT n, r.error_code
FROM (VALUES (1, repeat('a', 50)), (2, repeat('a', 51)), (3, repeat(chr(233), 50)), (4, repeat(chr(233), 51)),
             (5, repeat(chr(128273), 50)), (6, repeat(chr(128273), 51)), (7, 's'), (8, ''), (9, ' ')) AS v (n, slug),
     provconn_connect(provconn_connect_command(t.u('connect'), t.p('unknown'), slug, :oauth)) AS r
ORDER BY n;
-- a slug of 50 characters works through, and is compared exactly
SELECT provconn_register_provider(repeat('a', 50), 'Long', 'custom', NULL, t.p('long')) = t.p('long') AS registered;
SELECT n, r.ok, r.error_code
FROM (VALUES (1, repeat('a', 50)), (2, repeat('a', 49)), (3, repeat('A', 50)), (4, repeat('a', 49) || ' ')) AS v (n, slug),
     provconn_connect(provconn_connect_command(t.u('connect'), t.p('long'), slug, :oauth)) AS r
ORDER BY n;
SELECT n, r.ok, r.error_code, octet_length(alias) AS bytes,
       t.row_of(r.connection_id) ->> 'alias' = alias AS kept
FROM (VALUES (1, repeat('a', 100)), (2, repeat('a', 101)), (3, repeat(chr(233), 100)), (4, repeat(chr(233), 101)),
             (5, repeat(chr(128273), 100)), (6, repeat(chr(128273), 101)), (7, '')) AS v (n, alias),
     provconn_connect(provconn_connect_command(t.u('connect'), t.p('schwab'), 'schwab', :oauth, alias)) AS r
ORDER BY n;

-- expired credentials are accepted, and so is every type
SELECT connection_id AS id FROM provconn_connect(provconn_connect_command(t.u('connect'), t.p('schwab'), 'schwab',
	provconn_credentials('s', 'oauth2', '2001-01-01'))) \gset
SELECT status, is_credentials_expired, is_connected, can_sync FROM provconn_connections WHERE connection_id = :'id';
SELECT type, r.ok, t.row_of(r.connection_id) ->> 'credential_type' = type::text AS stored
FROM unnest(enum_range(NULL::provconn_credential_type)) AS type,
     provconn_connect(provconn_connect_command(t.u('connect'), t.p('schwab'), 'schwab', provconn_credentials('s', type))) AS r
ORDER BY type;

-- Pending connections.  Each case has a user of its own.  A case is a list of
-- pending aliases from old to new ("-" is null), the alias of the command, and
-- the one that is expected to be completed (0: none, a new connection is made).
CREATE FUNCTION pg_temp.complete(name text, pending text[], alias text, OUT completed int, OUT new int,
								 OUT alias_now text, OUT untouched boolean)
LANGUAGE plpgsql AS $$
DECLARE
	owner uuid := t.u('pending ' || name);
	ids uuid[];
	rows jsonb[];
	r provconn_result;
BEGIN
	FOR i IN 1 .. coalesce(cardinality(pending), 0) LOOP
		ids[i] := connection_id FROM provconn_initiate(owner, t.p('schwab'), 'schwab', nullif(pending[i], '-'));
		rows[i] := t.row_of(ids[i]);
	END LOOP;
	r := provconn_connect(provconn_connect_command(owner, t.p('schwab'), 'schwab',
		provconn_credentials('s', 'custom'), nullif(alias, '-')));
	IF NOT r.ok OR r.status <> 'active' OR r.version <> 1 THEN
		RAISE EXCEPTION '%', r;
	END IF;
	completed := coalesce(array_position(ids, r.connection_id), 0);
	new := count(*) - coalesce(cardinality(pending), 0) FROM provconn_connections WHERE user_id = owner;
	alias_now := coalesce(t.row_of(r.connection_id) ->> 'alias', '-');
	untouched := coalesce(bool_and(rows[i] = t.row_of(ids[i])), true)
		FROM generate_subscripts(ids, 1) AS i WHERE i <> completed;
END $$;
SELECT n, pending, alias, expected, completed, new, alias_now, untouched,
       completed = expected AND new = (expected = 0)::int AND untouched AND alias_now = alias AS right
FROM (VALUES
	(1, ARRAY['A'], 'A', 1),			-- equal
	(2, ARRAY['-'], '-', 1),			-- null equals null
	(3, ARRAY['-'], 'A', 1),			-- it has none and takes the command's
	(4, ARRAY['A'], '-', 0),			-- it has one, the command none
	(5, ARRAY['A'], 'B', 0),
	(6, ARRAY['A'], 'a', 0),			-- no folding of case
	(7, ARRAY['A'], 'A ', 0),			-- nor of blanks
	(8, ARRAY['-', '-'], '-', 2),		-- the newest
	(9, ARRAY['A', 'A', 'A'], 'A', 3),
	(10, ARRAY['A', 'B'], 'A', 1),		-- the newest that qualifies
	(11, ARRAY['A', '-'], 'A', 2),		-- both qualify: the newer
	(12, ARRAY['-', 'A'], 'A', 2),
	(13, ARRAY['-', 'A', 'B'], 'C', 1),
	(14, ARRAY['-', 'A'], '-', 1),
	(15, ARRAY['A', 'B'], '-', 0),
	(16, ARRAY[''], '-', 0),			-- an empty alias is an alias
	(17, ARRAY['-'], '', 1),
	(18, ARRAY[''], '', 1),
	(19, ARRAY[]::text[], 'A', 0)
) AS v (n, pending, alias, expected), pg_temp.complete(n::text, pending, alias) ORDER BY n;

-- what completing changes, and what it keeps
SELECT provconn_initiate(t.u('completing'), t.p('schwab'), 'schwab') AS r \gset
SELECT connection_id AS id, to_jsonb(c) AS was FROM provconn.connection AS c WHERE user_id = t.u('completing') \gset
SELECT :'was'::jsonb ->> 'version' AS pending_version, :'was'::jsonb -> 'connected_at' AS connected_at;
SELECT r.ok, r.connection_id = :'id' AS same, r.status, r.version
FROM provconn_connect(provconn_connect_command(t.u('completing'), t.p('schwab'), 'schwab',
	provconn_credentials('s', 'custom', '2030-01-01'), 'taken over')) AS r;
SELECT t.changes(:'was', t.row_of(:'id'));
SELECT connected_at = updated_at AND connected_at > created_at AS connected_now FROM provconn.connection WHERE connection_id = :'id';
SELECT old_status, new_status, version, action, seq FROM provconn_audit_log WHERE connection_id = :'id' ORDER BY seq;
-- it was completed once: the next connect makes a new one
SELECT r.connection_id = :'id' AS same FROM provconn_connect(provconn_connect_command(t.u('completing'), t.p('schwab'), 'schwab',
	provconn_credentials('s', 'custom'), 'taken over')) AS r;
-- connected_at is set only if it was null, the version counts on
SELECT t.in_status(t.u('completing 2'), 'pending') AS id \gset
UPDATE provconn.connection SET connected_at = '2001-02-03 04:05:06+00', version = 4 WHERE connection_id = :'id';
SELECT r.connection_id = :'id' AS same, r.version FROM provconn_connect(provconn_connect_command(t.u('completing 2'), t.p('schwab'), 'schwab',
	provconn_credentials('s', 'custom'))) AS r;
SELECT connected_at = '2001-02-03 04:05:06+00' AS kept FROM provconn.connection WHERE connection_id = :'id';

-- another user's, another provider's, another status: not completed
SELECT t.in_status(t.u('bystander'), 'pending', 'A') IS NOT NULL AS made;
SELECT (provconn_initiate(t.u('chooser'), t.p('plaid'), 'plaid', 'A')).ok AS made;
SELECT status, t.in_status(t.u('chooser'), status, 'A') IS NOT NULL AS made
FROM unnest(enum_range(NULL::provconn_status)) AS status WHERE status <> 'pending' ORDER BY status;
SELECT count(*) AS before FROM provconn_connections WHERE user_id = t.u('chooser') \gset
SELECT (provconn_connect(provconn_connect_command(t.u('chooser'), t.p('schwab'), 'schwab', :oauth, 'A'))).ok;
SELECT count(*) - :before AS new, count(*) FILTER (WHERE status = 'pending') AS pending FROM provconn_connections WHERE user_id = t.u('chooser');
SELECT status FROM provconn_connections WHERE user_id = t.u('bystander');

-- Ties of created_at go by connection_id.  Rows of one instant are made by hand:
-- the shard of the user goes into the id.
CREATE FUNCTION pg_temp.id(owner uuid, tail text) RETURNS uuid LANGUAGE sql
AS $$ SELECT ('019a0000-0000-7' || lpad(to_hex(provconn_shard(owner)), 3, '0') || '-8000-' || tail)::uuid $$;
INSERT INTO provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at)
SELECT provconn_shard(u), pg_temp.id(u, tail), u, t.p('schwab'), 'pending', 0, '2026-01-01 00:00+00', '2026-01-01 00:00+00'
FROM (VALUES (1, '00000000000a'), (2, '00000000000c'), (3, '00000000000b')) AS v (n, tail), t.u('tied') AS u ORDER BY n;
SELECT right(r.connection_id::text, 1) AS completed
FROM generate_series(1, 3) AS i, provconn_connect(provconn_connect_command(CASE WHEN i > 0 THEN t.u('tied') END, t.p('schwab'), 'schwab', :oauth)) AS r;
-- created_at decides first, whatever the ids
INSERT INTO provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at)
SELECT provconn_shard(u), pg_temp.id(u, tail), u, t.p('schwab'), 'pending', 0, at, at
FROM (VALUES ('00000000000f', '2026-01-01 00:00+00'::timestamptz), ('00000000000a', '2026-01-02 00:00+00')) AS v (tail, at), t.u('dated') AS u;
SELECT right(r.connection_id::text, 1) AS completed
FROM provconn_connect(provconn_connect_command(t.u('dated'), t.p('schwab'), 'schwab', :oauth)) AS r;

-- a refused connect completes nothing, not even where the provider was closed meanwhile
SELECT t.in_status(t.u('late'), 'pending') AS id \gset
SELECT t.row_of(:'id') AS was \gset
SELECT provconn_set_provider_active(t.p('schwab'), false);
SELECT (provconn_connect(provconn_connect_command(t.u('late'), t.p('schwab'), 'schwab', :oauth))).error_code;
SELECT provconn_set_provider_active(t.p('schwab'), true);
SELECT t.row_of(:'id') = :'was'::jsonb AS untouched;
SELECT (provconn_connect(provconn_connect_command(t.u('late'), t.p('schwab'), 'schwab', :oauth))).connection_id = :'id' AS completed;

-- A connect looks at its user's connections, not at all of the provider's, however
-- many there are of them and whatever is known of them.
SELECT provconn_register_provider('constant', 'Constant', 'oauth2', NULL, t.p('constant')) = t.p('constant') AS registered;
CREATE TEMP TABLE looked AS SELECT 0::bigint AS queue, 0::bigint AS users, 0::bigint AS rows LIMIT 0;
CREATE FUNCTION pg_temp.look() RETURNS void LANGUAGE sql AS $$
	INSERT INTO looked SELECT pg_stat_get_xact_tuples_returned('provconn.connection_queue_idx'::regclass), pg_stat_get_xact_tuples_returned('provconn.connection_user_idx'::regclass),
	       pg_stat_get_xact_tuples_returned('provconn.connection'::regclass)
$$;
BEGIN;
SELECT pg_temp.look();
SELECT count(*) FILTER (WHERE (provconn_connect(provconn_connect_command(t.u('constant ' || i), t.p('constant'), 'constant', provconn_oauth2_credentials('at', 'rt', now() + interval '1 hour')))).ok) AS ok
FROM generate_series(1, 1500) AS i;
SELECT pg_temp.look();
SELECT max(queue) - min(queue) < 10 AS queue, max(users) - min(users) < 10 AS users, max(rows) - min(rows) < 10 AS rows FROM looked;
COMMIT;
DROP TABLE looked;

-- by ROW and by a composite literal
SELECT r.ok FROM provconn_connect(ROW(t.u('row'), t.p('schwab'), 'schwab', ROW('s', 'custom', NULL), NULL)::provconn_connect_command) AS r;
SELECT r.ok FROM provconn_connect(format('(%s,%s,schwab,"(s,custom,)",)', t.u('row'), t.p('schwab'))::provconn_connect_command) AS r;
SELECT (provconn_connect(NULL::provconn_connect_command)).ok;
\echo :LAST_ERROR_SQLSTATE
DROP TABLE got, tried;
