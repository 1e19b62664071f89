-- Rights: what everybody has, what a capability gives, who may give it, and that
-- a hostile search_path gives nothing.
\set SHOW_CONTEXT never
CREATE ROLE regress_provconn_nobody;
CREATE ROLE regress_provconn_admin SUPERUSER;

-- what a role may do, of all that the extension has
CREATE FUNCTION t.rights_of(role name, OUT functions text, OUT relations text) LANGUAGE sql AS $$
	SELECT (SELECT string_agg(replace(p.oid::regprocedure::text, 'timestamp with time zone', 'timestamptz'), E'\n' ORDER BY p.oid::regprocedure::text COLLATE "C") FROM pg_proc AS p
	        JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'provconn'
	        WHERE has_function_privilege(role, p.oid, 'EXECUTE') AND NOT has_function_privilege('regress_provconn_nobody', p.oid, 'EXECUTE')),
	       (SELECT string_agg(format('%s (%s)', c.oid::regclass, privilege), E'\n' ORDER BY c.oid::regclass::text COLLATE "C") FROM pg_class AS c,
	        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
	        WHERE (c.relnamespace = 'provconn'::regnamespace OR c.relname LIKE 'provconn\_%') AND c.relkind IN ('r', 'p', 'v') AND has_table_privilege(role, c.oid, privilege))
$$;

-- PUBLIC: the types, and the casts to provconn_secret
SELECT p.oid::regprocedure AS function FROM pg_proc AS p
JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'provconn'
WHERE has_function_privilege('regress_provconn_nobody', p.oid, 'EXECUTE') ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT relations IS NULL AS no_relation FROM t.rights_of('regress_provconn_nobody');
SELECT has_schema_privilege('regress_provconn_nobody', 'provconn', 'USAGE') AS usage, has_schema_privilege('regress_provconn_nobody', 'provconn', 'CREATE') AS create;
SELECT count(*) AS types, count(*) FILTER (WHERE NOT has_type_privilege('regress_provconn_nobody', oid, 'USAGE')) AS unusable FROM pg_type WHERE typname LIKE 'provconn\_%' AND typtype IN ('b', 'c', 'e')
  AND typcategory <> 'A' AND (typrelid = 0 OR EXISTS (SELECT FROM pg_class WHERE oid = typrelid AND relkind = 'c'));
SET ROLE regress_provconn_nobody;
SELECT 'a'::text::provconn_secret, 'a'::bytea::provconn_secret, '{}'::json::provconn_secret, '{}'::jsonb::provconn_secret, 'a'::varchar::provconn_secret, 'a'::provconn_secret;
SELECT ROW('a', 'oauth2', NULL)::provconn_credentials, 'active'::provconn_status;
-- everything else is denied, by PostgreSQL itself
SELECT count(*) AS calls, string_agg(call, '; ') FILTER (WHERE t.code('SELECT ' || call) <> '42501') AS not_denied FROM (VALUES
	(1, 'provconn_connect(NULL)'), (2, 'provconn_initiate(NULL, NULL, NULL)'), (3, 'provconn_disconnect(NULL)'), (4, 'provconn_refresh(NULL)'),
	(5, 'provconn_refresh_batch(NULL)'), (6, 'provconn_reveal(NULL, NULL)'), (7, 'provconn_unwrap(NULL)'), (8, 'provconn_register_provider(NULL, NULL, NULL)'),
	(9, 'provconn_set_provider_active(NULL, NULL)'), (10, 'provconn_grant(''regress_provconn_nobody'', ''secrets'')'), (11, 'provconn_revoke(''regress_provconn_nobody'', ''secrets'')'),
	(12, 'provconn_shard(t.u(''a''))'), (13, 'provconn_shard_of(t.u(''a''))'), (14, 'provconn_state_diagram(''dot'')'), (15, 'provconn_list_transitions()'), (16, 'provconn_credentials()'),
	(17, 'provconn_oauth2_credentials(NULL)'), (18, 'provconn_api_key_credentials(NULL)'), (19, 'provconn_token_response(NULL)'), (20, 'provconn_connect_command()'),
	(21, 'provconn_disconnect_command()'), (22, 'provconn_refresh_command()'), (23, 'provconn.reapply_grants()'), (24, '* FROM provconn_connections'), (25, '* FROM provconn_providers'),
	(26, '* FROM provconn_transitions'), (27, '* FROM provconn_audit_log'), (28, '* FROM provconn.connection'), (29, 'provconn_secret_out(''a'')'), (30, 'provconn_secret_in(''a'')'),
	(31, 'provconn_reauthenticate(NULL, NULL, NULL)'), (32, 'provconn_mark_expired(NULL)'), (33, 'provconn_mark_revoked(NULL)'), (34, 'provconn_mark_failed(NULL)'), (35, 'provconn_record_sync(NULL)'),
	(36, 'provconn_rename(NULL, NULL, NULL)'), (37, 'provconn_set_metadata(NULL, NULL, NULL)'), (38, 'provconn_claim_due(''w'')'), (39, 'provconn_report_failure(NULL, NULL, NULL)'), (40, 'provconn_release(NULL, NULL)'),
	(41, 'provconn_expire_overdue()'), (42, 'provconn_reset_provider(NULL)'), (43, '* FROM provconn_stats'), (44, '* FROM provconn.provider_health'), (45, 'provconn.open_provider()'),
	(46, 'provconn_doctor()'), (47, '* FROM provconn.finding'), (48, '* FROM provconn.required_trigger')
) AS v (n, call);
RESET ROLE;

