-- The views: their columns, and what they compute.
\set SHOW_CONTEXT never

SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) AS columns FROM information_schema.columns WHERE table_name = 'provconn_connections' \gx

-- Every case at one instant: within a transaction now() stands still.
BEGIN;
CREATE TEMP TABLE item (n int, name text, status provconn_status, type provconn_credential_type, expires_in interval, id uuid) ON COMMIT DROP;
INSERT INTO item VALUES
	(1, 'never expires', 'active', 'oauth2', NULL), (2, 'in an hour', 'active', 'oauth2', '1 hour'),
	(3, 'in 5 min and a little', 'active', 'link_token', '5 minutes 0.000001 s'), (4, 'in 5 min', 'active', 'api_key', '5 minutes'),
	(5, 'in a moment', 'active', 'certificate', '0.000001 s'), (6, 'now', 'active', 'file_import', '0'),
	(7, 'a moment ago', 'active', 'custom', '-0.000001 s'), (8, 'years ago', 'active', 'oauth2', '-10 years'),
	(9, 'expired, no expiry', 'expired', 'oauth2', NULL), (10, 'expired, in an hour', 'expired', 'oauth2', '1 hour'), (11, 'expired, long ago', 'expired', 'link_token', '-1 hour'),
	(12, 'revoked, soon', 'revoked', 'api_key', '1 minute'), (13, 'failed', 'failed', NULL, NULL),
	(14, 'pending', 'pending', NULL, NULL), (15, 'disconnected', 'disconnected', 'oauth2', '1 hour');
DO $$
DECLARE
	i record;
	made uuid;
BEGIN
	FOR i IN SELECT * FROM item ORDER BY n LOOP
		IF i.status IN ('pending', 'failed') THEN
			made := connection_id FROM provconn_initiate(t.u('views ' || i.n), t.p('schwab'), 'schwab');
		ELSE
			made := connection_id FROM provconn_connect(provconn_connect_command(t.u('views ' || i.n), t.p('schwab'), 'schwab',
				provconn_credentials('s', i.type, now() + i.expires_in)));
		END IF;
		IF i.status = 'disconnected' THEN
			PERFORM provconn_disconnect(provconn_disconnect_command(t.u('views ' || i.n), made));
		ELSIF i.status NOT IN ('pending', 'active') THEN
			UPDATE provconn.connection SET status = i.status WHERE connection_id = made;
		END IF;
		UPDATE item SET id = made WHERE n = i.n;
	END LOOP;
END $$;
SELECT n, name, is_connected, needs_reauthentication AS needs_reauth, is_credentials_expired AS expired, is_expiring_soon AS soon, can_sync,
       extract(epoch FROM time_until_expiry) AS time_until, supports_refresh
FROM item JOIN provconn_connections ON connection_id = id ORDER BY n;
-- none of them is ever null, but the interval
SELECT count(*) FILTER (WHERE is_connected IS NULL OR needs_reauthentication IS NULL OR is_credentials_expired IS NULL OR is_expiring_soon IS NULL
	OR can_sync IS NULL OR supports_refresh IS NULL) AS nulls, count(*) FILTER (WHERE time_until_expiry < '0') AS negative FROM provconn_connections;
COMMIT;

-- the columns that are the table's own
SELECT t.active(t.u('views'), 'IRA', 's', '2031-01-01 00:00+00') AS id \gset
UPDATE provconn.connection SET last_sync_at = '2026-01-01 00:00+00', metadata = '{"a": 1}', failure_count = 2, last_failure = 'timeout',
       next_attempt_at = '2026-01-02 00:00+00', lease = t.u('lease'), leased_by = 'worker 1', leased_until = '2026-01-03 00:00+00' WHERE connection_id = :'id';
SELECT to_jsonb(v) - ARRAY['is_connected', 'needs_reauthentication', 'is_credentials_expired', 'is_expiring_soon', 'can_sync', 'time_until_expiry', 'supports_refresh', 'provider_slug']
     = to_jsonb(c) - ARRAY['shard_key', 'lease', 'failing_since', 'held_until', 'due_at', 'audit_id', 'audit_at', 'audit_seq', 'audit_hash', 'credential'] AS same, provider_slug
FROM provconn_connections AS v JOIN provconn.connection AS c USING (connection_id) WHERE connection_id = :'id';
-- no secret and no ciphertext
SELECT count(*) AS such_columns FROM information_schema.columns WHERE table_name LIKE 'provconn\_%' AND (data_type = 'bytea' OR udt_name = 'provconn_secret' OR column_name ~ 'secret|^credential$|wrapped|salt|^lease$');
-- a view is read only
SELECT t.code('DELETE FROM provconn_connections') IN ('55000', '42809') AS delete, t.code('UPDATE provconn_connections SET alias = ''x''') IN ('55000', '42809') AS update,
       t.code('DELETE FROM provconn_transitions') IN ('55000', '42809') AS transitions;

-- An expiry at the ends of time is some user's own affair: everybody else still reads.
SELECT n, t.active(t.u('views ends ' || n), NULL, 's', at) IS NOT NULL AS accepted
FROM (VALUES (1, 'infinity'::timestamptz), (2, '-infinity'), (3, '294276-12-31 23:59:59.999999+00'), (4, '4714-11-24 00:00:00+00 BC')) AS v (n, at) ORDER BY n;
SELECT n, t.code(format('SELECT * FROM provconn_connections WHERE user_id = %L', t.u('views ends ' || n))) AS read
FROM generate_series(1, 4) AS n ORDER BY n;
SELECT t.code('SELECT * FROM provconn_connections') AS all_of_them;
SELECT n, is_connected, is_credentials_expired AS expired, is_expiring_soon AS soon, can_sync, time_until_expiry < '0' AS negative
FROM generate_series(1, 4) AS n JOIN provconn_connections ON user_id = t.u('views ends ' || n) ORDER BY n;
-- they may be disconnected and read again
WITH c AS MATERIALIZED (SELECT user_id, connection_id FROM provconn.connection WHERE user_id IN (SELECT t.u('views ends ' || n) FROM generate_series(1, 4) AS n))
SELECT count(*), bool_and(r.ok) AS disconnected FROM c, provconn_disconnect(provconn_disconnect_command(c.user_id, c.connection_id)) AS r;
SELECT t.code('SELECT * FROM provconn_connections') AS all_of_them;
