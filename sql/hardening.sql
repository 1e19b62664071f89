-- What would turn the owner's rights, or its tables, against it.
\set SHOW_CONTEXT never
CREATE ROLE regress_provconn_evil LOGIN;
SELECT provconn_grant('regress_provconn_evil', 'application');

-- Code that a DBA hung on our tables, or on DDL, runs as their owner, but never
-- under the caller's search path.
CREATE TABLE public.ddl_log (said text);
CREATE FUNCTION public.log_ddl() RETURNS event_trigger LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO public.ddl_log VALUES (lower(current_setting('search_path') || ' ' || current_setting('default_tablespace'))); END $$;
CREATE FUNCTION public.log_row() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO public.ddl_log VALUES (lower('row ' || current_setting('search_path'))); RETURN NULL; END $$;
CREATE SCHEMA evil AUTHORIZATION regress_provconn_evil;
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql
AS $$ BEGIN ALTER ROLE regress_provconn_evil SUPERUSER; RETURN 'evil'; END $$;
GRANT EXECUTE ON FUNCTION evil.lower(text) TO PUBLIC;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
BEGIN;
SET LOCAL client_min_messages = warning;
ALTER TABLE provconn.audit DISABLE TRIGGER ALL;
SELECT 'audit_' || to_char(now() AT TIME ZONE 'UTC' + interval '3 months', 'YYYY_MM') AS last_month \gset
DROP TABLE provconn.:last_month;
ALTER TABLE provconn.audit ENABLE ALWAYS TRIGGER provconn_audit_guard, ENABLE ALWAYS TRIGGER provconn_audit_no_truncate, ENABLE ALWAYS TRIGGER provconn_import;
CREATE TRIGGER log_row AFTER INSERT ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.log_row();
CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION public.log_ddl();
SET LOCAL ROLE regress_provconn_evil;
SET LOCAL search_path = evil, pg_catalog, public;
SET LOCAL default_tablespace = 'pg_global';
SET LOCAL default_table_access_method = 'heap';
SELECT ok FROM public.provconn_initiate(t.u('evil'), t.p('schwab'), 'schwab');
SHOW search_path;
RESET ROLE;
SET LOCAL search_path = public;
SELECT DISTINCT said FROM ddl_log ORDER BY said;
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_provconn_evil';
SELECT count(*) > 0 AS made_again FROM pg_inherits
WHERE inhrelid = ('provconn.audit_' || to_char(now() AT TIME ZONE 'UTC' + interval '3 months', 'YYYY_MM'))::regclass;
ROLLBACK;

-- Default privileges give nobody anything of ours, and take the casts from nobody.
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION provconn CASCADE;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_provconn_evil;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_provconn_evil;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_provconn_evil;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM PUBLIC;
CREATE EXTENSION provconn;
SELECT provconn_register_provider('schwab', 'Charles Schwab', 'oauth2') IS NOT NULL AS registered;
SELECT count(*) AS tables FROM pg_class WHERE relnamespace = 'provconn'::regnamespace
AND has_table_privilege('regress_provconn_evil', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE');
SELECT count(*) AS views FROM pg_class WHERE relname LIKE 'provconn\_%' AND has_table_privilege('regress_provconn_evil', oid, 'SELECT');
SELECT has_schema_privilege('regress_provconn_evil', 'provconn', 'USAGE') AS schema;
SELECT p.oid::regprocedure AS function FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e'
WHERE p.proname ~ '^(provconn|guard|audit|reapply)' AND has_function_privilege('regress_provconn_evil', p.oid, 'EXECUTE') ORDER BY 1::text COLLATE "C";
SET LOCAL ROLE regress_provconn_evil;
SELECT 'x'::text::provconn_secret;
RESET ROLE;
ROLLBACK;

-- A role that comes after another of its name gets nothing of it.
CREATE ROLE regress_provconn_heir;
SELECT provconn_grant('regress_provconn_heir', 'secrets');
DROP OWNED BY regress_provconn_heir;
DROP ROLE regress_provconn_heir;
CREATE ROLE regress_provconn_heir;
SELECT provconn.reapply_grants();
SELECT has_function_privilege('regress_provconn_heir', 'provconn_reveal(uuid, uuid, text)', 'EXECUTE') AS inherited;
SELECT provconn_grant('regress_provconn_heir', 'application');
ALTER ROLE regress_provconn_heir RENAME TO regress_provconn_renamed;
SELECT provconn_grant('regress_provconn_renamed', 'secrets');
SELECT provconn_revoke('regress_provconn_renamed', 'secrets');
SELECT has_function_privilege('regress_provconn_renamed', 'provconn_unwrap(provconn_result)', 'EXECUTE') AS still_unwraps;
SELECT t.fault($$SELECT provconn_revoke('regress_provconn_renamed', 'aplication')$$);
SELECT t.code($$SELECT provconn_revoke('regress_provconn_renamed', '*')$$);
SELECT provconn_revoke('regress_provconn_renamed', 'application');
DROP ROLE regress_provconn_renamed;
DELETE FROM provconn.role_grant AS g WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = g.role);

