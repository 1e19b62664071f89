-- The state machine: the table, its guard against SQL by a superuser, and every
-- command from every status.
\set SHOW_CONTEXT never

-- The contract's table, written down here once more.
CREATE TEMP TABLE allowed (from_status provconn_status, command text, to_status provconn_status);
INSERT INTO allowed VALUES
	(NULL, 'initiate', 'pending'), (NULL, 'connect', 'active'),
	('pending', 'connect', 'active'), ('pending', 'mark_failed', 'failed'), ('pending', 'disconnect', 'disconnected'),
	('active', 'refresh', 'active'), ('active', 'record_sync', 'active'),
	('active', 'mark_expired', 'expired'), ('active', 'mark_revoked', 'revoked'), ('active', 'disconnect', 'disconnected'),
	('expired', 'reauthenticate', 'active'), ('expired', 'disconnect', 'disconnected'),
	('revoked', 'reauthenticate', 'active'), ('revoked', 'disconnect', 'disconnected'),
	('failed', 'reauthenticate', 'active'), ('failed', 'disconnect', 'disconnected'),
	('disconnected', 'disconnect', 'disconnected');
(TABLE provconn_transitions EXCEPT TABLE allowed) UNION ALL (TABLE allowed EXCEPT TABLE provconn_transitions);
SELECT count(*), count(*) = (SELECT count(*) FROM allowed) AS as_many FROM provconn_transitions;
SELECT column_name, udt_name FROM information_schema.columns WHERE table_name = 'provconn_transitions' ORDER BY ordinal_position;
SELECT provconn_state_diagram();
SELECT provconn_state_diagram('mermaid') = provconn_state_diagram() AS by_default;
SELECT provconn_state_diagram(format => 'dot');
-- the diagrams have each transition, and nothing else
SELECT count(*) AS transitions,
       bool_and(provconn_state_diagram() LIKE format(E'%%\n    %s --> %s: %s\n%%', coalesce(from_status::text, '[*]'), to_status, command)) AS in_mermaid,
       bool_and(provconn_state_diagram('dot') LIKE format(E'%%\n    "%s" -> "%s" [label="%s"];\n%%', coalesce(from_status::text, 'new'), to_status, command)) AS in_dot
FROM allowed;
SELECT count(*) FILTER (WHERE line ~ '-->') AS mermaid_arrows FROM regexp_split_to_table(provconn_state_diagram(), E'\n') AS line;
SELECT t.fault($$SELECT provconn_state_diagram('svg')$$);
SELECT t.code($$SELECT provconn_state_diagram('DOT')$$) AS upper_case, provconn_state_diagram(NULL) IS NULL AS strict;

-- Direct SQL by a superuser: each status to each other, with the credentials
-- that the new one needs.  Each is tried and taken back.
CREATE FUNCTION pg_temp.moved(from_status provconn_status, to_status provconn_status) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id uuid := t.in_status(t.u('moved'), from_status);
	said text;
BEGIN
	UPDATE provconn.connection SET status = to_status,
		credential = CASE WHEN to_status = 'active' THEN coalesce(credential, 'x') WHEN to_status IN ('pending', 'disconnected') THEN NULL ELSE credential END,
		credential_type = CASE WHEN to_status = 'active' THEN coalesce(credential_type, 'custom') WHEN to_status IN ('pending', 'disconnected') THEN NULL ELSE credential_type END
	WHERE connection_id = id;
	IF t.row_of(id) ->> 'status' <> to_status::text THEN
		RETURN 'not written';
	END IF;
	RAISE EXCEPTION 'allowed' USING ERRCODE = 'P0001';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE WHEN sqlstate = 'P0001' THEN '+' ELSE sqlstate END;
END $$;
CREATE TEMP TABLE moved AS SELECT f AS from_status, s AS to_status, pg_temp.moved(f, s) AS result
FROM unnest(enum_range(NULL::provconn_status)) AS f, unnest(enum_range(NULL::provconn_status)) AS s;
SELECT from_status, max(result) FILTER (WHERE to_status = 'pending') AS pending, max(result) FILTER (WHERE to_status = 'active') AS active,
       max(result) FILTER (WHERE to_status = 'expired') AS expired, max(result) FILTER (WHERE to_status = 'revoked') AS revoked,
       max(result) FILTER (WHERE to_status = 'failed') AS failed, max(result) FILTER (WHERE to_status = 'disconnected') AS disconnected
