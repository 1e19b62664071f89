-- provconn_refresh: the order of its checks, what it changes, what it carries over.
\set SHOW_CONTEXT never

-- what a refresh changes
SELECT t.active(t.u('refresh'), 'IRA', 'old', '2026-01-01') AS id \gset
UPDATE provconn.connection SET last_sync_at = '2026-01-01', metadata = '{"a": 1}', failure_count = 3, last_failure = 'timeout',
       next_attempt_at = '2026-01-01', lease = t.u('lease'), leased_by = 'w', leased_until = now() + interval '1 hour'
WHERE connection_id = :'id';
SELECT t.row_of(:'id') AS was \gset
CREATE TEMP TABLE got AS
SELECT r.* FROM provconn_refresh(provconn_refresh_command(connection_id => :'id',
	credentials => provconn_credentials('new', 'api_key', '2031-01-01 00:00+00'))) AS r;
SELECT ok, connection_id = :'id' AS id, status, version, error_code, message, needs_user_action FROM got;
SELECT t.changes(:'was', t.row_of(:'id'));
SELECT status, version, credential_type, expires_at = '2031-01-01 00:00+00' AS expires_at, failure_count, last_failure, next_attempt_at,
       leased_by, leased_until, updated_at > (:'was'::jsonb ->> 'updated_at')::timestamptz AS updated
FROM provconn_connections WHERE connection_id = :'id' \gx
SELECT lease FROM provconn.connection WHERE connection_id = :'id';
SELECT secret_text, credential_type, version FROM provconn_reveal(t.u('refresh'), :'id');
SELECT action, event, outcome, old_status, new_status, version, error_code, provider_slug, user_id = t.u('refresh') AS "user", seq
FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'refresh';
-- the type may change, to any; a null expiry replaces one; expired is accepted
DO $$
DECLARE
	type provconn_credential_type;
	owner uuid := t.u('refresh type');
	id uuid := t.active(owner);
	r provconn_result;
	v provconn_revealed;
BEGIN
	FOREACH type IN ARRAY enum_range(NULL::provconn_credential_type) LOOP
		r := provconn_refresh(provconn_refresh_command(id, provconn_credentials('as ' || type, type)));
		v := provconn_reveal(owner, id);
		RAISE NOTICE '% %: version %, %, %', type, r.ok, v.version, v.credential_type, v.secret_text;
	END LOOP;
END $$;
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')))).ok;
SELECT expires_at FROM provconn_connections WHERE connection_id = :'id';
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom', '2001-01-01')))).ok;
SELECT status, is_credentials_expired FROM provconn_connections WHERE connection_id = :'id';
-- the lease that was given has been ended
UPDATE provconn.connection SET lease = t.u('lease') WHERE connection_id = :'id';
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')), t.u('lease'))).ok;
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s', 'custom')), t.u('lease'))).error_code;

-- Order of the checks: exists, credentials, lease, version, active.  Every
-- combination; the earliest that fails gives the code.
CREATE TEMP TABLE tried (connection text, credentials text, lease text, version text, expected text, result provconn_result,
                         untouched boolean, audits bigint);
DO $$
DECLARE
	t_connection text; t_credentials text; t_lease text; t_version text;
	id uuid; asked uuid; c provconn_credentials; was jsonb; audits bigint; r provconn_result; current int;