-- Relations of another kind where our tables should be.
BEGIN;
ALTER TABLE provconn.provider RENAME TO provider_before;
CREATE VIEW provconn.provider AS SELECT * FROM provconn.provider_before;
SELECT t.fault($$SELECT provconn_initiate(t.u('kind'), t.p('schwab'), 'schwab')$$);
ROLLBACK;
BEGIN;
SELECT inhrelid::regclass AS month, pg_get_expr(relpartbound, oid) AS bounds
FROM pg_inherits JOIN pg_class ON oid = inhrelid
WHERE inhrelid = ('provconn.audit_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM'))::regclass \gset
ALTER TABLE provconn.audit DETACH PARTITION :month;
CREATE TABLE provconn.split PARTITION OF provconn.audit :bounds PARTITION BY HASH (audit_id);
SELECT t.fault($$SELECT provconn_initiate(t.u('kind'), t.p('schwab'), 'schwab')$$);
ROLLBACK;

-- Our trigger functions belong where they are.
CREATE TABLE public.stray (connection_id uuid);
CREATE TRIGGER stray AFTER INSERT ON public.stray FOR EACH ROW EXECUTE FUNCTION provconn.audit_connection();
SELECT t.message('INSERT INTO public.stray VALUES (NULL)');
DROP TRIGGER stray ON public.stray;
CREATE TRIGGER stray BEFORE INSERT ON public.stray FOR EACH ROW EXECUTE FUNCTION provconn.guard_connection();
SELECT t.message('INSERT INTO public.stray VALUES (NULL)');
DROP TABLE public.stray;
BEGIN;
CREATE TRIGGER stray AFTER UPDATE ON provconn.connection FOR EACH STATEMENT EXECUTE FUNCTION provconn.audit_connection();
SELECT t.message('UPDATE provconn.connection SET alias = alias WHERE false');
ROLLBACK;

-- A DBA's own trigger for a column fires when a command writes that column.
CREATE FUNCTION public.note_expiry() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO public.ddl_log VALUES ('expires_at'); RETURN NULL; END $$;
CREATE TRIGGER note_expiry AFTER UPDATE OF expires_at ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.note_expiry();
TRUNCATE public.ddl_log;
SELECT t.active(t.u('column')) AS id \gset
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_api_key_credentials('k')));
SELECT count(*) AS fired FROM public.ddl_log;
SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u('column'), :'id'));
SELECT count(*) AS fired FROM public.ddl_log;
SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u('column'), :'id'));
SELECT count(*) AS fired FROM public.ddl_log;
DROP TRIGGER note_expiry ON provconn.connection;