FROM moved GROUP BY 1 ORDER BY 1;
SELECT count(*) AS cells, count(*) FILTER (WHERE (result = '+') IS DISTINCT FROM
	(from_status = to_status OR EXISTS (SELECT FROM allowed AS a WHERE a.from_status = m.from_status AND a.to_status = m.to_status))) AS wrong
FROM moved AS m;
-- a replica's role changes nothing
SET session_replication_role = replica;
SELECT count(*) AS cells, count(*) FILTER (WHERE pg_temp.moved(from_status, to_status) <> result) AS different FROM moved;
RESET session_replication_role;
-- what is said
SELECT t.in_status(t.u('said'), 'disconnected') AS id \gset
SELECT t.fault(format('UPDATE provconn.connection SET status = ''active'', credential = ''x'', credential_type = ''custom'' WHERE connection_id = %L', :'id'));

-- active has credentials; pending and disconnected have none; the others keep theirs
SELECT status, change, t.message(format('UPDATE provconn.connection SET %s WHERE connection_id = %L', change, t.in_status(t.u('credentials'), status)))
FROM unnest(enum_range(NULL::provconn_status)) AS status,
     (VALUES (1, 'credential = NULL'), (2, 'credential_type = NULL'), (3, 'credential = ''x'''), (4, 'credential_type = ''oauth2'''),
             (5, 'expires_at = ''2031-01-01'''), (6, 'version = 9')) AS v (n, change)
WHERE NOT (n = 6 AND status IN ('pending', 'disconnected'))
ORDER BY status, n;
-- pending to active by hand without any
SELECT t.message(format('UPDATE provconn.connection SET status = ''active'' WHERE connection_id = %L', t.in_status(t.u('credentials'), 'pending')));
SELECT t.message(format('UPDATE provconn.connection SET status = ''disconnected'' WHERE connection_id = %L', t.active(t.u('credentials'))));

-- nor are they changed on the way
SELECT status, n, t.message(format('UPDATE provconn.connection SET %s WHERE connection_id = %L', change, t.in_status(t.u('credentials'), status)))
FROM (VALUES (1, 'active'::provconn_status, 'status = ''expired'', credential = ''x'''), (2, 'active', 'status = ''revoked'', credential_type = ''oauth2'''),
             (3, 'active', 'status = ''expired'', version = version + 1'), (4, 'active', 'status = ''expired'', expires_at = now()'),
             (5, 'active', 'status = ''revoked'', credential = NULL, credential_type = NULL'), (6, 'pending', 'status = ''failed'', credential = ''x'''),
             (7, 'expired', 'status = ''active'', credential = ''x'', version = 2'), (8, 'failed', 'status = ''active''')) AS v (n, status, change)
ORDER BY n;

-- columns that never change, in any status; the same value is no change
SELECT change, bool_and(t.message(format('UPDATE provconn.connection SET %s WHERE connection_id = %L', change, t.in_status(t.u('fixed'), status)))
	= 'PV108 connection must not change: ids, shard, user, provider and created_at are fixed') AS refused
FROM unnest(enum_range(NULL::provconn_status)) AS status,
     (VALUES (1, 'shard_key = (shard_key + 1) % 4096'), (2, 'connection_id = gen_random_uuid()'), (3, 'user_id = t.u(''thief'')'),
             (4, 'provider_id = t.p(''plaid'')'), (5, 'created_at = created_at + interval ''1 microsecond'''),
             (6, 'shard_key = provconn_shard(t.u(''thief'')), user_id = t.u(''thief'')')) AS v (n, change)
GROUP BY n, change ORDER BY n;
SELECT t.message(format('UPDATE provconn.connection SET shard_key = shard_key, connection_id = connection_id, user_id = user_id,
	provider_id = provider_id, created_at = created_at, status = status, version = version, credential = credential WHERE connection_id = %L',
	t.in_status(t.u('fixed'), status)))
