-- The key file and the data keys: what is refused, what is said, and that a
-- change takes effect.
\set SHOW_CONTEXT never

SELECT t.active(t.u('keys')) AS id \gset
SELECT format('SELECT provconn_reveal(%L, %L)', t.u('keys'), :'id') AS reveal \gset
SELECT current_setting('provconn.key_file') AS right_file, current_setting('data_directory') || '/provconn_regress_keys' AS dir \gset
SELECT coalesce(m[2]::int, 1) AS master, m[3] AS hex
FROM regexp_match(pg_read_file(:'right_file'), '(([0-9]+):)?([0-9A-Fa-f]{64})\s*$') AS m \gset
SELECT format('cat > /dev/null; rm -rf %L && mkdir %L', :'dir', :'dir') AS prepare, format('cat > /dev/null; rm -rf %L', :'dir') AS clean \gset
COPY (SELECT) TO PROGRAM :'prepare';
CREATE TEMP TABLE place AS SELECT :'dir' AS dir, :'reveal' AS reveal, :'hex' AS hex, :master AS master;

-- Writes a key file and reveals with it; the setting is put back.
CREATE FUNCTION pg_temp.point(path text) RETURNS void LANGUAGE sql AS $$ SELECT set_config('provconn.key_file', path, false) $$;
CREATE FUNCTION pg_temp.written(content text, mode text DEFAULT '600') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	path text := dir || '/key' FROM pg_temp.place;
BEGIN
	EXECUTE format('COPY (SELECT line FROM regexp_split_to_table(%L, E''\n'') WITH ORDINALITY AS l (line, n) ORDER BY n) TO PROGRAM %L', content,
		format('umask 077; rm -f %1$L; cat > %1$L; chmod %2$s %1$L', path, mode));
	RETURN path;
