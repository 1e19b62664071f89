-- provconn_expire_overdue: active connections whose credentials have expired.
\set SHOW_CONTEXT never

-- What other files left is out of the way.
DO $$ BEGIN
	PERFORM provconn_mark_revoked(connection_id) FROM provconn.connection WHERE status = 'active' AND expires_at IS NOT NULL;
END $$;
SELECT count(provconn_register_provider('overdue-' || p, 'Overdue', 'oauth2', NULL, t.p('overdue ' || p))) FROM unnest(ARRAY['a', 'b', 'c']) AS p;
SELECT provconn_expire_overdue();

CREATE FUNCTION pg_temp.connect(name text, expires_in interval, type provconn_credential_type DEFAULT 'oauth2', provider text DEFAULT 'a') RETURNS uuid LANGUAGE sql AS $$
	SELECT connection_id FROM provconn_connect(provconn_connect_command(t.u('overdue'), t.p('overdue ' || provider), 'overdue-' || provider,
		provconn_credentials(name, type, clock_timestamp() + expires_in), name)) AS r WHERE r.ok
$$;

CREATE FUNCTION pg_temp.id(name text) RETURNS uuid LANGUAGE sql STABLE
AS $$ SELECT connection_id FROM provconn.connection WHERE user_id = t.u('overdue') AND alias = name AND status <> 'disconnected' $$;

-- How many that says it expired, and which have.
CREATE FUNCTION pg_temp.expire(grace interval, max_connections int DEFAULT 1000, OUT count int, OUT expired text) LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
BEGIN
	count := provconn_expire_overdue(grace, max_connections);
	expired := string_agg(alias, ', ' ORDER BY alias) FROM provconn.connection
		WHERE user_id = t.u('overdue') AND status = 'expired' AND updated_at >= began;
END $$;

-- A part of this file is done: its connections are gone.
CREATE FUNCTION pg_temp.clear() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM provconn_disconnect(provconn_disconnect_command(user_id, connection_id))
	FROM provconn.connection WHERE user_id = t.u('overdue') AND status <> 'disconnected';
END $$;

-- what it does to one
SELECT pg_temp.connect('one', '-1 minute') AS id \gset
UPDATE provconn.connection SET failure_count = 2, last_failure = 'HTTP 503', failing_since = '2026-01-01' WHERE connection_id = :'id';
SELECT t.row_of(:'id') AS was \gset
SELECT provconn_expire_overdue();
SELECT t.changes(:'was', t.row_of(:'id'));
SELECT status, version, credential_type, failure_count, last_failure, needs_reauthentication FROM provconn_connections WHERE connection_id = :'id';
SELECT action, event, outcome, reason, old_status, new_status, version, error_code, provider_slug, seq, user_id = t.u('overdue') AS "user"
FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'expire_overdue';
SELECT provconn_expire_overdue();
SELECT count(*) FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'expire_overdue';
SELECT pg_temp.clear();

-- the grace is for those that a refresh may still save; the others expire with their credentials
SELECT count(pg_temp.connect(format('%s %s', type, name), expires_in, type))
FROM unnest(enum_range(NULL::provconn_credential_type)) AS type, (VALUES ('hours ago', interval '-2 hours'), ('lately', '-1 minute'), ('soon', '1 minute'), ('never', NULL)) AS v (name, expires_in);
SELECT grace, e.* FROM unnest(ARRAY['1 day', '1 hour', '0']::interval[]) WITH ORDINALITY AS v (grace, n), pg_temp.expire(grace) AS e ORDER BY n;
SELECT t.code($$SELECT provconn_expire_overdue('10000 years')$$);
SELECT count(*), bool_and(alias LIKE '% soon' OR alias LIKE '% never') AS not_yet FROM provconn.connection WHERE user_id = t.u('overdue') AND status = 'active';
SELECT pg_temp.clear();
-- active ones alone
SELECT count(pg_temp.connect(status::text, '-1 minute')) FROM unnest(enum_range(NULL::provconn_status)) AS status WHERE status IN ('active', 'expired', 'revoked', 'disconnected');
SELECT (provconn_mark_expired(pg_temp.id('expired'))).ok, (provconn_mark_revoked(pg_temp.id('revoked'))).ok,
       (provconn_disconnect(provconn_disconnect_command(t.u('overdue'), pg_temp.id('disconnected')))).ok;
SELECT * FROM pg_temp.expire('0');
SELECT pg_temp.clear();

