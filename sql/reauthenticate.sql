-- provconn_reauthenticate: new credentials for a connection that needs its user.
\set SHOW_CONTEXT never

-- What comes back, from each status: what changes and what stays.
CREATE FUNCTION pg_temp.came_back(from_status provconn_status, OUT ok boolean, OUT status provconn_status, OUT versions text, OUT error_code text,
	OUT needs_user_action boolean, OUT changed text, OUT audit text, OUT cleared boolean, OUT connected text, OUT revealed text, OUT type provconn_credential_type, OUT expires boolean)
LANGUAGE plpgsql AS $$
DECLARE
	owner uuid := t.u('reauthenticate ' || from_status);
	id uuid := t.in_status(owner, from_status, 'IRA');
	was jsonb;
	is_now jsonb;
	r provconn_result;
	v provconn_revealed;
BEGIN
	UPDATE provconn.connection SET last_sync_at = '2026-01-01', metadata = '{"a": 1}', failure_count = 2, failing_since = '2026-01-01', last_failure = 'x',
		next_attempt_at = '2026-01-01', lease = t.u('lease'), leased_by = 'w', leased_until = '2100-01-01' WHERE connection_id = id;
	was := t.row_of(id);
	SELECT (x.r).*, x.changed, x.audit INTO r.ok, r.connection_id, r.status, r.version, r.error_code, r.message, r.needs_user_action, changed, audit
	FROM t.try(format('provconn_reauthenticate(user_id => %L, connection_id => %L, credentials => provconn_credentials(''new'', ''oauth2'', ''2100-01-01 00:00+00''))', owner, id), id) AS x;
	is_now := t.row_of(id);
	ok := r.ok; status := r.status; error_code := r.error_code; needs_user_action := r.needs_user_action;
	versions := concat_ws(' ', was ->> 'version', '->', is_now ->> 'version');
	cleared := is_now ->> 'failure_count' = '0' AND coalesce(is_now ->> 'failing_since', is_now ->> 'last_failure', is_now ->> 'next_attempt_at',
		is_now ->> 'lease', is_now ->> 'leased_by', is_now ->> 'leased_until') IS NULL;
	connected := CASE WHEN is_now ->> 'connected_at' IS NULL THEN 'never' WHEN is_now -> 'connected_at' = was -> 'connected_at' THEN 'as before'
		WHEN is_now -> 'connected_at' = is_now -> 'updated_at' AND was ->> 'connected_at' IS NULL THEN 'now' ELSE 'otherwise' END;
	v := provconn_reveal(owner, id);
	revealed := coalesce(v.secret_text, v.error_code); type := v.credential_type; expires := v.expires_at = '2100-01-01 00:00+00';
	IF r.connection_id <> id OR r.version::text <> is_now ->> 'version' OR r.status::text <> is_now ->> 'status' OR r.ok <> (r.message IS NULL) OR v.version <> r.version
		OR is_now ->> 'alias' <> 'IRA' OR is_now -> 'metadata' <> was -> 'metadata' THEN
		RAISE EXCEPTION '% %', r, is_now;
	END IF;
END $$;
SELECT s AS "from", c.* FROM unnest(enum_range(NULL::provconn_status)) AS s, pg_temp.came_back(s) AS c ORDER BY s \gx
-- it counts as connected again
SELECT alias, is_connected, needs_reauthentication, can_sync FROM provconn_connections WHERE user_id = t.u('reauthenticate expired');
-- the audit has both states, the new version and the next number
SELECT l.old_status, l.new_status, l.version, l.seq = c.audit_seq AND l.audit_id = c.audit_id AND l.occurred_at = c.audit_at AS stamped, l.reason, l.provider_slug, l.user_id = c.user_id AS "user", l.owner_id
FROM provconn_audit_log AS l JOIN provconn.connection AS c USING (connection_id) WHERE l.action = 'reauthenticate' AND l.outcome = 'succeeded'
AND c.user_id IN (t.u('reauthenticate expired'), t.u('reauthenticate revoked'), t.u('reauthenticate failed')) ORDER BY 1;

-- Order of the checks: user, exists, owned, credentials, state.  Every
-- combination; the earliest that fails gives the code.
CREATE TEMP TABLE tried (whose text, connection text, credentials text, expected text, r provconn_result, changed text, audit text);
DO $$
DECLARE
	whose text; connection text; credentials text; id uuid; asked uuid; owner uuid; was jsonb; x record;