-- Each capability gives exactly this.
CREATE FUNCTION t.capability(name text, OUT functions text, OUT relations text) LANGUAGE plpgsql AS $$
BEGIN
	CREATE ROLE regress_provconn_one;
	EXECUTE format('SELECT provconn_grant(''regress_provconn_one'', %L)', name);
	SELECT r.functions, r.relations INTO functions, relations FROM t.rights_of('regress_provconn_one') AS r;
	EXECUTE format('SELECT provconn_revoke(''regress_provconn_one'', %L)', name);
	IF (t.rights_of('regress_provconn_one')).functions IS NOT NULL OR (t.rights_of('regress_provconn_one')).relations IS NOT NULL THEN
		RAISE EXCEPTION 'something stayed';
	END IF;
	DROP ROLE regress_provconn_one;
END $$;
CREATE TEMP TABLE given AS SELECT n, name, c.* FROM unnest(ARRAY['application', 'secrets', 'worker', 'reader', 'auditor', 'operator']) WITH ORDINALITY AS v (name, n), t.capability(name) AS c;
-- what all of them have: constructors, unwrap, shards, diagram
SELECT f AS each_has FROM given, string_to_table(functions, E'\n') AS f GROUP BY 1 HAVING count(*) = 6 ORDER BY f COLLATE "C";
SELECT name, f AS function FROM given, string_to_table(functions, E'\n') AS f
WHERE f NOT IN (SELECT f FROM given, string_to_table(functions, E'\n') AS f GROUP BY 1 HAVING count(*) = 6) ORDER BY n, f COLLATE "C";
SELECT name, r AS relation FROM given, string_to_table(relations, E'\n') AS r ORDER BY n, r COLLATE "C";

-- and it works, with no right on any table
CREATE ROLE regress_provconn_app;
SELECT provconn_grant('regress_provconn_app', 'application');
SELECT provconn_grant(role => 'regress_provconn_app', capability => 'secrets');
SELECT role, capability, granted_by = current_user AS by_me, granted_at > now() - interval '1 minute' AS now FROM provconn.role_grant ORDER BY role::text COLLATE "C", capability COLLATE "C";
-- twice is once
SELECT provconn_grant('regress_provconn_app', 'secrets');
SELECT count(*) FROM provconn.role_grant;
SET ROLE regress_provconn_app;
SELECT connection_id AS id, ok FROM provconn_connect(provconn_connect_command(t.u('privileges'), t.p('schwab'), 'schwab', provconn_oauth2_credentials('at', 'rt'))) \gset
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_token_response('{"access_token": "a2"}')));
SELECT secret_text FROM provconn_reveal(t.u('privileges'), :'id');
SELECT status, provider_slug FROM provconn_connections WHERE connection_id = :'id';
SELECT count(*) FROM provconn_transitions;
SELECT (provconn_record_sync(:'id')).ok AS record_sync, (provconn_rename(t.u('privileges'), :'id', 'IRA')).ok AS rename, (provconn_set_metadata(t.u('privileges'), :'id', '{}')).ok AS set_metadata,
       (provconn_mark_failed(:'id')).error_code AS mark_failed, (provconn_mark_expired(:'id')).ok AS mark_expired;
