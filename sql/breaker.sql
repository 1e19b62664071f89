-- The circuit breakers of the providers.
\set SHOW_CONTEXT never

-- What other files left is out of the way.
DO $$ BEGIN
	PERFORM provconn_mark_revoked(connection_id) FROM provconn.connection WHERE status = 'active' AND expires_at IS NOT NULL;
END $$;
SELECT count(provconn_register_provider('breaker-' || p, 'Breaker', 'oauth2', NULL, t.p('breaker ' || p)))
FROM unnest(ARRAY['a', 'b', 'c', 'd', 'e', 'f', 'g']) AS p;
SET provconn.breaker_threshold = 3;
SET provconn.breaker_interval = '1h';
SET provconn.breaker_limit = 10;

-- So many connections to a provider that are due, in the order of their names.
CREATE FUNCTION pg_temp.connect(provider text, first int, last int) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM generate_series(first, last) AS i, provconn_connect(provconn_connect_command(t.u('breaker'), t.p('breaker ' || provider), 'breaker-' || provider,
		provconn_credentials(provider || i, 'oauth2', clock_timestamp() - interval '1 hour' + i * interval '1 minute'), provider || i)) AS r WHERE r.ok
$$;

CREATE FUNCTION pg_temp.row_of(name text) RETURNS provconn.connection LANGUAGE sql STABLE
AS $$ SELECT c FROM provconn.connection AS c WHERE user_id = t.u('breaker') AND alias = name $$;

-- A claim: what of each provider it found.
CREATE FUNCTION pg_temp.claim(max_connections int DEFAULT 100, lease_for interval DEFAULT '2 minutes') RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(c.provider_slug || ' ' || c.count, ', ' ORDER BY c.provider_slug), 'none')
	FROM (SELECT provider_slug, count(*) FROM provconn_claim_due('w', max_connections => max_connections, lease_for => lease_for) GROUP BY 1) AS c
$$;

-- The worker that holds the connection fails, or succeeds.
CREATE FUNCTION pg_temp.fail(name text, permanent boolean DEFAULT false) RETURNS boolean LANGUAGE sql
AS $$ SELECT (provconn_report_failure(c.connection_id, c.lease, 'HTTP 503', permanent)).ok FROM pg_temp.row_of(name) AS c $$;

CREATE FUNCTION pg_temp.succeed(name text, leased boolean DEFAULT true) RETURNS boolean LANGUAGE sql AS $$
	SELECT (provconn_refresh(provconn_refresh_command(c.connection_id, provconn_credentials(name, 'oauth2', clock_timestamp() + interval '1 day')),
		CASE WHEN leased THEN c.lease END)).ok FROM pg_temp.row_of(name) AS c
$$;

-- As if what backs off had done so, and the breaker had waited: an open one for
-- its next probe, one that is half open for so many steps of a minute.
CREATE FUNCTION pg_temp.wait(provider text, steps int DEFAULT 1) RETURNS void LANGUAGE sql AS $$
	UPDATE provconn.connection SET next_attempt_at = clock_timestamp() WHERE provider_id = t.p('breaker ' || provider) AND next_attempt_at IS NOT NULL;
	UPDATE provconn.provider_health SET next_claim_at = clock_timestamp() - (steps - 1) * interval '1 minute'
	WHERE provider_id = t.p('breaker ' || provider) AND next_claim_at IS NOT NULL
$$;

CREATE FUNCTION pg_temp.breaker(provider text, OUT breaker text, OUT failures int, OUT allowance int, OUT taken int, OUT opened boolean) LANGUAGE sql AS $$
	SELECT (SELECT string_agg(DISTINCT s.breaker || CASE WHEN s.breaker_opened_at IS DISTINCT FROM h.opened_at THEN ' at another time' ELSE '' END, ' ')
	        FROM provconn_stats AS s WHERE s.provider_id = h.provider_id), h.failures, h.allowance, h.taken, h.opened_at IS NOT NULL
	FROM provconn.provider_health AS h WHERE h.provider_id = t.p('breaker ' || provider)
$$;

