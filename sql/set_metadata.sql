-- provconn_set_metadata: a JSON object of the application's own.
\set SHOW_CONTEXT never

-- what changes, and that a worker's lease does not
SELECT t.active(t.u('metadata'), 'IRA') AS id \gset
UPDATE provconn.connection SET last_sync_at = '2026-01-01', failure_count = 2, failing_since = '2026-01-01', last_failure = 'x',
       next_attempt_at = '2026-01-01', lease = t.u('lease'), leased_by = 'w', leased_until = '2100-01-01' WHERE connection_id = :'id';
SELECT metadata FROM provconn_connections WHERE connection_id = :'id';
SELECT (x.r).ok, (x.r).connection_id = :'id' AS id, (x.r).status, (x.r).version, (x.r).error_code, (x.r).message, (x.r).needs_user_action, x.changed, x.audit
FROM t.try(format('provconn_set_metadata(user_id => %L, connection_id => %L, metadata => ''{"a": 1, "b": {"c": [1, 2]}}'')', t.u('metadata'), :'id'), :'id') AS x \gx
SELECT metadata FROM provconn_connections WHERE connection_id = :'id';
SELECT l.old_status, l.new_status, l.version, l.seq = c.audit_seq AS numbered, l.occurred_at = c.updated_at AS same_time, l.reason, l.provider_slug, l.user_id = c.user_id AS "user", l.owner_id
FROM provconn_audit_log AS l JOIN provconn.connection AS c USING (connection_id) WHERE l.action = 'set_metadata' AND l.connection_id = :'id';
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')), t.u('lease'));
-- replaced, not merged; {} is an object too
CREATE FUNCTION pg_temp.stored(id uuid, wanted jsonb, OUT ok boolean, OUT error_code text, OUT changed text, OUT metadata jsonb) LANGUAGE plpgsql AS $$
DECLARE
	x record := t.try(format('provconn_set_metadata(%L, %L, %L)', t.u('metadata'), id, wanted), id);
BEGIN
	ok := (x.r).ok; error_code := (x.r).error_code; changed := x.changed; metadata := t.row_of(id) -> 'metadata';
END $$;
SELECT n, r.* FROM (VALUES (1, '{"c": 3}'::jsonb), (2, '{"b": null}'), (3, '{}'), (4, '{"a": 1, "a": 2}'), (5, '{"a": 2}')) AS v (n, m), pg_temp.stored(:'id', m) AS r ORDER BY n;
-- objects alone
SELECT n, m, (x.r).ok, (x.r).error_code, (x.r).message, x.changed, x.audit
FROM (VALUES (1, NULL), (2, 'null'), (3, '[]'), (4, '[{"a": 1}]'), (5, '"a"'), (6, '1'), (7, 'true'), (8, '""')) AS v (n, m), t.try(format('provconn_set_metadata(%L, %L, %L)', t.u('metadata'), :'id', m), :'id') AS x ORDER BY n;

