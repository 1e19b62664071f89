-- The audit: one row for each command, who is in it, and that it stays.
\set SHOW_CONTEXT never
SET application_name = 'regress audit';

SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) AS columns FROM information_schema.columns WHERE table_name = 'provconn_audit_log' \gx

-- one row for each command, with the domain event's name
SELECT count(*) AS before FROM provconn.audit \gset
CREATE TEMP TABLE mark AS SELECT clock_timestamp() AS at;
SELECT t.in_status(t.u('audit'), 'pending', 'IRA') AS id \gset
SELECT ok FROM provconn_connect(provconn_connect_command(t.u('audit'), t.p('schwab'), 'schwab', provconn_credentials('s', 'custom'), 'IRA'));
SELECT error_code FROM provconn_connect(provconn_connect_command(t.u('audit'), t.p('schwab'), 'plaid', provconn_credentials('s', 'custom')));
SELECT error_code FROM provconn_initiate(t.u('audit'), t.p('unknown'), 'unknown');
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')));
SELECT error_code FROM provconn_refresh(provconn_refresh_command(:'id', NULL));
SELECT ok FROM provconn_refresh_batch(ARRAY[provconn_refresh_command(:'id', provconn_credentials('s', 'custom')), provconn_refresh_command(:'id', NULL)]);
SELECT ok FROM provconn_reveal(t.u('audit'), :'id', 'because');
SELECT error_code FROM provconn_reveal(t.u('nosy'), :'id', 'why not');
SELECT error_code FROM provconn_disconnect(provconn_disconnect_command(t.u('nosy'), :'id'));
SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u('audit'), :'id'));
SELECT error_code FROM provconn_disconnect(provconn_disconnect_command(NULL, :'id'));
SELECT count(*) - :before AS rows, count(*) FILTER (WHERE connection_id = :'id') AS of_the_connection FROM provconn.audit;
SELECT action, event, outcome, old_status, new_status, error_code, reason, version, seq, provider_slug,
       CASE user_id WHEN t.u('audit') THEN 'owner' WHEN t.u('nosy') THEN 'nosy' END AS user_id, owner_id = t.u('audit') AS owner_id, provider_id = t.p('schwab') AS provider
FROM provconn_audit_log WHERE occurred_at >= (SELECT at FROM mark) ORDER BY occurred_at;
-- The rest of a connection's life, and the refresh queue: each has its row, and
-- its event.  A claim's reason is the worker, a mark's the one given.
BEGIN;
SELECT connection_id AS id FROM provconn_connect(provconn_connect_command(t.u('audit life'), t.p('schwab'), 'schwab', provconn_oauth2_credentials('at', 'rt', '2001-01-01'))) \gset
SELECT (provconn_record_sync(:'id')).ok AS record_sync, (provconn_rename(t.u('audit life'), :'id', 'Roth')).ok AS rename, (provconn_set_metadata(t.u('audit life'), :'id', '{"a": 1}')).ok AS set_metadata;
SELECT (provconn_rename(t.u('nosy'), :'id', 'mine')).error_code AS rename, (provconn_set_metadata(t.u('audit life'), :'id', '[]')).error_code AS set_metadata;
SELECT lease FROM provconn_claim_due('worker 7', max_connections => 1000) WHERE connection_id = :'id' \gset
SELECT (provconn_release(:'id', :'id')).error_code AS release, (provconn_release(:'id', :'lease')).ok AS release;
SELECT lease FROM provconn_claim_due('worker 8', max_connections => 1000) WHERE connection_id = :'id' \gset
SELECT (provconn_report_failure(:'id', NULL, 'timeout')).error_code AS report_failure, (provconn_report_failure(:'id', :'lease', 'timeout')).ok AS report_failure;
SELECT (provconn_mark_failed(:'id', 'no reason')).error_code AS mark_failed, (provconn_mark_expired(:'id', 'user asked')).ok AS mark_expired;
SELECT (provconn_record_sync(:'id')).error_code AS record_sync, (provconn_reauthenticate(t.u('nosy'), :'id', NULL)).error_code AS reauthenticate;
SELECT (provconn_reauthenticate(t.u('audit life'), :'id', provconn_oauth2_credentials('at', 'rt', '2001-01-01'))).ok AS reauthenticate;
SELECT lease FROM provconn_claim_due('worker 9', max_connections => 1000) WHERE connection_id = :'id' \gset
SELECT (provconn_report_failure(:'id', :'lease', 'invalid_grant', true)).needs_user_action AS report_failure;
SELECT (provconn_mark_expired(:'id')).error_code AS mark_expired, (provconn_reauthenticate(t.u('audit life'), :'id', provconn_oauth2_credentials('at', 'rt', '2001-01-01'))).ok AS reauthenticate;
SELECT provconn_expire_overdue(max_connections => 1000) > 0 AS expire_overdue;
SELECT (provconn_reauthenticate(t.u('audit life'), :'id', provconn_oauth2_credentials('at'))).ok AS reauthenticate, (provconn_mark_revoked(:'id', 'withdrawn')).ok AS mark_revoked, (provconn_mark_revoked(:'id')).error_code AS again;
SELECT (provconn_mark_failed(t.in_status(t.u('audit life'), 'pending'), 'no answer')).ok AS mark_failed;
SELECT action, event, outcome, old_status, new_status, error_code, reason, version, CASE WHEN connection_id = :'id' THEN seq END AS seq, provider_slug,
       CASE user_id WHEN t.u('audit life') THEN 'owner' WHEN t.u('nosy') THEN 'nosy' END AS user_id, owner_id = t.u('audit life') AS owner_id