-- Each provider has one, however it came to be registered.
INSERT INTO provconn.provider (provider_id, slug, name, credential_type)
VALUES (t.p('breaker insert'), 'breaker-insert', 'Inserted', 'oauth2'), (t.p('breaker insert too'), 'breaker-insert-too', 'Inserted', 'oauth2');
COPY provconn.provider (provider_id, slug, name, credential_type) FROM stdin;
00000000-0000-7000-8000-0000000000b1	breaker-copy	Copied	oauth2
\.
SET row_security = off;
COPY provconn.provider (provider_id, slug, name, credential_type) FROM stdin;
00000000-0000-7000-8000-0000000000b2	breaker-restore	Restored	oauth2
\.
RESET row_security;
SELECT p.slug, h.failures, h.allowance, h.taken, h.opened_at, h.next_claim_at
FROM provconn.provider AS p LEFT JOIN provconn.provider_health AS h USING (provider_id) WHERE p.slug LIKE 'breaker-%' AND length(p.slug) > length('breaker-a') ORDER BY 1;
SELECT count(*) = (SELECT count(*) FROM provconn.provider_health) AS each, count(*) FILTER (WHERE h.provider_id IS NULL) AS without
FROM provconn.provider AS p LEFT JOIN provconn.provider_health AS h USING (provider_id);

-- closed: connections that fail one after another open it, a success between them does not let them
SELECT pg_temp.connect('a', 0, 9), pg_temp.connect('b', 1, 3);
SELECT * FROM pg_temp.breaker('a');
SELECT pg_temp.claim();
SELECT pg_temp.fail('a1'), pg_temp.fail('a2');
SELECT * FROM pg_temp.breaker('a');
SELECT pg_temp.succeed('a3');
SELECT * FROM pg_temp.breaker('a');
-- nor does an answer that a connection's own token is no good
SELECT pg_temp.fail('a4'), pg_temp.fail('a5');
SELECT pg_temp.fail('a8', true);
SELECT * FROM pg_temp.breaker('a');
-- a refresh that no worker leased says nothing about the provider, nor does a worker that gives back
SELECT pg_temp.connect('a', 61, 61), pg_temp.claim();
SELECT pg_temp.fail('a61'), pg_temp.fail('a0');
SELECT pg_temp.succeed('a6', false), (provconn_release(c.connection_id, c.lease)).ok FROM pg_temp.row_of('a7') AS c;
SELECT * FROM pg_temp.breaker('a');
-- nor does another provider
SELECT pg_temp.fail('b1'), pg_temp.fail('b2'), pg_temp.succeed('b3');
SELECT * FROM pg_temp.breaker('a');
SELECT * FROM pg_temp.breaker('b');
-- a report that was refused does not count
SELECT error_code FROM provconn_report_failure((pg_temp.row_of('a9')).connection_id, NULL, 'HTTP 503');
SELECT * FROM pg_temp.breaker('a');
SELECT clock_timestamp() AS before \gset
SELECT pg_temp.fail('a9');
SELECT * FROM pg_temp.breaker('a');
SELECT opened_at BETWEEN :'before' AND clock_timestamp() AS now, next_claim_at = opened_at + interval '1 hour' AS then_an_hour
FROM provconn.provider_health WHERE provider_id = t.p('breaker a');
SELECT DISTINCT provider_slug, breaker, breaker_opened_at IS NULL AS closed FROM provconn_stats WHERE provider_slug IN ('breaker-a', 'breaker-b') ORDER BY 1;

-- a connection that fails again and again is no evidence against its provider
SELECT pg_temp.connect('c', 1, 1);
DO $$ BEGIN
	FOR i IN 1 .. 8 LOOP
		IF pg_temp.claim() <> 'breaker-c 1' OR NOT pg_temp.fail('c1') THEN
			RAISE EXCEPTION 'nothing to fail';
		END IF;
		PERFORM pg_temp.wait('c');
	END LOOP;
