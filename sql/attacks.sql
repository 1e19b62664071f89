-- A service that only writes tokens is taken over.  What its role can try, to read
-- a secret or to change the audit, and what comes of it.
\set SHOW_CONTEXT never
SELECT t.active(t.u('victim'), 'victim', 'c4nary') AS victim, t.active(t.u('evil'), 'own', 'mine') AS own \gset
CREATE TABLE t.audit_before AS SELECT * FROM provconn.audit;
CREATE ROLE regress_provconn_evil LOGIN;
CREATE ROLE regress_provconn_revealer;
SELECT provconn_grant('regress_provconn_evil', 'application'), provconn_grant('regress_provconn_revealer', 'secrets');
CREATE SCHEMA evil AUTHORIZATION regress_provconn_evil;
DO $$ BEGIN EXECUTE format('GRANT CREATE, TEMP ON DATABASE %I TO regress_provconn_evil', current_database()); END $$;
GRANT USAGE ON SCHEMA t TO regress_provconn_evil;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA t TO regress_provconn_evil;
SET SESSION AUTHORIZATION regress_provconn_evil;

-- the functions that give secrets out, the tables that hold them, the keys
SELECT n, t.code(statement) FROM (VALUES
	(1, format('SELECT provconn_reveal(%L, %L)', t.u('victim'), :'victim')), (2, 'SELECT provconn_claim_due(''w'', ''10 years'')'),
	(3, 'SELECT credential FROM provconn.connection'), (4, 'SELECT * FROM provconn.data_key'), (5, 'COPY provconn.connection TO PROGRAM ''cat'''),
	(6, 'CREATE TABLE evil.child () INHERITS (provconn.connection)'), (7, 'CREATE TABLE evil.copy (LIKE provconn.connection INCLUDING ALL)'),
	(8, 'CREATE VIEW evil.v AS SELECT * FROM provconn.connection'), (9, 'CREATE TRIGGER evil BEFORE INSERT ON provconn.connection FOR EACH ROW EXECUTE FUNCTION provconn.guard_audit()'),
	(10, 'CREATE TRIGGER evil INSTEAD OF UPDATE ON provconn_connections FOR EACH ROW EXECUTE FUNCTION provconn.guard_audit()'),
	(11, 'CREATE RULE evil AS ON SELECT TO provconn_connections DO INSTEAD SELECT 1'), (12, 'CREATE POLICY evil ON provconn.connection USING (true)'),
	(13, 'CREATE STATISTICS evil.s ON connection_id, credential FROM provconn.connection'), (14, 'ALTER TABLE provconn.connection OWNER TO regress_provconn_evil'),
	(15, 'SELECT pg_read_file(current_setting(''provconn.key_file''))'), (16, 'SELECT provconn_rotate_key()'), (17, 'SELECT provconn_erase_user(NULL)'),
	(18, 'SELECT * FROM provconn_keys'), (19, 'SELECT provconn_doctor()'), (20, 'CREATE FUNCTION evil.open(provconn_secret) RETURNS text LANGUAGE c AS ''$libdir/provconn'', ''provconn_secret_out'''),
	(21, 'CREATE CAST (provconn_secret AS bytea) WITHOUT FUNCTION'), (22, 'CREATE CAST (provconn_secret AS text) WITH INOUT'),
	(23, 'ALTER TYPE provconn_result ADD ATTRIBUTE secret bytea'), (24, 'SELECT provconn_secret_in(''x'')')) AS v (n, statement) ORDER BY n;
-- the audit
SELECT n, t.code(statement) FROM (VALUES
	(1, 'SELECT * FROM provconn_audit_log'), (2, 'DELETE FROM provconn.audit'), (3, 'UPDATE provconn.audit SET reason = NULL'), (4, 'TRUNCATE provconn.audit'),
	(5, 'INSERT INTO provconn.audit DEFAULT VALUES'), (6, 'ALTER TABLE provconn.audit DISABLE TRIGGER ALL'), (7, 'DROP TABLE provconn.audit'),
	(8, 'SET session_replication_role = replica'), (9, 'ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit'), (10, 'DROP EXTENSION provconn CASCADE'),
	(11, 'COPY provconn.audit FROM ''/dev/null'''), (12, 'LOCK TABLE provconn.audit'), (13, 'SELECT provconn_grant(''regress_provconn_evil'', ''auditor'')'),
	(14, 'DROP SCHEMA provconn CASCADE'), (15, 'ALTER EXTENSION provconn UPDATE'), (16, 'ALTER FUNCTION provconn_connect(provconn_connect_command, uuid) OWNER TO regress_provconn_evil')) AS v (n, statement) ORDER BY n;