SELECT (provconn_reauthenticate(t.u('privileges'), :'id', provconn_oauth2_credentials('a3', 'r3', '2001-01-01'))).ok AS reauthenticate;
SELECT (provconn_mark_revoked(:'id')).ok AS mark_revoked, (provconn_reauthenticate(t.u('privileges'), :'id', provconn_oauth2_credentials('a3', 'r3', '2001-01-01'))).ok AS reauthenticate;
SELECT sum(connections) > 0 AS counted FROM provconn_stats WHERE provider_slug = 'schwab' AND status = 'active';
SELECT call, t.message('SELECT ' || call) FROM (VALUES (1, 'provconn_claim_due(''w'')'), (2, 'provconn_report_failure(NULL, NULL, NULL)'), (3, 'provconn_release(NULL, NULL)'), (4, 'provconn_expire_overdue()'), (5, 'provconn_reset_provider(NULL)')) AS v (n, call) ORDER BY n;
RESET ROLE;
-- a worker does the queue and nothing else, an operator resets and expires
CREATE ROLE regress_provconn_hand;
SELECT provconn_grant('regress_provconn_hand', 'worker');
BEGIN;
SET LOCAL client_min_messages = error;
SET LOCAL ROLE regress_provconn_hand;
SELECT lease, secret_text FROM provconn_claim_due('hand', max_connections => 10000) WHERE connection_id = :'id' \gset
\echo :secret_text
SELECT (provconn_release(:'id', :'lease')).ok AS release;
SELECT lease FROM provconn_claim_due('hand', max_connections => 10000) WHERE connection_id = :'id' \gset
SELECT (provconn_report_failure(:'id', :'lease', 'timeout')).ok AS report_failure, provconn_expire_overdue(max_connections => 10000) > 0 AS expire_overdue;
RESET ROLE;
SELECT action, caller_role FROM provconn_audit_log WHERE connection_id = :'id' AND transaction_id = pg_current_xact_id() ORDER BY occurred_at;
ROLLBACK;
SET ROLE regress_provconn_hand;
SELECT call, t.message('SELECT ' || call) FROM (VALUES (1, 'provconn_reset_provider(t.p(''schwab''))'), (2, 'provconn_reveal(NULL, NULL)'), (3, 'provconn_reauthenticate(NULL, NULL, NULL)'), (4, 'provconn_mark_expired(NULL)'), (5, 'provconn_mark_revoked(NULL)'),
	(6, 'provconn_mark_failed(NULL)'), (7, 'provconn_record_sync(NULL)'), (8, 'provconn_rename(NULL, NULL, NULL)'), (9, 'provconn_set_metadata(NULL, NULL, NULL)'), (10, '* FROM provconn_stats'), (11, '* FROM provconn_connections')) AS v (n, call) ORDER BY n;
RESET ROLE;
SELECT provconn_revoke('regress_provconn_hand', 'worker');
SELECT provconn_grant('regress_provconn_hand', 'operator');
SET ROLE regress_provconn_hand;
SELECT provconn_reset_provider(t.p('schwab'));
SELECT provconn_expire_overdue(max_connections => 0);
SELECT t.message('SELECT provconn_claim_due(''w'')') AS claim, t.message('SELECT provconn_release(NULL, NULL)') AS release, t.message('TABLE provconn_stats') AS stats;
RESET ROLE;
SELECT provconn_revoke('regress_provconn_hand', 'operator');
DROP ROLE regress_provconn_hand;
SET ROLE regress_provconn_app;
SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u('privileges'), :'id'));
SELECT t.code('TABLE provconn_audit_log') AS audit, t.code('SELECT provconn_register_provider(''x'', ''x'', ''custom'')') AS register;
-- the tables are out of reach, in every way
SELECT relation, string_agg(DISTINCT t.code(format(statement, relation)), ' ') AS codes
FROM unnest(ARRAY['provconn.connection', 'provconn.audit', 'provconn.provider', 'provconn.data_key', 'provconn.idempotency', 'provconn.capability', 'provconn.role_grant', 'provconn.provider_health']) AS relation,
     unnest(ARRAY['SELECT * FROM %s', 'SELECT 1 FROM %s', 'SELECT ctid FROM %s', 'INSERT INTO %s DEFAULT VALUES', 'DELETE FROM %s', 'TRUNCATE %s', 'LOCK TABLE %s',
		'ALTER TABLE %s DISABLE TRIGGER ALL', 'DROP TABLE %s', 'CREATE TRIGGER x AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()']) AS statement