-- Size: up to 16384 bytes of metadata::text.  The padded value is that long, to
-- the byte, and one more byte is too many, whatever the value is made of.
CREATE FUNCTION pg_temp.padded(m jsonb, bytes int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT m || jsonb_build_object('zz', repeat('x', bytes - octet_length((m || '{"zz": ""}')::text)))
$$;
CREATE TEMP TABLE shape (n serial, what text, m jsonb);
INSERT INTO shape (what, m) VALUES
	('nothing', '{}'), ('strings', '{"a": "b", "": "", "c d": " "}'), ('numbers', '{"a": 0, "b": -1, "c": 1.50, "d": 1e3, "e": 1e-20, "f": 123456789012345678901234567890.12345, "g": -0.0}'),
	('the others', '{"a": null, "b": true, "c": false}'), ('arrays', '{"a": [], "b": [[]], "c": [1, [2, [3]]], "d": [[], [[], 1], []]}'), ('objects', '{"a": {}, "b": {"c": {}}, "d": {"e": {"f": {"g": 1}}, "h": {}}}'),
	('mixed', '{"a": [{"b": [{"c": []}, {}, null]}, "x", -1.5, {"d": {"e": [true]}}], "f": {}}'),
	('escapes', '{"a\"b": "c\"d", "e\\": "\\", "f\n": "\b\f\n\r\t", "g": "/", "h": "\u0001\u001f\u007f"}'),
	('é', jsonb_build_object(repeat(chr(233), 10), repeat(chr(233), 1000))), ('keys', jsonb_build_object(repeat(chr(128273), 100), chr(128273), 'k' || chr(8232), chr(8233))),
	('many', (SELECT jsonb_object_agg('k' || i, i) FROM generate_series(1, 900) AS i)), ('a long list', (SELECT jsonb_build_object('a', jsonb_agg(CASE i % 4 WHEN 0 THEN to_jsonb(i) WHEN 1 THEN '"x"' WHEN 2 THEN '{}' ELSE '[null]' END)) FROM generate_series(1, 1500) AS i)),
	('deep', (repeat('{"a":', 1000) || '1' || repeat('}', 1000))::jsonb), ('deep list', ('{"a":' || repeat('[', 2000) || repeat(']', 2000) || '}')::jsonb),
	('a long number', '{"a": 1e16000}'), ('a small number', '{"a": 1e-16000}');
SELECT what, octet_length(pg_temp.padded(m, 16384)::text) AS bytes, x.ok, x.metadata = pg_temp.padded(m, 16384) AND x.metadata::text = pg_temp.padded(m, 16384)::text AS as_wanted,
       octet_length(pg_temp.padded(m, 16385)::text) AS bytes_more, y.ok, y.error_code, y.changed
FROM shape, pg_temp.stored(:'id', pg_temp.padded(m, 16384)) AS x, pg_temp.stored(:'id', pg_temp.padded(m, 16385)) AS y ORDER BY n;
-- it is bytes that count: as many characters may be too many
SELECT char_length(m::text) AS characters, octet_length(m::text) AS bytes, r.ok, r.error_code
FROM (VALUES (1, jsonb_build_object('a', repeat('e', 8200))), (2, jsonb_build_object('a', repeat(chr(233), 8200)))) AS v (n, m), provconn_set_metadata(t.u('metadata'), :'id', m) AS r ORDER BY n;
-- and those of the text, not those of the argument as it was written or is stored
SELECT n, octet_length(m) AS written, octet_length(m::jsonb::text) AS text, r.ok FROM (VALUES (1, '{' || repeat(' ', 20000) || '}'), (2, '{"a": 0.' || repeat('0', 16376) || '}'), (3, '{"a": 0.' || repeat('0', 16375) || '}'),
	(4, '{"a": "' || repeat('\u0061', 16376) || '"}'), (5, '{' || repeat('"a": 1, ', 3000) || '"a": 2}'), (6, '{"a":[' || repeat('1,', 5457) || '1]}'), (7, '{"a":[' || repeat('1,', 5458) || '1]}')) AS v (n, m),
     provconn_set_metadata(t.u('metadata'), :'id', m::jsonb) AS r ORDER BY n;
-- what is much too long is refused without being written out, which for the
-- last one would not end in a text but in an error
SET statement_timeout = '60s';
SELECT n, r.ok, r.error_code FROM (VALUES (1, '{"a": 1e131071}'::jsonb), (2, '{"a": 1e-16383}'), (3, '{"a": -1e131071, "b": 1}'), (4, jsonb_build_object('a', repeat('x', 10000000))), (5, jsonb_build_object(repeat('x', 10000000), 1)),
             (6, (SELECT jsonb_object_agg(i, i) FROM generate_series(1, 100000) AS i))) AS v (n, m), provconn_set_metadata(t.u('metadata'), :'id', m) AS r ORDER BY n;
CREATE TEMP TABLE huge AS SELECT jsonb_build_object('a', jsonb_agg('1e131071'::jsonb)) AS m FROM generate_series(1, 10000);
SELECT r.ok, r.error_code FROM huge, provconn_set_metadata(t.u('metadata'), :'id', m) AS r;
RESET statement_timeout;

-- metadata that is stored out of line stays as it is
INSERT INTO huge SELECT jsonb_object_agg('k' || i, md5(i::text)) FROM generate_series(1, 370) AS i;
SELECT r.ok, octet_length(m::text) > 15000 AS long FROM huge, provconn_set_metadata(t.u('metadata'), :'id', m) AS r WHERE m ? 'k1';
SELECT r.ok FROM provconn_rename(t.u('metadata'), :'id', 'Roth') AS r;
SELECT r.ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom'))) AS r;
SELECT c.metadata = m AS same FROM huge, provconn_connections AS c WHERE c.connection_id = :'id' AND m ? 'k1';

-- Order: user, exists, owned, value, state.  Every combination; the earliest
-- that fails gives the code.
CREATE TEMP TABLE tried (whose text, connection text, kind text, expected text, r provconn_result, changed text, audit text);
DO $$
DECLARE
	whose text; connection text; kind text; id uuid; asked uuid; owner uuid; was jsonb; x record;
BEGIN
	FOR whose, connection, kind IN
		SELECT * FROM unnest(ARRAY['nobody', 'stranger', 'owner']) AS a,
			unnest(ARRAY['null', 'unknown', 'pending', 'active', 'expired', 'revoked', 'failed', 'disconnected']) AS b,
			unnest(ARRAY['null', 'list', 'long', 'object', 'empty']) AS c
	LOOP
		owner := t.u(concat_ws(' ', 'metadata order', whose, connection, kind));
		id := t.in_status(owner, CASE WHEN connection IN ('null', 'unknown') THEN 'active' ELSE connection END::provconn_status);
		asked := CASE connection WHEN 'null' THEN NULL WHEN 'unknown' THEN t.u('no such connection') ELSE id END;
		was := t.row_of(id);
		x := t.try(format('provconn_set_metadata(%L, %L, %L)', CASE whose WHEN 'stranger' THEN t.u('stranger') WHEN 'owner' THEN owner END, asked,
			CASE kind WHEN 'list' THEN '[]' WHEN 'long' THEN pg_temp.padded('{}', 16385)::text WHEN 'object' THEN '{"a": 1}' WHEN 'empty' THEN '{}' END), id);
		INSERT INTO tried VALUES (whose, connection, kind,
			CASE WHEN whose = 'nobody' THEN 'invalid_user' WHEN connection IN ('null', 'unknown') THEN 'connection_not_found' WHEN whose = 'stranger' THEN 'not_owned_by_user'
			     WHEN kind IN ('null', 'list', 'long') THEN 'invalid_metadata' WHEN connection = 'disconnected' THEN 'invalid_transition' END, x.r, x.changed, x.audit);
		IF (x.r).connection_id IS DISTINCT FROM asked OR (x.r).ok <> ((x.r).error_code IS NULL) OR (x.r).needs_user_action IS DISTINCT FROM false THEN
			RAISE EXCEPTION '%', x.r;
		END IF;
		-- status and version stay, and are told to the owner alone
		IF ((x.r).status::text IS DISTINCT FROM CASE WHEN whose = 'owner' AND connection NOT IN ('null', 'unknown') THEN was ->> 'status' END
			OR (x.r).version::text IS DISTINCT FROM CASE WHEN whose = 'owner' AND connection NOT IN ('null', 'unknown') THEN was ->> 'version' END) THEN
			RAISE EXCEPTION '%', x.r;
		END IF;
	END LOOP;
END $$;
SELECT count(*) AS combinations, count(*) FILTER (WHERE (r).error_code IS DISTINCT FROM expected) AS wrong, count(*) FILTER (WHERE (changed = 'untouched') = (r).ok) AS touched_by_refusal
FROM tried;
SELECT whose, connection, kind, expected, (r).error_code FROM tried WHERE (r).error_code IS DISTINCT FROM expected;
SELECT (r).error_code, (r).message, audit, count(*), string_agg(DISTINCT changed, ' / ') AS changed FROM tried GROUP BY 1, 2, 3 ORDER BY (r).error_code COLLATE "C" NULLS FIRST \gx
SELECT connection, (r).ok, (r).error_code FROM tried WHERE whose = 'owner' AND kind = 'object' AND connection NOT IN ('null', 'unknown') ORDER BY connection COLLATE "C";
SELECT DISTINCT user_id = t.u('stranger') AS claimed, old_status, new_status, version, seq FROM provconn_audit_log
WHERE action = 'set_metadata' AND owner_id = t.u('metadata order stranger active object');
-- the audit keeps none of it
SELECT count(*) AS leaks FROM provconn.audit AS a WHERE action = 'set_metadata' AND a::text ~ 'xxxx|"a"';
-- rolled back, it is as it was
SELECT t.row_of(:'id') AS was \gset
BEGIN;
SELECT ok FROM provconn_set_metadata(t.u('metadata'), :'id', '{}');
ROLLBACK;
SELECT t.row_of(:'id') = :'was'::jsonb AS untouched;
DROP TABLE tried, shape, huge;