END $$;
CREATE FUNCTION pg_temp.with_file(path text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	was text := current_setting('provconn.key_file');
	fault text;
	said text;
BEGIN
	PERFORM pg_temp.point(path);
	fault := t.fault(reveal) FROM pg_temp.place;
	said := t.everything_said(reveal) FROM pg_temp.place;
	PERFORM pg_temp.point(was);
	RETURN fault || CASE WHEN said LIKE '%provconn_regress%' OR said ~ '[0-9A-Fa-f]{8}' AND said NOT LIKE '%2147483647%' THEN ' LEAK ' || said ELSE '' END;
END $$;
SELECT pg_temp.with_file(pg_temp.written(master || ':' || hex)) FROM place;

-- none, one that is not there, one that is no file
SELECT pg_temp.with_file('');
SELECT pg_temp.with_file(dir || '/missing') FROM place;
SELECT pg_temp.with_file(dir) FROM place;
SELECT pg_temp.with_file('/dev/null');
SELECT format('cat > /dev/null; mkfifo -m 600 %L', :'dir' || '/fifo') AS fifo \gset
COPY (SELECT) TO PROGRAM :'fifo';
SELECT pg_temp.with_file(dir || '/fifo') FROM place;
-- readable or writable, or worse, by anybody else
SELECT mode, split_part(pg_temp.with_file(pg_temp.written(master || ':' || hex, mode)), E'\n', 1) AS result
FROM place, unnest(ARRAY['600', '400', '644', '640', '604', '660', '620', '602', '610', '700', '500', '601', '4600', '2600', '1600']) WITH ORDINALITY AS m (mode, n) ORDER BY n;
SELECT pg_temp.with_file(pg_temp.written(master || ':' || hex, '640')) FROM place;

-- a good file may have comments, blanks, capitals, more keys
SELECT n, split_part(pg_temp.with_file(pg_temp.written(replace(replace(replace(content, 'ID', master::text), 'HEX', hex), 'OTHER', repeat('0b', 32)))), E'\n', 1) AS result
FROM place, (VALUES
	(1, 'ID:HEX'), (2, E'# comment\n\nID:HEX\n\n'), (3, E'  ID:HEX  '), (4, E'9999:OTHER\nID:HEX'), (5, E'ID:HEX\n9999:OTHER')) AS v (n, content) ORDER BY n;
SELECT pg_temp.with_file(pg_temp.written(master || ':' || upper(hex))) FROM place;
SELECT master <> 1 OR pg_temp.with_file(pg_temp.written(hex)) = 'ok' AS bare_line_is_key_1 FROM place;
-- a bad one is told by its line
SELECT n, split_part(pg_temp.with_file(pg_temp.written(replace(replace(replace(content, 'ID', master::text), 'HEX', hex), 'OTHER', repeat('0b', 32)))), E'\n', 1) AS result
FROM place, (VALUES
	(1, ''), (2, E'# only a comment\n'), (3, 'x'), (4, E'ID:HEX\nx'), (5, 'ID:HEX0'), (6, 'ID: HEX'), (7, 'ID:' || repeat('0g', 32)), (8, '0:OTHER'), (9, '-1:OTHER'),
	(10, '2147483648:OTHER'), (11, 'one:OTHER'), (12, ':OTHER'), (13, E'ID:HEX\nID:OTHER'), (14, E'# c\n\nID:HEX\nID:HEX'), (15, 'ID:HEX:HEX'), (16, 'ID:' || repeat('0', 63)),
	(17, '0x1:OTHER')) AS v (n, content) ORDER BY n;
SELECT pg_temp.with_file(pg_temp.written('nonsense'));
SELECT split_part(pg_temp.with_file(pg_temp.written(string_agg((10000 + i) || ':' || repeat('0c', 32), E'\n' ORDER BY i))), E'\n', 1) AS too_many FROM generate_series(1, 65) AS i;

-- the wrong key, and none of that id
SELECT replace(pg_temp.with_file(pg_temp.written(master || ':' || repeat('0a', 32))), 'master key ' || master || ' ', 'master key ID ') FROM place;
SELECT replace(pg_temp.with_file(pg_temp.written((master + 1) || ':' || hex)), 'master key ' || master || ',', 'master key ID,') FROM place;
-- the last line is right
SELECT pg_temp.with_file(:'right_file');

-- A change takes effect at once, both ways; what needs no key goes on without.
SELECT ok FROM provconn_reveal(t.u('keys'), :'id');
SELECT pg_temp.point(dir || '/missing') FROM place;
SELECT t.code(:'reveal') AS reveal,
       t.code(format('SELECT provconn_connect(provconn_connect_command(%L, %L, ''schwab'', provconn_credentials(''s'', ''custom'')))', t.u('keys keyless'), t.p('schwab'))) AS connect,
       t.code(format('SELECT provconn_refresh(provconn_refresh_command(%L, provconn_credentials(''s'', ''custom'')))', :'id')) AS refresh;
SELECT (SELECT count(*) FROM provconn_connections WHERE user_id = t.u('keys keyless')) AS connections, (SELECT count(*) FROM provconn_audit_log WHERE user_id = t.u('keys keyless')) AS audits;
SELECT r.ok, r.connection_id AS pending FROM provconn_initiate(t.u('keys keyless'), t.p('schwab'), 'schwab') AS r \gset
SELECT :'ok' AS initiate,
       (provconn_disconnect(provconn_disconnect_command(t.u('keys keyless'), :'pending'))).ok AS disconnect,
       (provconn_connect(provconn_connect_command(t.u('keys keyless'), t.p('schwab'), 'wrong', provconn_credentials('s', 'custom')))).error_code AS connect,
       (provconn_refresh(provconn_refresh_command(:'id', NULL))).error_code AS refresh,
       (provconn_reveal(t.u('keys keyless'), :'id')).error_code AS reveal;
SELECT pg_temp.point(:'right_file');
SELECT ok FROM provconn_reveal(t.u('keys'), :'id');

-- The setting: an absolute path, a superuser's to set and to see.
SELECT t.fault('SET provconn.key_file = ''relative/key''');
CREATE ROLE regress_provconn_plain;
SET ROLE regress_provconn_plain;
SELECT t.code($$SET provconn.key_file = '/tmp/mine'$$) AS set, t.code('SHOW provconn.key_file') AS show,
       t.code($$SELECT current_setting('provconn.key_file')$$) AS current_setting;
SELECT count(setting) AS shown FROM pg_settings WHERE name = 'provconn.key_file';
RESET ROLE;
SELECT name, context, vartype, unit FROM pg_settings WHERE name IN ('provconn.key_file', 'provconn.idempotency_retention') ORDER BY name COLLATE "C";
SELECT t.code('SET provconn.no_such_setting = 1') AS reserved;
-- What an ordinary user put in place before the library was loaded is dropped.
\c -
\set SHOW_CONTEXT never
SET SESSION AUTHORIZATION regress_provconn_plain;
SELECT t.code($$SET provconn.idempotency_retention = '1s'$$) IN ('ok', '42501') AS tried,
       t.code($$SET provconn.key_file = '/tmp/mine'$$) IN ('ok', '42501') AS tried;
RESET SESSION AUTHORIZATION;
SET client_min_messages = error;
SELECT provconn_shard(t.u('keys')) IS NOT NULL AS loaded;
RESET client_min_messages;
SHOW provconn.idempotency_retention;
SELECT current_setting('provconn.key_file') = :'right_file' AS right_file, t.code(:'reveal') AS reveal;
DROP ROLE regress_provconn_plain;

-- Data keys: one is made at first use, wrapped by the file's last key.  They are
-- never changed and never deleted.
SELECT t.fault('DELETE FROM provconn.data_key');
SELECT t.message('UPDATE provconn.data_key SET retired_at = now()') AS retire, t.message('UPDATE provconn.data_key SET key_id = key_id') AS same, t.message('TRUNCATE provconn.data_key') AS truncate;
SET session_replication_role = replica;
SELECT t.code('DELETE FROM provconn.data_key') AS delete, t.code('UPDATE provconn.data_key SET retired_at = now()') AS retire, t.code('TRUNCATE provconn.data_key') AS truncate;
RESET session_replication_role;
-- What is said where somebody did it all the same.  All of this is rolled back,
-- and what the transaction made is forgotten with it.
CREATE FUNCTION pg_temp.point(path text) RETURNS void LANGUAGE sql AS $$ SELECT set_config('provconn.key_file', path, false) $$;
CREATE FUNCTION pg_temp.with_row(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id uuid := t.active(t.u('with row'));
	said text;
BEGIN
	ALTER TABLE provconn.data_key DISABLE TRIGGER USER;
	EXECUTE 'UPDATE provconn.data_key SET ' || change;
	PERFORM pg_temp.point(current_setting('provconn.key_file'));
	said := t.fault(format('SELECT provconn_reveal(%L, %L)', t.u('with row'), id));
	RAISE EXCEPTION 'back' USING ERRCODE = 'P0001', DETAIL = said;
EXCEPTION WHEN raise_exception THEN
	GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
	RETURN regexp_replace(said, 'master key [0-9]+ ', 'master key ID ');
END $$;
SELECT count(*) AS keys, min(key_id) AS id FROM provconn.data_key;
SELECT n, change, pg_temp.with_row(change) AS fault
FROM (VALUES (1, 'wrapped = set_byte(wrapped, 50, 255 - get_byte(wrapped, 50))'), (2, 'wrapped = ''x'''), (3, 'wrapped = set_byte(wrapped, 4, get_byte(wrapped, 4) # 1)'),
             (4, 'check_value = ''12345678'''), (5, 'check_value = ''x'''), (6, 'master_check = ''12345678'''), (7, 'master_check = ''x'''), (8, 'key_id = 2')) AS v (n, change) ORDER BY n;
SELECT t.code(:'reveal') AS reveal;
-- the wrapped key of one row does not open as another's
BEGIN;
ALTER TABLE provconn.data_key DISABLE TRIGGER USER;
UPDATE provconn.data_key SET key_id = 7;
SELECT pg_temp.point(:'right_file');
SELECT t.message(format('SELECT t.active(t.u(''keys''))'));
ROLLBACK;
SELECT pg_temp.point(:'right_file');
SELECT t.code(:'reveal') AS reveal;
-- the row lost, a new key made in its place: what the old one sealed stays shut
BEGIN;
ALTER TABLE provconn.data_key DISABLE TRIGGER USER;
DELETE FROM provconn.data_key;
SELECT pg_temp.point(:'right_file');
SELECT t.message(:'reveal') AS lost;
SELECT t.active(t.u('keys'), NULL, 'under a new key') AS newer \gset
SELECT count(*) AS keys, min(key_id) AS id FROM provconn.data_key;
SELECT secret_text FROM provconn_reveal(t.u('keys'), :'newer');
SELECT t.message(:'reveal') AS shut;
ROLLBACK;
SELECT t.message(:'reveal') AS reveal;
-- a key that a savepoint took back is not used
BEGIN;
SAVEPOINT s;
SELECT provconn_rotate_key();
SELECT t.active(t.u('keys'), NULL, 'second') AS newer \gset
SELECT key_id, state FROM provconn_keys ORDER BY key_id;
SELECT get_byte(credential, 4) AS sealed_by FROM provconn.connection WHERE connection_id = :'newer';
SELECT secret_text FROM provconn_reveal(t.u('keys'), :'newer');
SELECT ok AS older FROM provconn_reveal(t.u('keys'), :'id');
ROLLBACK TO s;
SELECT provconn_rotate_key();
SELECT t.active(t.u('keys'), NULL, 'second again') AS newer \gset
SELECT key_id, state FROM provconn_keys ORDER BY key_id;
SELECT secret_text FROM provconn_reveal(t.u('keys'), :'newer');
ROLLBACK;
SELECT t.active(t.u('keys'), NULL, 'first again') AS newer \gset
SELECT get_byte(credential, 4) AS sealed_by FROM provconn.connection WHERE connection_id = :'newer';
SELECT secret_text FROM provconn_reveal(t.u('keys'), :'newer');
SELECT key_id FROM provconn.data_key;
-- a new data key is wrapped by the last line, an old one opens under the earlier
SELECT format('umask 077; cat > %L', :'dir' || '/two') AS two, :'dir' || '/two' AS two_file \gset
COPY (VALUES (:'master' || ':' || :'hex'), ('9999:' || repeat('0d', 32))) TO PROGRAM :'two';
SELECT format('umask 077; cat > %L', :'dir' || '/one') AS one, :'dir' || '/one' AS one_file \gset
COPY (VALUES ('9999:' || repeat('0d', 32))) TO PROGRAM :'one';
BEGIN;
SELECT pg_temp.point(:'two_file');
SELECT ok FROM provconn_reveal(t.u('keys'), :'id');
SELECT provconn_rotate_key();
SELECT t.active(t.u('keys'), NULL, 'wrapped by 9999') AS newer \gset
SELECT key_id, master_key_id = 9999 AS by_the_last FROM provconn.data_key ORDER BY key_id;
SELECT a.ok, b.secret_text FROM provconn_reveal(t.u('keys'), :'id') AS a, provconn_reveal(t.u('keys'), :'newer') AS b;
SELECT pg_temp.point(:'right_file');
SELECT t.message(format('SELECT provconn_reveal(%L, %L)', t.u('keys'), :'newer'));
SELECT t.code(:'reveal') AS older;
-- the new master key wraps the old data keys, too: then the old one may go
SELECT t.code('SELECT provconn_rewrap_keys()') AS without_the_new_one;
SELECT pg_temp.point(:'one_file');
SELECT replace(t.message(:'reveal'), 'master key ' || :'master' || ',', 'master key ID,') AS too_early;
SELECT replace(t.message('SELECT provconn_rewrap_keys()'), 'master key ' || :'master' || ',', 'master key ID,') AS without_the_old_one;
SELECT pg_temp.point(:'two_file');
SELECT provconn_rewrap_keys();
SELECT provconn_rewrap_keys() AS again;
SELECT key_id, master_key_id = 9999 AS by_the_last, substr(wrapped, 2, 4) = int4send(9999) AS within FROM provconn.data_key ORDER BY key_id;
SELECT pg_temp.point(:'one_file');
SELECT a.ok, b.secret_text FROM provconn_reveal(t.u('keys'), :'id') AS a, provconn_reveal(t.u('keys'), :'newer') AS b;
SELECT action, reason FROM provconn_audit_log WHERE action IN ('rotate_key', 'rewrap_keys') AND transaction_id = pg_current_xact_id() ORDER BY occurred_at;
ROLLBACK;
SELECT pg_temp.point(:'right_file');
SELECT t.code(:'reveal') AS reveal;
-- a program that would print them was not run: the library came too late
SELECT pg_temp.point('');
SELECT t.fault(:'reveal');
SELECT t.code($$SET provconn.key_command = 'cat /nowhere'$$) AS set, context IN ('sighup', 'postmaster') AS not_in_a_session FROM pg_settings WHERE name = 'provconn.key_command';
SELECT pg_temp.point(:'right_file');
SELECT t.code(:'reveal') AS reveal;
SELECT count(*) AS guards, bool_and(tgenabled = 'A') AS always FROM pg_trigger WHERE tgrelid = 'provconn.data_key'::regclass;
COPY (SELECT) TO PROGRAM :'clean';