FROM provconn_audit_log WHERE transaction_id = pg_current_xact_id() AND (user_id = t.u('audit life') OR owner_id = t.u('audit life')) ORDER BY occurred_at;
-- every command that the library has is in it, or above
SELECT command AS missing FROM provconn_transitions WHERE command NOT IN (SELECT action FROM provconn_audit_log);
ROLLBACK;
-- who, where, when, in which transaction
BEGIN;
SELECT ok, clock_timestamp() AS later FROM provconn_connect(provconn_connect_command(t.u('audit who'), t.p('schwab'), 'schwab', provconn_credentials('s', 'custom'))) \gset
SELECT session_role = session_user AS session_role, caller_role = current_user AS caller_role, application_name,
       client_address IS NOT DISTINCT FROM inet_client_addr() AS client_address, transaction_id = pg_current_xact_id() AS transaction_id,
       occurred_at BETWEEN now() AND :'later' AS occurred_at,
       substr(audit_id::text, 15, 1) AS id_version, provconn_shard_of(audit_id) = provconn_shard(t.u('audit who')) AS shard,
       abs(('x' || translate(left(audit_id::text, 13), '-', ''))::bit(48)::bigint - extract(epoch FROM occurred_at) * 1000) < 1 AS id_time
FROM provconn_audit_log WHERE user_id = t.u('audit who') \gx
SET LOCAL application_name = '';
SELECT ok FROM provconn_initiate(t.u('audit who'), t.p('schwab'), 'schwab');
SELECT application_name IS NULL OR application_name = '' AS no_name FROM provconn_audit_log WHERE user_id = t.u('audit who') AND action = 'initiate';
COMMIT;

-- the role that called, under SET ROLE, SET SESSION AUTHORIZATION and SECURITY DEFINER
CREATE ROLE regress_provconn_app;
CREATE ROLE regress_provconn_definer;
SELECT provconn_grant('regress_provconn_app', 'application');
SELECT provconn_grant('regress_provconn_definer', 'application');
CREATE FUNCTION t.wrapped(owner uuid) RETURNS text LANGUAGE sql SECURITY DEFINER
AS $$ SELECT (public.provconn_initiate(owner, t.p('unknown'), 'from a wrapper')).error_code $$;
ALTER FUNCTION t.wrapped OWNER TO regress_provconn_definer;
SET ROLE regress_provconn_app;
SELECT (provconn_initiate(t.u('audit role 1'), t.p('schwab'), 'schwab')).ok;
SELECT (provconn_initiate(t.u('audit role 2'), NULL, 'schwab')).error_code;
SELECT t.wrapped(t.u('audit role 3'));
RESET ROLE;
SET SESSION AUTHORIZATION regress_provconn_app;
SELECT (provconn_initiate(t.u('audit role 4'), t.p('schwab'), 'schwab')).ok;
SELECT t.wrapped(t.u('audit role 5'));
RESET SESSION AUTHORIZATION;
SELECT n, CASE session_role WHEN session_user THEN 'the session''s' ELSE session_role END AS session_role, caller_role, outcome
FROM generate_series(1, 5) AS n JOIN provconn_audit_log ON user_id = t.u('audit role ' || n) ORDER BY n;
DROP FUNCTION t.wrapped;
SELECT provconn_revoke('regress_provconn_app', 'application');
SELECT provconn_revoke('regress_provconn_definer', 'application');
DROP ROLE regress_provconn_app, regress_provconn_definer;

