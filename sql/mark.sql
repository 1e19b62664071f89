-- provconn_mark_expired, _revoked, _failed: what a connection has become.
\set SHOW_CONTEXT never

-- Each from each status: what changes and what stays.
CREATE FUNCTION pg_temp.marked(mark text, from_status provconn_status, OUT ok boolean, OUT status provconn_status, OUT error_code text,
	OUT changed text, OUT audit text, OUT cleared boolean, OUT credentials text)
LANGUAGE plpgsql AS $$
DECLARE
	owner uuid := t.u(concat_ws(' ', 'mark', mark, from_status));
	id uuid;
	was jsonb;
	is_now jsonb;
	r provconn_result;
BEGIN
	IF from_status IN ('pending', 'failed') THEN
		id := t.in_status(owner, from_status, 'IRA');
	ELSE
		id := connection_id FROM provconn_connect(provconn_connect_command(owner, t.p('schwab'), 'schwab', provconn_oauth2_credentials('at', 'rt', '2100-01-01'), 'IRA'));
		CASE from_status
			WHEN 'active' THEN NULL;
			WHEN 'expired' THEN PERFORM provconn_mark_expired(id);
			WHEN 'revoked' THEN PERFORM provconn_mark_revoked(id);
			WHEN 'disconnected' THEN PERFORM provconn_disconnect(provconn_disconnect_command(owner, id));
		END CASE;
	END IF;
	UPDATE provconn.connection SET last_sync_at = '2026-01-01', metadata = '{"a": 1}', failure_count = 2, failing_since = '2026-01-01', last_failure = 'x',
		next_attempt_at = '2026-01-01', lease = t.u('lease'), leased_by = 'w', leased_until = '2100-01-01' WHERE connection_id = id;
	was := t.row_of(id);
	SELECT (x.r).*, x.changed, x.audit INTO r.ok, r.connection_id, r.status, r.version, r.error_code, r.message, r.needs_user_action, changed, audit
	FROM t.try(format('%I(connection_id => %L, reason => ''said so'')', 'provconn_' || mark, id), id) AS x;
	is_now := t.row_of(id);
	ok := r.ok; status := r.status; error_code := r.error_code;
	cleared := coalesce(is_now ->> 'lease', is_now ->> 'leased_by', is_now ->> 'leased_until', is_now ->> 'next_attempt_at', is_now ->> 'held_until') IS NULL;
	credentials := CASE WHEN was ->> 'credential' IS NULL AND is_now ->> 'credential' IS NULL THEN 'none'
		WHEN was -> 'credential' = is_now -> 'credential' AND was -> 'credential_type' = is_now -> 'credential_type' AND was -> 'expires_at' = is_now -> 'expires_at' THEN 'kept' END;
	IF r.connection_id <> id OR r.version::text <> was ->> 'version' OR r.status::text <> is_now ->> 'status' OR r.needs_user_action OR r.ok <> (r.message IS NULL) THEN
		RAISE EXCEPTION '% %', r, is_now;
	END IF;
END $$;
CREATE TEMP TABLE marks (n serial, mark text, becomes provconn_status);
INSERT INTO marks (mark, becomes) VALUES ('mark_expired', 'expired'), ('mark_revoked', 'revoked'), ('mark_failed', 'failed');
CREATE TEMP TABLE outcome AS SELECT m.n, m.mark, s AS "from", o.* FROM marks AS m, unnest(enum_range(NULL::provconn_status)) AS s, pg_temp.marked(m.mark, s) AS o;
SELECT mark, "from", ok, status, error_code, audit, credentials FROM outcome ORDER BY n, "from";
SELECT mark, "from", changed, cleared FROM outcome WHERE ok ORDER BY n;
SELECT count(*) AS refused, bool_and(changed = 'untouched') AS untouched FROM outcome WHERE NOT ok;
-- the reason is on record, of a refusal too
SELECT action, outcome, old_status, new_status, version, reason, provider_slug, owner_id, count(*), bool_and(user_id IS NOT NULL) AS "user", count(seq) AS numbered
FROM provconn_audit_log WHERE action LIKE 'mark\_%' AND reason = 'said so' GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY action COLLATE "C", outcome COLLATE "C" DESC, old_status;
-- what the views say then
SELECT c.status, c.is_connected, c.needs_reauthentication, c.can_sync, c.supports_refresh, c.credential_type, c.failure_count, c.last_failure, c.leased_by, c.next_attempt_at
FROM marks AS m, provconn_connections AS c WHERE c.user_id IN (t.u(concat_ws(' ', 'mark', m.mark, 'active')), t.u(concat_ws(' ', 'mark', m.mark, 'pending'))) AND c.status = m.becomes ORDER BY m.n;