FROM unnest(enum_range(NULL::provconn_status)) AS status;
-- the audit's own columns are the trigger's to fill, whatever is written to them
SELECT t.active(t.u('stamped')) AS id \gset
UPDATE provconn.connection SET audit_id = t.u('forged'), audit_at = '2001-01-01', audit_seq = 77 WHERE connection_id = :'id';
INSERT INTO provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at, audit_seq, audit_id, audit_at)
SELECT provconn_shard(u), ('019a0000-0000-7' || lpad(to_hex(provconn_shard(u)), 3, '0') || '-8000-000000000001')::uuid, u, t.p('schwab'), 'pending', 0,
       now(), now(), 77, u, '2001-01-01' FROM t.u('stamped at birth') AS u
RETURNING audit_seq, audit_at > now() - interval '1 minute' AS now, audit_id <> user_id AS own;
SELECT audit_seq, audit_at > now() - interval '1 minute' AS now, audit_id <> t.u('forged') AS own FROM provconn.connection WHERE connection_id = :'id';
SELECT seq, action FROM provconn_audit_log WHERE connection_id = :'id' ORDER BY seq;

-- Rows made by hand: as a connection may begin, with the ids of its user.
CREATE FUNCTION pg_temp.made(owner uuid, id_of uuid, provider uuid, status text, more text DEFAULT NULL, more_values text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT t.message(format('INSERT INTO provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at%s)
		VALUES (provconn_shard(%L), %L, %L, %L, %L, 0, now(), now()%s)', ', ' || more, id_of,
		'019a0000-0000-7' || lpad(to_hex(provconn_shard(id_of)), 3, '0') || '-8000-' || substr(md5(random()::text), 1, 12), owner, provider, status, ', ' || more_values))
$$;
SELECT status, pg_temp.made(t.u('made'), t.u('made'), t.p('schwab'), status::text) AS without,
       pg_temp.made(t.u('made'), t.u('made'), t.p('schwab'), status::text, 'credential, credential_type', '''x'', ''custom''') AS with_credentials
FROM unnest(enum_range(NULL::provconn_status)) AS status ORDER BY status \gx
SELECT pg_temp.made(t.u('made'), t.u('other'), t.p('schwab'), 'pending') AS others_shard, pg_temp.made(t.u('made'), t.u('made'), t.p('unknown'), 'pending') AS no_provider \gx
SELECT t.code($$INSERT INTO provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at)
	SELECT shard_key, connection_id, user_id, provider_id, 'pending', 0, now(), now() FROM provconn.connection LIMIT 1$$) AS same_id;
SELECT n, t.code(format('INSERT INTO provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at) VALUES (%s)', v))
FROM (VALUES (1, 'NULL, ''019a0000-0000-7000-8000-000000000000'', t.u(''made''), t.p(''schwab''), ''pending'', 0, now(), now()'),
             (2, '1, NULL, t.u(''made''), t.p(''schwab''), ''pending'', 0, now(), now()'),
             (3, 'provconn_shard(t.u(''made'')), ''019a0000-0000-7000-8000-000000000000'', NULL, t.p(''schwab''), ''pending'', 0, now(), now()'),
             (4, '1, ''019a0000-0000-7001-8000-000000000000'', t.u(''made''), t.p(''schwab''), NULL, 0, now(), now()')) AS w (n, v) ORDER BY n;