-- other roles: SET ROLE needs membership; a SECURITY DEFINER function of one's own lends nothing
SELECT t.code('SET ROLE regress_provconn_revealer') AS set_role;
CREATE FUNCTION evil.lend(u uuid, c uuid) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN secret_text FROM public.provconn_reveal(u, c); END $$;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
RESET SESSION AUTHORIZATION;
SELECT t.code(format('SELECT evil.lend(%L, %L)', t.u('victim'), :'victim')) AS called_by_a_superuser;
-- one of the revealer's does, as the revealer chose; the audit has both roles
SET ROLE regress_provconn_revealer;
CREATE FUNCTION pg_temp.lend(u uuid, c uuid) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT secret_text FROM public.provconn_reveal(u, c) $$;
RESET ROLE;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %s TO regress_provconn_evil', pg_my_temp_schema()::regnamespace); END $$;
SET SESSION AUTHORIZATION regress_provconn_evil;
SELECT pg_temp.lend(t.u('evil'), :'own') AS own;
RESET SESSION AUTHORIZATION;
SELECT session_role, caller_role FROM provconn_audit_log WHERE connection_id = :'own' AND action = 'reveal';

-- operators, functions, types and tables of the same names, found first
SET SESSION AUTHORIZATION regress_provconn_evil;
CREATE FUNCTION evil.yes(a anyelement, b anyelement) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
	EXECUTE 'ALTER ROLE regress_provconn_evil SUPERUSER'; RETURN true; EXCEPTION WHEN insufficient_privilege THEN RETURN true; END $$;
CREATE FUNCTION evil.uuid_yes(a uuid, b uuid) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.yes(a, b) $$;
CREATE FUNCTION evil.text_yes(a text, b text) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.yes(a, b) $$;
CREATE FUNCTION evil.int_yes(a int, b int) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.yes(a, b) $$;
CREATE OPERATOR evil.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = evil.uuid_yes);
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.text_yes);
CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.int_yes);
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.yes(1, 1); RETURN '2000-01-01'; END $$;
CREATE FUNCTION evil.hmac(bytea, bytea, text) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$;
CREATE FUNCTION evil.encrypt(bytea, bytea, text) RETURNS bytea LANGUAGE sql AS $$ SELECT $1 $$;
CREATE TYPE evil.provconn_status AS ENUM ('disconnected', 'active');
CREATE TABLE evil.connection (connection_id uuid, credential bytea);
CREATE TEMP TABLE connection (connection_id uuid, credential bytea);
CREATE TEMP TABLE data_key (key_id int);
CREATE TEMP TABLE pg_class (oid oid);
CREATE TEMP TABLE pg_extension (extname name, oid oid);
SET search_path = pg_temp, evil, pg_catalog, public;
SET row_security = off;
SELECT public.provconn_shard(t.u('evil')) AS shard;
SELECT ok, error_code FROM public.provconn_refresh(public.provconn_refresh_command(:'own', public.provconn_credentials('new', 'custom')));
SELECT ok, error_code FROM public.provconn_disconnect(public.provconn_disconnect_command(t.u('evil'), :'victim'));
SELECT ok, error_code FROM public.provconn_rename(t.u('evil'), :'own', 'renamed');
SELECT count(*) AS pg_temp_tables FROM connection, data_key, pg_temp.pg_class;
RESET search_path;
RESET row_security;
RESET SESSION AUTHORIZATION;
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_provconn_evil';
SELECT secret_text FROM provconn_reveal(t.u('evil'), :'own');

-- row security on the tables, with a policy that shows nothing: commands go on, the audit is written
BEGIN;
ALTER TABLE provconn.connection ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE provconn.audit ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SET LOCAL ROLE regress_provconn_evil;
SET LOCAL row_security = off;
SELECT ok, version FROM provconn_refresh(provconn_refresh_command(:'own', provconn_credentials('newer', 'custom')));
RESET ROLE;
SELECT action, outcome FROM provconn_audit_log WHERE connection_id = :'own' AND seq IS NOT NULL ORDER BY seq DESC LIMIT 1;
ROLLBACK;

-- carrying a refresh token over does not show it: not in the result, nor by what is refused
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'victim', provconn_oauth2_credentials('a', 'c4nary')));
SET ROLE regress_provconn_evil;
SELECT r::text LIKE '%c4nary%' AS told FROM provconn_refresh(provconn_refresh_command(:'victim', provconn_oauth2_credentials('b'))) AS r;
SELECT count(*) AS told FROM provconn_connections AS c WHERE c::text LIKE '%c4nary%';
RESET ROLE;

-- A schema of the attacker's that was there before the extension.
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION provconn CASCADE;
SAVEPOINT s;
CREATE EXTENSION provconn SCHEMA evil;
ROLLBACK TO s;
CREATE SCHEMA provconn AUTHORIZATION regress_provconn_evil;
CREATE EXTENSION provconn SCHEMA public;
ROLLBACK;

-- What was in the audit is in it still.
SELECT count(*) AS changed FROM t.audit_before AS b LEFT JOIN provconn.audit AS a USING (audit_id) WHERE a.* IS DISTINCT FROM b.*;
DROP TABLE t.audit_before;
SET client_min_messages = warning;
DROP SCHEMA evil CASCADE;
DROP OWNED BY regress_provconn_evil, regress_provconn_revealer CASCADE;
RESET client_min_messages;
DROP ROLE regress_provconn_evil, regress_provconn_revealer;
DELETE FROM provconn.role_grant AS g WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = g.role);
