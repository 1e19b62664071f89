-- Faults: calls that nobody should make, read-only transactions, and types,
-- tables and triggers that a DBA has changed.  All changes are undone.
\set SHOW_CONTEXT never
SELECT t.active(t.u('errors')) AS id \gset

-- null commands
SELECT call, t.message('SELECT ' || call) FROM (VALUES (1, 'provconn_connect(NULL)'), (2, 'provconn_connect(NULL, t.u(''key''))'), (3, 'provconn_disconnect(NULL)'), (4, 'provconn_refresh(NULL)'),
	(5, 'provconn_refresh(NULL, NULL, 1)'), (6, 'provconn_refresh_batch(NULL)'), (7, 'provconn_refresh_batch(ARRAY[NULL]::provconn_refresh_command[])'), (8, 'provconn_unwrap(NULL)')) AS v (n, call) ORDER BY n;
SELECT t.fault('SELECT provconn_connect(NULL)');
-- a command of nulls is a refusal, not an error
SELECT (provconn_connect(ROW(NULL, NULL, NULL, NULL, NULL)::provconn_connect_command)).error_code AS connect, (provconn_disconnect(ROW(NULL, NULL)::provconn_disconnect_command)).error_code AS disconnect,
       (provconn_refresh(ROW(NULL, NULL)::provconn_refresh_command)).error_code AS refresh, (provconn_reveal(NULL, NULL)).error_code AS reveal;
SELECT (provconn_reauthenticate(NULL, NULL, NULL)).error_code AS reauthenticate, (provconn_rename(NULL, NULL, NULL)).error_code AS rename, (provconn_set_metadata(NULL, NULL, NULL)).error_code AS set_metadata,
       (provconn_mark_expired(NULL, NULL)).error_code AS mark_expired, (provconn_mark_revoked(NULL, NULL)).error_code AS mark_revoked, (provconn_mark_failed(NULL, NULL)).error_code AS mark_failed,
       (provconn_record_sync(NULL)).error_code AS record_sync, (provconn_report_failure(NULL, NULL, NULL)).error_code AS report_failure, (provconn_release(NULL, NULL)).error_code AS release \gx