-- SQL past the functions is "direct", a row each
SELECT count(t.active(t.u('audit direct'), 'x' || i)) FROM generate_series(1, 3) AS i;
UPDATE provconn.connection SET alias = upper(alias), status = CASE alias WHEN 'x2' THEN 'expired' ELSE status END WHERE user_id = t.u('audit direct');
SELECT c.alias, l.action, l.event, l.outcome, l.old_status, l.new_status, l.version, l.seq, l.reason, l.provider_slug, l.user_id = t.u('audit direct') AS "user",
       l.session_role = session_user AND l.caller_role = current_user AS roles, c.audit_id = l.audit_id AND c.audit_at = l.occurred_at AND c.audit_seq = l.seq AS stamped
FROM provconn_audit_log AS l JOIN provconn.connection AS c USING (connection_id) WHERE c.user_id = t.u('audit direct') AND l.action = 'direct' ORDER BY 1;
-- an update that says nothing new is on record too; one that fails is not
SELECT connection_id AS id FROM provconn.connection WHERE user_id = t.u('audit direct') AND alias = 'X1' \gset
UPDATE provconn.connection SET alias = alias WHERE connection_id = :'id';
SELECT t.code(format('UPDATE provconn.connection SET status = ''pending'' WHERE connection_id = %L', :'id'));
SELECT count(*) FROM provconn_audit_log WHERE connection_id = :'id';
-- a row of another connection, written while a command runs, is direct
CREATE FUNCTION t.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE provconn.connection SET alias = 'meddled' WHERE user_id = t.u('audit meddled');
	RETURN NULL;
END $$;
CREATE TRIGGER meddle AFTER UPDATE ON provconn.connection FOR EACH ROW WHEN (NEW.alias = 'X1') EXECUTE FUNCTION t.meddle();
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER meddle;
SELECT t.active(t.u('audit meddled')) AS other \gset
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')));
DROP TRIGGER meddle ON provconn.connection;
-- and so is what follows a command that failed half way
CREATE OR REPLACE FUNCTION t.meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
CREATE TRIGGER meddle AFTER UPDATE ON provconn.connection FOR EACH ROW WHEN (NEW.version <> OLD.version) EXECUTE FUNCTION t.meddle();
SELECT t.message(format('SELECT provconn_refresh(provconn_refresh_command(%L, provconn_credentials(''s'', ''custom'')))', :'id'));
UPDATE provconn.connection SET alias = 'X4' WHERE connection_id = :'id';
DROP TRIGGER meddle ON provconn.connection;
DROP FUNCTION t.meddle;
SELECT l.action, l.seq FROM provconn_audit_log AS l WHERE connection_id = :'id' ORDER BY seq;
SELECT l.action, l.seq FROM provconn_audit_log AS l WHERE connection_id = :'other' ORDER BY seq;

-- a refusal's user_id is what the caller claimed; its shard that of the
-- connection given, else of the user, else 0
SELECT error_code FROM provconn_disconnect(provconn_disconnect_command(t.u('audit claim 1'), :'id'));
SELECT error_code FROM provconn_disconnect(provconn_disconnect_command(t.u('audit claim 2'), t.u('no such connection')));
SELECT error_code FROM provconn_disconnect(provconn_disconnect_command(t.u('audit claim 3'), NULL));
SELECT error_code FROM provconn_initiate(NULL, NULL, 'audit claim 4');
SELECT error_code FROM provconn_disconnect(provconn_disconnect_command(t.u('audit direct'), t.u('no such connection 2')));
SELECT error_code FROM provconn_refresh(provconn_refresh_command(:'id', NULL));
SELECT n, user_id IS NOT NULL AS "user", owner_id = t.u('audit direct') AS owner, shard_key = provconn_shard_of(audit_id) AS shard_of_id,
       CASE shard_key WHEN provconn_shard_of(connection_id) THEN 'connection' WHEN provconn_shard(user_id) THEN 'user' WHEN 0 THEN '0' END AS shard_of
FROM provconn.audit JOIN LATERAL (SELECT substr(v.name, 13)::int AS n FROM (VALUES ('audit claim 1'), ('audit claim 2'), ('audit claim 3')) AS v (name)
	WHERE t.u(v.name) = user_id UNION ALL SELECT 4 WHERE provider_slug = 'audit claim 4') AS v ON true ORDER BY n;