-- A trigger that swallows the change is an error, not a success that was none.
CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER aa_swallow BEFORE UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.swallow();
SELECT t.active(t.u('swallow')) AS id \gset
SELECT t.message(format('SELECT provconn_refresh(provconn_refresh_command(%L, provconn_api_key_credentials(''k'')))', :'id'));
DROP TRIGGER aa_swallow ON provconn.connection;
BEGIN;
ALTER TABLE provconn.connection DISABLE TRIGGER provconn_audit;
SELECT t.message(format('SELECT provconn_refresh(provconn_refresh_command(%L, provconn_api_key_credentials(''k'')))', :'id'));
ROLLBACK;
SELECT version FROM provconn_connections WHERE connection_id = :'id';

-- What a DBA's triggers do to the rows that a sweep puts right: it ends all the
-- same, and claims what is due.
DO $$ BEGIN
	PERFORM provconn_mark_revoked(connection_id) FROM provconn.connection WHERE status = 'active' AND expires_at IS NOT NULL;
END $$;
SELECT provconn_register_provider('swept', 'Swept', 'oauth2', NULL, t.p('swept')) = t.p('swept') AS registered;
CREATE FUNCTION pg_temp.swept(name text) RETURNS uuid LANGUAGE sql STABLE
AS $$ SELECT connection_id FROM provconn.connection WHERE user_id = t.u('swept') AND alias = name AND status <> 'disconnected' $$;
CREATE FUNCTION pg_temp.refresh(name text, expires_in interval) RETURNS boolean LANGUAGE sql
AS $$ SELECT (provconn_refresh(provconn_refresh_command(pg_temp.swept(name), provconn_credentials(name, 'oauth2', clock_timestamp() + expires_in)))).ok $$;
-- a connection whose place in the queue lags behind
CREATE FUNCTION pg_temp.lag(name text, expires_in interval) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM provconn_connect(provconn_connect_command(t.u('swept'), t.p('swept'), 'swept', provconn_credentials(name, 'oauth2', clock_timestamp() - interval '1 hour'), name));
	RETURN pg_temp.refresh(name, expires_in);
END $$;
CREATE FUNCTION pg_temp.places() RETURNS TABLE (alias text, place text, leased_by text, audit text) LANGUAGE sql AS $$
	SELECT c.alias, CASE WHEN c.due_at < c.expires_at THEN 'lags' WHEN c.due_at = c.expires_at THEN 'right' ELSE 'wrong' END, c.leased_by,
	       (SELECT string_agg(a.action, ' ' ORDER BY a.seq) || CASE WHEN count(*) <> max(a.seq) THEN ' with gaps' ELSE '' END
	        FROM provconn.audit AS a WHERE a.connection_id = c.connection_id AND a.seq IS NOT NULL)
	FROM provconn.connection AS c WHERE c.user_id = t.u('swept') AND c.status = 'active' ORDER BY 1
