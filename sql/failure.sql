-- provconn_report_failure: backing off, and giving up.
\set SHOW_CONTEXT never

-- What other files left is out of the way.
DO $$ BEGIN
	PERFORM provconn_mark_revoked(connection_id) FROM provconn.connection WHERE status = 'active' AND expires_at IS NOT NULL;
END $$;
SELECT provconn_register_provider('failure', 'Failure', 'oauth2', NULL, t.p('failure')) = t.p('failure') AS registered;
-- a single connection that fails is not for the breaker, see breaker.sql
SET provconn.breaker_threshold = 0;

-- A connection that is due.
CREATE FUNCTION pg_temp.connect(name text) RETURNS uuid LANGUAGE sql AS $$
	SELECT connection_id FROM provconn_connect(provconn_connect_command(t.u('failure'), t.p('failure'), 'failure',
		provconn_oauth2_credentials(name, 'r', clock_timestamp() + interval '1 minute'), name))
$$;

-- The connection is claimed, whatever it waits for, and fails.
CREATE FUNCTION pg_temp.fail(id uuid, reason text DEFAULT 'HTTP 503', permanent boolean DEFAULT false) RETURNS provconn_result LANGUAGE plpgsql AS $$
DECLARE
	given uuid;
BEGIN
	UPDATE provconn.connection SET next_attempt_at = NULL WHERE connection_id = id AND next_attempt_at IS NOT NULL;
	given := lease FROM provconn_claim_due('w', max_connections => 10) AS c WHERE c.connection_id = id;
	IF given IS NULL THEN
		RAISE EXCEPTION 'not due';
	END IF;
	RETURN provconn_report_failure(id, given, reason, permanent);
END $$;

-- what a transient failure does
SELECT pg_temp.connect('one') AS id \gset
SELECT lease, attempt FROM provconn_claim_due('w') \gset
SELECT t.row_of(:'id') AS was, clock_timestamp() AS before, :attempt = 1 AS first \gset
SELECT ok, connection_id = :'id' AS id, status, version, error_code, message, needs_user_action
FROM provconn_report_failure(connection_id => :'id', lease => :'lease', reason => 'HTTP 503');
SELECT :'first' AS first_attempt, t.changes(:'was', t.row_of(:'id'));
SELECT status, failure_count, last_failure, failing_since = updated_at AS failing_since, updated_at BETWEEN :'before' AND clock_timestamp() AS now,
       next_attempt_at - updated_at BETWEEN interval '30 seconds' AND interval '1 minute' AS next_attempt, lease, leased_by, leased_until
FROM provconn.connection WHERE connection_id = :'id' \gx
SELECT action, event, outcome, reason, old_status, new_status, version, error_code, provider_slug, seq
FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'report_failure';
-- not before its time; then as the next attempt
SELECT count(*) FROM provconn_claim_due('w', '1 day');
SELECT failing_since FROM provconn.connection WHERE connection_id = :'id' \gset
SELECT ok FROM pg_temp.fail(:'id', 'timeout');
SELECT failure_count, last_failure, failing_since = :'failing_since' AS since_the_first FROM provconn.connection WHERE connection_id = :'id';
UPDATE provconn.connection SET next_attempt_at = now() - interval '1 second' WHERE connection_id = :'id';
SELECT attempt, lease FROM provconn_claim_due('w') \gset
\echo :attempt
-- a lease is good for one report
SELECT ok FROM provconn_report_failure(:'id', :'lease', 'once');
SELECT ok, error_code FROM provconn_report_failure(:'id', :'lease', 'twice');
SELECT failure_count, last_failure FROM provconn.connection WHERE connection_id = :'id';
-- success clears it all
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'id', provconn_oauth2_credentials('new', 'r', now() + interval '1 minute')));
SELECT failure_count, last_failure, failing_since, next_attempt_at FROM provconn.connection WHERE connection_id = :'id';
SELECT attempt FROM provconn_claim_due('w');

-- reasons: any or none, cut at 1000 characters
SELECT pg_temp.connect('reasons') AS id \gset
CREATE FUNCTION pg_temp.kept(id uuid, reason text, OUT ok boolean, OUT in_the_row text, OUT in_the_audit text) LANGUAGE plpgsql AS $$
DECLARE
	kept text;