GROUP BY 1 ORDER BY relation COLLATE "C";
COPY provconn.connection TO STDOUT;
\echo :LAST_ERROR_SQLSTATE
SELECT t.code('UPDATE provconn.connection SET status = ''active''') AS update, t.code('CREATE TABLE provconn.x ()') AS create,
       t.code('ALTER TYPE provconn_connect_command ADD ATTRIBUTE x int') AS alter_type, t.code('DROP EXTENSION provconn') AS drop_extension,
       t.code('SELECT provconn.guard_connection()') AS trigger_function, t.code('SET session_replication_role = replica') AS replica;
RESET ROLE;
-- a member of a granted role has what the role has
CREATE ROLE regress_provconn_member IN ROLE regress_provconn_app;
SET ROLE regress_provconn_member;
SELECT error_code FROM provconn_reveal(t.u('privileges'), :'id');
RESET ROLE;
DROP ROLE regress_provconn_member;

-- Only the extension's owner gives and takes.
GRANT EXECUTE ON FUNCTION provconn_grant, provconn_revoke, provconn.reapply_grants TO regress_provconn_app;
GRANT USAGE ON SCHEMA provconn TO regress_provconn_app;
SET ROLE regress_provconn_app;
SELECT t.fault($$SELECT provconn_grant('regress_provconn_app', 'operator')$$);
SELECT t.code($$SELECT provconn_revoke('regress_provconn_app', 'secrets')$$) AS revoke, t.code('SELECT provconn.reapply_grants()') AS reapply,
       t.code($$SELECT provconn_grant('regress_provconn_app', 'no such capability')$$) AS unknown_first;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION provconn_grant, provconn_revoke, provconn.reapply_grants FROM regress_provconn_app;
REVOKE USAGE ON SCHEMA provconn FROM regress_provconn_app;
-- another superuser counts as owner; the rights are the owner's, not theirs
SET ROLE regress_provconn_admin;
SELECT provconn_grant('regress_provconn_app', 'reader');
RESET ROLE;
SELECT role, capability, granted_by FROM provconn.role_grant WHERE capability = 'reader';
DROP ROLE regress_provconn_admin;
-- what is no capability, or no role
SELECT t.fault($$SELECT provconn_grant('regress_provconn_app', 'everything')$$);
SELECT n, t.code(format('SELECT provconn_grant(''regress_provconn_app'', %L)', c)) FROM (VALUES (1, '*'), (2, ''), (3, 'Application'), (4, 'reader '), (5, 'reader; DROP TABLE x'), (6, 'r%')) AS v (n, c) ORDER BY n;
SELECT t.code($$SELECT provconn_grant('regress_provconn_missing', 'reader')$$) AS no_role;
SELECT provconn_grant(NULL, 'reader') IS NULL AS strict, provconn_grant('regress_provconn_app', NULL) IS NULL AS strict;