BEGIN
	FOR t_connection, t_credentials, t_lease, t_version IN
		SELECT * FROM unnest(ARRAY['null', 'unknown', 'active', 'pending', 'expired', 'revoked', 'failed', 'disconnected']) AS a,
			unnest(ARRAY['ok', 'null', 'null secret', 'empty secret', 'null type']) AS b,
			unnest(ARRAY['none', 'right', 'wrong', 'of no lease']) AS c,
			unnest(ARRAY['none', 'right', 'older', 'newer']) AS d
	LOOP
		id := t.in_status(t.u(concat_ws(' ', 'refresh order', t_connection, t_credentials, t_lease, t_version)), CASE WHEN t_connection IN ('null', 'unknown') THEN 'active' ELSE t_connection END::provconn_status);
		IF t_lease <> 'of no lease' THEN
			UPDATE provconn.connection SET lease = t.u('lease') WHERE connection_id = id;
		END IF;
		was := t.row_of(id);
		current := was ->> 'version';
		asked := CASE t_connection WHEN 'null' THEN NULL WHEN 'unknown' THEN t.u('no such connection') ELSE id END;
		c := CASE t_credentials WHEN 'ok' THEN provconn_credentials('s', 'custom') WHEN 'null secret' THEN provconn_credentials(NULL, 'custom')
			WHEN 'empty secret' THEN provconn_credentials('', 'custom') WHEN 'null type' THEN provconn_credentials('s') END;
		audits := count(*) FROM provconn_audit_log;
		r := provconn_refresh(provconn_refresh_command(asked, c),
			CASE t_lease WHEN 'none' THEN NULL WHEN 'wrong' THEN t.u('wrong') ELSE t.u('lease') END,
			CASE t_version WHEN 'right' THEN current WHEN 'older' THEN current - 1 WHEN 'newer' THEN current + 1 END);
		INSERT INTO tried VALUES (t_connection, t_credentials, t_lease, t_version,
			CASE WHEN t_connection IN ('null', 'unknown') THEN 'connection_not_found'
			     WHEN t_credentials <> 'ok' THEN 'invalid_credentials'
			     WHEN t_lease IN ('wrong', 'of no lease') THEN 'lease_lost'
			     WHEN t_version IN ('older', 'newer') THEN 'stale_version'
			     WHEN t_connection <> 'active' THEN 'not_active' END,
			r, t.row_of(id) = was, (SELECT count(*) FROM provconn_audit_log) - audits);
		IF r.connection_id IS DISTINCT FROM asked OR r.ok <> (r.error_code IS NULL) THEN
			RAISE EXCEPTION '%', r;
		END IF;
		-- a refusal tells the status and version that stay, an acceptance the new ones
		IF t_connection NOT IN ('null', 'unknown') AND
			(r.status::text <> was ->> 'status' OR r.version <> current + r.ok::int) THEN
			RAISE EXCEPTION '%', r;
		END IF;
	END LOOP;
END $$;
SELECT count(*) AS combinations, count(*) FILTER (WHERE (result).error_code IS DISTINCT FROM expected) AS wrong,
       count(*) FILTER (WHERE audits <> 1) AS not_audited_once, count(*) FILTER (WHERE untouched = (result).ok) AS touched_by_refusal
FROM tried;
SELECT connection, credentials, lease, version, expected, (result).error_code FROM tried WHERE (result).error_code IS DISTINCT FROM expected;
SELECT (result).error_code, (result).message, count(*), string_agg(DISTINCT (result).needs_user_action::text, ' ') AS needs_user_action,
       count((result).connection_id) AS ids, count((result).status) AS statuses, count((result).version) AS versions
FROM tried GROUP BY 1, 2 ORDER BY (result).error_code COLLATE "C" NULLS FIRST;
-- not_active comes from each status but active, and asks for the user
SELECT connection, (result).error_code, (result).needs_user_action FROM tried
WHERE credentials = 'ok' AND lease = 'right' AND version = 'right' ORDER BY connection COLLATE "C";

-- RFC 6749, section 6: a response without a refresh token leaves the stored one
-- in force.  Both secrets as bytes, then what is stored.
CREATE FUNCTION pg_temp.refreshed(name text, stored text, new text, type provconn_credential_type DEFAULT 'oauth2')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id uuid := t.active(t.u(name), NULL, stored);
	r provconn_result;