BEGIN
	ok := (pg_temp.fail(id, reason)).ok;
	kept := last_failure FROM provconn.connection WHERE connection_id = id;
	in_the_row := CASE WHEN kept IS DISTINCT FROM left(reason, 1000) THEN 'something else' ELSE length(kept)::text END;
	kept := a.reason FROM provconn_audit_log AS a WHERE connection_id = id AND action = 'report_failure' ORDER BY seq DESC LIMIT 1;
	in_the_audit := CASE WHEN kept IS DISTINCT FROM left(reason, 1000) THEN 'something else' ELSE length(kept)::text END;
END $$;
SELECT n, k.* FROM (VALUES (1, 'HTTP 503'), (2, NULL), (3, ''), (4, repeat('é', 1000)), (5, repeat('é', 1001)), (6, repeat('x', 100000))) AS v (n, reason),
	pg_temp.kept(:'id', reason) AS k;
SELECT t.message(format('SELECT provconn_report_failure(%L, NULL, NULL, NULL)', :'id'));
SELECT (provconn_disconnect(provconn_disconnect_command(t.u('failure'), connection_id))).ok FROM provconn.connection WHERE user_id = t.u('failure');

-- The delay: drawn between base and a ceiling, which doubles up to cap.
SELECT pg_temp.connect('draws') AS id \gset
CREATE FUNCTION pg_temp.draws(id uuid, nth int, OUT failures int, OUT base_kept boolean, OUT ceiling_kept boolean, OUT near_base boolean, OUT near_ceiling boolean, OUT several boolean)
LANGUAGE plpgsql AS $$
DECLARE
	base interval := current_setting('provconn.backoff_base')::interval;
	ceiling interval := least(current_setting('provconn.backoff_cap')::interval, base * 2 ^ least(nth, 20));
	delays interval[];
BEGIN
	FOR i IN 1 .. 70 LOOP
		UPDATE provconn.connection SET failure_count = nth - 1 WHERE connection_id = id;
		IF NOT (pg_temp.fail(id)).ok THEN
			RAISE EXCEPTION 'refused';
		END IF;
		delays := delays || (SELECT next_attempt_at - updated_at FROM provconn.connection WHERE connection_id = id);
	END LOOP;
	failures := nth;
	SELECT min(d) >= base, max(d) <= greatest(base, ceiling), min(d) < base + (ceiling - base) / 3, max(d) > ceiling - (ceiling - base) / 3, count(DISTINCT d) > 1
	INTO base_kept, ceiling_kept, near_base, near_ceiling, several FROM unnest(delays) AS d;
END $$;
SET provconn.give_up_failures = 0;
SET provconn.backoff_base = '10s';
SET provconn.backoff_cap = '2min';
SELECT d.* FROM unnest(ARRAY[1, 2, 3, 4, 5, 1000]) AS f, pg_temp.draws(:'id', f) AS d;
SET provconn.backoff_cap = '1d';
SELECT d.* FROM unnest(ARRAY[5, 10, 20]) AS f, pg_temp.draws(:'id', f) AS d;
-- no room between them: the lower one, and nothing to draw
SET provconn.backoff_base = '1min';
SET provconn.backoff_cap = '1min';
SELECT (pg_temp.fail(:'id')).ok, (pg_temp.fail(:'id')).ok;
SELECT next_attempt_at - updated_at AS delay FROM provconn.connection WHERE connection_id = :'id';
SET provconn.backoff_cap = '1ms';
SELECT (pg_temp.fail(:'id')).ok;
SELECT next_attempt_at - updated_at AS delay FROM provconn.connection WHERE connection_id = :'id';
-- the longest there can be, after more failures than are counted
SET provconn.backoff_base = '2147483647ms';
SET provconn.backoff_cap = '2147483647ms';
UPDATE provconn.connection SET failure_count = 2147483647, next_attempt_at = NULL WHERE connection_id = :'id';
SELECT attempt, lease FROM provconn_claim_due('w') \gset
SELECT :attempt AS attempt, ok, status FROM provconn_report_failure(:'id', :'lease', 'once more');
SELECT next_attempt_at - updated_at = interval '2147483647 milliseconds' AS delay, failure_count FROM provconn.connection WHERE connection_id = :'id';
RESET provconn.backoff_base;
RESET provconn.backoff_cap;
RESET provconn.give_up_failures;
SELECT (provconn_disconnect(provconn_disconnect_command(t.u('failure'), :'id'))).ok;