-- No such connection.  Nobody has to say whose it is.
SELECT m.mark, v.n, (x.r).ok, (x.r).connection_id IS NOT DISTINCT FROM v.id AS id, (x.r).status, (x.r).version, (x.r).error_code, (x.r).message, (x.r).needs_user_action, x.audit
FROM marks AS m, (VALUES (1, NULL::uuid), (2, t.u('no such connection'))) AS v (n, id), t.try(format('%I(%L, ''why not'')', 'provconn_' || m.mark, v.id), v.id) AS x ORDER BY m.n, v.n \gx
SELECT action, count(*), bool_and(user_id IS NULL AND owner_id IS NULL AND old_status IS NULL AND new_status IS NULL AND version IS NULL AND seq IS NULL) AS nothing_else
FROM provconn_audit_log WHERE reason = 'why not' AND error_code = 'connection_not_found' GROUP BY 1 ORDER BY 1;

-- the reason may be left out, may be empty, and is cut at 1000 characters
SELECT m.mark, v.n, (x.r).ok FROM marks AS m, (VALUES (1, ''), (2, ', NULL'), (3, ', '''''), (4, format(', %L', repeat(chr(233), 1000))), (5, format(', reason => %L', repeat(chr(128273), 1001)))) AS v (n, reason),
     LATERAL (SELECT t.in_status(t.u(concat_ws(' ', 'mark reason', m.mark, v.n)), CASE m.mark WHEN 'mark_failed' THEN 'pending' ELSE 'active' END::provconn_status) AS id OFFSET 0) AS c,
     t.try(format('%I(%L%s)', 'provconn_' || m.mark, c.id, v.reason), c.id) AS x ORDER BY m.n, v.n;
SELECT m.mark, v.n, l.reason IS NULL AS none, char_length(l.reason) AS characters, l.reason ~ ('^[' || chr(233) || chr(128273) || ']*$') AS whole
FROM marks AS m, generate_series(1, 5) AS v (n), provconn_audit_log AS l WHERE l.user_id = t.u(concat_ws(' ', 'mark reason', m.mark, v.n)) AND l.action = m.mark ORDER BY m.n, v.n;

-- After it: no reveal, no sync, no refresh, and a worker's lease is lost.
CREATE FUNCTION pg_temp.after(mark text, OUT before timestamptz, OUT refresh text, OUT needs_user_action boolean, OUT with_lease text, OUT reveal text, OUT record_sync text, OUT again text, OUT after timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
	owner uuid := t.u('after ' || mark);
	id uuid := connection_id FROM provconn_connect(provconn_connect_command(owner, t.p('schwab'), 'schwab', provconn_oauth2_credentials('at', 'rt', '2026-01-01')));
	r provconn_result;
BEGIN
	UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'w', leased_until = '2100-01-01 00:00+00' WHERE connection_id = id;
	before := t.row_of(id) ->> 'held_until';
	EXECUTE format('SELECT * FROM %I(%L)', 'provconn_' || mark, id) INTO r;
	r := provconn_refresh(provconn_refresh_command(id, provconn_credentials('s', 'custom')));
	refresh := r.error_code; needs_user_action := r.needs_user_action;
	with_lease := error_code FROM provconn_refresh(provconn_refresh_command(id, provconn_credentials('s', 'custom')), t.u('lease'));
	reveal := error_code FROM provconn_reveal(owner, id);
	record_sync := error_code FROM provconn_record_sync(id);
	EXECUTE format('SELECT error_code FROM %I(%L)', 'provconn_' || mark, id) INTO again;
	after := t.row_of(id) ->> 'held_until';
END $$;
SET timezone = 'UTC';
SELECT mark, a.* FROM (VALUES ('mark_expired'), ('mark_revoked')) AS v (mark), pg_temp.after(mark) AS a ORDER BY mark;
RESET timezone;
-- nor does a claim find it: its place in the queue is null, though it is due
SELECT mark, status, held_until, due_at FROM (VALUES ('mark_expired'), ('mark_revoked')) AS v (mark) JOIN provconn.connection ON user_id = t.u('after ' || mark) ORDER BY mark;
-- a credential that does not open can be marked, which is what the errors advise
SELECT t.active(t.u('mark damaged')) AS id \gset
UPDATE provconn.connection SET credential = 'damaged' WHERE connection_id = :'id';
SELECT t.code(format('SELECT provconn_reveal(%L, %L)', t.u('mark damaged'), :'id')) AS reveal;
SELECT ok, status FROM provconn_mark_revoked(:'id', 'damaged');
-- rolled back, it is as it was
SELECT t.active(t.u('mark rolled back')) AS id \gset
SELECT t.row_of(:'id') AS was \gset
BEGIN;
SELECT ok, status FROM provconn_mark_revoked(:'id');
ROLLBACK;
SELECT t.row_of(:'id') = :'was'::jsonb AS untouched;
SELECT secret_text FROM provconn_reveal(t.u('mark rolled back'), :'id');
DROP TABLE marks, outcome;