-- ON CONFLICT, MERGE and COPY meet the same guard
SELECT t.in_status(t.u('upsert'), 'disconnected') AS id \gset
SELECT t.message(format('INSERT INTO provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at)
	SELECT shard_key, connection_id, user_id, provider_id, ''pending'', 0, now(), now() FROM provconn.connection WHERE connection_id = %L
	ON CONFLICT (shard_key, connection_id) DO UPDATE SET status = ''pending''', :'id')) AS on_conflict;
SELECT t.message(format('MERGE INTO provconn.connection AS c USING (SELECT %L::uuid AS id) AS s ON c.connection_id = s.id
	WHEN MATCHED THEN UPDATE SET status = ''pending''', :'id')) AS merge_update,
       t.message(format('MERGE INTO provconn.connection AS c USING (SELECT %L::uuid AS id) AS s ON c.connection_id = s.id
	WHEN MATCHED THEN DELETE', :'id')) AS merge_delete;
SELECT current_setting('data_directory') || '/provconn_regress.copy' AS file \gset
COPY (SELECT provconn_shard(t.u('copied')), '019a0000-0000-7' || lpad(to_hex(provconn_shard(t.u('copied'))), 3, '0') || '-8000-000000000001',
	t.u('copied'), t.p('schwab'), 'expired', 0, now(), now()) TO :'file';
COPY provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at) FROM :'file';
-- but for a restore: COPY by a superuser's session with row_security off, and
-- nothing else under that setting
BEGIN;
SET LOCAL row_security = off;
SELECT pg_temp.made(t.u('made'), t.u('made'), t.p('schwab'), 'expired') AS insert, t.message('DELETE FROM provconn.connection') AS delete;
SELECT count(*) AS audits FROM provconn.audit \gset
ALTER TABLE provconn.connection ALTER audit_id DROP NOT NULL, ALTER audit_at DROP NOT NULL, ALTER audit_seq DROP NOT NULL, ALTER audit_hash DROP NOT NULL;
COPY provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at) FROM :'file';
SELECT status, audit_id, audit_seq FROM provconn.connection WHERE user_id = t.u('copied');
SELECT count(*) - :audits AS audited FROM provconn.audit;
-- a command that runs within a COPY is a command
COPY (SELECT ok, status FROM provconn_connect(provconn_connect_command(t.u('copied out'), t.p('schwab'), 'schwab', provconn_credentials('s', 'custom')))) TO STDOUT;
SELECT action, seq FROM provconn_audit_log WHERE user_id = t.u('copied out');
ROLLBACK;
CREATE ROLE regress_provconn_loader;
GRANT pg_read_server_files TO regress_provconn_loader;
GRANT USAGE ON SCHEMA provconn TO regress_provconn_loader;
GRANT INSERT ON provconn.connection TO regress_provconn_loader;
SET SESSION AUTHORIZATION regress_provconn_loader;
SET row_security = off;
COPY provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at) FROM :'file';
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
RESET row_security;
DROP OWNED BY regress_provconn_loader;
DROP ROLE regress_provconn_loader;
SELECT format('cat > /dev/null; rm -f %L', :'file') AS remove \gset
COPY (SELECT) TO PROGRAM :'remove';

-- Never deleted, never truncated.
SELECT t.fault('DELETE FROM provconn.connection');
SELECT status, t.code(format('DELETE FROM provconn.connection WHERE connection_id = %L', t.in_status(t.u('deleted'), status)))
FROM unnest(enum_range(NULL::provconn_status)) AS status ORDER BY status;
SELECT t.message('TRUNCATE provconn.connection') AS plain, t.message('TRUNCATE ONLY provconn.connection RESTART IDENTITY CASCADE') AS cascaded;
SET session_replication_role = replica;
SELECT t.message('DELETE FROM provconn.connection') AS delete, t.message('TRUNCATE provconn.connection') AS truncate;
RESET session_replication_role;
SET session_replication_role = local;
SELECT t.message('DELETE FROM provconn.connection') AS delete, t.message('TRUNCATE provconn.connection') AS truncate;
RESET session_replication_role;

-- Each command from each status: what it answers, and a refused one leaves the
-- row where it was (ctid and xmin too) and adds one audit row.
CREATE FUNCTION pg_temp.ran(from_status provconn_status, command text, OUT answer text, OUT becomes provconn_status, OUT row_kept boolean, OUT audits bigint)
LANGUAGE plpgsql AS $$
DECLARE
	owner uuid := t.u('ran ' || from_status || command);
	id uuid := t.in_status(owner, from_status);
	was jsonb := t.row_of(id);
	r provconn_result;
	v provconn_revealed;