END $$;
SELECT failure_count FROM pg_temp.row_of('c1');
SELECT * FROM pg_temp.breaker('c');
-- with a threshold of 0 it never opens
SET provconn.breaker_threshold = 0;
SELECT pg_temp.connect('d', 1, 20), pg_temp.claim();
SELECT count(*) FILTER (WHERE pg_temp.fail('d' || i)) FROM generate_series(1, 20) AS i;
SELECT * FROM pg_temp.breaker('d');
-- with 1 at the first
SET provconn.breaker_threshold = 1;
SELECT pg_temp.connect('d', 21, 21), pg_temp.claim(), pg_temp.fail('d21');
SELECT * FROM pg_temp.breaker('d');
SET provconn.breaker_threshold = 3;

-- open: nothing is claimed before its time, whatever is due; others go on
SELECT pg_temp.connect('a', 10, 50), pg_temp.connect('b', 4, 5);
SELECT pg_temp.claim();
SELECT pg_temp.claim();
-- then one connection, and no other for as long as both interval and lease last
SELECT clock_timestamp() AS before FROM pg_temp.wait('a') \gset
SELECT pg_temp.claim();
SELECT pg_temp.claim();
SELECT next_claim_at - interval '1 hour' BETWEEN :'before' AND clock_timestamp() AS interval FROM provconn.provider_health WHERE provider_id = t.p('breaker a');
SELECT clock_timestamp() AS before FROM pg_temp.wait('a') \gset
SELECT pg_temp.claim(lease_for => '1 day');
SELECT pg_temp.claim();
SELECT next_claim_at - interval '1 day' BETWEEN :'before' AND clock_timestamp() AS lease FROM provconn.provider_health WHERE provider_id = t.p('breaker a');
SELECT array_agg(alias ORDER BY alias) AS probes FROM provconn.connection WHERE provider_id = t.p('breaker a') AND lease IS NOT NULL;
SELECT * FROM pg_temp.breaker('a');
-- a probe that fails keeps it open, since when it was
SELECT opened_at FROM provconn.provider_health WHERE provider_id = t.p('breaker a') \gset
SELECT pg_temp.wait('a');
SELECT pg_temp.fail('a10');
SELECT opened_at = :'opened_at' AS as_before, next_claim_at > now() + interval '59 minutes' AS an_hour_more FROM provconn.provider_health WHERE provider_id = t.p('breaker a');
-- one that is given back leaves it as it is, and so does a refresh without a lease
SELECT (provconn_release(c.connection_id, c.lease)).ok FROM pg_temp.row_of('a7') AS c;
SELECT * FROM pg_temp.breaker('a');
SELECT pg_temp.claim();
SELECT pg_temp.succeed('a6', false);
SELECT * FROM pg_temp.breaker('a');

-- half open: a probe that succeeds; what may be claimed grows step by step
SELECT pg_temp.wait('a');
SELECT pg_temp.claim(), pg_temp.succeed('a7');
SELECT * FROM pg_temp.breaker('a');
SELECT opened_at = :'opened_at' AS as_before FROM provconn.provider_health WHERE provider_id = t.p('breaker a');
SELECT pg_temp.claim(1), pg_temp.claim(), pg_temp.claim();
SELECT clock_timestamp() AS before FROM pg_temp.wait('a') \gset
SELECT pg_temp.claim(), pg_temp.claim();
SELECT next_claim_at - interval '1 minute' BETWEEN :'before' AND clock_timestamp() AS a_sixtieth FROM provconn.provider_health WHERE provider_id = t.p('breaker a');
SELECT * FROM pg_temp.breaker('a');
SELECT pg_temp.wait('a');
SELECT pg_temp.claim(), pg_temp.claim();
-- up to the limit
SELECT pg_temp.wait('a');
SELECT pg_temp.claim(3), pg_temp.claim(), pg_temp.claim();
SELECT pg_temp.wait('a');
SELECT pg_temp.claim(), pg_temp.claim();
SELECT * FROM pg_temp.breaker('a');
-- others go on meanwhile
SELECT pg_temp.connect('b', 6, 20), pg_temp.claim();
SELECT pg_temp.wait('a');
SELECT pg_temp.claim(), pg_temp.claim();
-- a claim that finds fewer than it may take closes it
SELECT pg_temp.wait('a');
SELECT pg_temp.claim();
SELECT * FROM pg_temp.breaker('a');
SELECT next_claim_at FROM provconn.provider_health WHERE provider_id = t.p('breaker a');
SELECT pg_temp.connect('a', 51, 60), pg_temp.claim();

