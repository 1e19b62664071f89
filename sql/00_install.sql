-- CREATE EXTENSION: where it may go and who may do it.  Leaves the extension
-- in public, two open providers and a closed one, and the schema "t" with what
-- the other files use; zz_uninstall takes all of it away again.
\set VERBOSITY default
\set SHOW_CONTEXT never

-- pgcrypto is asked for
CREATE EXTENSION provconn;

-- superusers only, although pgcrypto itself is trusted
CREATE ROLE regress_provconn_plain;
DO $$ BEGIN
	EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_provconn_plain', current_database());
	GRANT CREATE ON SCHEMA public TO regress_provconn_plain;
END $$;
SET ROLE regress_provconn_plain;
SET client_min_messages = warning;
CREATE EXTENSION provconn CASCADE;
RESET client_min_messages;
RESET ROLE;
DO $$ BEGIN
	EXECUTE format('REVOKE CREATE ON DATABASE %I FROM regress_provconn_plain', current_database());
	REVOKE CREATE ON SCHEMA public FROM regress_provconn_plain;
END $$;
DROP ROLE regress_provconn_plain;

-- the tables' schema is not for the functions
CREATE EXTENSION pgcrypto;
CREATE EXTENSION provconn SCHEMA provconn;
CREATE SCHEMA provconn;
CREATE EXTENSION provconn SCHEMA provconn;
\echo :LAST_ERROR_SQLSTATE
SET search_path = provconn;
CREATE EXTENSION provconn;
RESET search_path;

-- nor for anybody else's tables
CREATE EXTENSION provconn;
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE provconn.mine (i int);
CREATE EXTENSION provconn SCHEMA public;
DROP SCHEMA provconn CASCADE;
SELECT count(*) AS leftovers FROM pg_class WHERE relname LIKE 'provconn%';
SELECT count(*) AS leftovers FROM pg_proc WHERE proname LIKE 'provconn%';
DROP EXTENSION pgcrypto;

-- another schema, one that needs its quotes, with pgcrypto elsewhere
CREATE SCHEMA "My App";
CREATE SCHEMA crypto;
CREATE EXTENSION pgcrypto SCHEMA crypto;
-- and with default privileges that would give all of it away
CREATE ROLE regress_provconn_plain;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, regress_provconn_plain;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_provconn_plain;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC, regress_provconn_plain;
CREATE EXTENSION provconn SCHEMA "My App";
SELECT n.nspname AS schema, count(*) > 0 AS used,
       bool_and(p.proname LIKE 'provconn\_%') AS prefixed
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'provconn'
GROUP BY 1 ORDER BY 1;
SELECT DISTINCT n.nspname AS schema, c.relkind
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'provconn'
WHERE c.relkind IN ('r', 'p', 'v') ORDER BY 1, 2;

-- A key, where the server has none configured: the tests bring their own.
DO $$
DECLARE
	path text := current_setting('data_directory') || '/provconn_regress.key';
