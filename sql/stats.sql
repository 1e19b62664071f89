-- provconn_stats: each of its columns against a plain count.
\set SHOW_CONTEXT never

-- What other files left is out of the way.
DO $$ BEGIN
	PERFORM provconn_mark_revoked(connection_id) FROM provconn.connection WHERE status = 'active';
END $$;
SELECT count(provconn_register_provider('stats-' || p, 'Stats', 'oauth2', NULL, t.p('stats ' || p))) FROM unnest(ARRAY['a', 'b', 'c', 'none']) AS p;

CREATE FUNCTION pg_temp.connect(provider text, alias text, type provconn_credential_type, expires_in interval) RETURNS uuid LANGUAGE sql AS $$
	SELECT connection_id FROM provconn_connect(provconn_connect_command(t.u('stats'), t.p('stats ' || provider), 'stats-' || provider,
		provconn_credentials(alias, type, clock_timestamp() + expires_in), alias)) AS r WHERE r.ok
$$;

-- What the columns say, counted without the queue: one look at each connection.
CREATE FUNCTION pg_temp.counted() RETURNS TABLE (provider_id uuid, status provconn_status, connections bigint, due bigint, overdue bigint, leased bigint,
	leases_expired bigint, failing bigint, given_up bigint, oldest_due timestamptz) LANGUAGE sql AS $$
	SELECT c.provider_id, c.status, count(*), count(*) FILTER (WHERE is_due), count(*) FILTER (WHERE c.status = 'active' AND c.expires_at <= now()),
	       count(*) FILTER (WHERE c.status = 'active' AND c.leased_until > now()), count(*) FILTER (WHERE c.status = 'active' AND c.leased_until <= now()),
	       count(*) FILTER (WHERE c.status = 'active' AND c.failure_count > 0), count(*) FILTER (WHERE c.status = 'expired' AND c.failing_since IS NOT NULL),
	       min(c.expires_at) FILTER (WHERE is_due)
	FROM provconn.connection AS c, LATERAL (SELECT c.status = 'active' AND c.credential_type IN ('oauth2', 'link_token') AND c.expires_at <= now() + interval '5 minutes'
		AND (c.leased_until IS NULL OR c.leased_until <= now()) AND (c.next_attempt_at IS NULL OR c.next_attempt_at <= now()) AS is_due) AS d
	GROUP BY c.provider_id, c.status
$$;

-- Where the two differ, for all providers at one time.
CREATE FUNCTION pg_temp.differences() RETURNS TABLE (difference text) LANGUAGE sql AS $$
	SELECT 'stats: ' || s.* FROM (SELECT provider_id, status, connections, due, overdue, leased, leases_expired, failing, given_up, oldest_due FROM provconn_stats
		EXCEPT ALL SELECT * FROM pg_temp.counted()) AS s
	UNION ALL SELECT 'counted: ' || s.* FROM (SELECT * FROM pg_temp.counted()
		EXCEPT ALL SELECT provider_id, status, connections, due, overdue, leased, leases_expired, failing, given_up, oldest_due FROM provconn_stats) AS s
$$;

CREATE FUNCTION pg_temp.shown() RETURNS TABLE (provider_slug text, status provconn_status, connections bigint, due bigint, overdue bigint, leased bigint,
	leases_expired bigint, failing bigint, given_up bigint, oldest text) LANGUAGE sql AS $$
	SELECT s.provider_slug, s.status, s.connections, s.due, s.overdue, s.leased, s.leases_expired, s.failing, s.given_up,
	       (SELECT string_agg(c.alias, ', ') FROM provconn.connection AS c WHERE c.provider_id = s.provider_id AND c.expires_at = s.oldest_due)
	FROM provconn_stats AS s WHERE s.provider_slug LIKE 'stats-%' ORDER BY 1, 2
$$;

SELECT * FROM pg_temp.shown();
SELECT * FROM pg_temp.differences();

