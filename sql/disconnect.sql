-- provconn_disconnect: the end of a connection, and of its credentials.
\set SHOW_CONTEXT never

-- from every status; what goes and what stays
CREATE FUNCTION pg_temp.ended(name text, from_status provconn_status, OUT ok boolean, OUT status provconn_status, OUT same_version boolean,
	OUT error_code text, OUT needs_user_action boolean, OUT changed text, OUT credentials_gone boolean, OUT audit text)
LANGUAGE plpgsql AS $$
DECLARE
	id uuid := t.in_status(t.u(name), from_status, 'IRA');
	was jsonb;
	is_now jsonb;
	r provconn_result;
BEGIN
	UPDATE provconn.connection SET last_sync_at = '2026-01-01', metadata = '{"a": 1}', failure_count = 2, last_failure = 'x' WHERE connection_id = id;
	was := t.row_of(id);
	r := provconn_disconnect(provconn_disconnect_command(user_id => t.u(name), connection_id => id));
	is_now := t.row_of(id);
	ok := r.ok; status := r.status; same_version := r.version::text = was ->> 'version' AND is_now -> 'version' = was -> 'version'; error_code := r.error_code;
	needs_user_action := r.needs_user_action;
	changed := t.changes(was, is_now);
	credentials_gone := is_now ->> 'credential' IS NULL AND is_now ->> 'credential_type' IS NULL AND is_now ->> 'expires_at' IS NULL;
	audit := string_agg(concat_ws(' ', l.event, l.old_status, '->', l.new_status), '; ')
		FROM provconn_audit_log AS l WHERE l.connection_id = id AND action = 'disconnect' AND outcome = 'succeeded'
		AND l.seq = (is_now ->> 'audit_seq')::bigint AND l.audit_id::text = is_now ->> 'audit_id';
	IF r.connection_id <> id OR is_now ->> 'alias' <> 'IRA' OR is_now -> 'connected_at' <> was -> 'connected_at' THEN
		RAISE EXCEPTION '%', is_now;
	END IF;
END $$;
SELECT s AS "from", e.* FROM unnest(enum_range(NULL::provconn_status)) AS s, pg_temp.ended('disconnect', s) AS e ORDER BY s \gx
-- an expiry and a lease go too
SELECT t.active(t.u('disconnect'), 'IRA', 's', '2031-01-01') AS id \gset
UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'w', leased_until = '2031-01-01', next_attempt_at = '2031-01-01' WHERE connection_id = :'id';
SELECT t.row_of(:'id') AS was \gset
SELECT ok, status FROM provconn_disconnect(provconn_disconnect_command(t.u('disconnect'), :'id'));
SELECT t.changes(:'was', t.row_of(:'id'));
SELECT status, version, credential_type, expires_at, leased_by, leased_until, is_connected, needs_reauthentication, is_credentials_expired,
       is_expiring_soon, can_sync, time_until_expiry, supports_refresh
FROM provconn_connections WHERE connection_id = :'id' \gx

-- twice: ok again, and nothing but updated_at and the audit's own columns changes
SELECT t.row_of(:'id') AS was \gset
SELECT ok, status, version, error_code, message, needs_user_action FROM provconn_disconnect(provconn_disconnect_command(t.u('disconnect'), :'id'));
SELECT t.changes(:'was', t.row_of(:'id'));
SELECT action, outcome, old_status, new_status FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'disconnect' ORDER BY seq;

-- Order: user, exists, owned.  A stranger learns nothing, and nothing changes.
SELECT t.active(t.u('owner')) AS id \gset
SELECT t.row_of(:'id') AS was \gset
SELECT count(*) AS audits FROM provconn.audit \gset
SELECT n, r.ok, r.connection_id = v.connection_id AS id, r.status, r.version, r.error_code, r.message, r.needs_user_action
FROM (VALUES (1, NULL, :'id'::uuid), (2, NULL, t.u('no such connection')), (3, NULL, NULL), (4, t.u('owner'), NULL),
             (5, t.u('owner'), t.u('no such connection')), (6, t.u('stranger'), t.u('no such connection')), (7, t.u('stranger'), :'id'),
             (8, t.u('stranger'), t.u('owner'))) AS v (n, user_id, connection_id),
     provconn_disconnect(provconn_disconnect_command(v.user_id, v.connection_id)) AS r ORDER BY n;
SELECT t.row_of(:'id') = :'was'::jsonb AS untouched, (SELECT count(*) - :audits FROM provconn.audit) AS audited;
SELECT event, error_code, old_status, new_status, version, user_id = t.u('stranger') AS claimed, owner_id = t.u('owner') AS owner, seq
FROM provconn_audit_log WHERE connection_id = :'id' AND error_code = 'not_owned_by_user';
-- a user's other connections go on
SELECT t.active(t.u('owner')) AS other \gset
SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u('owner'), :'id'));
SELECT status FROM provconn_connections WHERE connection_id = :'other';
-- rolled back, it is as it was
SELECT t.row_of(:'other') AS was \gset
BEGIN;
SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u('owner'), :'other'));
ROLLBACK;
SELECT t.row_of(:'other') = :'was'::jsonb AS untouched;
SELECT secret_text FROM provconn_reveal(t.u('owner'), :'other');
SELECT provconn_disconnect(NULL);
\echo :LAST_ERROR_SQLSTATE