-- half open, and failures in a row, be it of one connection: open again, and since the first time
SELECT pg_temp.connect('e', 1, 30), pg_temp.claim();
SELECT pg_temp.fail('e1'), pg_temp.fail('e2'), pg_temp.fail('e3');
SELECT opened_at FROM provconn.provider_health WHERE provider_id = t.p('breaker e') \gset
SELECT pg_temp.succeed('e4');
SELECT * FROM pg_temp.breaker('e');
CREATE FUNCTION pg_temp.fail_again(name text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	UPDATE provconn.connection SET lease = t.u('lease'), next_attempt_at = NULL WHERE connection_id = (pg_temp.row_of(name)).connection_id;
	RETURN pg_temp.fail(name);
END $$;
SELECT pg_temp.fail('e5'), pg_temp.fail_again('e5');
SELECT * FROM pg_temp.breaker('e');
SELECT pg_temp.succeed('e6');
SELECT * FROM pg_temp.breaker('e');
SELECT pg_temp.fail_again('e5'), pg_temp.fail('e7');
SELECT * FROM pg_temp.breaker('e');
SELECT pg_temp.fail_again('e5');
SELECT * FROM pg_temp.breaker('e');
SELECT opened_at = :'opened_at' AS as_before, next_claim_at > now() + interval '59 minutes' AS an_hour FROM provconn.provider_health WHERE provider_id = t.p('breaker e');

-- A probe that is given back has told nothing: the next one goes an interval
-- later, not at the end of the lease that the first one had.
CREATE FUNCTION pg_temp.open(provider text) RETURNS void LANGUAGE sql AS $$
	UPDATE provconn.provider_health SET failures = 3, allowance = 1, taken = 0, opened_at = '2026-01-01', next_claim_at = clock_timestamp()
	WHERE provider_id = t.p('breaker ' || provider)
$$;
CREATE FUNCTION pg_temp.next_claim(provider text, since timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(after::text, ' ') FROM unnest(ARRAY['1 minute', '1 hour', '1 day']::interval[]) AS after, provconn.provider_health
	WHERE provider_id = t.p('breaker ' || provider) AND next_claim_at - after BETWEEN since AND clock_timestamp()
$$;
SELECT pg_temp.connect('f', 1, 30), clock_timestamp() AS before FROM pg_temp.open('f') \gset
SELECT pg_temp.claim(lease_for => '1 day');
SELECT pg_temp.next_claim('f', :'before');
SELECT clock_timestamp() AS before \gset
SELECT (provconn_release(c.connection_id, c.lease)).ok FROM pg_temp.row_of('f1') AS c;
SELECT pg_temp.next_claim('f', :'before');
SELECT * FROM pg_temp.breaker('f');
SELECT pg_temp.claim();
-- where the lease was the shorter one, nothing changes
SELECT clock_timestamp() AS before FROM pg_temp.wait('f') \gset
SELECT pg_temp.claim();
SELECT next_claim_at AS next FROM provconn.provider_health WHERE provider_id = t.p('breaker f') \gset
SELECT (provconn_release(c.connection_id, c.lease)).ok FROM pg_temp.row_of('f1') AS c;
SELECT pg_temp.next_claim('f', :'before'), next_claim_at = :'next' AS as_before FROM provconn.provider_health WHERE provider_id = t.p('breaker f');
-- what says no is not down: a probe that fails for good makes it half open
SELECT clock_timestamp() AS before FROM pg_temp.wait('f') \gset
SELECT pg_temp.claim(), pg_temp.fail('f1', true);
SELECT * FROM pg_temp.breaker('f');
SELECT pg_temp.next_claim('f', :'before'), opened_at = '2026-01-01' AS as_before FROM provconn.provider_health WHERE provider_id = t.p('breaker f');
SELECT status, failure_count FROM pg_temp.row_of('f1');

-- Each step that has passed doubles what may be claimed, whether it was used or not.
SET provconn.breaker_limit = 100;
SELECT pg_temp.wait('f', 2);
SELECT pg_temp.claim(3), pg_temp.claim(), pg_temp.claim();
SELECT * FROM pg_temp.breaker('f');
-- nothing more before the next step
UPDATE provconn.provider_health SET next_claim_at = clock_timestamp() + interval '1 year' WHERE provider_id = t.p('breaker f');
SELECT pg_temp.claim();
-- before the limit, claims that find fewer than they may take do not close it
SELECT pg_temp.wait('f');
SELECT pg_temp.claim(3), pg_temp.claim(5), pg_temp.claim(), pg_temp.claim();
SELECT pg_temp.wait('f');
SELECT pg_temp.claim(), pg_temp.claim();
SELECT * FROM pg_temp.breaker('f');
SELECT pg_temp.connect('f', 31, 60), pg_temp.claim(), pg_temp.claim();
SELECT * FROM pg_temp.breaker('f');
-- at the limit they do, but not those that ask for less than there is
SELECT pg_temp.wait('f', 2);
SELECT pg_temp.claim(2), pg_temp.claim(1);
SELECT * FROM pg_temp.breaker('f');
-- a failure for good begins the count anew, there too
SELECT pg_temp.fail('f40'), pg_temp.fail('f41'), pg_temp.fail('f42', true), pg_temp.fail('f43'), pg_temp.fail('f44');
SELECT * FROM pg_temp.breaker('f');
SELECT pg_temp.connect('f', 61, 63), pg_temp.claim();
SELECT * FROM pg_temp.breaker('f');
-- however many steps have passed
SET provconn.breaker_limit = 50;
SELECT pg_temp.connect('g', 1, 60) FROM pg_temp.open('g');
SELECT pg_temp.claim(), pg_temp.succeed('g1');
UPDATE provconn.provider_health SET next_claim_at = '2000-01-01' WHERE provider_id = t.p('breaker g');
SELECT pg_temp.claim(1000), pg_temp.claim(1000);
SELECT * FROM pg_temp.breaker('g');
SELECT next_claim_at > clock_timestamp() AS from_now FROM provconn.provider_health WHERE provider_id = t.p('breaker g');
-- a limit that has been lowered since holds from the next step on
SET provconn.breaker_limit = 5;
SELECT pg_temp.wait('g');
SELECT pg_temp.claim(), pg_temp.claim();
SELECT * FROM pg_temp.breaker('g');
SET provconn.breaker_limit = 10;

-- provconn_reset_provider closes it, whatever it was, and those alone
SELECT pg_temp.connect('d', 22, 31), pg_temp.connect('e', 31, 35), pg_temp.claim();
SELECT provconn_reset_provider(t.p('breaker d'));
SELECT * FROM pg_temp.breaker('d');
SELECT * FROM pg_temp.breaker('e');
SELECT pg_temp.claim();
SELECT provconn_reset_provider(t.p('breaker e'));
SELECT pg_temp.claim();
SELECT provconn_reset_provider(t.p('breaker e'));
SELECT * FROM pg_temp.breaker('e');
SELECT t.fault('SELECT provconn_reset_provider(NULL)');
SELECT t.fault($$SELECT provconn_reset_provider(t.p('no such provider'))$$);

-- one that is missing counts as closed, until provconn_reset_provider makes it again
DELETE FROM provconn.provider_health WHERE provider_id = t.p('breaker b');
SELECT pg_temp.connect('b', 21, 25), pg_temp.claim();
SELECT count(*) FILTER (WHERE pg_temp.fail('b' || i)) AS failed FROM generate_series(21, 24) AS i;
SELECT pg_temp.succeed('b25');
SELECT DISTINCT breaker, breaker_opened_at FROM provconn_stats WHERE provider_id = t.p('breaker b');
SELECT * FROM pg_temp.breaker('b');
SELECT provconn_reset_provider(t.p('breaker b'));
SELECT * FROM pg_temp.breaker('b');
SELECT pg_temp.connect('b', 26, 28), pg_temp.claim();
SELECT count(*) FILTER (WHERE pg_temp.fail('b' || i)) AS failed FROM generate_series(26, 28) AS i;
SELECT * FROM pg_temp.breaker('b');
SELECT provconn_reset_provider(t.p('breaker b'));
