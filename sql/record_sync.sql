-- provconn_record_sync: data was fetched.
\set SHOW_CONTEXT never

-- From each status: active only, and only three times and numbers change.
CREATE FUNCTION pg_temp.synced(from_status provconn_status, OUT ok boolean, OUT status provconn_status, OUT error_code text, OUT message text, OUT needs_user_action boolean, OUT changed text, OUT audit text)
LANGUAGE plpgsql AS $$
DECLARE
	owner uuid := t.u('record_sync ' || from_status);
	id uuid := t.in_status(owner, from_status, 'IRA');
	was jsonb;
	x record;
BEGIN
	UPDATE provconn.connection SET last_sync_at = '2026-01-01', metadata = '{"a": 1}', failure_count = 2, failing_since = '2026-01-01', last_failure = 'x',
		next_attempt_at = '2026-01-01', lease = t.u('lease'), leased_by = 'w', leased_until = '2100-01-01' WHERE connection_id = id;
	was := t.row_of(id);
	x := t.try(format('provconn_record_sync(connection_id => %L)', id), id);
	ok := (x.r).ok; status := (x.r).status; error_code := (x.r).error_code; message := (x.r).message; needs_user_action := (x.r).needs_user_action;
	changed := x.changed; audit := x.audit;
	IF (x.r).connection_id <> id OR (x.r).version::text <> was ->> 'version' OR (x.r).status <> from_status THEN
		RAISE EXCEPTION '%', x;
	END IF;
END $$;
SELECT s AS "from", y.* FROM unnest(enum_range(NULL::provconn_status)) AS s, pg_temp.synced(s) AS y ORDER BY s \gx
SELECT last_sync_at = updated_at AS synced_now, last_sync_at > '2026-01-02' AS moved, failure_count, leased_by FROM provconn_connections WHERE user_id = t.u('record_sync active');
SELECT l.old_status, l.new_status, l.version, l.seq = c.audit_seq AS numbered, l.occurred_at = c.last_sync_at AS same_time, l.reason
FROM provconn_audit_log AS l JOIN provconn.connection AS c USING (connection_id) WHERE l.action = 'record_sync' AND l.user_id = t.u('record_sync active');
-- the worker's lease still counts
SELECT r.ok FROM provconn_connections AS c, provconn_refresh(provconn_refresh_command(c.connection_id, provconn_credentials('s', 'custom')), t.u('lease')) AS r
WHERE c.user_id = t.u('record_sync active');

-- No such connection.
SELECT v.n, (x.r).ok, (x.r).connection_id IS NOT DISTINCT FROM v.id AS id, (x.r).status, (x.r).version, (x.r).error_code, (x.r).needs_user_action, x.audit
FROM (VALUES (1, NULL::uuid), (2, t.u('no such connection'))) AS v (n, id), t.try(format('provconn_record_sync(%L)', v.id), v.id) AS x ORDER BY v.n;

-- expiry is not checked
SELECT n, (x.r).ok FROM (VALUES (1, '2001-01-01'::timestamptz), (2, NULL), (3, '-infinity'), (4, 'infinity')) AS v (n, expires_at),
     LATERAL (SELECT t.active(t.u('record_sync expiry'), NULL, 's', expires_at) AS id OFFSET 0) AS c, t.try(format('provconn_record_sync(%L)', c.id), c.id) AS x ORDER BY n;
-- the first sets it, each moves it on
SELECT t.active(t.u('record_sync first')) AS id \gset
SELECT last_sync_at FROM provconn_connections WHERE connection_id = :'id';
SELECT ok, version FROM provconn_record_sync(:'id');
SELECT last_sync_at AS first FROM provconn_connections WHERE connection_id = :'id' \gset
SELECT ok, version FROM provconn_record_sync(:'id');
SELECT last_sync_at > :'first' AS later FROM provconn_connections WHERE connection_id = :'id';
SELECT action, seq FROM provconn_audit_log WHERE connection_id = :'id' ORDER BY seq;
-- rolled back, it is as it was
SELECT t.row_of(:'id') AS was \gset
BEGIN;
SELECT ok FROM provconn_record_sync(:'id');
ROLLBACK;
SELECT t.row_of(:'id') = :'was'::jsonb AS untouched;