BEGIN
	IF coalesce(current_setting('provconn.key_file', true), '') <> '' THEN
		RETURN;
	END IF;
	EXECUTE format('COPY (SELECT encode(sha256(gen_random_uuid()::text::bytea), ''hex'')) TO PROGRAM %L',
				   'umask 077; cat > ''' || path || '''');
	EXECUTE format('ALTER DATABASE %I SET provconn.key_file = %L', current_database(), path);
END $$;
\c -
\set SHOW_CONTEXT never

SET search_path = '';
SELECT "My App".provconn_register_provider('elsewhere', 'Elsewhere', 'api_key') IS NOT NULL AS registered;
SELECT r.ok, r.status, r.version
FROM "My App".provconn_providers AS p,
     "My App".provconn_connect("My App".provconn_connect_command(
	user_id => '00000000-0000-0000-0000-000000000001', provider_id => p.provider_id,
	provider_slug => 'elsewhere',
	credentials => "My App".provconn_api_key_credentials('abc'))) AS r;
SELECT v.ok, v.secret_text, v.credential_type
FROM "My App".provconn_connections AS c, "My App".provconn_reveal(c.user_id, c.connection_id) AS v;
SELECT count(*) FROM "My App".provconn_transitions;
-- the defaults gave nothing, on the audit's partitions either
SELECT count(*) FILTER (WHERE c.relispartition) >= 4 AS partitions, bool_or(has_table_privilege('regress_provconn_plain', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')) AS reached
FROM pg_class AS c WHERE c.relkind IN ('r', 'p', 'v') AND (c.relnamespace = 'provconn'::regnamespace OR c.relname LIKE 'provconn\_%');
SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE (n.nspname = 'provconn' OR p.proname LIKE 'provconn\_%') AND has_function_privilege('regress_provconn_plain', p.oid, 'EXECUTE') ORDER BY 1, 2;
SELECT has_schema_privilege('regress_provconn_plain', 'provconn', 'USAGE, CREATE') AS schema;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC, regress_provconn_plain;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM regress_provconn_plain;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM PUBLIC, regress_provconn_plain;
-- EXECUTE does not reach through a schema without USAGE: that is said
SELECT "My App".provconn_grant('regress_provconn_plain', 'reader');
GRANT USAGE ON SCHEMA "My App" TO regress_provconn_plain;
SELECT "My App".provconn_grant('regress_provconn_plain', 'reader');
SET ROLE regress_provconn_plain;
SELECT provider_slug, status FROM "My App".provconn_connections;
RESET ROLE;
RESET search_path;
DROP EXTENSION provconn;
DROP OWNED BY regress_provconn_plain;
DROP ROLE regress_provconn_plain;
DROP SCHEMA "My App", crypto CASCADE;

-- public, with CASCADE
CREATE EXTENSION provconn CASCADE;
SELECT e.extname, n.nspname AS schema, e.extrelocatable AS relocatable
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname IN ('provconn', 'pgcrypto') ORDER BY 1;
CREATE EXTENSION provconn;
ALTER EXTENSION provconn SET SCHEMA pg_catalog;
\echo :LAST_ERROR_SQLSTATE
DROP EXTENSION pgcrypto;
\echo :LAST_ERROR_SQLSTATE

-- what the installation consists of
SELECT c.relname, c.relkind
FROM pg_class AS c WHERE c.relnamespace = 'provconn'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
ORDER BY 1;
SELECT c.relname, c.relkind
FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
ORDER BY 1;
SELECT p.oid::regprocedure AS function, p.provolatile AS volatility, p.proisstrict AS strict,
       p.prosecdef AS definer
FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'provconn\_%'
ORDER BY p.oid::regprocedure::text COLLATE "C";
-- every trigger of ours fires whatever session_replication_role says
SELECT tgrelid::regclass AS table, tgname, tgenabled
FROM pg_trigger WHERE tgname LIKE '%provconn%' ORDER BY tgrelid::regclass::text COLLATE "C", 2;

-- Helpers.  Ids are made of names, so that they are the same in every run.
CREATE SCHEMA t;
GRANT USAGE ON SCHEMA t TO PUBLIC;

CREATE FUNCTION t.u(name text) RETURNS uuid LANGUAGE sql IMMUTABLE
AS $$ SELECT encode(substr(sha256(convert_to('user ' || name, 'UTF8')), 1, 16), 'hex')::uuid $$;

CREATE FUNCTION t.p(name text) RETURNS uuid LANGUAGE sql IMMUTABLE
AS $$ SELECT encode(substr(sha256(convert_to('provider ' || name, 'UTF8')), 1, 16), 'hex')::uuid $$;

-- Runs a statement: "ok", or its SQLSTATE.
CREATE FUNCTION t.code(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate;
END $$;

-- The same, with message and hint; for errors of provconn itself.
CREATE FUNCTION t.fault(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
	RETURN sqlstate || ' ' || said || coalesce(E'\nDETAIL ' || nullif(detail, ''), '')
		|| coalesce(E'\nHINT ' || nullif(hint, ''), '');
END $$;

-- SQLSTATE and message alone.
CREATE FUNCTION t.message(statement text) RETURNS text LANGUAGE sql
AS $$ SELECT split_part(t.fault(statement), E'\n', 1) $$;

-- All that an error tells anybody but the statement itself, for searching.
CREATE FUNCTION t.everything_said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
	detail text;
	hint text;
	context text;
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	-- the last line of the context quotes the statement that this function ran
	RETURN concat_ws('|', sqlstate, said, detail, hint,
					 split_part(context, 'SQL statement "', 1));
END $$;

-- A new connection to schwab that is active.
CREATE FUNCTION t.active(owner uuid, alias text DEFAULT NULL,
	secret provconn_secret DEFAULT 's3cret'::text, expires_at timestamptz DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
	r provconn_result;
BEGIN
	r := provconn_connect(provconn_connect_command(owner, t.p('schwab'), 'schwab',
		provconn_credentials(secret, 'custom', expires_at), alias));
	IF NOT r.ok THEN
		RAISE EXCEPTION '%', r.error_code;
	END IF;
	RETURN r.connection_id;
END $$;

-- A new connection in the status wanted.
CREATE FUNCTION t.in_status(owner uuid, wanted provconn_status, alias text DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
	id uuid;
BEGIN
	IF wanted IN ('pending', 'failed') THEN
		id := connection_id FROM provconn_initiate(owner, t.p('schwab'), 'schwab', alias);
	ELSE
		id := t.active(owner, alias);
	END IF;
	IF wanted = 'disconnected' THEN
		PERFORM provconn_disconnect(provconn_disconnect_command(owner, id));
	ELSIF wanted = 'expired' THEN
		PERFORM provconn_mark_expired(id);
	ELSIF wanted = 'revoked' THEN
		PERFORM provconn_mark_revoked(id);
	ELSIF wanted = 'failed' THEN
		PERFORM provconn_mark_failed(id);
	END IF;
	RETURN id;
END $$;

-- A connection's row, and where and by whom it was written.
CREATE FUNCTION t.row_of(id uuid) RETURNS jsonb LANGUAGE sql AS $$
	SELECT to_jsonb(c) || jsonb_build_object('ctid', c.ctid, 'xmin', c.xmin::text)
	FROM provconn.connection AS c WHERE c.connection_id = id
$$;

-- Which members differ.
CREATE FUNCTION t.changes(was jsonb, is_now jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(key, ' ' ORDER BY key), 'none')
	FROM jsonb_object_keys(was || is_now) AS key
	WHERE was -> key IS DISTINCT FROM is_now -> key AND key NOT IN ('ctid', 'xmin')
$$;

-- Runs a command given as SQL: its result, which columns of a connection's row
-- it changed ("untouched": the row is where it was), and the audit's rows of it.
CREATE FUNCTION t.try(call text, id uuid, OUT r provconn_result, OUT changed text, OUT audit text) LANGUAGE plpgsql AS $$
DECLARE
	was jsonb := t.row_of(id);
	began timestamptz := clock_timestamp();
BEGIN
	EXECUTE 'SELECT * FROM ' || call INTO r;
	changed := CASE WHEN t.row_of(id) IS NOT DISTINCT FROM was THEN 'untouched' ELSE t.changes(was, t.row_of(id)) END;
	audit := string_agg(concat_ws(' ', action, event, outcome, error_code), '; ' ORDER BY occurred_at)
		FROM provconn_audit_log WHERE occurred_at >= began;
END $$;

-- The bytes of a secret: they come out by provconn_reveal alone.
CREATE FUNCTION t.bytes(c provconn_credentials) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	r provconn_result;
BEGIN
	r := provconn_connect(provconn_connect_command(t.u('bytes'), t.p('schwab'), 'schwab', c));
	IF NOT r.ok THEN
		RAISE EXCEPTION '%', r.error_code;
	END IF;
	RETURN secret FROM provconn_reveal(t.u('bytes'), r.connection_id);
END $$;

CREATE FUNCTION t.bytes(s provconn_secret) RETURNS bytea LANGUAGE sql
AS $$ SELECT t.bytes(provconn_credentials(s, 'custom')) $$;

CREATE FUNCTION t.stored(c provconn_credentials) RETURNS text LANGUAGE sql
AS $$ SELECT convert_from(t.bytes(c), getdatabaseencoding()) $$;

SELECT provconn_register_provider('schwab', 'Charles Schwab', 'oauth2', 'brokerage', t.p('schwab')) = t.p('schwab') AS schwab,
       provconn_register_provider('plaid', 'Plaid', 'link_token', NULL, t.p('plaid')) = t.p('plaid') AS plaid,
       provconn_register_provider('closed', 'Closed', 'oauth2', NULL, t.p('closed')) = t.p('closed') AS closed;
SELECT provconn_set_provider_active(t.p('closed'), false);
SELECT slug, name, credential_type, category, is_active FROM provconn_providers ORDER BY slug;