-- not what a worker has in hand; what backs off, and what a worker dropped
SELECT count(pg_temp.connect(name, '-2 hours')) FROM unnest(ARRAY['leased', 'dropped', 'backing off', 'free', 'leased and failing']) AS name;
UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'w', leased_until = now() + interval '1 minute' WHERE connection_id IN (pg_temp.id('leased'), pg_temp.id('leased and failing'));
UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'w', leased_until = now() - interval '1 second' WHERE connection_id = pg_temp.id('dropped');
UPDATE provconn.connection SET failure_count = 1, failing_since = now(), next_attempt_at = now() + interval '1 hour' WHERE connection_id IN (pg_temp.id('backing off'), pg_temp.id('leased and failing'));
SELECT * FROM pg_temp.expire('1 day');
SELECT * FROM pg_temp.expire('0');
-- the lease ends with it: what that worker still has to say comes too late
SELECT alias, lease, leased_by, leased_until, next_attempt_at FROM provconn.connection WHERE connection_id IN (pg_temp.id('dropped'), pg_temp.id('backing off')) ORDER BY 1;
SELECT error_code, status FROM provconn_refresh(provconn_refresh_command(pg_temp.id('dropped'), provconn_oauth2_credentials('new')), t.u('lease'));
SELECT error_code FROM provconn_report_failure(pg_temp.id('dropped'), t.u('lease'), 'too late');
SELECT error_code FROM provconn_release(pg_temp.id('dropped'), t.u('lease'));
-- infinity is a time like others: a lease for ever, and an attempt that never comes of what a refresh may still save
SELECT count(pg_temp.connect(name, '-2 hours')) FROM unnest(ARRAY['leased for ever', 'never tried again']) AS name;
UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'w', leased_until = 'infinity' WHERE connection_id = pg_temp.id('leased for ever');
UPDATE provconn.connection SET next_attempt_at = 'infinity' WHERE connection_id = pg_temp.id('never tried again');
SELECT grace, e.* FROM unnest(ARRAY['1 day', '1 hour']::interval[]) WITH ORDINALITY AS v (grace, n), pg_temp.expire(grace) AS e ORDER BY n;
UPDATE provconn.connection SET lease = NULL, leased_by = NULL, leased_until = NULL WHERE connection_id = pg_temp.id('leased for ever');
-- when the lease runs out, it goes too
UPDATE provconn.connection SET leased_until = now() - interval '1 second' WHERE connection_id IN (pg_temp.id('leased'), pg_temp.id('leased and failing'));
SELECT * FROM pg_temp.expire('0');
SELECT pg_temp.clear();

-- a provider that is down, or coming back: those that it could refresh are spared, what it could not is not
SELECT count(pg_temp.connect(format('%s of %s', type, provider), '-1 day', type, provider)) FROM unnest(ARRAY['oauth2', 'link_token', 'api_key']::provconn_credential_type[]) AS type, unnest(ARRAY['a', 'b', 'c']) AS provider;
UPDATE provconn.connection SET failure_count = 1, next_attempt_at = now() + interval '1 hour' WHERE connection_id = pg_temp.id('link_token of a');
UPDATE provconn.provider_health SET allowance = 1, opened_at = now(), next_claim_at = now() WHERE provider_id = t.p('overdue a');
UPDATE provconn.provider_health SET allowance = 16, opened_at = now(), next_claim_at = now() WHERE provider_id = t.p('overdue b');
SELECT provider_slug, breaker FROM provconn_stats WHERE provider_slug LIKE 'overdue-%' AND status = 'active' ORDER BY 1;
SELECT * FROM pg_temp.expire('0');
SELECT provconn_reset_provider(t.p('overdue a'));
SELECT * FROM pg_temp.expire('0');
-- one that is coming back, for as long as claims may still take less than the limit from it
SET provconn.breaker_interval = '1h';
SET provconn.breaker_limit = 8;
UPDATE provconn.provider_health SET allowance = 2, next_claim_at = clock_timestamp() - interval '30 seconds' WHERE provider_id = t.p('overdue b');
SELECT * FROM pg_temp.expire('0');
UPDATE provconn.provider_health SET next_claim_at = clock_timestamp() - interval '1 minute' WHERE provider_id = t.p('overdue b');
SELECT * FROM pg_temp.expire('0');
SELECT allowance, taken FROM provconn.provider_health WHERE provider_id = t.p('overdue b');
SELECT pg_temp.connect('oauth2 of b', '-1 day', provider => 'b') IS NOT NULL AS ok;
UPDATE provconn.provider_health SET allowance = 1, next_claim_at = '2000-01-01', opened_at = '2000-01-01' WHERE provider_id = t.p('overdue b');
SELECT * FROM pg_temp.expire('0');
RESET provconn.breaker_interval;
RESET provconn.breaker_limit;
SELECT provconn_reset_provider(t.p('overdue b'));
SELECT * FROM pg_temp.expire('0');
SELECT pg_temp.clear();