SELECT user_id = t.u('audit direct') AS claimed, owner_id FROM provconn_audit_log WHERE connection_id = t.u('no such connection 2');
SELECT user_id = t.u('audit direct') AS the_owner, owner_id FROM provconn_audit_log WHERE connection_id = :'id' AND error_code = 'invalid_credentials';
-- what a caller sends is kept at a sane length
SELECT error_code FROM provconn_initiate(t.u('audit long'), t.p('schwab'), repeat(chr(233), 100000));
SELECT char_length(provider_slug) <= 50 AS cut FROM provconn_audit_log WHERE user_id = t.u('audit long');

-- the commitment: SHA-256 over the salt and each personal value, computed anew
SELECT error_code FROM provconn_reveal(t.u('audit claim 5'), :'id', 'purpose ' || chr(233));
CREATE FUNCTION pg_temp.field(value bytea) RETURNS bytea LANGUAGE sql
AS $$ SELECT CASE WHEN value IS NULL THEN '\x00' ELSE '\x01'::bytea || int4send(length(value)) || value END $$;
SELECT count(*) > 20 AS many, count(*) FILTER (WHERE personal_hash IS DISTINCT FROM sha256(personal_salt
		|| pg_temp.field(uuid_send(user_id)) || pg_temp.field(uuid_send(owner_id)) || pg_temp.field(convert_to(reason, 'UTF8'))
		|| pg_temp.field(convert_to(application_name, 'UTF8')) || pg_temp.field(convert_to(host(client_address), 'UTF8')))) AS wrong,
       count(*) FILTER (WHERE length(personal_salt) <> 16) AS bad_salts, count(*) - count(DISTINCT personal_salt) AS salts_used_twice
FROM provconn.audit;
SELECT count(*) FILTER (WHERE owner_id IS NOT NULL AND reason IS NOT NULL) > 0 AS full_rows FROM provconn.audit;

-- no secret, whole or in part, nor its length
SELECT t.active(t.u('audit secret'), NULL, 'c4nary-audit-secret') AS id \gset
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('c4nary-audit-secret', 'custom')));
SELECT ok FROM provconn_reveal(t.u('audit secret'), :'id');
SELECT count(*) AS rows, count(*) FILTER (WHERE a::text ~ ('c4nary|' || encode('c4nary', 'hex'))) AS leaks FROM provconn.audit AS a WHERE connection_id = :'id';

-- Append-only, for a superuser and in a replica's role too.
SELECT tableoid::regclass AS part FROM provconn.audit WHERE connection_id = :'id' LIMIT 1 \gset
CREATE TEMP TABLE tampering (n serial, statement text);
INSERT INTO tampering (statement) VALUES
	('UPDATE provconn.audit SET reason = ''x'''), ('UPDATE provconn.audit SET user_id = NULL, personal_salt = NULL'), ('UPDATE provconn.audit SET audit_id = audit_id'),
	('DELETE FROM provconn.audit'), ('TRUNCATE provconn.audit'), ('TRUNCATE ONLY provconn.audit'),
	('TRUNCATE provconn.audit CASCADE'), ('UPDATE PART SET reason = ''x'''), ('DELETE FROM PART'), ('DELETE FROM ONLY PART'), ('TRUNCATE PART'), ('TRUNCATE ONLY PART'),
	('TRUNCATE provconn.idempotency, PART'),
	('UPDATE provconn.audit SET shard_key = 1, audit_id = ''00000000-0000-7001-8000-000000000000'''),
	('INSERT INTO PART SELECT * FROM PART LIMIT 1 ON CONFLICT (shard_key, audit_id) DO UPDATE SET reason = ''x'''),
	('MERGE INTO provconn.audit AS a USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE');
SELECT statement, replace(t.message(replace(statement, 'PART', :'part')), split_part(:'part', '.', 2), 'PART') AS message FROM tampering ORDER BY n;
SET session_replication_role = replica;
SELECT statement, t.code(replace(statement, 'PART', :'part')) FROM tampering ORDER BY n;
RESET session_replication_role;
SELECT t.fault('DELETE FROM provconn.audit');
-- every partition, the empty ones too
SELECT count(*) >= 4 AS partitions, bool_and(t.code('TRUNCATE ' || inhrelid::regclass) = 'PV110') AS refuse_truncate
FROM pg_inherits WHERE inhparent = 'provconn.audit'::regclass;
SELECT DISTINCT tgname, tgenabled, tgtype & 1 = 1 AS for_each_row, count(*) = (SELECT count(*) FROM pg_inherits WHERE inhparent = 'provconn.audit'::regclass) AS on_each_partition
FROM pg_trigger JOIN pg_inherits ON inhrelid = tgrelid WHERE inhparent = 'provconn.audit'::regclass AND NOT tgisinternal GROUP BY 1, 2, 3 ORDER BY 1;