-- what must not be null, and what is out of range
SELECT call, t.message('SELECT ' || call) FROM (VALUES (1, 'provconn_claim_due(NULL)'), (2, 'provconn_claim_due(''w'', within => NULL)'), (3, 'provconn_claim_due(''w'', max_connections => NULL)'), (4, 'provconn_claim_due(''w'', lease_for => NULL)'),
	(5, 'provconn_report_failure(t.u(''x''), t.u(''x''), ''x'', NULL)'), (6, 'provconn_expire_overdue(NULL)'), (7, 'provconn_expire_overdue(max_connections => NULL)'), (8, 'provconn_reset_provider(NULL)'), (9, 'provconn_reset_provider(t.p(''unknown''))'),
	(10, 'provconn_claim_due('''')'), (11, 'provconn_claim_due(repeat(chr(233), 101))'), (12, 'provconn_claim_due(''w'', max_connections => -1)'), (13, 'provconn_claim_due(''w'', lease_for => ''0'')'), (14, 'provconn_claim_due(''w'', lease_for => ''-1 s'')'),
	(15, 'provconn_expire_overdue(''-1 us'')'), (16, 'provconn_expire_overdue(max_connections => -1)')) AS v (n, call) ORDER BY n;
SELECT call, t.code('SELECT count(*) FROM ' || call) FROM (VALUES (1, 'provconn_claim_due(repeat(chr(233), 100), max_connections => 0)'), (2, 'provconn_claim_due(''w'', ''-1 day'', 0)'), (3, 'provconn_claim_due(''w'', ''0'', 0, ''1 us'')'), (4, 'provconn_expire_overdue(''0'', 0)'),
	(5, 'provconn_claim_due(''w'', ''290000 years'', 0)'), (6, 'provconn_claim_due(''w'', ''300000 years'', 0)'), (7, 'provconn_claim_due(''w'', ''0'', 0, ''300000 years'')'), (8, 'provconn_expire_overdue(''300000 years'', 0)')) AS v (n, call) ORDER BY n;
SELECT t.fault('SELECT provconn_claim_due(NULL)');
SELECT t.fault('SELECT provconn_claim_due('''')');
SELECT t.fault('SELECT provconn_reset_provider(t.p(''unknown''))');

-- read-only transactions: each function says its own name, and why
CREATE TEMP TABLE writing (n serial, call text);
INSERT INTO writing (call) VALUES ('provconn_connect(provconn_connect_command())'), ('provconn_initiate(NULL, NULL, NULL)'), ('provconn_disconnect(provconn_disconnect_command())'),
	('provconn_refresh(provconn_refresh_command())'), ('provconn_refresh_batch(''{}'')'), ('provconn_reveal(NULL, NULL)'), ('provconn_register_provider(NULL, NULL, NULL)'),
	('provconn_set_provider_active(NULL, true)'), ('provconn_grant(current_user::regrole, ''reader'')'), ('provconn_revoke(current_user::regrole, ''reader'')'), ('provconn.reapply_grants()'),
	('provconn_reauthenticate(NULL, NULL, NULL)'), ('provconn_mark_expired(NULL)'), ('provconn_mark_revoked(NULL)'), ('provconn_mark_failed(NULL)'), ('provconn_record_sync(NULL)'), ('provconn_rename(NULL, NULL, NULL)'),
	('provconn_set_metadata(NULL, NULL, NULL)'), ('provconn_claim_due(''w'')'), ('provconn_report_failure(NULL, NULL, NULL)'), ('provconn_release(NULL, NULL)'), ('provconn_expire_overdue()'), ('provconn_reset_provider(NULL)');
BEGIN READ ONLY;
SELECT t.message('SELECT ' || call) FROM writing ORDER BY n;
SELECT t.fault('SELECT provconn_connect(provconn_connect_command())');
-- reading goes on, and so does what touches no table
SELECT count(*) AS connections FROM provconn_connections WHERE connection_id = :'id';
SELECT sum(connections) > 0 AS counted FROM provconn_stats;
SELECT count(*) FROM provconn_transitions;
SELECT provconn_credentials('s', 'custom'), provconn_shard(t.u('errors')) IS NOT NULL AS shard, (provconn_unwrap(ROW(true, NULL, NULL, NULL, NULL, NULL, false)::provconn_result)).ok;
ROLLBACK;
DROP TABLE writing;

-- Two connections for the queue: one is due, one is leased.
SELECT ok FROM provconn_connect(provconn_connect_command(t.u('errors due'), t.p('plaid'), 'plaid', provconn_oauth2_credentials('at', 'rt', '2001-01-01')));
SELECT connection_id AS leased FROM provconn_connect(provconn_connect_command(t.u('errors leased'), t.p('plaid'), 'plaid', provconn_oauth2_credentials('at', 'rt', '2001-01-01'))) \gset
UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'w', leased_until = '2100-01-01' WHERE connection_id = :'leased';

-- Types that a DBA has changed.  Each change is tried with every function that
-- takes or makes such a value, then rolled back.
CREATE FUNCTION pg_temp.with_change(change text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
	detail text;
BEGIN
	BEGIN
		EXECUTE change;
	EXCEPTION WHEN OTHERS THEN
		RETURN 'cannot be changed: ' || sqlstate;
	END;
	BEGIN
		EXECUTE call INTO said;
		detail := 'ok ' || coalesce(said, 'null');
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS said = PG_EXCEPTION_HINT;
		detail := sqlstate || CASE WHEN sqlstate LIKE 'PV%' THEN ' ' || sqlerrm || ' | ' || said ELSE '' END;
	END;
	RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = 'back', DETAIL = detail;
EXCEPTION WHEN raise_exception THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN detail;
END $$;
CREATE TEMP TABLE change (n serial, change text, call text);
INSERT INTO change (change, call)
SELECT change, call FROM (VALUES
	(1, 'provconn_connect_command', 'alias', 'text', 'SELECT ok FROM provconn_connect(provconn_connect_command(t.u(''errors''), t.p(''schwab''), ''schwab'', provconn_credentials(''s'', ''custom'')))'),
	(2, 'provconn_connect_command', 'user_id', 'uuid', 'SELECT ok FROM provconn_connect(provconn_connect_command())'),
	(3, 'provconn_connect_command', 'credentials', 'provconn_credentials', 'SELECT ok FROM provconn_connect(provconn_connect_command())'),
	(4, 'provconn_disconnect_command', 'connection_id', 'uuid', 'SELECT ok FROM provconn_disconnect(provconn_disconnect_command())'),
	(5, 'provconn_refresh_command', 'credentials', 'provconn_credentials', 'SELECT ok FROM provconn_refresh(provconn_refresh_command())'),
	(6, 'provconn_refresh_command', 'connection_id', 'uuid', 'SELECT count(*) FROM provconn_refresh_batch(ARRAY[provconn_refresh_command()])'),
	(7, 'provconn_credentials', 'secret', 'provconn_secret', 'SELECT (provconn_credentials()).credential_type'),
	(8, 'provconn_credentials', 'expires_at', 'timestamptz', 'SELECT (provconn_oauth2_credentials(''x'')).credential_type'),
	(9, 'provconn_credentials', 'credential_type', 'provconn_credential_type', 'SELECT (provconn_token_response(''{"access_token":"x"}'')).expires_at'),
	(10, 'provconn_result', 'version', 'integer', 'SELECT ok FROM provconn_initiate(NULL, NULL, NULL)'),
	(11, 'provconn_result', 'error_code', 'text', 'SELECT provconn_unwrap(jsonb_populate_record(NULL::provconn_result, ''{"ok": true}''))'),
	(12, 'provconn_revealed', 'secret', 'bytea', 'SELECT ok FROM provconn_reveal(NULL, NULL)'),
	(13, 'provconn_claimed', 'secret', 'bytea', 'SELECT count(*) FROM provconn_claim_due(''w'', max_connections => 1)'),
	(14, 'provconn_claimed', 'version', 'integer', 'SELECT count(*) FROM provconn_claim_due(''w'', max_connections => 1)'),
	(15, 'provconn_result', 'version', 'integer', 'SELECT ok FROM provconn_record_sync(NULL)'),
	(16, 'provconn_credentials', 'secret', 'provconn_secret', 'SELECT ok FROM provconn_reauthenticate(NULL, NULL, jsonb_populate_record(NULL::provconn_credentials, ''{}''))')) AS v (n, type, attribute, attribute_type, call),
	LATERAL (VALUES (1, format('ALTER TYPE %s DROP ATTRIBUTE %s', type, attribute)),
		(2, format('ALTER TYPE %s RENAME ATTRIBUTE %s TO renamed', type, attribute)),
		(3, format('ALTER TYPE %s DROP ATTRIBUTE %s, ADD ATTRIBUTE %2$s %s', type, attribute, CASE attribute_type WHEN 'text' THEN 'varchar' WHEN 'integer' THEN 'bigint' ELSE 'text' END)),
		(4, format('ALTER TYPE %s ALTER ATTRIBUTE %s TYPE %s', type, attribute, CASE attribute_type WHEN 'text' THEN 'integer' ELSE 'text' END))) AS c (m, change)
-- that a composite within another can't be retyped is PostgreSQL's own rule, up to 17
WHERE NOT (m = 4 AND type = 'provconn_credentials')
ORDER BY n, m;
SELECT change, replace(pg_temp.with_change(change, call), ' is missing or has another type | Undo the ALTER TYPE.', ' ... with hint') AS result FROM change ORDER BY n;
SELECT pg_temp.with_change(change, call) FROM change WHERE n = 1;

-- added attributes, and one dropped and put back at the end, harm nobody
SELECT change, pg_temp.with_change(change, call) FROM (VALUES
	(1, 'ALTER TYPE provconn_connect_command ADD ATTRIBUTE added text', 'SELECT ok FROM provconn_connect(provconn_connect_command(t.u(''errors''), t.p(''schwab''), ''schwab'', provconn_credentials(''s'', ''custom'')))'),
	(2, 'ALTER TYPE provconn_connect_command DROP ATTRIBUTE user_id, ADD ATTRIBUTE user_id uuid', 'SELECT ok FROM provconn_connect(provconn_connect_command(t.u(''errors''), t.p(''schwab''), ''schwab'', provconn_credentials(''s'', ''custom'')))'),
	(3, 'ALTER TYPE provconn_credentials ADD ATTRIBUTE added text', 'SELECT ok FROM provconn_connect(provconn_connect_command(t.u(''errors''), t.p(''schwab''), ''schwab'', provconn_credentials(''s'', ''custom'')))'),
	(4, 'ALTER TYPE provconn_credentials DROP ATTRIBUTE secret, ADD ATTRIBUTE secret provconn_secret', 'SELECT ok FROM provconn_connect(provconn_connect_command(t.u(''errors''), t.p(''schwab''), ''schwab'', provconn_credentials(''s'', ''custom'')))'),
	(5, 'ALTER TYPE provconn_refresh_command ADD ATTRIBUTE added bytea', 'SELECT ok FROM provconn_refresh_batch(ARRAY[provconn_refresh_command(t.active(t.u(''errors'')), provconn_credentials(''s'', ''custom''))])'),
	(6, 'ALTER TYPE provconn_disconnect_command ADD ATTRIBUTE added int', 'SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u(''errors''), t.active(t.u(''errors''))))'),
	(7, 'ALTER TYPE provconn_result ADD ATTRIBUTE added text', 'SELECT r.added IS NULL AND r.ok FROM provconn_initiate(t.u(''errors''), t.p(''schwab''), ''schwab'') AS r'),
	(8, 'ALTER TYPE provconn_result DROP ATTRIBUTE ok, ADD ATTRIBUTE ok boolean', 'SELECT r.ok FROM provconn_initiate(t.u(''errors''), t.p(''schwab''), ''schwab'') AS r'),
	(9, 'ALTER TYPE provconn_revealed ADD ATTRIBUTE added text', 'SELECT r.error_code FROM provconn_reveal(NULL, NULL) AS r'),
	(10, 'ALTER TYPE provconn_result ADD ATTRIBUTE added text', 'SELECT count(*) FROM provconn_refresh_batch(ARRAY[provconn_refresh_command()]) AS r'),
	(11, 'ALTER TYPE provconn_claimed ADD ATTRIBUTE added text', 'SELECT count(*) FILTER (WHERE r.added IS NULL AND r.secret_text LIKE ''{"access_token":"at"%'') FROM provconn_claim_due(''w'', max_connections => 10000) AS r WHERE r.user_id = t.u(''errors due'')'),
	(12, 'ALTER TYPE provconn_claimed DROP ATTRIBUTE lease, ADD ATTRIBUTE lease uuid', 'SELECT count(r.lease) FROM provconn_claim_due(''w'', max_connections => 10000) AS r WHERE r.user_id = t.u(''errors due'')')) AS v (n, change, call) ORDER BY n;
-- a value made before the change, handed over after it
CREATE FUNCTION pg_temp.made_before(change text, INOUT c provconn_connect_command, OUT said text) LANGUAGE plpgsql AS $$
DECLARE
	r provconn_result;
BEGIN
	EXECUTE change;
	r := provconn_connect(c);
	said := 'ok ' || r.ok;
	RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = 'back', DETAIL = said;
EXCEPTION WHEN raise_exception THEN
	GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
WHEN OTHERS THEN
	said := sqlstate;
END $$;
SELECT change, (pg_temp.made_before(change, provconn_connect_command(t.u('errors'), t.p('schwab'), 'schwab', provconn_credentials('s', 'custom')))).said
FROM (VALUES (1, 'ALTER TYPE provconn_connect_command ADD ATTRIBUTE added text'), (2, 'ALTER TYPE provconn_connect_command DROP ATTRIBUTE alias'),
             (3, 'ALTER TYPE provconn_connect_command ALTER ATTRIBUTE alias TYPE integer'), (4, 'ALTER TYPE provconn_connect_command ALTER ATTRIBUTE user_id TYPE text'),
             (5, 'ALTER TYPE provconn_credentials ADD ATTRIBUTE added text')) AS v (n, change) ORDER BY n;
-- labels of the enums
SELECT change, pg_temp.with_change(change, call) FROM (VALUES
	(1, 'ALTER TYPE provconn_status RENAME VALUE ''active'' TO ''renamed''', 'SELECT ok FROM provconn_initiate(NULL, NULL, NULL)'),
	(2, 'ALTER TYPE provconn_credential_type RENAME VALUE ''custom'' TO ''renamed''', 'SELECT provconn_oauth2_credentials(''x'')'),
	(3, 'ALTER TYPE provconn_status RENAME VALUE ''revoked'' TO ''renamed''', 'SELECT count(*) FROM provconn_transitions'),
	(4, 'ALTER TYPE provconn_status ADD VALUE ''added''', 'SELECT ok FROM provconn_initiate(t.u(''errors''), t.p(''schwab''), ''schwab'')')) AS v (n, change, call) ORDER BY n;
-- it is all as before
CREATE TEMP TABLE made AS SELECT ROW(t.u('errors'), t.p('schwab'), 'schwab', ROW('s', 'custom', NULL), NULL)::provconn_connect_command AS connect,
	ROW(:'id', ROW('s', 'custom', NULL))::provconn_refresh_command AS refresh, ROW(t.u('errors'), :'id')::provconn_disconnect_command AS disconnect;
SELECT ok, version FROM made, provconn_refresh(refresh);

-- Tables.  A column more, or another order, is nobody's harm.
ALTER TABLE provconn.connection ADD COLUMN note text DEFAULT 'kept' NOT NULL, ADD COLUMN counter int;
SELECT ok, version FROM made, provconn_refresh(refresh);
UPDATE provconn.connection SET counter = 7 WHERE connection_id = :'id';
SELECT ok, version FROM made, provconn_refresh(refresh);
SELECT note, counter, version FROM provconn.connection WHERE connection_id = :'id';
SELECT r.ok, t.row_of(r.connection_id) ->> 'note' AS note FROM made, LATERAL provconn_connect(connect) AS r;
ALTER TABLE provconn.connection DROP COLUMN counter;
SELECT ok, version FROM made, provconn_refresh(refresh);
SELECT note, version FROM provconn.connection WHERE connection_id = :'id';
SELECT r.ok, t.row_of(r.connection_id) ->> 'note' AS note FROM made, LATERAL provconn_connect(connect) AS r;
ALTER TABLE provconn.connection DROP COLUMN note;
SELECT ok, version FROM made, provconn_refresh(refresh);
SELECT secret_text FROM provconn_reveal(t.u('errors'), :'id');
ALTER TABLE provconn.provider ADD COLUMN url text;
SELECT provconn_register_provider('errors', 'Errors', 'custom') IS NOT NULL AS registered;
ALTER TABLE provconn.provider DROP COLUMN url;
ALTER TABLE provconn.audit ADD COLUMN note text;
SELECT ok, version FROM made, provconn_refresh(refresh);
ALTER TABLE provconn.audit DROP COLUMN note;
SELECT ok, version FROM made, provconn_refresh(refresh);
-- a column less, renamed or retyped is told
CREATE TEMP TABLE altered (n serial, change text, call text);
INSERT INTO altered (change, call) VALUES
	('ALTER TABLE provconn.connection DROP COLUMN lease', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	('ALTER TABLE provconn.connection RENAME COLUMN lease TO renamed', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	('ALTER TABLE provconn.connection ALTER COLUMN lease TYPE text', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	('ALTER TABLE provconn.connection ALTER COLUMN last_failure TYPE varchar', 'SELECT 1'),
	('DROP VIEW provconn_connections', 'SELECT 1'),
	('ALTER TABLE provconn.data_key RENAME COLUMN wrapped TO renamed', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	('ALTER TABLE provconn.provider RENAME COLUMN slug TO renamed', 'SELECT ok FROM provconn_initiate(t.u(''errors''), t.p(''schwab''), ''schwab'')'),
	('ALTER TABLE provconn.audit RENAME COLUMN personal_salt TO renamed', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	('ALTER TABLE provconn.idempotency RENAME COLUMN created_at TO renamed', 'SELECT ok FROM made, provconn_connect(connect, t.u(''key''))'),
	('ALTER TABLE provconn.connection RENAME COLUMN due_at TO renamed', 'SELECT count(*) FROM provconn_claim_due(''w'', max_connections => 1)'),
	('ALTER TABLE provconn.connection RENAME COLUMN held_until TO renamed', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	('ALTER TABLE provconn.connection RENAME COLUMN metadata TO renamed', format('SELECT ok FROM provconn_set_metadata(t.u(''errors''), %L, ''{}'')', :'id')),
	('ALTER TABLE provconn.provider_health RENAME COLUMN failures TO renamed', format('SELECT ok FROM provconn_report_failure(%L, t.u(''lease''), ''x'')', :'leased')),
	('ALTER TABLE provconn.provider_health RENAME TO renamed', format('SELECT ok FROM provconn_report_failure(%L, t.u(''lease''), ''x'')', :'leased')),
	('ALTER TABLE provconn.provider_health RENAME TO renamed', 'SELECT provconn_register_provider(''errors-health'', ''Errors'', ''custom'') IS NOT NULL'),
	('DROP INDEX provconn.connection_queue_idx', 'SELECT count(*) FROM provconn_claim_due(''w'', max_connections => 1)'),
	('ALTER TABLE provconn.connection RENAME TO renamed', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	('ALTER TABLE provconn.data_key RENAME TO renamed', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	('ALTER SCHEMA provconn RENAME TO renamed', 'SELECT ok FROM made, provconn_refresh(refresh)');
SELECT change, pg_temp.with_change(change, call) FROM altered ORDER BY n;
-- another kind of relation in the table's place
SELECT pg_temp.with_change('ALTER TABLE provconn.idempotency RENAME TO kept; CREATE VIEW provconn.idempotency AS SELECT * FROM provconn.kept', 'SELECT ok FROM made, provconn_connect(connect, t.u(''key''))');
SELECT pg_temp.with_change('ALTER TABLE provconn.audit RENAME TO kept; CREATE TABLE provconn.audit (LIKE provconn.kept)', 'SELECT ok FROM made, provconn_refresh(refresh)');
-- without its index the table is read through, and the row is found
SELECT pg_temp.with_change('ALTER TABLE provconn.connection DROP CONSTRAINT connection_pkey', 'SELECT ok FROM made, provconn_refresh(refresh)') AS without_key;
SELECT ok, version FROM made, provconn_refresh(refresh);

-- Triggers.  What no trigger records is not done.
SELECT change, pg_temp.with_change(change, call) FROM (VALUES
	(1, 'ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	(2, 'ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit', 'SELECT ok FROM made, provconn_connect(connect)'),
	(3, 'ALTER TABLE provconn.connection DISABLE TRIGGER ALL', 'SELECT ok FROM made, provconn_disconnect(disconnect)'),
	(4, 'DROP TRIGGER provconn_audit ON provconn.connection', 'SELECT ok FROM made, provconn_initiate((connect).user_id, (connect).provider_id, ''schwab'')'),
	(5, 'CREATE TRIGGER aa BEFORE UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	(6, 'CREATE FUNCTION t.swallow() RETURNS trigger LANGUAGE plpgsql AS ''BEGIN RETURN NULL; END''; CREATE TRIGGER aa BEFORE INSERT OR UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION t.swallow()', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	(7, 'SET LOCAL session_replication_role = replica', 'SELECT ok FROM made, provconn_refresh(refresh)'),
	(8, 'ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit', format('SELECT ok FROM provconn_mark_expired(%L)', :'id')),
	(9, 'ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit', format('SELECT ok FROM provconn_record_sync(%L)', :'id')),
	(10, 'ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit', format('SELECT ok FROM provconn_rename(t.u(''errors''), %L, ''x'')', :'id')),
	(11, 'ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit', 'SELECT count(*) FROM provconn_claim_due(''w'', max_connections => 1)'),
	(12, 'ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit', format('SELECT ok FROM provconn_release(%L, t.u(''lease''))', :'leased')),
	(13, 'ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit', 'SELECT provconn_expire_overdue(max_connections => 1)'),
	(14, 'SET LOCAL session_replication_role = replica', 'SELECT count(*) FROM provconn_claim_due(''w'', max_connections => 1)'),
	(15, 'SET LOCAL session_replication_role = replica', format('SELECT status FROM provconn_mark_revoked(%L)', :'id'))) AS v (n, change, call) ORDER BY n;

-- without the guard there is no new audit row to write
SELECT pg_temp.with_change('ALTER TABLE provconn.connection DISABLE TRIGGER zz_provconn_guard', 'SELECT ok FROM made, provconn_refresh(refresh)') ~ '^(PV111|23505)' AS refused;

-- the statement that changes the row is the one that calls
SELECT t.fault(format('WITH u AS (UPDATE provconn.connection SET alias = ''x'' WHERE connection_id = %L RETURNING connection_id)
	SELECT r.ok FROM u, provconn_refresh(provconn_refresh_command(u.connection_id, provconn_credentials(''s'', ''custom''))) AS r', :'id'));

-- a month that cannot be made: this one is an error, one ahead a warning
SELECT pg_temp.with_change(format('DROP TABLE provconn.%s; CREATE TABLE provconn.%1$s (i int)', to_char(month, '"audit_"YYYY_MM')), 'SELECT ok FROM provconn_initiate(t.u(''errors''), t.p(''schwab''), ''schwab'')')
	= format('PV112 provconn.audit has no partition for %s and none could be made: another table has its name | Rename or detach what stands in the way, and repeat the command.', to_char(month, 'YYYY-MM')) AS this_month
FROM (SELECT now() AT TIME ZONE 'UTC' AS month) AS v;
SET client_min_messages = error;
SELECT pg_temp.with_change(format('DROP TABLE provconn.%s; CREATE TABLE provconn.%1$s (i int)', to_char(month, '"audit_"YYYY_MM')), 'SELECT ok FROM provconn_initiate(t.u(''errors''), t.p(''schwab''), ''schwab'')') AS ahead
FROM (SELECT now() AT TIME ZONE 'UTC' + interval '3 months' AS month) AS v;
RESET client_min_messages;

-- the version does not wrap around
SELECT t.active(t.u('errors')) AS last \gset
UPDATE provconn.connection SET version = 2147483646 WHERE connection_id = :'last';
SELECT t.fault(format('SELECT provconn_refresh(provconn_refresh_command(%L, provconn_credentials(''s'', ''custom'')))', :'last'));
SELECT t.fault(format('SELECT provconn_refresh(provconn_refresh_command(%L, provconn_credentials(''s'', ''custom'')))', :'last'));
SELECT version FROM provconn_connections WHERE connection_id = :'last';

-- trigger functions are for triggers, and for their own tables
CREATE TEMP TABLE elsewhere (connection_id uuid);
INSERT INTO elsewhere VALUES (t.u('errors'));
SELECT f, t.code(format('CREATE TRIGGER x %s OR UPDATE ON elsewhere FOR EACH ROW EXECUTE FUNCTION provconn.%s()', at, f)) AS made,
       t.code('UPDATE elsewhere SET connection_id = connection_id') AS fires, t.code('DROP TRIGGER x ON elsewhere') AS dropped
FROM (VALUES (1, 'guard_connection', 'BEFORE INSERT'), (2, 'audit_connection', 'AFTER INSERT'), (3, 'open_provider', 'AFTER INSERT'), (4, 'open_provider', 'BEFORE INSERT')) AS v (n, f, at) ORDER BY n;
DROP TABLE elsewhere;
SELECT f, t.code(format('SELECT provconn.%s()', f)) FROM unnest(ARRAY['guard_connection', 'audit_connection', 'guard_provider', 'open_provider', 'guard_data_key', 'guard_audit']) AS f;

-- serialization: a row changed since the snapshot is 40001, never a refusal; see test/isolation
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT ok FROM made, provconn_refresh(refresh);
SELECT ok FROM made, provconn_disconnect(disconnect);
COMMIT;
SELECT r.ok FROM unnest(ARRAY['errors due', 'errors leased']) AS name, LATERAL (SELECT user_id, connection_id FROM provconn_connections WHERE user_id = t.u(name)) AS c,
     provconn_disconnect(provconn_disconnect_command(c.user_id, c.connection_id)) AS r;
DROP TABLE made, change, altered;