BEGIN
	IF command IN ('report_failure', 'release') THEN
		UPDATE provconn.connection SET lease = t.u('lease') WHERE connection_id = id;
		was := t.row_of(id);
	END IF;
	audits := count(*) FROM provconn.audit;
	CASE command
		WHEN 'connect' THEN
			r := provconn_connect(provconn_connect_command(owner, t.p('schwab'), 'schwab', provconn_credentials('s', 'custom')));
			IF r.connection_id <> id THEN
				r.error_code := 'a new one';
			END IF;
		WHEN 'refresh' THEN
			r := provconn_refresh(provconn_refresh_command(id, provconn_credentials('s', 'custom')));
		WHEN 'refresh_batch' THEN
			r := b FROM provconn_refresh_batch(ARRAY[provconn_refresh_command(id, provconn_credentials('s', 'custom'))]) AS b;
		WHEN 'disconnect' THEN
			r := provconn_disconnect(provconn_disconnect_command(owner, id));
		WHEN 'initiate' THEN
			r := provconn_initiate(owner, t.p('schwab'), 'schwab');
			IF r.connection_id <> id THEN
				r.error_code := 'a new one';
			END IF;
		WHEN 'reveal' THEN
			v := provconn_reveal(owner, id);
			r.ok := v.ok; r.error_code := v.error_code; r.connection_id := v.connection_id;
			r.status := from_status;
		WHEN 'reauthenticate' THEN
			r := provconn_reauthenticate(owner, id, provconn_credentials('s', 'custom'));
		WHEN 'mark_expired' THEN
			r := provconn_mark_expired(id);
		WHEN 'mark_revoked' THEN
			r := provconn_mark_revoked(id);
		WHEN 'mark_failed' THEN
			r := provconn_mark_failed(id);
		WHEN 'record_sync' THEN
			r := provconn_record_sync(id);
		WHEN 'rename' THEN
			r := provconn_rename(owner, id, 'another');
		WHEN 'set_metadata' THEN
			r := provconn_set_metadata(owner, id, '{"a": 1}');
		WHEN 'report_failure' THEN
			r := provconn_report_failure(id, t.u('lease'), 'timeout');
		WHEN 'release' THEN
			r := provconn_release(id, t.u('lease'));
	END CASE;
	audits := count(*) - audits FROM provconn.audit;
	answer := coalesce(r.error_code, 'ok');
	becomes := t.row_of(id) ->> 'status';
	row_kept := t.row_of(id) = was;
	IF r.connection_id = id AND r.status IS DISTINCT FROM becomes THEN
		RAISE EXCEPTION '%', r;
	END IF;
END $$;
CREATE TEMP TABLE ran AS SELECT n, command, s AS from_status, r.* FROM unnest(ARRAY['connect', 'initiate', 'refresh', 'refresh_batch', 'reauthenticate', 'mark_expired', 'mark_revoked', 'mark_failed',
	'record_sync', 'disconnect', 'rename', 'set_metadata', 'reveal', 'report_failure', 'release']) WITH ORDINALITY AS c (command, n), unnest(enum_range(NULL::provconn_status)) AS s, pg_temp.ran(s, command) AS r;
SELECT command, from_status AS "from", answer, becomes, row_kept, audits FROM ran ORDER BY n, from_status;
-- the whole table of states and commands: what it allows leads where it says, all else leads nowhere
SELECT count(*) AS cells, count(DISTINCT r.command) AS commands, count(*) FILTER (WHERE r.answer = 'ok') AS allowed, count(*) FILTER (WHERE (r.answer = 'ok') <> (a.command IS NOT NULL)
	OR r.becomes <> coalesce(a.to_status, r.from_status) OR r.row_kept = (a.command IS NOT NULL)) AS wrong
FROM ran AS r LEFT JOIN provconn_transitions AS a USING (from_status, command) WHERE r.command IN (SELECT command FROM allowed);
SELECT command AS never_tried FROM allowed WHERE from_status IS NOT NULL AND (from_status, command) NOT IN (SELECT from_status, command FROM ran);
SELECT command, to_status = r.status AS as_listed FROM allowed, LATERAL (SELECT CASE command WHEN 'initiate' THEN t.row_of(t.in_status(t.u('fresh'), 'pending')) ELSE t.row_of(t.active(t.u('fresh too'))) END ->> 'status') AS v (s),
     LATERAL (SELECT s::provconn_status AS status) AS r WHERE from_status IS NULL ORDER BY command;
-- refusals that are not the status's fault leave the row alone as well
SELECT t.active(t.u('left alone')) AS id \gset
SELECT t.row_of(:'id') AS was \gset
SELECT count(*) AS audits FROM provconn.audit \gset
SELECT (provconn_refresh(provconn_refresh_command(:'id', NULL))).error_code;
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')), t.u('lease'))).error_code;
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')), NULL, 0)).error_code;
SELECT (provconn_disconnect(provconn_disconnect_command(t.u('stranger'), :'id'))).error_code;
SELECT (provconn_reveal(t.u('stranger'), :'id')).error_code;
SELECT t.row_of(:'id') = :'was'::jsonb AS untouched, (SELECT count(*) - :audits FROM provconn.audit) AS audited;
DROP TABLE allowed, moved, ran;