$$;
CREATE FUNCTION pg_temp.clear() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM provconn.connection AS c, provconn_disconnect(provconn_disconnect_command(c.user_id, c.connection_id)) WHERE c.user_id = t.u('swept') AND c.status <> 'disconnected'
$$;
SET statement_timeout = '30s';
-- one that changes another column makes it a change of the connection
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER aa_touch BEFORE UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.touch();
SELECT bool_and(pg_temp.lag(name, expires_in)) AS ok FROM (VALUES ('due', interval '1 minute'), ('due later', '2 minutes'), ('not due', '1 hour'), ('not due either', '2 hours')) AS v (name, expires_in);
SELECT * FROM pg_temp.places();
SELECT secret_text FROM provconn_claim_due('w1', max_connections => 1);
SELECT secret_text FROM provconn_claim_due('w2', max_connections => 1);
SELECT secret_text FROM provconn_claim_due('w3', max_connections => 1);
SELECT * FROM pg_temp.places();
SELECT pg_temp.refresh('not due', '-1 hour'), pg_temp.refresh('not due', '3 hours'), provconn_expire_overdue();
SELECT * FROM pg_temp.places() WHERE alias = 'not due';
SELECT pg_temp.clear();
DROP TRIGGER aa_touch ON provconn.connection;
-- ... one that comes after the guard is told so
SELECT pg_temp.lag('late touch', '2 hours') AS ok;
CREATE TRIGGER zzz_touch BEFORE UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.touch();
SELECT t.message($$SELECT count(*) FROM provconn_claim_due('w1')$$);
DROP TRIGGER zzz_touch ON provconn.connection;
SELECT count(*) FROM provconn_claim_due('w1');
SELECT pg_temp.clear();
-- one that does not let it happen
CREATE FUNCTION public.swallow_requeue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RETURN CASE WHEN NEW.held_until IS NULL AND NEW.due_at IS NULL AND NEW.status = 'active' THEN NULL ELSE NEW END; END $$;
SELECT bool_and(pg_temp.lag(name, expires_in)) AS ok FROM (VALUES ('due', interval '1 minute'), ('not due', '1 hour'), ('never due', '-30 minutes')) AS v (name, expires_in);
ALTER TABLE provconn.connection DISABLE TRIGGER USER;
UPDATE provconn.connection SET expires_at = NULL WHERE connection_id = pg_temp.swept('never due');
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER zz_provconn_guard, ENABLE ALWAYS TRIGGER provconn_no_truncate, ENABLE ALWAYS TRIGGER provconn_audit, ENABLE ALWAYS TRIGGER provconn_import;
CREATE TRIGGER aa_swallow BEFORE UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.swallow_requeue();
SELECT secret_text FROM provconn_claim_due('w1', max_connections => 100);
SELECT secret_text FROM provconn_claim_due('w2', max_connections => 1);
SELECT provconn_expire_overdue(), provconn_expire_overdue(max_connections => 1);
SELECT * FROM pg_temp.places();
SELECT pg_temp.clear();
DROP TRIGGER aa_swallow ON provconn.connection;
RESET statement_timeout;
-- A sweep within a command's trigger does nothing in that command's name.
CREATE FUNCTION public.sweep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() = 1 THEN
		PERFORM public.provconn_claim_due('within');
	END IF;
	RETURN NULL;
END $$;
SELECT bool_and(pg_temp.lag(name, expires_in)) AS ok FROM (VALUES ('before', interval '1 hour'), ('after', '1 hour'), ('other', '1 hour'), ('due', '-1 minute'), ('claimed', '-1 minute')) AS v (name, expires_in);
CREATE TRIGGER aa_sweep AFTER UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.sweep();
SELECT pg_temp.refresh('before', '2 hours');
SELECT * FROM pg_temp.places();
ALTER TRIGGER aa_sweep ON provconn.connection RENAME TO zz_sweep;
SELECT pg_temp.refresh('claimed', '-1 hour');
SELECT * FROM pg_temp.places() WHERE alias = 'claimed';
SELECT pg_temp.lag('lags', '1 hour');
SELECT pg_temp.refresh('lags', '2 hours');
SELECT * FROM pg_temp.places() WHERE alias = 'lags';
DROP TRIGGER zz_sweep ON provconn.connection;
SELECT pg_temp.clear();

-- Nor is there a credential without a key.
BEGIN;
ALTER TABLE provconn.data_key DISABLE TRIGGER provconn_guard;
DELETE FROM provconn.data_key;
CREATE TRIGGER aa_swallow BEFORE INSERT ON provconn.data_key FOR EACH ROW EXECUTE FUNCTION public.swallow();
SELECT t.fault('SELECT t.active(t.u(''keyless''))');
ROLLBACK;