-- Capabilities overlap: what another one still gives stays.
SELECT provconn_grant('regress_provconn_app', 'worker');
SELECT provconn_revoke('regress_provconn_app', 'application');
SELECT f FROM string_to_table((t.rights_of('regress_provconn_app')).functions, E'\n') AS f WHERE f !~ 'credentials\(|command\(|shard|unwrap|diagram|token_response' ORDER BY f COLLATE "C";
SELECT (t.rights_of('regress_provconn_app')).relations;
SELECT provconn_revoke('regress_provconn_app', 'reader');
SELECT provconn_revoke('regress_provconn_app', 'secrets');
SELECT f FROM string_to_table((t.rights_of('regress_provconn_app')).functions, E'\n') AS f ORDER BY f COLLATE "C";
SELECT provconn_revoke('regress_provconn_app', 'worker');
SELECT functions IS NULL AND relations IS NULL AS nothing FROM t.rights_of('regress_provconn_app');
-- what was never given is taken without harm
SELECT provconn_revoke('regress_provconn_app', 'worker');
SELECT count(*) FROM provconn.role_grant;
-- grants are kept, and given again by reapply_grants
SELECT provconn_grant('regress_provconn_app', 'secrets');
REVOKE EXECUTE ON FUNCTION provconn_reveal FROM regress_provconn_app;
SELECT has_function_privilege('regress_provconn_app', 'provconn_reveal(uuid, uuid, text)', 'EXECUTE') AS taken;
SELECT provconn.reapply_grants();
SELECT has_function_privilege('regress_provconn_app', 'provconn_reveal(uuid, uuid, text)', 'EXECUTE') AS given;
-- a role whose name needs its quotes
CREATE ROLE "regress_provconn_It's ""odd""; --";
SELECT provconn_grant('"regress_provconn_It''s ""odd""; --"', 'reader');
SELECT role FROM provconn.role_grant WHERE capability = 'reader';
SELECT provconn.reapply_grants();
SELECT has_table_privilege('regress_provconn_It''s "odd"; --', 'provconn_connections', 'SELECT') AS given;
SELECT provconn_revoke('"regress_provconn_It''s ""odd""; --"', 'reader');
DROP ROLE "regress_provconn_It's ""odd""; --";

-- a role that is gone leaves nothing to another of its name
CREATE ROLE regress_provconn_gone;
SELECT provconn_grant('regress_provconn_gone', 'secrets');
DROP OWNED BY regress_provconn_gone;
DROP ROLE regress_provconn_gone;
CREATE ROLE regress_provconn_gone;
SELECT provconn.reapply_grants();
SELECT has_function_privilege('regress_provconn_gone', 'provconn_reveal(uuid, uuid, text)', 'EXECUTE') AS given;
DROP ROLE regress_provconn_gone;
DELETE FROM provconn.role_grant WHERE role NOT IN (SELECT oid FROM pg_roles);
-- a role that is renamed keeps what it has, and can lose it
CREATE ROLE regress_provconn_before;
SELECT provconn_grant('regress_provconn_before', 'secrets');
ALTER ROLE regress_provconn_before RENAME TO regress_provconn_after;
SELECT provconn.reapply_grants();
SELECT provconn_revoke('regress_provconn_after', 'secrets');
SELECT has_function_privilege('regress_provconn_after', 'provconn_reveal(uuid, uuid, text)', 'EXECUTE') AS given;
DROP ROLE regress_provconn_after;
-- taking away what is no capability is an error too
SELECT t.code($$SELECT provconn_revoke('regress_provconn_app', 'everything')$$) AS unknown;