-- Every mixture of type, expiry, lease, and failures with their waiting.
CREATE TEMP TABLE mixture AS
SELECT format('%s %s %s %s', type, expiry, lease, attempt) AS alias, 'a' AS provider, type, expires_in, leased_for, next_in, failures
FROM unnest(ARRAY['oauth2', 'link_token']::provconn_credential_type[]) AS type,
     (VALUES ('long-expired', interval '-2 days'), ('expired', '-1 minute'), ('soon', '4 minutes'), ('later', '1 hour')) AS e (expiry, expires_in),
     (VALUES ('free', NULL::interval), ('leased', '1 hour'), ('dropped', '-1 hour')) AS l (lease, leased_for),
     (VALUES ('never-failed', NULL::interval, 0), ('backing-off', '30 minutes', 3), ('backed-off', '-30 minutes', 3), ('put-off', '30 minutes', 0), ('put-off-before', '-30 minutes', 0))
	 AS n (attempt, next_in, failures);
INSERT INTO mixture
SELECT format('%s %s', type, expiry), 'b', type, expires_in FROM unnest(ARRAY['oauth2', 'api_key', 'certificate', 'file_import', 'custom']::provconn_credential_type[]) AS type,
     (VALUES ('long-expired', interval '-2 days'), ('expired', '-1 minute'), ('soon', '4 minutes'), ('later', '1 hour'), ('never', NULL)) AS e (expiry, expires_in);
SELECT count(pg_temp.connect(provider, alias, type, expires_in)) FROM mixture;
UPDATE provconn.connection AS c SET leased_until = now() + m.leased_for, lease = t.u('lease'), leased_by = 'w'
FROM mixture AS m WHERE c.user_id = t.u('stats') AND c.alias = m.alias AND m.leased_for IS NOT NULL;
UPDATE provconn.connection AS c SET failure_count = m.failures, failing_since = CASE WHEN m.failures > 0 THEN now() - interval '1 hour' END, next_attempt_at = now() + m.next_in
FROM mixture AS m WHERE c.user_id = t.u('stats') AND c.alias = m.alias AND m.next_in IS NOT NULL;
SELECT * FROM pg_temp.shown();
SELECT * FROM pg_temp.differences();

