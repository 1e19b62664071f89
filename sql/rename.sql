-- provconn_rename: another alias for a connection, or none.
\set SHOW_CONTEXT never

-- what changes, and that a worker's lease does not
SELECT t.active(t.u('rename'), 'IRA') AS id \gset
UPDATE provconn.connection SET last_sync_at = '2026-01-01', metadata = '{"a": 1}', failure_count = 2, failing_since = '2026-01-01', last_failure = 'x',
       next_attempt_at = '2026-01-01', lease = t.u('lease'), leased_by = 'w', leased_until = '2100-01-01' WHERE connection_id = :'id';
SELECT (x.r).ok, (x.r).connection_id = :'id' AS id, (x.r).status, (x.r).version, (x.r).error_code, (x.r).message, (x.r).needs_user_action, x.changed, x.audit
FROM t.try(format('provconn_rename(user_id => %L, connection_id => %L, alias => ''Roth IRA'')', t.u('rename'), :'id'), :'id') AS x \gx
SELECT alias FROM provconn_connections WHERE connection_id = :'id';
SELECT l.old_status, l.new_status, l.version, l.seq = c.audit_seq AS numbered, l.occurred_at = c.updated_at AS same_time, l.reason, l.provider_slug, l.user_id = c.user_id AS "user", l.owner_id
FROM provconn_audit_log AS l JOIN provconn.connection AS c USING (connection_id) WHERE l.action = 'rename' AND l.connection_id = :'id';
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')), t.u('lease'));
-- aliases: null is none; up to 100 characters, however long each is; an empty one is one
CREATE FUNCTION pg_temp.renamed(id uuid, wanted text, OUT ok boolean, OUT error_code text, OUT changed text, OUT as_wanted boolean, OUT characters int, OUT bytes int) LANGUAGE plpgsql AS $$
DECLARE
	x record := t.try(format('provconn_rename(%L, %L, %L)', t.u('rename'), id, wanted), id);
	alias text := t.row_of(id) ->> 'alias';
BEGIN
	ok := (x.r).ok; error_code := (x.r).error_code; changed := x.changed; as_wanted := alias IS NOT DISTINCT FROM wanted; characters := char_length(alias); bytes := octet_length(alias);
END $$;
SELECT n, r.* FROM (VALUES (1, NULL), (2, NULL), (3, ''), (4, 'x'), (5, 'x'), (6, repeat('a', 100)), (7, repeat('a', 101)), (8, repeat(chr(233), 100)), (9, repeat(chr(233), 101)),
	(10, repeat(chr(128273), 100)), (11, repeat(chr(128273), 101)), (12, repeat('z', 1000000)), (13, E' a\n%s"''\\')) AS v (n, alias), pg_temp.renamed(:'id', v.alias) AS r ORDER BY n;
-- aliases need not differ
SELECT t.active(t.u('rename'), 'IRA') AS other \gset
SELECT ok FROM provconn_rename(t.u('rename'), :'id', 'IRA');
SELECT count(*) FROM provconn_connections WHERE user_id = t.u('rename') AND alias = 'IRA';

-- Order: user, exists, owned, value, state.  Every combination; the earliest
-- that fails gives the code.
CREATE TEMP TABLE tried (whose text, connection text, alias text, expected text, r provconn_result, changed text, audit text);
DO $$
DECLARE
	whose text; connection text; kind text; id uuid; asked uuid; owner uuid; was jsonb; x record;
BEGIN
	FOR whose, connection, kind IN
		SELECT * FROM unnest(ARRAY['nobody', 'stranger', 'owner']) AS a,
			unnest(ARRAY['null', 'unknown', 'pending', 'active', 'expired', 'revoked', 'failed', 'disconnected']) AS b,
			unnest(ARRAY['null', 'empty', 'new', '100', '101']) AS c
	LOOP
		owner := t.u(concat_ws(' ', 'rename order', whose, connection, kind));
		id := t.in_status(owner, CASE WHEN connection IN ('null', 'unknown') THEN 'active' ELSE connection END::provconn_status, 'IRA');
		asked := CASE connection WHEN 'null' THEN NULL WHEN 'unknown' THEN t.u('no such connection') ELSE id END;
		was := t.row_of(id);
		x := t.try(format('provconn_rename(%L, %L, %L)', CASE whose WHEN 'stranger' THEN t.u('stranger') WHEN 'owner' THEN owner END, asked,
			CASE kind WHEN 'empty' THEN '' WHEN 'new' THEN 'new' WHEN '100' THEN repeat(chr(233), 100) WHEN '101' THEN repeat(chr(233), 101) END), id);
		INSERT INTO tried VALUES (whose, connection, kind,
			CASE WHEN whose = 'nobody' THEN 'invalid_user' WHEN connection IN ('null', 'unknown') THEN 'connection_not_found' WHEN whose = 'stranger' THEN 'not_owned_by_user'
			     WHEN kind = '101' THEN 'invalid_alias' WHEN connection = 'disconnected' THEN 'invalid_transition' END, x.r, x.changed, x.audit);
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
SELECT whose, connection, alias, expected, (r).error_code FROM tried WHERE (r).error_code IS DISTINCT FROM expected;
SELECT (r).error_code, (r).message, audit, count(*), string_agg(DISTINCT changed, ' / ') AS changed FROM tried GROUP BY 1, 2, 3 ORDER BY (r).error_code COLLATE "C" NULLS FIRST \gx
-- each status but the last takes a new name
SELECT connection, (r).ok, (r).error_code FROM tried WHERE whose = 'owner' AND alias = 'new' AND connection NOT IN ('null', 'unknown') ORDER BY connection COLLATE "C";
SELECT count(*) AS named_anew FROM provconn_connections WHERE alias = 'new' AND user_id IN (SELECT t.u(concat_ws(' ', 'rename order', 'owner', connection, 'new')) FROM tried);
SELECT DISTINCT user_id = t.u('stranger') AS claimed, old_status, new_status, version, seq FROM provconn_audit_log
WHERE action = 'rename' AND owner_id = t.u('rename order stranger active new');

-- a pending connection is completed by its name of now
SELECT t.in_status(t.u('rename pending'), 'pending', 'before') AS pending \gset
SELECT ok, status, version FROM provconn_rename(t.u('rename pending'), :'pending', 'after');
SELECT connection_id = :'pending' AS completed FROM provconn_connect(provconn_connect_command(t.u('rename pending'), t.p('schwab'), 'schwab', provconn_credentials('s', 'custom'), 'before'));
SELECT connection_id = :'pending' AS completed, status, version FROM provconn_connect(provconn_connect_command(t.u('rename pending'), t.p('schwab'), 'schwab', provconn_credentials('s', 'custom'), 'after'));
-- a user's other connections are left alone; rolled back, it is as it was
SELECT t.row_of(:'other') AS was \gset
SELECT ok FROM provconn_rename(t.u('rename'), :'id', 'mine');
SELECT t.row_of(:'other') = :'was'::jsonb AS untouched;
BEGIN;
SELECT ok FROM provconn_rename(t.u('rename'), :'other', 'x');
ROLLBACK;
SELECT t.row_of(:'other') = :'was'::jsonb AS untouched;
DROP TABLE tried;