-- A partition of a DBA's own in a later month is warned of, and stops nobody now.
BEGIN;
SET LOCAL client_min_messages = error;
SELECT to_char(day, 'YYYY_MM') AS later, id || '7000' || '8000000000000000' AS half_from, id || '7001' || '8000000000000000' AS half_to
FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC' + interval '3 months') + interval '5 days' AS day) AS d,
	 lpad(to_hex((extract(epoch FROM day) * 1000)::bigint), 12, '0') AS id \gset
DROP TABLE provconn.audit_:later;
CREATE TABLE provconn.half PARTITION OF provconn.audit FOR VALUES FROM (:'half_from') TO (:'half_to');
SELECT t.code('SELECT t.active(t.u(''half''))');
SELECT to_regclass('provconn.audit_' || :'later') IS NULL AS left_to_the_dba;
DROP TABLE provconn.half;
SELECT t.code('SELECT t.active(t.u(''half''))');
SELECT to_regclass('provconn.audit_' || :'later') IS NULL AS left_to_the_dba;
ROLLBACK;

-- What a DBA's trigger sets for the transaction stays set.
BEGIN;
CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('t.kept', 'yes', true); RETURN NULL; END $$;
CREATE TRIGGER keep AFTER INSERT ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.keep();
SELECT t.code('SELECT t.active(t.u(''keep''))');
SELECT current_setting('t.kept') AS kept, current_setting('search_path') AS search_path;
ROLLBACK;

-- A column's domain counts where there is no default.
BEGIN;
CREATE DOMAIN public.needed AS int NOT NULL;
ALTER TABLE provconn.connection ADD COLUMN needed int;
ALTER TABLE provconn.connection ALTER COLUMN needed TYPE public.needed USING 0;
SELECT t.code('SELECT t.active(t.u(''domain''))');
ALTER TABLE provconn.connection ALTER COLUMN needed SET DEFAULT 7;
SELECT t.code('SELECT t.active(t.u(''domain''))');
ROLLBACK;

-- Ends of ranges.
SELECT t.fault(format('SELECT provconn_refresh(provconn_refresh_command(%L, provconn_credentials(repeat(''x'', 16 * 1024 * 1024 + 1), ''custom'')))', :'id'));
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials(repeat('x', 16 * 1024 * 1024), 'custom')));
SELECT length(secret) FROM provconn_reveal(t.u('swallow'), :'id');
UPDATE provconn.connection SET version = 2147483647 WHERE connection_id = :'id';
SELECT t.fault(format('SELECT provconn_refresh(provconn_refresh_command(%L, provconn_api_key_credentials(''k'')))', :'id'));

-- A command in a trigger of a table that COPY loads is a command like any other.
CREATE TABLE public.inbox (owner uuid);
CREATE FUNCTION public.take_in() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM provconn_unwrap(provconn_initiate(NEW.owner, t.p('schwab'), 'schwab', 'from the inbox')); RETURN NULL; END $$;
CREATE TRIGGER take_in AFTER INSERT ON public.inbox FOR EACH ROW EXECUTE FUNCTION public.take_in();
SET row_security = off;
\copy public.inbox from program 'echo 00000000-0000-0000-0000-000000000001'
COPY (SELECT status FROM provconn_initiate('00000000-0000-0000-0000-000000000001', t.p('schwab'), 'schwab', 'out')) TO STDOUT;
RESET row_security;
SELECT alias, status FROM provconn_connections WHERE user_id = '00000000-0000-0000-0000-000000000001' ORDER BY alias;
SELECT action, outcome, seq FROM provconn_audit_log WHERE user_id = '00000000-0000-0000-0000-000000000001' ORDER BY occurred_at;

DROP TABLE public.inbox, public.ddl_log;
DROP FUNCTION public.take_in, public.note_expiry, public.log_row, public.log_ddl, public.swallow, public.swallow_requeue, public.sweep, public.touch;
DROP SCHEMA evil CASCADE;
SELECT provconn_revoke('regress_provconn_evil', 'application');
DROP ROLE regress_provconn_evil;