BEGIN
	FOR whose, connection, credentials IN
		SELECT * FROM unnest(ARRAY['nobody', 'stranger', 'owner']) AS a,
			unnest(ARRAY['null', 'unknown', 'pending', 'active', 'expired', 'revoked', 'failed', 'disconnected']) AS b,
			unnest(ARRAY['ok', 'null', 'null secret', 'empty secret', 'null type']) AS c
	LOOP
		owner := t.u(concat_ws(' ', 'reauthenticate order', whose, connection, credentials));
		id := t.in_status(owner, CASE WHEN connection IN ('null', 'unknown') THEN 'expired' ELSE connection END::provconn_status);
		asked := CASE connection WHEN 'null' THEN NULL WHEN 'unknown' THEN t.u('no such connection') ELSE id END;
		was := t.row_of(id);
		x := t.try(format('provconn_reauthenticate(%L, %L, %s)', CASE whose WHEN 'stranger' THEN t.u('stranger') WHEN 'owner' THEN owner END, asked,
			CASE credentials WHEN 'ok' THEN 'provconn_credentials(''s'', ''custom'')' WHEN 'null' THEN 'NULL' WHEN 'null secret' THEN 'provconn_credentials(NULL, ''custom'')'
				WHEN 'empty secret' THEN 'provconn_credentials('''', ''custom'')' ELSE 'provconn_credentials(''s'')' END), id);
		INSERT INTO tried VALUES (whose, connection, credentials,
			CASE WHEN whose = 'nobody' THEN 'invalid_user' WHEN connection IN ('null', 'unknown') THEN 'connection_not_found' WHEN whose = 'stranger' THEN 'not_owned_by_user'
			     WHEN credentials <> 'ok' THEN 'invalid_credentials' WHEN connection IN ('pending', 'active', 'disconnected') THEN 'invalid_transition' END, x.r, x.changed, x.audit);
		IF (x.r).connection_id IS DISTINCT FROM asked OR (x.r).ok <> ((x.r).error_code IS NULL) OR (x.r).needs_user_action IS DISTINCT FROM false THEN
			RAISE EXCEPTION '%', x.r;
		END IF;
		-- a refusal tells the owner the status and version that stay, and nobody else anything
		IF NOT (x.r).ok AND ((x.r).status::text IS DISTINCT FROM CASE WHEN whose = 'owner' AND connection NOT IN ('null', 'unknown') THEN was ->> 'status' END
			OR (x.r).version::text IS DISTINCT FROM CASE WHEN whose = 'owner' AND connection NOT IN ('null', 'unknown') THEN was ->> 'version' END) THEN
			RAISE EXCEPTION '%', x.r;
		END IF;
	END LOOP;
END $$;
SELECT count(*) AS combinations, count(*) FILTER (WHERE (r).error_code IS DISTINCT FROM expected) AS wrong, count(*) FILTER (WHERE (changed = 'untouched') = (r).ok) AS touched_by_refusal
FROM tried;
SELECT whose, connection, credentials, expected, (r).error_code FROM tried WHERE (r).error_code IS DISTINCT FROM expected;
SELECT (r).error_code, (r).message, audit, count(*), string_agg(DISTINCT connection, ' ') FILTER (WHERE credentials = 'ok') AS with_good_credentials
FROM tried GROUP BY 1, 2, 3 ORDER BY (r).error_code COLLATE "C" NULLS FIRST;
-- a stranger's attempt is on record with the owner
SELECT DISTINCT user_id = t.u('stranger') AS claimed, owner_id = t.u('reauthenticate order stranger expired ok') AS owner, old_status, new_status, version, seq
FROM provconn_audit_log WHERE action = 'reauthenticate' AND owner_id = t.u('reauthenticate order stranger expired ok');

-- the type may change, to any; already expired credentials are accepted; null never expires
DO $$
DECLARE
	type provconn_credential_type;
	owner uuid := t.u('reauthenticate type');
	id uuid := t.in_status(owner, 'revoked');
	r provconn_result;
	v provconn_revealed;
BEGIN
	FOREACH type IN ARRAY enum_range(NULL::provconn_credential_type) LOOP
		r := provconn_reauthenticate(owner, id, provconn_credentials('as ' || type, type));
		v := provconn_reveal(owner, id);
		RAISE NOTICE '% %: version %, %, %, expires %', type, r.ok, v.version, v.credential_type, v.secret_text, v.expires_at;
		PERFORM provconn_mark_expired(id);
	END LOOP;
END $$;
SELECT t.in_status(t.u('reauthenticate'), 'expired') AS id \gset
SELECT ok, status, version FROM provconn_reauthenticate(t.u('reauthenticate'), :'id', provconn_credentials('s', 'custom', '2001-01-01'));
SELECT status, is_credentials_expired, can_sync FROM provconn_connections WHERE connection_id = :'id';

-- the old secret is gone: no refresh token is carried over from it
SELECT connection_id AS id FROM provconn_connect(provconn_connect_command(t.u('reauthenticate carry'), t.p('schwab'), 'schwab', provconn_oauth2_credentials('old access', 'old refresh'))) \gset
SELECT ok FROM provconn_mark_revoked(:'id');
SELECT t.row_of(:'id') ->> 'credential' AS old \gset
SELECT ok FROM provconn_reauthenticate(t.u('reauthenticate carry'), :'id', provconn_oauth2_credentials('new access'));
SELECT secret_text FROM provconn_reveal(t.u('reauthenticate carry'), :'id');
SELECT t.row_of(:'id') ->> 'credential' <> :'old' AS sealed_anew;
-- nor does it have to open
SELECT t.active(t.u('reauthenticate damaged')) AS id \gset
UPDATE provconn.connection SET credential = 'damaged' WHERE connection_id = :'id';
SELECT ok FROM provconn_mark_revoked(:'id');
SELECT ok, version FROM provconn_reauthenticate(t.u('reauthenticate damaged'), :'id', provconn_credentials('sound', 'custom'));
SELECT secret_text FROM provconn_reveal(t.u('reauthenticate damaged'), :'id');

-- a lease of before is lost
SELECT t.active(t.u('reauthenticate lease')) AS id \gset
UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'w', leased_until = now() + interval '1 hour' WHERE connection_id = :'id';
SELECT ok FROM provconn_mark_expired(:'id');
SELECT ok FROM provconn_reauthenticate(t.u('reauthenticate lease'), :'id', provconn_credentials('of the user', 'custom'));
SELECT ok, error_code FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('of the worker', 'custom')), t.u('lease'));
SELECT secret_text FROM provconn_reveal(t.u('reauthenticate lease'), :'id');
-- twice: it is active then
SELECT ok, status, version, error_code FROM provconn_reauthenticate(t.u('reauthenticate lease'), :'id', provconn_credentials('s', 'custom'));
-- a user's other connections are left alone
SELECT t.in_status(t.u('reauthenticate two'), 'expired') AS id \gset
SELECT t.in_status(t.u('reauthenticate two'), 'expired') AS other \gset
SELECT t.row_of(:'other') AS was \gset
SELECT ok FROM provconn_reauthenticate(t.u('reauthenticate two'), :'id', provconn_credentials('s', 'custom'));
SELECT t.row_of(:'other') = :'was'::jsonb AS untouched;
-- rolled back, it is as it was
BEGIN;
SELECT ok, status FROM provconn_reauthenticate(t.u('reauthenticate two'), :'other', provconn_credentials('s', 'custom'));
ROLLBACK;
SELECT t.row_of(:'other') = :'was'::jsonb AS untouched;
-- the version does not wrap around
SELECT t.active(t.u('reauthenticate two')) AS last \gset
UPDATE provconn.connection SET version = 2147483646 WHERE connection_id = :'last';
SELECT ok FROM provconn_mark_expired(:'last');
SELECT version FROM provconn_reauthenticate(t.u('reauthenticate two'), :'last', provconn_credentials('s', 'custom'));
SELECT ok FROM provconn_mark_expired(:'last');
SELECT t.message(format('SELECT provconn_reauthenticate(%L, %L, provconn_credentials(''s'', ''custom''))', t.u('reauthenticate two'), :'last'));
SELECT status, version FROM provconn_connections WHERE connection_id = :'last';
DROP TABLE tried;