-- at most so many, and no more than that in several calls
SELECT count(pg_temp.connect(format('%s %s%s', type, provider, i), '-1 hour', type, provider))
FROM unnest(ARRAY['oauth2', 'certificate']::provconn_credential_type[]) AS type, unnest(ARRAY['a', 'b']) AS provider, generate_series(1, 3) AS i;
SELECT provconn_expire_overdue(max_connections => 0);
SELECT provconn_expire_overdue(max_connections => 5);
SELECT provconn_expire_overdue(max_connections => 5);
SELECT count(*) FROM provconn.connection WHERE user_id = t.u('overdue') AND status = 'expired';
SELECT provconn_expire_overdue(max_connections => 5);
SELECT provconn_expire_overdue(max_connections => 5);
-- 1000 where nothing is said, each with its row in the audit
SELECT count(pg_temp.connect('many ' || i, '-1 hour', 'oauth2', 'c')) FROM generate_series(1, 1001) AS i;
SELECT provconn_expire_overdue();
SELECT provconn_expire_overdue(max_connections => 2147483647);
SELECT count(*), count(DISTINCT a.connection_id) AS connections FROM provconn.audit AS a JOIN provconn.connection AS c USING (connection_id)
WHERE c.user_id = t.u('overdue') AND a.action = 'expire_overdue' AND c.alias LIKE 'many %' AND a.seq = 2;
-- a refresh that nobody leased has made it due later: it takes no place from the others
SELECT count(pg_temp.connect('later ' || i, '-1 hour', 'oauth2', 'b')) FROM generate_series(1, 3) AS i;
SELECT bool_and((provconn_refresh(provconn_refresh_command(connection_id, provconn_credentials('new', 'oauth2', now() + interval '1 hour')))).ok)
FROM provconn.connection WHERE user_id = t.u('overdue') AND alias LIKE 'later %';
SELECT pg_temp.connect('overdue', '-1 minute', 'oauth2', 'b') IS NOT NULL AS ok;
SELECT count(*) AS lagging FROM provconn.connection WHERE user_id = t.u('overdue') AND due_at < expires_at;
SELECT * FROM pg_temp.expire('0', 1);
SELECT * FROM pg_temp.expire('0', 1);
SELECT count(*) AS lagging FROM provconn.connection WHERE user_id = t.u('overdue') AND due_at < expires_at;

-- nor do many of them, nor have they to wait for another call
SELECT count(pg_temp.connect('many later ' || i, '-1 hour', 'oauth2', 'b')) FROM generate_series(1, 1100) AS i;
SELECT count(pg_temp.connect('many keys ' || i, '-1 hour', 'api_key', 'b')) FROM generate_series(1, 600) AS i;
UPDATE provconn.connection SET expires_at = now() + interval '1 hour' WHERE user_id = t.u('overdue') AND alias LIKE 'many %' AND status = 'active';
SELECT pg_temp.connect('overdue too', '-1 minute', 'oauth2', 'b') IS NOT NULL AND pg_temp.connect('overdue key', '-1 minute', 'api_key', 'b') IS NOT NULL AS ok;
SELECT count(*) AS lagging FROM provconn.connection WHERE user_id = t.u('overdue') AND due_at < expires_at;
SELECT * FROM pg_temp.expire('0');
SELECT count(*) AS lagging FROM provconn.connection WHERE user_id = t.u('overdue') AND due_at < expires_at;
SELECT pg_temp.clear();

-- What was written with the triggers disabled has a wrong place in the queue: each
-- row is judged by itself, and put right.
SELECT count(pg_temp.connect(name, '-1 minute')) FROM unnest(ARRAY['revoked', 'no expiry', 'leased', 'leased key', 'later', 'later key', 'good']) AS name;
CREATE TEMP TABLE audits AS SELECT count(*) FROM provconn.audit;
ALTER TABLE provconn.connection DISABLE TRIGGER USER;
UPDATE provconn.connection SET status = 'revoked' WHERE connection_id = pg_temp.id('revoked');
UPDATE provconn.connection SET expires_at = NULL WHERE connection_id = pg_temp.id('no expiry');
UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'by hand', leased_until = now() + interval '1 hour' WHERE connection_id IN (pg_temp.id('leased'), pg_temp.id('leased key'));
UPDATE provconn.connection SET expires_at = now() + interval '1 hour' WHERE connection_id IN (pg_temp.id('later'), pg_temp.id('later key'));
UPDATE provconn.connection SET credential_type = 'api_key', held_until = 'infinity' WHERE connection_id IN (pg_temp.id('leased key'), pg_temp.id('later key'));
UPDATE provconn.connection SET held_until = now() - interval '1 hour' WHERE connection_id = pg_temp.id('later');
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER zz_provconn_guard, ENABLE ALWAYS TRIGGER provconn_no_truncate, ENABLE ALWAYS TRIGGER provconn_audit, ENABLE ALWAYS TRIGGER provconn_import;
SET statement_timeout = '20s';
SELECT * FROM pg_temp.expire('0', 1);
SELECT * FROM pg_temp.expire('0', 1);
SELECT provconn_expire_overdue();
RESET statement_timeout;
SELECT alias, status, CASE WHEN isfinite(held_until) THEN 'held' ELSE held_until::text END AS held, due_at = expires_at AS at_expiry
FROM provconn.connection WHERE user_id = t.u('overdue') AND status <> 'disconnected' ORDER BY 1;
SELECT count(*) - (SELECT count FROM audits) AS audits FROM provconn.audit;
DROP TABLE audits;
SELECT pg_temp.clear();

-- arguments
SELECT arguments, t.message(format('SELECT provconn_expire_overdue(%s)', arguments)) FROM unnest(ARRAY['NULL', 'max_connections => NULL', '''-1 second''', 'max_connections => -1']) AS arguments;
SELECT pg_temp.clear();
