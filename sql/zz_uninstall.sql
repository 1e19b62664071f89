-- DROP EXTENSION: everything goes, and all may be made again at once.
\set SHOW_CONTEXT never

-- what the tests made
SET client_min_messages = warning;
DROP SCHEMA t CASCADE;
RESET client_min_messages;
SELECT count(*) AS leftover_roles FROM pg_roles WHERE rolname LIKE 'regress\_provconn\_%';
SELECT count(*) AS grants FROM provconn.role_grant;

-- a session that has used all of it
SELECT r.ok FROM provconn_providers AS p, provconn_connect(provconn_connect_command('00000000-0000-0000-0000-00000000000a', p.provider_id, p.slug, provconn_credentials('s', 'custom'))) AS r WHERE p.slug = 'schwab';
SELECT count(*) > 0 AS rows, count(DISTINCT tableoid) > 0 AS partitions FROM provconn.audit;
CREATE FUNCTION pg_temp.leftovers(OUT classes bigint, OUT functions bigint, OUT types bigint, OUT schemas bigint, OUT triggers bigint, OUT casts bigint) LANGUAGE sql AS $$
	SELECT (SELECT count(*) FROM pg_class AS c LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'provconn' OR c.relname LIKE 'provconn%' OR c.relname LIKE 'audit\_%'),
	       (SELECT count(*) FROM pg_proc AS p LEFT JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = 'provconn' OR p.proname LIKE 'provconn%'),
	       (SELECT count(*) FROM pg_type AS t LEFT JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE n.nspname = 'provconn' OR t.typname ~ '^_?provconn'),
	       (SELECT count(*) FROM pg_namespace WHERE nspname = 'provconn'), (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%provconn%'),
	       (SELECT count(*) FROM pg_cast AS c LEFT JOIN pg_type AS t ON t.oid = c.casttarget WHERE t.oid IS NULL)
$$;
SELECT classes > 0 AS classes, functions > 0 AS functions, types > 0 AS types, schemas, triggers > 0 AS triggers, casts FROM pg_temp.leftovers();

-- rolled back, nothing has happened
BEGIN;
DROP EXTENSION provconn;
ROLLBACK;
SELECT count(*) FROM provconn_transitions;
SELECT r.ok FROM provconn_providers AS p, provconn_initiate('00000000-0000-0000-0000-00000000000a', p.provider_id, p.slug) AS r WHERE p.slug = 'schwab';

DROP EXTENSION provconn;
SELECT * FROM pg_temp.leftovers();
SELECT extname FROM pg_extension WHERE extname IN ('provconn', 'pgcrypto');

-- the same session makes it again and uses it, elsewhere this time
CREATE SCHEMA again;
CREATE EXTENSION provconn SCHEMA again;
SELECT again.provconn_register_provider('schwab', 'Schwab', 'oauth2') AS provider \gset
SELECT r.ok, r.version, r.connection_id AS id FROM again.provconn_connect(again.provconn_connect_command('00000000-0000-0000-0000-00000000000a', :'provider', 'schwab', again.provconn_credentials('s', 'custom'))) AS r \gset
SELECT :'ok' AS ok, r.ok AS refreshed, r.version FROM again.provconn_refresh(again.provconn_refresh_command(:'id', again.provconn_credentials('s2', 'custom'))) AS r;
SELECT secret_text FROM again.provconn_reveal('00000000-0000-0000-0000-00000000000a', :'id');
SELECT seq, action FROM again.provconn_audit_log WHERE connection_id = :'id' AND seq IS NOT NULL ORDER BY seq;
SELECT key_id FROM provconn.data_key;
SELECT provider_slug, status FROM again.provconn_connections;
DROP EXTENSION provconn;
DROP SCHEMA again;
-- in one transaction, there and back
BEGIN;
CREATE EXTENSION provconn;
SELECT provconn_register_provider('schwab', 'Schwab', 'oauth2') AS provider \gset
SELECT r.ok FROM provconn_connect(provconn_connect_command('00000000-0000-0000-0000-00000000000a', :'provider', 'schwab', provconn_credentials('s', 'custom'))) AS r;
DROP EXTENSION provconn;
COMMIT;
SELECT * FROM pg_temp.leftovers();
-- without the extension the library's functions are gone, and it says so if one is made by hand
CREATE FUNCTION pg_temp.orphan(uuid, uuid, text) RETURNS record LANGUAGE c AS '$libdir/provconn', 'provconn_reveal';
SELECT pg_temp.orphan(NULL, NULL, NULL);
\echo :LAST_ERROR_SQLSTATE

-- the key that 00_install made, where it made one
SELECT format('cat > /dev/null; rm -f %L', current_setting('data_directory') || '/provconn_regress.key') AS clean \gset
COPY (SELECT) TO PROGRAM :'clean';
DROP EXTENSION pgcrypto;