-- What only has the name of one of ours is none of ours.
CREATE FUNCTION public.provconn_connect(i int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE public.provconn_reveal(i int) LANGUAGE sql AS 'SELECT 1';
REVOKE EXECUTE ON FUNCTION public.provconn_connect(int) FROM PUBLIC;
REVOKE EXECUTE ON PROCEDURE public.provconn_reveal(int) FROM PUBLIC;
SELECT t.code($$SELECT provconn_grant('regress_provconn_app', 'application')$$) AS application, t.code($$SELECT provconn_grant('regress_provconn_app', 'secrets')$$) AS secrets;
SELECT has_function_privilege('regress_provconn_app', 'public.provconn_connect(int)', 'EXECUTE') AS their_function,
       has_function_privilege('regress_provconn_app', 'public.provconn_reveal(int)', 'EXECUTE') AS their_procedure,
       has_function_privilege('regress_provconn_app', 'provconn_connect(provconn_connect_command, uuid)', 'EXECUTE') AS ours;
SELECT t.code($$SELECT provconn_revoke('regress_provconn_app', 'application')$$) AS application, t.code($$SELECT provconn_revoke('regress_provconn_app', 'secrets')$$) AS secrets;
DROP FUNCTION public.provconn_connect(int);
DROP PROCEDURE public.provconn_reveal(int);

-- Hostile names: everything that our SQL could reach for, shadowed by what tells
-- on itself, in front of pg_catalog.
SELECT provconn_grant('regress_provconn_app', c) FROM unnest(ARRAY['application', 'secrets', 'worker', 'reader', 'auditor', 'operator']) AS c;
CREATE SCHEMA evil;
CREATE TABLE evil.told (who name, what text);
GRANT ALL ON SCHEMA evil TO PUBLIC;
GRANT ALL ON evil.told TO PUBLIC;
CREATE FUNCTION evil.tell(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO evil.told VALUES (CURRENT_USER, what);
	RETURN NULL;
END $$;
DO $$
DECLARE
	o record;
BEGIN
	-- operators that compare or join what we have
	FOR o IN SELECT op.oprname, l.t AS l, r.t AS r FROM unnest(ARRAY['=', '<>', '<', '<=', '>', '>=', '~', '~~', '||', '+', '-']) AS op (oprname),
		(VALUES ('uuid', 'uuid'), ('text', 'text'), ('name', 'name'), ('name', 'text'), ('integer', 'integer'), ('oid', 'oid'), ('timestamptz', 'timestamptz'), ('timestamptz', 'interval'),
		        ('provconn_status', 'provconn_status'), ('provconn_credential_type', 'provconn_credential_type'), ('"char"', '"char"'), ('bigint', 'bigint'), ('anyelement', 'anyelement')) AS p (l, r),
		LATERAL (SELECT p.l AS t) AS l, LATERAL (SELECT p.r AS t) AS r
	LOOP
		EXECUTE format('CREATE OR REPLACE FUNCTION evil.op(%1$s, %2$s) RETURNS boolean LANGUAGE sql AS $f$ SELECT evil.tell(''operator'') $f$;
			CREATE OPERATOR evil.%3$s (LEFTARG = %1$s, RIGHTARG = %2$s, FUNCTION = evil.op)', o.l, o.r, o.oprname);
	END LOOP;
	-- functions by name
	FOR o IN SELECT DISTINCT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, p.prorettype::regtype AS result
		FROM pg_proc AS p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset
		AND p.proname IN ('now', 'format', 'pg_get_function_identity_arguments', 'has_schema_privilege', 'uuid_in', 'uuid_eq', 'texteq', 'int4eq', 'enum_eq', 'gen_random_uuid', 'sha256', 'current_schema')
		AND p.pronargs = array_length(string_to_array(nullif(pg_get_function_identity_arguments(p.oid), ''), ','), 1) AND 'cstring'::regtype <> ALL (p.proargtypes::oid[]) AND p.provariadic = 0
	LOOP
		EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.tell(''function''); RETURN NULL; END $f$', o.proname, o.arguments, o.result);
	END LOOP;
	CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.tell('now'); RETURN NULL; END $f$;
	CREATE FUNCTION evil.array_agg(uuid) RETURNS uuid[] LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.tell('array_agg'); RETURN NULL; END $f$;
	CREATE FUNCTION evil.min(timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.tell('min'); RETURN NULL; END $f$;
	CREATE FUNCTION evil.hmac(bytea, bytea, text) RETURNS bytea LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.tell('hmac'); RETURN 'x'; END $f$;
	CREATE FUNCTION evil.encrypt(bytea, bytea, text) RETURNS bytea LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.tell('encrypt'); RETURN 'x'; END $f$;
	CREATE FUNCTION evil.decrypt(bytea, bytea, text) RETURNS bytea LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.tell('decrypt'); RETURN 'x'; END $f$;
END $$;
-- the shadows work: whoever asks for = or now() without a schema is told on
BEGIN;
SET LOCAL search_path = evil, pg_catalog, public;
SELECT 'a'::text = 'a'::text AS shadowed, now() AS shadowed;
SELECT who OPERATOR(pg_catalog.=) SESSION_USER AS me, what FROM evil.told;
ROLLBACK;
SELECT t.u('evil') AS evil_user, t.p('schwab') AS schwab, t.u('evil key') AS key \gset
-- a month to be made, so that the partition's DDL runs as well
SELECT to_regclass('provconn.audit_' || to_char(now() AT TIME ZONE 'UTC' + interval '3 months', 'YYYY_MM')) AS last_part \gset
SELECT 'DROP TABLE ' || :'last_part' AS drop_last \gset
:drop_last;
-- nor is it the caller's to place
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_provconn_space LOCATION '';
RESET allow_in_place_tablespaces;
GRANT CREATE ON TABLESPACE regress_provconn_space TO PUBLIC;
-- tables and types by name too
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['connection', 'provider', 'provider_health', 'audit', 'idempotency', 'data_key', 'capability', 'role_grant', 'pg_namespace', 'pg_proc', 'pg_roles', 'pg_class'] LOOP
		EXECUTE format('CREATE TABLE evil.%s (LIKE %s)', name, CASE WHEN name LIKE 'pg\_%' THEN 'pg_catalog.' ELSE 'provconn.' END || name);
	END LOOP;
	ALTER TABLE evil.audit ADD told boolean DEFAULT evil.tell('audit');
	CREATE TYPE evil.provconn_result AS (ok int);
	CREATE TYPE evil.provconn_status AS ENUM ('active');
	CREATE TYPE evil.provconn_secret AS (x int);
	FOREACH name IN ARRAY ARRAY['uuid', 'oid', 'regtype', 'regrole', 'interval', 'name', 'bytea'] LOOP
		EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.text CHECK (false)', name);
	END LOOP;
END $$;
GRANT ALL ON ALL TABLES IN SCHEMA evil TO PUBLIC;
\c -
\set SHOW_CONTEXT never
CREATE TEMP TABLE connection (connection_id int);
CREATE TEMP TABLE audit (i int);
CREATE TEMP TABLE provider (i int);
CREATE TEMP TABLE provider_health (i int);
CREATE TEMP TABLE pg_proc (i int);
CREATE TEMP TABLE pg_namespace (i int);
CREATE TYPE pg_temp.provconn_status AS ENUM ('active');
CREATE DOMAIN pg_temp.uuid AS pg_catalog.text;
GRANT ALL ON connection, audit, provider, provider_health, pg_proc, pg_namespace TO PUBLIC;
SET ROLE regress_provconn_app;
SET search_path = evil, pg_temp, pg_catalog, public;
SET default_tablespace = regress_provconn_space;
SELECT r.ok, r.connection_id AS id FROM public.provconn_initiate(:'evil_user', :'schwab', 'schwab', 'IRA') AS r \gset initiated_
\echo :initiated_ok
SELECT r.ok, r.version, r.connection_id OPERATOR(pg_catalog.=) :'initiated_id' AS completed FROM public.provconn_connect(public.provconn_connect_command(:'evil_user', :'schwab', 'schwab', public.provconn_oauth2_credentials('at', 'rt'), 'IRA'), :'key') AS r;
SELECT r.ok, r.version FROM public.provconn_connect(public.provconn_connect_command(:'evil_user', :'schwab', 'schwab', public.provconn_oauth2_credentials('at', 'rt'), 'IRA'), :'key') AS r;
SELECT r.ok, r.version FROM public.provconn_refresh(public.provconn_refresh_command(:'initiated_id', public.provconn_token_response('{"access_token":"a2","expires_in":60}'))) AS r;
SELECT r.ok, r.version FROM public.provconn_refresh_batch(ARRAY[public.provconn_refresh_command(:'initiated_id', public.provconn_oauth2_credentials('a3'))]) AS r;
SELECT r.ok, r.secret_text FROM public.provconn_reveal(:'evil_user', :'initiated_id') AS r;
SELECT c.status, c.provider_slug, c.is_connected, c.needs_reauthentication, c.can_sync, c.supports_refresh FROM public.provconn_connections AS c WHERE c.connection_id OPERATOR(pg_catalog.=) :'initiated_id';
SELECT pg_catalog.count(*) FROM public.provconn_transitions;
SELECT (public.provconn_record_sync(:'initiated_id')).ok AS record_sync, (public.provconn_rename(:'evil_user', :'initiated_id', 'Roth')).ok AS rename, (public.provconn_set_metadata(:'evil_user', :'initiated_id', '{"a": [1, "x", {}]}')).ok AS set_metadata,
       (public.provconn_mark_expired(:'initiated_id', 'why')).ok AS mark_expired, (public.provconn_mark_failed(:'initiated_id')).error_code AS mark_failed;
SELECT (public.provconn_reauthenticate(:'evil_user', :'initiated_id', public.provconn_oauth2_credentials('a4', 'r4'))).ok AS reauthenticate, (public.provconn_mark_revoked(:'initiated_id')).ok AS mark_revoked;
BEGIN;
SELECT (public.provconn_reauthenticate(:'evil_user', :'initiated_id', public.provconn_oauth2_credentials('a5', 'r5', '2001-01-01'))).ok AS reauthenticate;
SET LOCAL client_min_messages = error;
SELECT c.lease, c.secret_text FROM public.provconn_claim_due('evil', '5 minutes'::pg_catalog.interval, 10000, '2 minutes'::pg_catalog.interval) AS c WHERE c.connection_id OPERATOR(pg_catalog.=) :'initiated_id' \gset
\echo :secret_text
SELECT (public.provconn_release(:'initiated_id', :'lease')).ok AS release;
SELECT c.lease FROM public.provconn_claim_due('evil', max_connections => 10000) AS c WHERE c.connection_id OPERATOR(pg_catalog.=) :'initiated_id' \gset
SELECT (public.provconn_report_failure(:'initiated_id', :'lease', 'timeout')).ok AS report_failure, public.provconn_expire_overdue(max_connections => 10000) OPERATOR(pg_catalog.>) 0 AS expired;
SELECT public.provconn_reset_provider(:'schwab');
SELECT s.connections OPERATOR(pg_catalog.>) 0 AS counted, s.breaker FROM public.provconn_stats AS s WHERE s.provider_slug OPERATOR(pg_catalog.=) 'schwab' AND s.status OPERATOR(pg_catalog.=) 'active';
SELECT pg_catalog.count(*) AS told FROM evil.told;
ROLLBACK;
SELECT (public.provconn_reauthenticate(:'evil_user', :'initiated_id', public.provconn_oauth2_credentials('a6', 'r6'))).ok AS reauthenticate;
SELECT pg_catalog.count(*), pg_catalog.min(l.event) FROM public.provconn_audit_log AS l WHERE l.connection_id OPERATOR(pg_catalog.=) :'initiated_id';
SELECT r.ok FROM public.provconn_disconnect(public.provconn_disconnect_command(:'evil_user', :'initiated_id')) AS r;
SELECT r.error_code FROM public.provconn_disconnect(public.provconn_disconnect_command(:'key', :'initiated_id')) AS r;
SELECT public.provconn_register_provider('evil', 'Evil', 'custom') IS NOT NULL AS registered;
SELECT public.provconn_set_provider_active(p.provider_id, false) FROM public.provconn_providers AS p WHERE p.slug OPERATOR(pg_catalog.=) 'evil';
SELECT public.provconn_shard(:'evil_user') IS NOT NULL AS shard, pg_catalog.length(public.provconn_state_diagram()) IS NOT NULL AS diagram;
RESET ROLE;
-- the owner, careless about the path
SELECT public.provconn_grant('regress_provconn_nobody', 'reader');
SELECT provconn.reapply_grants();
SELECT public.provconn_revoke('regress_provconn_nobody', 'reader');
UPDATE provconn.connection SET alias = 'by hand' WHERE connection_id OPERATOR(pg_catalog.=) :'initiated_id';
RESET search_path;
RESET default_tablespace;
SELECT action, outcome, error_code, CASE caller_role WHEN session_user THEN 'the session''s' ELSE caller_role END AS caller_role
FROM provconn_audit_log WHERE connection_id = :'initiated_id' ORDER BY occurred_at;
SELECT count(*) AS told FROM evil.told;
SELECT :'last_part' = to_regclass('provconn.audit_' || to_char(now() AT TIME ZONE 'UTC' + interval '3 months', 'YYYY_MM'))::text AS made_again;
SELECT count(*) FILTER (WHERE conkey IS NOT NULL) > 0 AS constrained, bool_and(connamespace = 'provconn'::regnamespace) AS in_its_schema FROM pg_constraint WHERE conrelid = :'last_part'::regclass;
SELECT count(*) AS placed FROM pg_class WHERE reltablespace = (SELECT oid FROM pg_tablespace WHERE spcname = 'regress_provconn_space');
DROP TABLESPACE regress_provconn_space;
SET client_min_messages = warning;
DROP SCHEMA evil CASCADE;
RESET client_min_messages;
SELECT provconn_revoke('regress_provconn_app', c) FROM unnest(ARRAY['application', 'secrets', 'worker', 'reader', 'auditor', 'operator']) AS c;
SELECT count(*) FROM provconn.role_grant;
DROP FUNCTION t.capability, t.rights_of;
DROP ROLE regress_provconn_app, regress_provconn_nobody;