BEGIN
	r := provconn_refresh(provconn_refresh_command(id, provconn_credentials(new, type)));
	IF NOT r.ok OR r.version <> 2 THEN
		RAISE EXCEPTION '%', r;
	END IF;
	RETURN secret_text FROM provconn_reveal(t.u(name), id);
END $$;
SELECT n, stored, new, pg_temp.refreshed('carry', stored, new) AS result
FROM (VALUES
	(1, '{"access_token":"a","refresh_token":"r"}', '{"access_token":"b"}'),
	(2, '{"access_token":"a","refresh_token":"r"}', '{"access_token":"b","expires_in":60}'),
	(3, '{"access_token":"a","refresh_token":"r"}', '{"access_token":"b","refresh_token":"own"}'),
	(4, '{"access_token":"a","refresh_token":"r"}', '{"access_token":"b","refresh_token":null,"x":1}'),
	(5, '{"access_token":"a","refresh_token":"r"}', '{"refresh_token":"","access_token":"b"}'),
	(6, '{"access_token":"a"}', '{"access_token":"b"}'),
	(7, '{"access_token":"a","refresh_token":null}', '{"access_token":"b"}'),
	(8, '{"access_token":"a","refresh_token":""}', '{"access_token":"b"}'),
	(9, '{"access_token":"a","refresh_token":"r"}', '{"api_key":"b"}'),
	(10, '{"api_key":"a"}', '{"access_token":"b"}'),
	(11, 'plain', '{"access_token":"b"}'),
	(12, '{"access_token":"a","refresh_token":"r"}', 'plain'),
	(13, '["access_token"]', '{"access_token":"b"}'),
	(14, '{"access_token":"a","refresh_token":"r"}', '{"access_token":"b"'),
	(15, ' { "access_token" : "a" , "refresh_token" : "r \u0041 \" " } ', ' { "access_token" : "b" } '),
	(16, '{"access_token":"a","refresh_token":"r1","refresh_token":"r2"}', '{"access_token":"b"}'),
	(17, '{"access_token":"a","refresh_token":"r"}', '{"access_token":"b","refresh_token":"own","refresh_token":null}'),
	(18, '{"access_token":"a","refresh_token":"r","scope":"s"}', '{"access_token":"b"}'),
	(19, '{"access_token":"a","x":{"refresh_token":"r"}}', '{"access_token":"b"}'),
	(20, '{"access_token":"a","refresh_token":"r"}', '{"access_token":"b","x":{"refresh_token":"own"}}'),
	(21, '{"access_token":"a","\u0072efresh_token":"r"}', '{"access_token":"b"}'),
	(22, '{"access_token":"a","refresh_token":"r"}', '{"access_token":1}')
) AS v (n, stored, new) ORDER BY n;
-- it is told by the content, whatever the type; twice over; and through the constructors
SELECT pg_temp.refreshed('carry type', '{"access_token":"a","refresh_token":"r"}', '{"access_token":"b"}', 'custom');
SELECT t.active(t.u('carry on')) AS id \gset
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_oauth2_credentials('a1', 'r1')))).version;
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_oauth2_credentials('a2')))).version;
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_token_response('{"access_token": "a3", "token_type": "Bearer"}')))).version;
SELECT secret_text FROM provconn_reveal(t.u('carry on'), :'id');
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_oauth2_credentials('a4', 'r4')))).version;
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_oauth2_credentials('a5')))).version;
SELECT secret_text FROM provconn_reveal(t.u('carry on'), :'id');
-- a token of a megabyte
SELECT t.active(t.u('carry much'), NULL, '{"access_token":"a","refresh_token":"' || repeat('r', 1000000) || '"}') AS id \gset
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_oauth2_credentials(repeat('a', 1000000))))).ok;
SELECT secret_text = '{"access_token":"' || repeat('a', 1000000) || '","refresh_token":"' || repeat('r', 1000000) || '"}' AS carried
FROM provconn_reveal(t.u('carry much'), :'id');

