-- provconn_reveal: the way out for a secret, on the record.
\set SHOW_CONTEXT never

SELECT t.active(t.u('reveal'), 'IRA', 's3cret', '2031-01-01 00:00+00') AS id \gset
SELECT t.row_of(:'id') AS was \gset
SELECT ok, connection_id = :'id' AS id, version, secret, secret_text, credential_type, expires_at = '2031-01-01 00:00+00' AS expires_at, error_code, message
FROM provconn_reveal(user_id => t.u('reveal'), connection_id => :'id', purpose => 'sync job 7') \gx
SELECT t.row_of(:'id') = :'was'::jsonb AS untouched;
SELECT event, outcome, old_status, new_status, version, reason, seq, provider_slug, user_id = t.u('reveal') AS "user", owner_id
FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'reveal';
-- each call has its row, without a purpose too
SELECT secret_text FROM provconn_reveal(t.u('reveal'), :'id');
SELECT secret_text FROM provconn_reveal(t.u('reveal'), :'id', '');
SELECT outcome, reason, reason IS NULL AS none FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'reveal' ORDER BY occurred_at;

-- secret_text is null when the bytes are no text of this database
SELECT n, t.bytes(b) = b AS same, v.text_given
FROM (VALUES (1, '\x61'::bytea), (2, '\x00'), (3, '\x6100'), (4, '\xff'), (5, '\xc3'), (6, '\xc3a9'), (7, '\xeda080'), (8, '\xf09f9491'),
             (9, '\xc080'), (10, decode('0102037f', 'hex'))) AS w (n, b),
     LATERAL (SELECT t.active(t.u('reveal bytes'), w.b::text, w.b) AS id OFFSET 0) AS c,
     LATERAL (SELECT secret_text IS NOT NULL AS text_given FROM provconn_reveal(t.u('reveal bytes'), c.id)) AS v ORDER BY n;

-- Order: user, exists, owned, state.
CREATE TEMP TABLE tried (whose text, connection text, expected text, result provconn_revealed, untouched boolean, audits bigint);
DO $$
DECLARE
	whose text; connection text; id uuid; asked uuid; owner uuid; was jsonb; audits bigint; r provconn_revealed;
BEGIN
	FOR whose, connection IN
		SELECT * FROM unnest(ARRAY['nobody', 'stranger', 'owner']) AS a,
			unnest(ARRAY['null', 'unknown', 'active', 'pending', 'expired', 'revoked', 'failed', 'disconnected']) AS b
	LOOP
		owner := t.u('reveal ' || connection || whose);
		id := t.in_status(owner, CASE WHEN connection IN ('null', 'unknown') THEN 'active' ELSE connection END::provconn_status);
		asked := CASE connection WHEN 'null' THEN NULL WHEN 'unknown' THEN t.u('no such connection') ELSE id END;
		was := t.row_of(id);
		audits := count(*) FROM provconn.audit;
		r := provconn_reveal(CASE whose WHEN 'stranger' THEN t.u('stranger') WHEN 'owner' THEN owner END, asked);
		INSERT INTO tried VALUES (whose, connection,
			CASE WHEN whose = 'nobody' THEN 'invalid_user' WHEN connection IN ('null', 'unknown') THEN 'connection_not_found'
			     WHEN whose = 'stranger' THEN 'not_owned_by_user' WHEN connection <> 'active' THEN 'not_active' END,
			r, t.row_of(id) = was, (SELECT count(*) FROM provconn.audit) - audits);
		IF r.connection_id IS DISTINCT FROM asked OR (r.secret IS NULL) = r.ok OR (r.secret_text IS NULL) = r.ok
			OR (r.credential_type IS NULL) = r.ok OR r.expires_at IS NOT NULL THEN
			RAISE EXCEPTION '%', r;
		END IF;
	END LOOP;
END $$;
SELECT whose, connection, expected, (result).error_code IS NOT DISTINCT FROM expected AS as_expected, (result).version, untouched, audits
FROM tried ORDER BY expected COLLATE "C", whose COLLATE "C", connection COLLATE "C";
SELECT DISTINCT (result).error_code COLLATE "C" AS error_code, (result).message FROM tried WHERE NOT (result).ok ORDER BY 1;
SELECT DISTINCT event, error_code COLLATE "C" AS error_code FROM provconn_audit_log WHERE action = 'reveal' AND outcome = 'refused' ORDER BY 2;
SELECT error_code, user_id = t.u('stranger') AS claimed, owner_id = t.u('reveal activestranger') AS owner, old_status, new_status, version, seq
FROM provconn_audit_log WHERE action = 'reveal' AND owner_id = t.u('reveal activestranger');

-- expired credentials of an active connection are revealed: state, not time, decides
SELECT t.active(t.u('reveal expired'), NULL, 'old', '2001-01-01') AS id \gset
SELECT ok, secret_text FROM provconn_reveal(t.u('reveal expired'), :'id');
-- after a refresh the new secret, after a disconnect none
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('new', 'custom')));
SELECT ok, secret_text, version, expires_at FROM provconn_reveal(t.u('reveal expired'), :'id');
SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u('reveal expired'), :'id'));
SELECT ok, secret_text, version, error_code FROM provconn_reveal(t.u('reveal expired'), :'id');

-- where it may not write, it does not tell either
SELECT t.active(t.u('reveal')) AS id \gset
BEGIN READ ONLY;
SELECT provconn_reveal(t.u('reveal'), :'id');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- a damaged secret is an error, and the row stays
UPDATE provconn.connection SET credential = credential || '\x00' WHERE connection_id = :'id';
SELECT t.fault(format('SELECT provconn_reveal(t.u(''reveal''), %L)', :'id'));
DROP TABLE tried;