-- a permanent failure expires the connection at once, and asks for the user
SELECT pg_temp.connect('permanent') AS id \gset
SELECT lease FROM provconn_claim_due('w') \gset
SELECT t.row_of(:'id') AS was \gset
SELECT ok, connection_id = :'id' AS id, status, version, error_code, message, needs_user_action FROM provconn_report_failure(:'id', :'lease', 'invalid_grant', permanent => true);
SELECT t.changes(:'was', t.row_of(:'id'));
SELECT status, failure_count, last_failure, next_attempt_at, leased_by, leased_until, needs_reauthentication FROM provconn_connections WHERE connection_id = :'id';
SELECT action, event, outcome, reason, old_status, new_status, version, seq FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'report_failure';
SELECT ok, status, error_code FROM provconn_report_failure(:'id', :'lease', 'invalid_grant', true);
SELECT count(*) FROM provconn_claim_due('w', '1 year');
-- the user comes back: all starts anew
SELECT ok, status, version FROM provconn_reauthenticate(t.u('failure'), :'id', provconn_oauth2_credentials('again', 'r', now() + interval '1 minute'));
SELECT failure_count, last_failure, failing_since, next_attempt_at, lease FROM provconn.connection WHERE connection_id = :'id';
SELECT attempt, version FROM provconn_claim_due('w');
SELECT (provconn_disconnect(provconn_disconnect_command(t.u('failure'), :'id'))).ok;

-- Given up: after so many failures in a row, over so long a time.
SET provconn.give_up_failures = 3;
SET provconn.give_up_after = '1h';
CREATE FUNCTION pg_temp.fail_as_if(id uuid, failures int, failing_for interval) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r provconn_result;
BEGIN
	UPDATE provconn.connection SET failure_count = failures, failing_since = clock_timestamp() - failing_for WHERE connection_id = id;
	r := pg_temp.fail(id);
	RETURN concat_ws(' ', r.error_code, r.status, CASE WHEN r.needs_user_action THEN 'needs the user' END,
		(SELECT CASE WHEN next_attempt_at > clock_timestamp() THEN 'tried again' END FROM provconn.connection WHERE connection_id = id));
END $$;
SELECT pg_temp.connect('given up') AS id \gset
SELECT failures, failing_for, pg_temp.fail_as_if(:'id', failures, failing_for)
FROM (VALUES (0, NULL::interval), (1, '2 hours'), (2, '59 minutes'), (1000, '0'), (2, NULL), (2, '1 hour')) AS v (failures, failing_for);
SELECT status, failure_count, last_failure, failing_since < now() - interval '59 minutes' AS failing_since, next_attempt_at, lease,
       credential IS NOT NULL AS credential FROM provconn.connection WHERE connection_id = :'id';