-- A stored secret that does not open, damaged in several ways.  It stops only
-- the refresh that needs its refresh token.
CREATE FUNCTION pg_temp.damaged(damage text, new provconn_secret) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id uuid := t.active(t.u('damaged'), NULL, '{"access_token":"a","refresh_token":"r"}');
	other uuid := t.active(t.u('damaged'), NULL, '{"access_token":"o","refresh_token":"o"}');
	was jsonb;
	audits bigint;
	said text;
	r provconn_result;
BEGIN
	EXECUTE format('UPDATE provconn.connection AS c SET %s FROM provconn.connection AS o WHERE c.connection_id = %L AND o.connection_id = %L',
		damage, id, other);
	was := t.row_of(id);
	audits := count(*) FROM provconn.audit;
	BEGIN
		r := provconn_refresh(provconn_refresh_command(id, provconn_credentials(new, 'oauth2')));
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS said = PG_EXCEPTION_HINT;
		RETURN sqlstate || CASE WHEN said ~ 'provconn_mark_revoked' AND said ~ 'reauthenticate' THEN ', hint names both' ELSE ' ' || sqlerrm END
			|| CASE WHEN t.row_of(id) = was AND audits = (SELECT count(*) FROM provconn.audit) THEN '' ELSE ' TOUCHED' END;
	END;
	RETURN concat_ws(' ', r.error_code, r.version, (SELECT secret_text FROM provconn_reveal(t.u('damaged'), id)));
END $$;
SELECT damage,
       pg_temp.damaged(damage, '{"access_token":"b"}') AS needs_it,
       pg_temp.damaged(damage, '{"access_token":"b","refresh_token":""}') AS empty_counts_as_none,
       pg_temp.damaged(damage, '{"access_token":"b","refresh_token":"own"}') AS brings_its_own,
       pg_temp.damaged(damage, 'plain') AS no_such_object
FROM (VALUES
	(1, 'credential = set_byte(c.credential, 40, 255 - get_byte(c.credential, 40))'),
	(2, 'credential = set_byte(c.credential, length(c.credential) - 1, 255 - get_byte(c.credential, length(c.credential) - 1))'),
	(3, 'credential = set_byte(c.credential, 0, 2)'),
	(4, 'credential = set_byte(c.credential, 2, 7)'),
	(5, 'credential = o.credential'),
	(6, 'credential = '''''),
	(7, 'credential = ''no envelope'''),
	(8, 'credential = substr(c.credential, 1, length(c.credential) - 16)'),
	(9, 'credential_type = ''oauth2'''),
	(10, 'expires_at = ''2030-01-01'''),
	(11, 'version = 7')
) AS v (n, damage) ORDER BY n;
SELECT t.active(t.u('damaged'), NULL, '{"access_token":"a","refresh_token":"r"}') AS id \gset
UPDATE provconn.connection SET credential = 'x' WHERE connection_id = :'id';
SELECT t.fault(format('SELECT provconn_refresh(provconn_refresh_command(%L, provconn_oauth2_credentials(''b'')))', :'id'));

-- in one transaction, one after another
BEGIN;
SELECT t.active(t.u('serial')) AS id \gset
SELECT version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('2', 'custom')), NULL, 1);
SELECT version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('3', 'custom')), expected_version => 2);
SELECT error_code, version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('4', 'custom')), expected_version => 2);
SELECT secret_text FROM provconn_reveal(t.u('serial'), :'id');
SAVEPOINT s;
SELECT version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('lost', 'custom')));
ROLLBACK TO s;
SELECT secret_text, version FROM provconn_reveal(t.u('serial'), :'id');
COMMIT;
SELECT array_agg(seq ORDER BY seq) FROM provconn_audit_log WHERE connection_id = :'id' AND seq IS NOT NULL;
SELECT provconn_refresh(NULL);
\echo :LAST_ERROR_SQLSTATE
DROP TABLE got, tried;