CREATE FUNCTION pg_temp.floor_of(month timestamp) RETURNS uuid LANGUAGE sql
AS $$ SELECT (lpad(to_hex((extract(epoch FROM month) * 1000)::bigint), 12, '0') || '70008000' || repeat('0', 12))::uuid $$;
-- Partitions: a month each, for now and three months ahead, by UTC.
SELECT bool_and(part IS NOT NULL) AS made, bool_and(bound = format('FOR VALUES FROM (''%s'') TO (''%s'')', low, high)) AS bounds, bool_and(comment IS NOT NULL) AS commented
FROM (SELECT to_regclass('provconn.audit_' || to_char(month, 'YYYY_MM')) AS part,
             (SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = to_regclass('provconn.audit_' || to_char(month, 'YYYY_MM'))) AS bound,
             obj_description(to_regclass('provconn.audit_' || to_char(month, 'YYYY_MM')), 'pg_class') AS comment,
             pg_temp.floor_of(month) AS low, pg_temp.floor_of(month + interval '1 month') AS high
      FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'), now() AT TIME ZONE 'UTC' + interval '3 months', interval '1 month') AS month) AS v;
-- each with the key and the index that the rows are found by
SELECT bool_and(EXISTS (SELECT FROM pg_constraint WHERE conrelid = inhrelid AND contype = 'p' AND pg_get_constraintdef(oid) = 'PRIMARY KEY (shard_key, audit_id)')) AS primary_key,
       bool_and(EXISTS (SELECT FROM pg_index WHERE indrelid = inhrelid AND pg_get_indexdef(indexrelid) ~ 'btree \(connection_id, audit_id\)$')) AS by_connection,
       bool_and(EXISTS (SELECT FROM pg_constraint WHERE conrelid = inhrelid AND contype = 'c' AND pg_get_constraintdef(oid) ~ 'provconn_shard_of\(audit_id\)')) AS shard_check
FROM pg_inherits WHERE inhparent = 'provconn.audit'::regclass;
-- nobody but the owner
SELECT bool_and(c.relowner = p.relowner AND c.relacl IS NOT DISTINCT FROM p.relacl) AS as_the_parent, bool_or(has_table_privilege('public', c.oid, 'SELECT')) AS public
FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid JOIN pg_class AS p ON p.oid = inhparent WHERE inhparent = 'provconn.audit'::regclass;
-- one that was lost is made again by the next command
SELECT to_regclass('provconn.audit_' || to_char(now() AT TIME ZONE 'UTC' + interval '3 months', 'YYYY_MM')) AS last_part \gset
SELECT format('DROP TABLE %s', :'last_part') AS drop_last \gset
:drop_last;
SELECT ok FROM provconn_initiate(t.u('audit'), t.p('schwab'), 'schwab');
SELECT t.code('TRUNCATE ' || :'last_part') AS made_again;

-- seq: gapless for each connection, and the row knows the last
SELECT count(*) > 10 AS many, count(*) FILTER (WHERE seqs IS DISTINCT FROM ARRAY(SELECT generate_series(1::bigint, c.audit_seq))
	OR last_id IS DISTINCT FROM c.audit_id) AS wrong
FROM (SELECT connection_id, array_agg(seq ORDER BY seq) AS seqs, (array_agg(audit_id ORDER BY seq DESC))[1] AS last_id
      FROM provconn.audit WHERE seq IS NOT NULL GROUP BY 1) AS a FULL JOIN provconn.connection AS c USING (connection_id);
-- and what changed no connection has none
SELECT outcome, action = 'reveal' OR coalesce(reason, '') = 'idempotent repeat' AS changes_none, count(seq) = 0 AS none, count(seq) = count(*) AS each
FROM provconn_audit_log GROUP BY 1, 2 ORDER BY 1, 2;
-- rolled back, a number is used again
SELECT t.active(t.u('audit seq')) AS id \gset
BEGIN;
SELECT version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')));
SAVEPOINT s;
SELECT version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')));
ROLLBACK TO s;
SELECT version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')));
COMMIT;
BEGIN;
SELECT version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')));
ROLLBACK;
SELECT version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')));
SELECT seq, version FROM provconn_audit_log WHERE connection_id = :'id' ORDER BY seq;
RESET application_name;
DROP TABLE mark, tampering;
