-- provconn_doctor(): each check sees what is wrong, and its own fix, pasted into
-- psql, mends it.  No transaction: it has a database of its own, and what it
-- changes of the server's configuration is put back at the end.
\set ECHO none
\set QUIET 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;
DROP DATABASE IF EXISTS provconn_doctor;
DROP ROLE IF EXISTS provconn_tap_a, provconn_tap_b, provconn_tap_gone;
CREATE DATABASE provconn_doctor;
SELECT current_database() AS first_database \gset
\c provconn_doctor
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION pgcrypto;
CREATE SCHEMA "The API";
CREATE EXTENSION provconn SCHEMA "The API";
SET search_path = public, "The API";
SELECT * FROM no_plan();

\set fix_file `mktemp /tmp/provconn_doctor.XXXXXX`
\set also
COPY (SELECT WHERE false) TO PROGRAM 'cp -p postgresql.auto.conf postgresql.auto.conf.provconn_tap';

CREATE TABLE seen (check_name text, status text, detail text, fix text, key_file text);

CREATE FUNCTION shell(command text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('COPY (SELECT WHERE false) TO PROGRAM %L', command);
END
$$;

-- What direct SQL cannot do for the triggers.
CREATE FUNCTION past_triggers(target regclass, statement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', target);
    EXECUTE statement;
    FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = target AND NOT tgisinternal LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', target, name);
    END LOOP;
END
$$;

CREATE VIEW our_trigger AS
SELECT tgrelid::regclass AS table, tgname, tgenabled, pg_get_triggerdef(oid) AS definition
FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'provconn'::regnamespace);

-- A fresh installation.

SELECT set_eq('SELECT check_name FROM provconn_doctor()', $$
    VALUES ('key_source'), ('key_location'), ('master_keys'), ('data_keys'), ('pgcrypto'), ('pgcrypto_library'),
           ('extension_version'), ('preload'), ('triggers'), ('trigger_order'), ('row_security'), ('public_rights'),
           ('owners'), ('secret_columns'), ('log_parameter_max_length'), ('log_parameter_max_length_on_error'),
           ('log_statement'), ('log_min_duration_statement'), ('debug_print'), ('auto_explain'), ('ssl'),
           ('core_dumps'), ('old_keys'), ('unknown_keys'), ('overdue'), ('expired_leases'), ('provider_health'),
           ('lost_providers'), ('gone_roles'), ('lost_rights'), ('capability_objects'), ('audit_months'), ('api_schema'), ('audit_seals'), ('worker'), ('attempts') $$,
    'the checks');
SELECT is(count(*), count(DISTINCT check_name), 'one row for each') FROM provconn_doctor();
SELECT is_empty($$SELECT * FROM provconn_doctor()
                  WHERE check_name IS NULL OR status NOT IN ('ok', 'warning', 'critical') OR status IS NULL
                     OR coalesce(detail, '') = '' OR (status = 'ok') <> (fix IS NULL) OR fix = ''$$,
                'each row has all it should');
SELECT is_empty($$SELECT check_name, status, detail FROM provconn_doctor() WHERE status <> 'ok'
                  AND check_name NOT IN ('preload', 'log_parameter_max_length', 'core_dumps')$$,
                'nothing is wrong but what PostgreSQL does by default');
-- What is so until it is mended below.
CREATE TABLE usual AS SELECT check_name, CASE check_name WHEN 'preload' THEN status ELSE 'ok' END AS status FROM provconn_doctor();
SELECT status AS cores FROM provconn_doctor() WHERE check_name = 'core_dumps' \gset

-- The limit of core dumps, where the machine allows another one.

\set check core_dumps
\set detail LimitCORE=0
\set status warning
\set name 'a limit that is not 0'
\set also log_parameter_max_length
SELECT shell(format('prlimit --core=4096: --pid %s 2>/dev/null || true', pg_backend_pid())) \g /dev/null
SELECT status <> 'ok' AS can_dump FROM provconn_doctor() WHERE check_name = 'core_dumps' \gset
\if :can_dump
\ir doctor/sees.psql
\ir doctor/paste.psql
SELECT is(status, 'ok', 'core_dumps: mended') FROM provconn_doctor() WHERE check_name = 'core_dumps';
\else
SELECT skip('core dumps are off for good', 4);
\endif
\set also

-- Settings of the log.

\set check log_parameter_max_length
\set detail 'log_parameter_max_length = -1 \\(server\\)'
\set name 'the default'
ALTER SYSTEM SET log_parameter_max_length = -1;
SELECT pg_reload_conf() \g /dev/null
\ir doctor/mend.psql
\set detail 'log_parameter_max_length = 1kB \\(role provconn_tap_a\\), log_parameter_max_length = 64 \\(role provconn_tap_b in database provconn_doctor\\)'
\set name 'settings of roles'
CREATE ROLE provconn_tap_a;
CREATE ROLE provconn_tap_b;
ALTER ROLE provconn_tap_a SET log_parameter_max_length = '1kB';
ALTER ROLE provconn_tap_b IN DATABASE provconn_doctor SET log_parameter_max_length = 64;
ALTER ROLE provconn_tap_b IN DATABASE postgres SET log_parameter_max_length = 64;
\ir doctor/mend.psql
SELECT is(count(*), 1::bigint, 'a setting for another database is none of ours')
FROM pg_db_role_setting WHERE setrole = 'provconn_tap_b'::regrole;
ALTER ROLE provconn_tap_b IN DATABASE postgres RESET ALL;
\set name 'of the database, all roles and the session'
\set detail '2 \\(all roles\\).*3 \\(database provconn_doctor\\).*4 \\(this session\\)'
ALTER ROLE ALL SET log_parameter_max_length = 2;
ALTER DATABASE provconn_doctor SET log_parameter_max_length = 3;
SET log_parameter_max_length = 4;
\ir doctor/mend.psql

\set check log_parameter_max_length_on_error
\set name 'server and role'
\set detail '-1 \\(role provconn_tap_a\\).*5 \\(server\\)'
ALTER SYSTEM SET log_parameter_max_length_on_error = 5;
ALTER ROLE provconn_tap_a SET log_parameter_max_length_on_error = -1;
SELECT pg_reload_conf() \g /dev/null
\ir doctor/mend.psql

\set check log_statement
\set detail 'log_statement = all \\(role provconn_tap_a\\), log_statement = mod \\(server\\)'
ALTER SYSTEM SET log_statement = 'mod';
ALTER ROLE provconn_tap_a SET log_statement = 'all';
ALTER ROLE provconn_tap_b SET log_statement = 'ddl';
SELECT pg_reload_conf() \g /dev/null
\ir doctor/mend.psql
ALTER ROLE provconn_tap_b RESET ALL;
\set name 'the server, in a session with a value of its own'
\set detail ': log_statement = all \\(server\\)$'
SET log_statement = 'none';
ALTER SYSTEM SET log_statement = 'all';
SELECT pg_reload_conf() \g /dev/null
\ir doctor/mend.psql
RESET log_statement;

\set check log_min_duration_statement
\set name 'duration and samples'
\set detail 'log_min_duration_statement = 1h \\(role provconn_tap_a\\), log_min_duration_sample = 3600000 \\(server\\), log_transaction_sample_rate = 1e-05 \\(this session\\)'
ALTER SYSTEM SET log_min_duration_sample = '1h';
ALTER ROLE provconn_tap_a SET log_min_duration_statement = '1h';
SET log_transaction_sample_rate = 0.00001;
SELECT pg_reload_conf() \g /dev/null
\ir doctor/mend.psql

\set check debug_print
\set name 'a role'
\set detail 'debug_print_plan = on \\(role provconn_tap_a\\)'
ALTER ROLE provconn_tap_a SET debug_print_plan = on;
\ir doctor/mend.psql

\set check auto_explain
\set name 'server, database and session'
\set detail 'auto_explain.log_min_duration = 1h \\(database provconn_doctor\\), auto_explain.log_min_duration = 2h \\(server\\), auto_explain.log_min_duration = 10800000 \\(this session\\)'
LOAD 'auto_explain';
ALTER SYSTEM SET auto_explain.log_min_duration = '2h';
ALTER DATABASE provconn_doctor SET auto_explain.log_min_duration = '1h';
SET auto_explain.log_min_duration = '3h';
SELECT pg_reload_conf() \g /dev/null
\ir doctor/mend.psql

-- Preloading: the fix adds to what is there, and then a restart is due.

\set check preload
SELECT status = 'ok' AS preloaded FROM usual WHERE check_name = 'preload' \gset
\if :preloaded
SELECT skip('the library is preloaded', 4);
\else
ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_stat_statements';
SELECT pg_reload_conf() \g /dev/null
SELECT is(split_part(fix, E'\n', 1), $$ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_stat_statements', 'provconn';$$,
          'preload: the library is added')
FROM provconn_doctor() WHERE check_name = 'preload';
\ir doctor/paste.psql
SELECT is(status, 'warning', 'preload: not in force yet') FROM provconn_doctor() WHERE check_name = 'preload';
SELECT matches(detail, 'not restarted since', 'preload: its detail') FROM provconn_doctor() WHERE check_name = 'preload';
SELECT is(fix, E'-- Restart the server, then:\nSELECT * FROM "The API".provconn_doctor();', 'preload: its fix')
FROM provconn_doctor() WHERE check_name = 'preload';
ALTER SYSTEM RESET shared_preload_libraries;
\endif

-- TLS.  The server goes on listening as it did, until a restart.

\set check ssl
\set status warning
\set name 'a server that listens to the network'
\set detail ': \\*$'
ALTER SYSTEM SET ssl = off;
ALTER SYSTEM SET listen_addresses = 'localhost, 127.0.0.1, ::1';
SELECT pg_reload_conf() \g /dev/null
SELECT is(status, 'ok', 'ssl: not needed for itself alone') FROM provconn_doctor() WHERE check_name = 'ssl';
ALTER SYSTEM SET listen_addresses = '*';
SELECT pg_reload_conf() \g /dev/null
\ir doctor/mend.psql
SELECT is(current_setting('ssl'), 'on', 'ssl: is on');
SELECT is((pg_stat_file('server.key')).size > 0, true, 'ssl: with a key of its own');
ALTER SYSTEM RESET ssl;
ALTER SYSTEM RESET listen_addresses;
SELECT pg_reload_conf() \g /dev/null
SELECT shell('rm -f server.crt server.key') \g /dev/null

-- The key file, while nothing depends on it.

SELECT current_setting('provconn.key_file') AS key_file,
       regexp_replace(current_setting('data_directory'), '[^/]*$', '') AS beside \gset
\set check key_source
\set status critical
\set name 'a mode that lets others read'
\set detail 'key file is not safe: mode wider than 0600'
\set also 'master_keys|data_keys'
SELECT shell(format('chmod 0640 -- %L', :'key_file')) \g /dev/null
\ir doctor/mend.psql
\set name 'no file'
\set detail 'could not read the key file: No such file or directory'
\set also 'master_keys|data_keys'
SELECT shell(format('mv -- %1$L %1$L.away', :'key_file')) \g /dev/null
\ir doctor/mend.psql
SELECT is((pg_stat_file(:'key_file')).size, 65::bigint, 'key_source: a new key');
SELECT shell(format('mv -- %1$L.away %1$L', :'key_file')) \g /dev/null
\set name 'no setting'
\set detail 'no master key is configured'
\set also 'master_keys|data_keys'
ALTER SYSTEM SET provconn.key_file = '';
SELECT pg_reload_conf() \g /dev/null
\ir doctor/mend.psql
SELECT is(current_setting('provconn.key_file'), :'beside' || 'provconn_key', 'key_source: a key file beside the data directory');
SELECT shell(format('test "$(stat -c %%a %1$L)" = 600 && rm -- %1$L', :'beside' || 'provconn_key')) \g /dev/null
ALTER SYSTEM RESET provconn.key_file;
SELECT pg_reload_conf() \g /dev/null

-- From here on credentials depend on it.

\set tries 0
\set wanted ok
\ir doctor/wait.psql
SELECT provconn_register_provider('acme', 'Acme', 'oauth2') AS acme,
       provconn_register_provider('other', 'Other', 'api_key') AS other \gset
CREATE FUNCTION connect_them(provider uuid, slug text, number int, expires_at timestamptz, type text)
RETURNS void LANGUAGE sql AS $$
    SELECT provconn_unwrap(provconn_connect(provconn_connect_command(
        gen_random_uuid(), provider, slug, provconn_credentials('hush-' || i, type::provconn_credential_type, expires_at))))
    FROM generate_series(1, number) AS i;
$$;
SELECT connect_them(:'acme', 'acme', 5, now() + interval '1 hour', 'oauth2') \g /dev/null
SELECT connect_them(:'other', 'other', 3, NULL, 'api_key') \g /dev/null
SELECT is_empty($$SELECT d.check_name, d.detail FROM provconn_doctor() AS d JOIN usual AS u USING (check_name) WHERE d.status <> u.status$$,
                'nothing is wrong with connections');
CREATE TABLE fresh_trigger AS SELECT "table"::text, tgname, tgenabled, definition FROM our_trigger;

\set check key_source
\set name 'a file that is lost'
\set detail 'could not read the key file'
\set also 'master_keys|data_keys'
SELECT shell(format('mv -- %1$L %1$L.away', :'key_file')) \g /dev/null
\ir doctor/sees.psql
SELECT is(status || ' ' || (fix ~ '^-- '), 'warning true', check_name || ': not known') FROM provconn_doctor()
WHERE check_name IN ('master_keys', 'data_keys');
SELECT matches(fix, '^-- Restore the key file.*, then:\nSELECT \* FROM "The API".provconn_doctor\(\);$', 'key_source: its fix')
FROM provconn_doctor() WHERE check_name = 'key_source';
SELECT shell(format('mv -- %1$L.away %1$L', :'key_file')) \g /dev/null
\ir doctor/paste.psql
SELECT is(status, 'ok', 'key_source: mended by hand') FROM provconn_doctor() WHERE check_name = 'key_source';
\set also

\set check key_location
\set name 'a key file in the data directory'
\set detail 'in the data directory'
SELECT shell(format('cp -p -- %L %s', :'key_file', $$"the key's file"$$)) \g /dev/null
SELECT format('ALTER SYSTEM SET provconn.key_file = %L', current_setting('data_directory') || $$/the key's file$$) \gexec
SELECT pg_reload_conf() \g /dev/null
\set tries 0
\set wanted critical
\ir doctor/wait.psql
-- What is in the way stays, and so does the key file.
SELECT shell(format('touch %s"provconn_the key''s file"', :'beside')) \g /dev/null
\set ON_ERROR_STOP 0
\set VERBOSITY sqlstate
\ir doctor/paste.psql
\set VERBOSITY default
\set ON_ERROR_STOP 1
SELECT is(string_agg(status, ' ' ORDER BY check_name), 'critical ok', 'key_location: nothing is moved over another file')
FROM provconn_doctor() WHERE check_name IN ('key_location', 'key_source');
SELECT shell(format('rm %s"provconn_the key''s file"', :'beside')) \g /dev/null
\ir doctor/mend.psql
SELECT is(current_setting('provconn.key_file'), :'beside' || $$provconn_the key's file$$, 'key_location: moved');
SELECT is(pg_stat_file($$the key's file$$, true) IS NULL, true, 'key_location: and gone from where it was');
SELECT shell(format('rm -- %s"provconn_the key''s file"', :'beside')) \g /dev/null
ALTER SYSTEM RESET provconn.key_file;
SELECT pg_reload_conf() \g /dev/null

\set tries 0
\set check key_source
\ir doctor/wait.psql
\set check master_keys
\set name 'another key'
\set detail 'master key 1 .*is not the one that wrapped data key 1'
SELECT shell(format('mv -- %1$L %1$L.away; umask 077; openssl rand -hex 32 >%1$L', :'key_file')) \g /dev/null
\ir doctor/sees.psql
\ir doctor/paste.psql
SELECT matches(fix, '^-- Put these master keys back', 'master_keys: its fix') FROM provconn_doctor() WHERE check_name = 'master_keys';
SELECT shell(format('mv -- %1$L.away %1$L', :'key_file')) \g /dev/null
SELECT is(status, 'ok', 'master_keys: mended by hand') FROM provconn_doctor() WHERE check_name = 'master_keys';

\set check data_keys
\set name 'a damaged key'
\set detail '^data key 1 does not open$'
CREATE TABLE saved_key AS SELECT * FROM provconn.data_key;
SELECT past_triggers('provconn.data_key', $$UPDATE provconn.data_key SET wrapped = overlay(wrapped PLACING '\x00' FROM 60)$$) \g /dev/null
\ir doctor/sees.psql
\ir doctor/paste.psql
SELECT matches(fix, '^-- Restore these rows', 'data_keys: its fix') FROM provconn_doctor() WHERE check_name = 'data_keys';
SELECT past_triggers('provconn.data_key', 'UPDATE provconn.data_key AS k SET wrapped = s.wrapped FROM saved_key AS s WHERE s.key_id = k.key_id') \g /dev/null
SELECT is(status, 'ok', 'data_keys: mended by hand') FROM provconn_doctor() WHERE check_name = 'data_keys';

\set check old_keys
\set status warning
\set name 'a newer key'
\set detail ': 8 with key 1$'
SELECT to_regprocedure('provconn_rotate_key()') IS NOT NULL AS can_rotate \gset
\if :can_rotate
SELECT provconn_rotate_key() \g /dev/null
\ir doctor/mend.psql
\else
\set also data_keys
INSERT INTO provconn.data_key SELECT key_id + 1, master_key_id, master_check, wrapped, check_value, now() FROM provconn.data_key;
\ir doctor/sees.psql
SELECT is(fix, 'CALL "The API".provconn_reencrypt();', 'old_keys: its fix') FROM provconn_doctor() WHERE check_name = 'old_keys';
SELECT past_triggers('provconn.data_key', 'DELETE FROM provconn.data_key WHERE key_id = 2') \g /dev/null
\set also
\endif

\set check unknown_keys
\set status critical
\set name 'keys that there are not'
\set detail ': 2 with key 0x00000309$'
CREATE TABLE saved_credential AS SELECT connection_id, credential FROM provconn.connection ORDER BY connection_id LIMIT 2;
SELECT past_triggers('provconn.connection', $$UPDATE provconn.connection SET credential = overlay(credential PLACING '\x00000309' FROM 2)
    WHERE connection_id IN (SELECT connection_id FROM saved_credential)$$) \g /dev/null
\ir doctor/sees.psql
\ir doctor/paste.psql
SELECT matches(fix, '^-- Restore these rows', 'unknown_keys: its fix') FROM provconn_doctor() WHERE check_name = 'unknown_keys';
SELECT past_triggers('provconn.connection', 'UPDATE provconn.connection AS c SET credential = s.credential FROM saved_credential AS s WHERE s.connection_id = c.connection_id') \g /dev/null
SELECT is(status, 'ok', 'unknown_keys: mended by hand') FROM provconn_doctor() WHERE check_name = 'unknown_keys';

-- Versions.

\set check extension_version
\set status warning
\set name 'an older version'
\set detail ': 0.9, of '
SELECT extversion AS version FROM pg_extension WHERE extname = 'provconn' \gset
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'provconn') AS is_listed \gset
\if :is_listed
UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'provconn';
\ir doctor/sees.psql
SELECT is(fix, 'ALTER EXTENSION provconn UPDATE;', 'extension_version: its fix') FROM provconn_doctor() WHERE check_name = 'extension_version';
UPDATE pg_extension SET extversion = :'version' WHERE extname = 'provconn';
\else
SELECT skip('the server does not list what stands in extension_destdir', 4);
\endif

\set check pgcrypto
\set detail 'installed as it should be: 1.2, of 1\\.'
SELECT to_regprocedure('public.fips_mode()') IS NOT NULL AS has_fips_mode \gset
\if :has_fips_mode
ALTER EXTENSION pgcrypto DROP FUNCTION public.fips_mode();
DROP FUNCTION public.fips_mode();
\endif
UPDATE pg_extension SET extversion = '1.2' WHERE extname = 'pgcrypto';
\ir doctor/mend.psql

-- Triggers.

\set check triggers
\set status critical
\set name 'triggers that are disabled'
\set detail ': provconn_audit on provconn.connection: not ENABLE ALWAYS, .*provconn_guard on provconn.data_key: not ENABLE ALWAYS, .*provconn_no_truncate on provconn.data_key: not ENABLE ALWAYS, .*zz_provconn_guard on provconn.connection: not ENABLE ALWAYS'
ALTER TABLE provconn.connection DISABLE TRIGGER ALL;
ALTER TABLE provconn.provider DISABLE TRIGGER USER;
ALTER TABLE provconn.data_key ENABLE REPLICA TRIGGER provconn_guard;
ALTER TABLE provconn.data_key ENABLE TRIGGER provconn_no_truncate;
ALTER TABLE provconn.audit DISABLE TRIGGER USER;
\ir doctor/mend.psql
SELECT table_name AS month FROM (SELECT min(inhrelid::regclass::text) AS table_name FROM pg_inherits WHERE inhparent = 'provconn.audit'::regclass) AS m \gset
\set name 'those of a month'
\set detail ': provconn_audit_guard on provconn.audit_\\d{4}_\\d\\d: not ENABLE ALWAYS, provconn_audit_no_truncate on provconn.audit_\\d{4}_\\d\\d: missing$'
ALTER TABLE :month DISABLE TRIGGER provconn_audit_guard;
DROP TRIGGER provconn_audit_no_truncate ON :month;
\ir doctor/mend.psql
\set name 'all of them missing'
\set detail 'zz_provconn_guard on provconn.connection: missing'
SELECT format('DROP TRIGGER %I ON %s', tgname, "table") FROM our_trigger
WHERE NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = "table" AND t.tgname = our_trigger.tgname AND t.tgparentid <> 0) \gexec
\ir doctor/mend.psql
\set name 'altered ones'
\set detail ': provconn_audit on provconn.connection: altered, provconn_audit_guard on provconn.audit: altered, '
CREATE FUNCTION public.harmless() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN COALESCE(new, old); END';
CREATE OR REPLACE TRIGGER provconn_audit AFTER INSERT OR UPDATE ON provconn.connection
    FOR EACH ROW WHEN (false) EXECUTE FUNCTION provconn.audit_connection();
CREATE OR REPLACE TRIGGER provconn_audit_guard BEFORE UPDATE OR DELETE ON provconn.audit
    FOR EACH ROW EXECUTE FUNCTION public.harmless();
\ir doctor/mend.psql
SELECT set_eq('SELECT "table"::text, tgname, tgenabled, definition FROM our_trigger', 'TABLE fresh_trigger', 'all triggers are as they were made');
SELECT throws_ok('UPDATE provconn.audit SET seq = 7', 'PV110', NULL, 'and the audit is append-only again');

\set name 'functions that do nothing'
\set detail ': function provconn.guard_audit\\(\\): replaced, function provconn.guard_provider\\(\\): replaced$'
CREATE OR REPLACE FUNCTION provconn.guard_audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN COALESCE(new, old); END';
SELECT format('CREATE OR REPLACE FUNCTION provconn.guard_provider() RETURNS trigger LANGUAGE c AS %L, %L', probin, 'provconn_open_provider')
FROM pg_proc WHERE proname = 'provconn_doctor' \gexec
\ir doctor/mend.psql
SELECT throws_ok('UPDATE provconn.audit SET seq = 7', 'PV110', NULL, 'and the audit is append-only again');

\set check trigger_order
\set name 'one that comes after the guard'
\set detail ': zz_z$'
CREATE TRIGGER zz_z BEFORE UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.harmless();
CREATE TRIGGER zz_zz AFTER UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.harmless();
CREATE TRIGGER zz BEFORE UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.harmless();
\ir doctor/mend.psql
SELECT is(array_agg(tgname ORDER BY tgname), '{a_zz_z,zz,zz_zz}'::name[], 'trigger_order: only that one was renamed')
FROM pg_trigger WHERE tgfoid = 'public.harmless'::regproc;
DROP FUNCTION public.harmless CASCADE;

\set check row_security
\set status warning
\set name 'a table and a month'
\set detail ': provconn.audit_\\d{4}_\\d\\d, provconn.connection$'
ALTER TABLE provconn.connection ENABLE ROW LEVEL SECURITY;
ALTER TABLE :month FORCE ROW LEVEL SECURITY;
\ir doctor/mend.psql

-- Rights and owners.

\set check public_rights
\set status critical
\set name 'rights of all kinds'
\set detail ': EXECUTE on "The API".provconn_reveal\\(uuid,uuid,text\\), EXECUTE on provconn.reapply_grants\\(\\), INSERT, SELECT on provconn.audit_\\d{4}_\\d\\d, SELECT on "The API".provconn_connections, SELECT on provconn.connection, USAGE on schema provconn$'
GRANT EXECUTE ON FUNCTION provconn_reveal(uuid, uuid, text), provconn.reapply_grants() TO PUBLIC;
GRANT SELECT, INSERT ON :month TO PUBLIC;
GRANT SELECT ON provconn_connections TO PUBLIC;
GRANT SELECT (credential) ON provconn.connection TO PUBLIC;
GRANT USAGE ON SCHEMA provconn TO PUBLIC;
\ir doctor/mend.psql

\set check owners
\set name 'a stranger'
\set detail ': ROUTINE "The API".provconn_shard\\(uuid\\): provconn_tap_a, SCHEMA provconn: provconn_tap_a, TABLE provconn.audit_\\d{4}_\\d\\d: provconn_tap_a, TABLE provconn.data_key: provconn_tap_a, TABLE provconn.idempotency: provconn_tap_a, TYPE "The API".provconn_result: provconn_tap_a, VIEW "The API".provconn_stats: provconn_tap_a$'
ALTER FUNCTION provconn_shard(uuid) OWNER TO provconn_tap_a;
ALTER SCHEMA provconn OWNER TO provconn_tap_a;
ALTER TABLE :month OWNER TO provconn_tap_a;
ALTER TABLE provconn.data_key OWNER TO provconn_tap_a;
ALTER TABLE provconn.idempotency OWNER TO provconn_tap_a;
ALTER TYPE provconn_result OWNER TO provconn_tap_a;
ALTER VIEW provconn_stats OWNER TO provconn_tap_a;
\ir doctor/mend.psql

\set check api_schema
\set status warning
\set name 'a schema that others may use for theirs'
\set detail ': PUBLIC may create objects in "The API", provconn_tap_a may create objects in "The API", provconn_tap_b owns "The API", and could drop the extension with it$'
GRANT CREATE ON SCHEMA "The API" TO PUBLIC, provconn_tap_a;
ALTER SCHEMA "The API" OWNER TO provconn_tap_b;
\ir doctor/mend.psql

-- Columns.

\set status critical
\set check secret_columns
\set name 'tables and views of all kinds'
\set detail 'columns keep secrets, masked, which no other session can use: .*public.a_table.in_array, public.a_table.plain, '
CREATE DOMAIN a_domain AS provconn_secret;
CREATE TYPE a_composite AS (a int, b provconn_credentials[]);
CREATE TYPE a_row AS (a int, b a_domain);
CREATE TABLE a_table (i int, plain provconn_secret, in_array provconn_secret[]);
CREATE TABLE a_parted (i int, c a_composite) PARTITION BY RANGE (i);
CREATE TABLE a_part PARTITION OF a_parted FOR VALUES FROM (1) TO (2);
CREATE TABLE a_typed OF a_row;
CREATE TABLE a_row_of (r a_table);
CREATE FOREIGN DATA WRAPPER a_wrapper;
CREATE SERVER a_server FOREIGN DATA WRAPPER a_wrapper;
CREATE FOREIGN TABLE a_foreign (i int, d a_domain) SERVER a_server;
CREATE VIEW a_view AS SELECT i, plain FROM a_table;
CREATE VIEW a_view_on_a_view AS SELECT plain AS renamed FROM a_view;
CREATE MATERIALIZED VIEW a_materialized AS SELECT plain FROM a_view;
CREATE TEMP TABLE a_temporary (s provconn_secret);
INSERT INTO a_table VALUES (1, 'hush-on-disk', NULL);
\ir doctor/mend.psql
CHECKPOINT;
SELECT is((SELECT count(*) FROM a_table), 1::bigint, 'secret_columns: the rows are still there');
SELECT is(position('hush-on-disk' IN encode(pg_read_binary_file(pg_relation_filepath('a_table')), 'escape')), 0,
          'secret_columns: and the secret is gone from the file');
SELECT is(string_agg(relname, ' ' ORDER BY relname), 'a_foreign a_part a_parted a_row_of a_table a_temporary a_typed', 'secret_columns: tables stay, views go')
FROM pg_class WHERE relname LIKE 'a\_%' AND relkind <> 'c' AND relnamespace IN ('public'::regnamespace, pg_my_temp_schema());
DROP TABLE a_table, a_parted, a_typed, a_row_of, a_temporary CASCADE;
DROP FOREIGN DATA WRAPPER a_wrapper CASCADE;

-- Connections.

\set check overdue
\set status warning
\set name 'without a worker'
\set detail ': 1103$'
SELECT connect_them(:'acme', 'acme', 1100, now() - interval '2 days', 'oauth2') \g /dev/null
SELECT connect_them(:'acme', 'acme', 2, now() - interval '23 hours', 'oauth2') \g /dev/null
SELECT connect_them(:'other', 'other', 3, now() - interval '2 days', 'api_key') \g /dev/null
\ir doctor/mend.psql
SELECT is(count(*), 2::bigint, 'overdue: who has a day left keeps it') FROM provconn_connections WHERE status = 'active' AND is_credentials_expired;
\set name 'a provider that is down'
SELECT connect_them(:'acme', 'acme', 1, now() - interval '2 days', 'oauth2') \g /dev/null
UPDATE provconn.provider_health SET allowance = 1, opened_at = now(), next_claim_at = now() WHERE provider_id = :'acme';
SELECT is(status, 'ok', 'overdue: not while the provider is down') FROM provconn_doctor() WHERE check_name = 'overdue';
UPDATE provconn.provider_health SET allowance = NULL, opened_at = NULL, next_claim_at = NULL WHERE provider_id = :'acme';
\set detail ': 1$'
\ir doctor/mend.psql

\set check expired_leases
\set name 'a worker that is gone'
\set detail ': 2$'
SELECT count(*) FROM provconn_claim_due('tap') \g /dev/null
SELECT past_triggers('provconn.connection', $$UPDATE provconn.connection SET leased_until = now() - interval '11 minutes' WHERE lease IS NOT NULL$$) \g /dev/null
\ir doctor/mend.psql
SELECT is(count(*), 0::bigint, 'expired_leases: none is left') FROM provconn.connection WHERE lease IS NOT NULL;

-- What a restore, or a drop, leaves behind.

\set check provider_health
\set name 'no breakers'
\set detail ': acme, other$'
DELETE FROM provconn.provider_health;
\ir doctor/mend.psql

\set check lost_providers
\set status critical
\set name 'a provider that is gone'
SELECT format(': %s of %s$', count(*), :'acme') AS detail FROM provconn.connection WHERE provider_id = :'acme' \gset
SELECT past_triggers('provconn.provider', format('DELETE FROM provconn.provider WHERE provider_id = %L', :'acme')) \g /dev/null
\ir doctor/mend.psql
SELECT is(slug || ' ' || is_active, 'acme false', 'lost_providers: its slug is known, and it is closed')
FROM provconn.provider WHERE provider_id = :'acme';

\set check gone_roles
\set status warning
\set name 'a role that was dropped'
\set detail ': reader of \\d+$'
GRANT USAGE ON SCHEMA "The API" TO PUBLIC;
CREATE ROLE provconn_tap_gone;
SELECT provconn_grant('provconn_tap_gone', 'reader') \g /dev/null
DROP OWNED BY provconn_tap_gone;
DROP ROLE provconn_tap_gone;
\ir doctor/mend.psql

\set check lost_rights
\set name 'rights that were taken by REVOKE'
\set detail ': operator of provconn_tap_a, reader of provconn_tap_b$'
SELECT provconn_grant('provconn_tap_a', 'operator'), provconn_grant('provconn_tap_b', 'reader') \g /dev/null
REVOKE EXECUTE ON FUNCTION provconn_expire_overdue(interval, int) FROM provconn_tap_a;
REVOKE SELECT ON provconn_stats FROM provconn_tap_b;
\ir doctor/mend.psql

\set check capability_objects
\set name 'a function and a view that are not there'
\set detail ': provconn_gone of reader, provconn_gone_view of operator$'
INSERT INTO provconn.capability VALUES ('reader', 'provconn_gone', true), ('operator', 'provconn_gone_view', false);
\ir doctor/mend.psql

\set check audit_months
\set status critical
\set name 'the present month, detached'
SELECT format(': provconn.%1$s is not attached, the present month, provconn.%1$s, is missing$', to_char(now() AT TIME ZONE 'UTC', '"audit_"YYYY_MM')) AS detail,
       to_char(now() AT TIME ZONE 'UTC', '"provconn.audit_"YYYY_MM') AS month \gset
SELECT count(*) AS audited FROM provconn.audit \gset
ALTER TABLE provconn.audit DETACH PARTITION :month;
\ir doctor/mend.psql
SELECT cmp_ok(count(*), '>=', :'audited'::bigint, 'audit_months: its rows are back') FROM provconn.audit;
\set name 'a month that is over'
\set status warning
\set detail ': provconn.audit_2020_12 is not attached$'
SELECT format('CREATE TABLE provconn.audit_2020_12 (LIKE %s INCLUDING ALL)', :'month') \gexec
CREATE TRIGGER provconn_audit_no_truncate BEFORE TRUNCATE ON provconn.audit_2020_12
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_audit();
CREATE TRIGGER provconn_import BEFORE INSERT ON provconn.audit_2020_12
    FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_import();
ALTER TABLE provconn.audit_2020_12 ENABLE ALWAYS TRIGGER provconn_audit_no_truncate, ENABLE ALWAYS TRIGGER provconn_import;
\ir doctor/mend.psql
SELECT is(pg_get_expr(relpartbound, oid), $$FOR VALUES FROM ('01761b99-4c00-7000-8000-000000000000') TO ('0176bb3e-7000-7000-8000-000000000000')$$,
          'audit_months: with the bounds of December 2020')
FROM pg_class WHERE oid = 'provconn.audit_2020_12'::regclass;
SELECT is(provconn_archive_audit('2020-12-24')::text, 'provconn.audit_2020_12', 'audit_months: a month is archived');
SELECT is(status, 'ok', 'audit_months: which is in order') FROM provconn_doctor() WHERE check_name = 'audit_months';
SELECT provconn_attach_audit('provconn.audit_2020_12') \g /dev/null
SELECT is(status, 'ok', 'audit_months: as is its return') FROM provconn_doctor() WHERE check_name = 'audit_months';
\set name 'tables that are no months'
\set status critical
\set detail ': provconn.audit_2099_01 is not attached$'
CREATE TABLE provconn.audit_2099_01 (i int);
CREATE TABLE provconn.audit_2099_13 (i int);
CREATE TABLE provconn.audit_0000_01 (i int);
\ir doctor/mend.psql
SELECT has_table('provconn', 'audit_2099_01_foreign', 'audit_months: renamed');
\set name 'no present month'
\set status warning
\set detail ': the present month, provconn.audit_\\d{4}_\\d\\d, is missing$'
ALTER TABLE provconn.audit DETACH PARTITION :month;
DROP TABLE :month;
\ir doctor/mend.psql

-- Seals that nobody makes.

\set check audit_seals
\set status warning
\set detail 'rows since .* are in no seal'
\set name 'a row of two hours ago'
SELECT ok FROM provconn_record_sync(NULL) \g /dev/null
SELECT tableoid::regclass AS month, audit_id AS id FROM provconn.audit ORDER BY occurred_at DESC LIMIT 1 \gset
SELECT past_triggers(:'month', format('UPDATE %s SET occurred_at = now() - ''2 hours''::interval WHERE audit_id = %L', :'month', :'id')) \g /dev/null
\ir doctor/mend.psql

-- A slot that the library left behind.

\set check worker
\set detail 'replication slot "provconn_reads" keeps WAL that nobody looks at'
\set name 'a slot without a worker'
SELECT pg_create_physical_replication_slot('provconn_reads') \g /dev/null
\ir doctor/mend.psql
SELECT is_empty($$SELECT slot_name FROM pg_replication_slots$$, 'worker: the slot is gone');

-- Whoever may, wherever.

SET ROLE provconn_tap_b;
SELECT throws_ok('SELECT * FROM "The API".provconn_doctor()', '42501', NULL, 'a reader is no operator');
RESET ROLE;
GRANT SELECT ON usual TO provconn_tap_a;
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.no(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'hostile'; END $$;
CREATE OPERATOR hostile.= (FUNCTION = hostile.no, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION hostile.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hostile'; END $$;
GRANT USAGE ON SCHEMA hostile TO provconn_tap_a;
SET ROLE provconn_tap_a;
SELECT is(count(*), (SELECT count(*) FROM usual), 'an operator sees the same')
FROM provconn_doctor() AS d JOIN usual AS u USING (check_name) WHERE d.status = u.status;
SELECT throws_ok('SELECT * FROM provconn.finding', '42501', NULL, 'but not the view');
SET search_path = hostile, pg_catalog;
SELECT pg_catalog.count(*) AS hostile FROM "The API".provconn_doctor() AS d
JOIN public.usual AS u ON u.check_name OPERATOR(pg_catalog.=) d.check_name
WHERE d.status OPERATOR(pg_catalog.=) u.status \gset
RESET ROLE;
SET search_path = public, "The API";
SELECT is(:hostile::bigint, count(*), 'and with a hostile search path') FROM usual;
BEGIN READ ONLY;
SELECT count(*) AS read_only FROM provconn_doctor() AS d JOIN usual AS u USING (check_name) WHERE d.status = u.status \gset
ROLLBACK;
SELECT is(:read_only::bigint, count(*), 'and in a read-only transaction') FROM usual;

-- An error of one check is its finding, and spoils no other.

ALTER VIEW provconn.finding RENAME TO real_finding;
CREATE VIEW provconn.finding AS
SELECT check_name, status, detail,
       CASE check_name WHEN 'ssl' THEN (SELECT 1 / count(*) FROM pg_class WHERE oid = 0)::text ELSE fix END AS fix
FROM provconn.real_finding;
\set check ssl
\set status critical
\set name 'an error'
\set detail '^division by zero$'
\ir doctor/sees.psql
SELECT is(count(*), (SELECT count(*) FROM usual), 'all checks are made') FROM provconn_doctor();
DROP VIEW provconn.finding;
ALTER VIEW provconn.real_finding RENAME TO finding;
\set ON_ERROR_STOP 0
\set VERBOSITY sqlstate
SET statement_timeout = '300ms';
DO 'BEGIN FOR i IN 1..1000 LOOP PERFORM count(*) FROM provconn_doctor(); END LOOP; END';
\set state :LAST_ERROR_SQLSTATE
RESET statement_timeout;
\set ON_ERROR_STOP 1
\set VERBOSITY default
SELECT is(:'state'::text, '57014', 'but a cancelled statement is cancelled');

-- No row of all that came by tells where a key is, or a secret.

SELECT cmp_ok(count(*), '>', 500::bigint, 'many rows were seen') FROM seen;
SELECT is_empty($$SELECT s.check_name, s.detail, s.fix FROM seen AS s
                  WHERE strpos(concat(s.detail, s.fix), nullif(s.key_file, '')) > 0
                     OR strpos(concat(s.detail, s.fix), current_setting('provconn.key_file')) > 0
                     OR strpos(concat(s.detail, s.fix), current_setting('data_directory')) > 0
                     OR strpos(concat(s.detail, s.fix), rtrim(pg_read_file(current_setting('provconn.key_file')), E'\n')) > 0
                     OR concat(s.detail, s.fix) LIKE '%hush%'$$, 'and none tells a path, a key or a secret');

SELECT * FROM finish();

COPY (SELECT WHERE false) TO PROGRAM 'mv postgresql.auto.conf.provconn_tap postgresql.auto.conf';
SELECT pg_reload_conf() \g /dev/null
SELECT 1 FROM (SELECT provconn_revoke('provconn_tap_a', 'operator'), provconn_revoke('provconn_tap_b', 'reader')) AS r \g /dev/null
\set gone `rm -f -- :'fix_file'`
\c :first_database
SET client_min_messages = warning;
DROP DATABASE provconn_doctor;
DROP ROLE provconn_tap_a, provconn_tap_b;