SELECT action, event, outcome, reason, old_status, new_status FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'report_failure' ORDER BY seq DESC LIMIT 2;
SELECT status, given_up FROM provconn_stats WHERE provider_id = t.p('failure') AND given_up > 0;
SELECT count(*) FROM provconn_claim_due('w', '1 year');
SELECT (provconn_reauthenticate(t.u('failure'), :'id', provconn_oauth2_credentials('again', 'r', now() + interval '1 minute'))).ok;
SELECT failure_count, last_failure, failing_since FROM provconn.connection WHERE connection_id = :'id';
SELECT (pg_temp.fail(:'id')).status;
-- never
SET provconn.give_up_failures = 0;
SELECT pg_temp.fail_as_if(:'id', 1000, '100 years');
SET provconn.give_up_failures = 1;
SET provconn.give_up_after = '1d';
SELECT pg_temp.fail_as_if(:'id', 1000, '23 hours');
-- at the first
SET provconn.give_up_after = 0;
SELECT pg_temp.fail_as_if(:'id', 0, NULL);
-- after more of them than are counted
SELECT (provconn_reauthenticate(t.u('failure'), :'id', provconn_oauth2_credentials('again', 'r', now() + interval '1 minute'))).ok;
SET provconn.give_up_failures = 2147483647;
SELECT pg_temp.fail_as_if(:'id', 2147483645, '1 year'), pg_temp.fail_as_if(:'id', 2147483647, '1 year');
SELECT failure_count FROM provconn.connection WHERE connection_id = :'id';
SET provconn.give_up_failures = 1;
-- nor while the provider's breaker is open, or half open: that is no fault of the connection
SELECT pg_temp.connect('not its fault') AS id \gset
UPDATE provconn.provider_health SET allowance = 1, opened_at = now(), next_claim_at = now() WHERE provider_id = t.p('failure');
SELECT DISTINCT breaker FROM provconn_stats WHERE provider_id = t.p('failure');
SELECT pg_temp.fail_as_if(:'id', 1000, '1 year');
UPDATE provconn.provider_health SET allowance = 64, next_claim_at = now() WHERE provider_id = t.p('failure');
SELECT DISTINCT breaker FROM provconn_stats WHERE provider_id = t.p('failure');
UPDATE provconn.connection SET lease = t.u('lease') WHERE connection_id = :'id';
SELECT ok, status, needs_user_action FROM provconn_report_failure(:'id', t.u('lease'), 'HTTP 503');
-- an open one however long it has been so, one that is half open for as long as claims may still
-- take less than the limit from it
SET provconn.breaker_interval = '1h';
SET provconn.breaker_limit = 8;
CREATE FUNCTION pg_temp.fail_while(id uuid, allowed int, waited interval) RETURNS text LANGUAGE sql AS $$
	UPDATE provconn.provider_health SET allowance = allowed, opened_at = now() - interval '1 year', next_claim_at = clock_timestamp() - waited
	WHERE provider_id = t.p('failure');
	UPDATE provconn.connection SET failure_count = 1000, failing_since = now() - interval '1 year', lease = t.u('lease') WHERE connection_id = id;
	SELECT concat_ws(' ', r.status, CASE WHEN r.needs_user_action THEN 'needs the user' END) FROM provconn_report_failure(id, t.u('lease'), 'HTTP 503') AS r
$$;
SELECT n, allowed, waited, pg_temp.fail_while(pg_temp.connect('while ' || n), allowed, waited)
FROM (VALUES (1, 1, interval '0'), (2, 1, '1 year'), (3, 2, '-1 minute'), (4, 2, '0'), (5, 2, '30 seconds'), (6, 2, '1 minute'), (7, 4, '-30 seconds'), (8, 4, '0'), (9, 8, '-30 seconds'), (10, 2, '1 year')) AS v (n, allowed, waited);
SELECT DISTINCT breaker FROM provconn_stats WHERE provider_id = t.p('failure');
RESET provconn.breaker_interval;
RESET provconn.breaker_limit;
UPDATE provconn.provider_health SET allowance = 64, next_claim_at = now() WHERE provider_id = t.p('failure');
-- a permanent failure is taken for what it is
SELECT pg_temp.connect('its fault') AS other \gset
UPDATE provconn.connection SET lease = t.u('lease') WHERE connection_id = :'other';
SELECT ok, status, needs_user_action FROM provconn_report_failure(:'other', t.u('lease'), 'invalid_grant', true);
SELECT provconn_reset_provider(t.p('failure'));
SELECT failure_count, status FROM provconn.connection WHERE connection_id = :'id';
SELECT pg_temp.fail_as_if(:'id', 1002, '1 year');
-- the very failure that opens the breaker is its provider's too
SET provconn.breaker_threshold = 1;
SELECT pg_temp.connect('opens it') AS id \gset
SELECT pg_temp.fail_as_if(:'id', 0, '1 year');
SELECT DISTINCT breaker FROM provconn_stats WHERE provider_id = t.p('failure');
SELECT provconn_reset_provider(t.p('failure'));
RESET provconn.breaker_threshold;
RESET provconn.give_up_failures;
RESET provconn.give_up_after;
-- what a credential that does not open does counts the same
SET provconn.give_up_failures = 2;
SET provconn.give_up_after = 0;
SELECT pg_temp.connect('damaged') AS id \gset
UPDATE provconn.connection SET credential = '' WHERE connection_id = :'id';
\set VERBOSITY sqlstate
SELECT count(*) FROM provconn_claim_due('w');
UPDATE provconn.connection SET next_attempt_at = NULL WHERE connection_id = :'id';
SELECT count(*) FROM provconn_claim_due('w');
\set VERBOSITY default
SELECT action, reason, error_code, old_status, new_status FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'claim_due' ORDER BY seq;
SELECT failure_count, status FROM provconn.connection WHERE connection_id = :'id';