-- each status
CREATE FUNCTION pg_temp.fail(id uuid, permanent boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE provconn.connection SET lease = t.u('lease') WHERE connection_id = id;
	RETURN (provconn_report_failure(id, t.u('lease'), 'HTTP 503', permanent)).status;
END $$;
DO $$ BEGIN
	FOR i IN 1 .. 2 LOOP
		PERFORM provconn_initiate(t.u('stats'), t.p('stats c'), 'stats-c', 'pending ' || i);
	END LOOP;
	FOR i IN 1 .. 3 LOOP
		PERFORM provconn_mark_failed((provconn_initiate(t.u('stats'), t.p('stats c'), 'stats-c', 'failed ' || i)).connection_id);
	END LOOP;
	FOR i IN 1 .. 4 LOOP
		PERFORM provconn_mark_revoked(pg_temp.connect('c', 'revoked ' || i, 'oauth2', '-1 minute'));
	END LOOP;
	FOR i IN 1 .. 5 LOOP
		PERFORM provconn_disconnect(provconn_disconnect_command(t.u('stats'), pg_temp.connect('c', 'disconnected ' || i, 'oauth2', '-1 minute')));
	END LOOP;
	FOR i IN 1 .. 6 LOOP
		PERFORM provconn_mark_expired(pg_temp.connect('c', 'expired ' || i, 'oauth2', '-1 minute'));
	END LOOP;
	PERFORM pg_temp.connect('c', 'active', 'oauth2', '-1 minute');
END $$;
SELECT pg_temp.fail(pg_temp.connect('c', 'permanent', 'oauth2', '-1 minute'), true);
SET provconn.give_up_failures = 1;
SET provconn.give_up_after = 0;
SELECT pg_temp.fail(pg_temp.connect('c', 'given up', 'oauth2', '-1 minute'), false);
RESET provconn.give_up_failures;
RESET provconn.give_up_after;
SELECT * FROM pg_temp.shown() WHERE provider_slug = 'stats-c';
SELECT * FROM pg_temp.differences();
-- who comes back counts no more
SELECT (provconn_reauthenticate(user_id, connection_id, provconn_oauth2_credentials('new', 'r', now() + interval '1 hour'))).ok
FROM provconn.connection WHERE user_id = t.u('stats') AND alias = 'given up';
SELECT * FROM pg_temp.shown() WHERE provider_slug = 'stats-c' AND status IN ('active', 'expired');
SELECT * FROM pg_temp.differences();

-- what is due is what a claim finds
SELECT sum(due) AS due FROM provconn_stats \gset
CREATE TEMP TABLE held AS SELECT * FROM provconn_claim_due('w', max_connections => 1000);
SELECT count(*) = :due AS all FROM held;
SELECT * FROM pg_temp.shown() WHERE status = 'active';
SELECT * FROM pg_temp.differences();
-- what failed and is given back goes on failing, whenever it is due
SELECT count(*) FILTER (WHERE (provconn_release(c.connection_id, c.lease)).ok) AS released, count(*) FILTER (WHERE c.failure_count > 0) AS failing
FROM provconn.connection AS c JOIN held USING (connection_id) WHERE c.alias LIKE '%-off%';
SELECT count(*) AS released, count(*) FILTER (WHERE c.failure_count > 0) AS failing, count(*) FILTER (WHERE c.expires_at > now() + interval '30 minutes') AS later
FROM provconn_claim_due('early', '2 hours', 1000) AS h JOIN provconn.connection AS c USING (connection_id), provconn_release(h.connection_id, h.lease) AS r WHERE r.ok;
SELECT * FROM pg_temp.shown() WHERE status = 'active';
SELECT * FROM pg_temp.differences();
-- a report, a release and a refresh of one each; and a refresh that nobody leased, after which the queue lags behind
SELECT alias, CASE alias WHEN 'oauth2 soon free never-failed' THEN (provconn_report_failure(c.connection_id, c.lease, 'HTTP 503')).ok
	WHEN 'oauth2 expired free never-failed' THEN (provconn_release(c.connection_id, c.lease)).ok
	WHEN 'link_token expired free never-failed' THEN (provconn_refresh(provconn_refresh_command(c.connection_id, provconn_credentials('s', 'link_token', now() + interval '1 hour')), c.lease)).ok
	ELSE (provconn_release(c.connection_id, c.lease)).ok AND
	     (provconn_refresh(provconn_refresh_command(c.connection_id, provconn_credentials('s', 'link_token', now() + interval '2 hours')))).ok END AS ok
FROM provconn.connection AS c WHERE user_id = t.u('stats')
AND alias IN ('oauth2 soon free never-failed', 'oauth2 expired free never-failed', 'link_token expired free never-failed', 'link_token soon free never-failed') ORDER BY 1;
SELECT count(*) AS lagging FROM provconn.connection WHERE user_id = t.u('stats') AND due_at < expires_at;
SELECT * FROM pg_temp.shown() WHERE status = 'active';
SELECT * FROM pg_temp.differences();
SELECT provider_slug, count FROM (SELECT provider_slug, count(*) FROM provconn_claim_due('w') GROUP BY 1) AS c ORDER BY 1;
-- what is overdue is what expires, but for what workers have in hand
SELECT sum(overdue) AS overdue FROM provconn_stats \gset
UPDATE provconn.connection SET leased_until = now() - interval '1 second' WHERE user_id = t.u('stats') AND leased_until > now();
SELECT provconn_expire_overdue() = :overdue AS all;
SELECT provider_slug, status, connections, overdue, leased, leases_expired FROM pg_temp.shown() WHERE status IN ('active', 'expired');

-- the columns, and the breaker beside each of a provider's rows
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'provconn_stats'::regclass AND attnum > 0 ORDER BY attnum;
UPDATE provconn.provider_health SET allowance = 1, opened_at = '2026-01-01 00:00+00', next_claim_at = now() WHERE provider_id = t.p('stats a');
UPDATE provconn.provider_health SET allowance = 2, opened_at = '2026-01-02 00:00+00', next_claim_at = now() WHERE provider_id = t.p('stats b');
SELECT provider_slug, provider_id = t.p(replace(provider_slug, '-', ' ')) AS provider_id, status, breaker, breaker_opened_at AT TIME ZONE 'UTC' AS breaker_opened_at
FROM provconn_stats WHERE provider_slug LIKE 'stats-%' ORDER BY 1, status;
SELECT provconn_reset_provider(t.p('stats ' || p)) FROM unnest(ARRAY['a', 'b']) AS p;
DROP TABLE mixture, held;
