-- The refresh queue: claims, and the leases that they give.
\set SHOW_CONTEXT never

-- What other files left is out of the way.
DO $$ BEGIN
	PERFORM provconn_mark_revoked(connection_id) FROM provconn.connection WHERE status = 'active' AND expires_at IS NOT NULL;
END $$;
SELECT count(provconn_register_provider('queue-' || p, 'Queue', 'oauth2', NULL, t.p('queue ' || p)))
FROM unnest(ARRAY['a', 'b', 'c']) AS p;

-- A connection that expires in so much time; its alias and its secret are its name.
CREATE FUNCTION pg_temp.connect(name text, expires_in interval, type provconn_credential_type DEFAULT 'oauth2',
	provider text DEFAULT 'a', secret bytea DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
	r provconn_result := provconn_connect(provconn_connect_command(t.u('queue'), t.p('queue ' || provider), 'queue-' || provider,
		provconn_credentials(coalesce(secret, convert_to(name, 'UTF8')), type, clock_timestamp() + expires_in), name));
BEGIN
	IF NOT r.ok THEN
		RAISE EXCEPTION '%', r.error_code;
	END IF;
	RETURN r.connection_id;
END $$;

CREATE FUNCTION pg_temp.id(name text) RETURNS uuid LANGUAGE sql STABLE
AS $$ SELECT connection_id FROM provconn.connection WHERE user_id = t.u('queue') AND alias = name AND status <> 'disconnected' $$;

CREATE FUNCTION pg_temp.lease(name text) RETURNS uuid LANGUAGE sql STABLE
AS $$ SELECT lease FROM provconn.connection WHERE connection_id = pg_temp.id(name) $$;

-- What a claim finds; all of it is released again.
CREATE FUNCTION pg_temp.due(within interval DEFAULT '5 minutes', max_connections int DEFAULT 100) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	found provconn_claimed[] := array_agg(c) FROM provconn_claim_due('look', within, max_connections) AS c;
	released bigint := count(*) FROM unnest(found) AS f, provconn_release(f.connection_id, f.lease) AS r WHERE r.ok;
BEGIN
	IF released <> coalesce(cardinality(found), 0) THEN
		RAISE EXCEPTION '% released', released;
	END IF;
	RETURN (SELECT string_agg(coalesce(f.secret_text, 'no text'), ' ' ORDER BY n) FROM unnest(found) WITH ORDINALITY
	        AS f (connection_id, user_id, provider_id, slug, secret, secret_text, type, expires_at, version, attempt, lease, until, n));
END $$;

CREATE FUNCTION pg_temp.refresh(name text, lease uuid, expires_in interval DEFAULT '1 hour') RETURNS provconn_result LANGUAGE sql AS $$
	SELECT provconn_refresh(provconn_refresh_command(pg_temp.id(name),
		provconn_credentials(name || '+', 'oauth2', clock_timestamp() + expires_in)), lease)
$$;

-- A part of this file is done: its connections leave the queue.
CREATE FUNCTION pg_temp.clear() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM provconn_disconnect(provconn_disconnect_command(user_id, connection_id))
	FROM provconn.connection WHERE user_id = t.u('queue') AND status <> 'disconnected';
END $$;

-- what a claim returns
SELECT pg_temp.connect('one', '1 minute') AS id \gset
SELECT t.row_of(:'id') AS was, clock_timestamp() AS before \gset
CREATE TEMP TABLE got AS SELECT * FROM provconn_claim_due('worker 1', lease_for => '90 seconds');
SELECT clock_timestamp() AS after \gset
SELECT g.connection_id = :'id' AS connection_id, g.user_id = t.u('queue') AS user_id, g.provider_id = t.p('queue a') AS provider_id,
       g.provider_slug, g.secret, g.secret_text, g.credential_type, g.expires_at = c.expires_at AS expires_at, g.version, g.attempt,
       g.lease = c.lease AS lease, g.leased_until = c.leased_until AS leased_until,
       g.leased_until - interval '90 seconds' BETWEEN :'before' AND :'after' AS for_as_long_as_asked
FROM got AS g JOIN provconn.connection AS c USING (connection_id) \gx
SELECT array_agg(attname ORDER BY attnum) = (SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'got'::regclass AND attnum > 0) AS all_columns_shown
FROM pg_attribute WHERE attrelid = 'provconn_claimed'::regclass AND attnum > 0;
SELECT t.changes(:'was', t.row_of(:'id'));
SELECT leased_by, updated_at BETWEEN :'before' AND :'after' AS updated, updated_at + interval '90 seconds' >= leased_until AS from_its_start
FROM provconn_connections WHERE connection_id = :'id';
SELECT action, event, outcome, reason, old_status, new_status, version, error_code, provider_slug, seq
FROM provconn_audit_log WHERE connection_id = :'id' AND action <> 'connect';
-- nobody else gets it, and not this worker again either
SELECT count(*) FROM provconn_claim_due('worker 1');
SELECT count(*) FROM provconn_claim_due('worker 2', '1 day');
SELECT count(*) FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'claim_due';
-- the defaults: what expires within 5 minutes, 100 of them, for 2 minutes
SELECT count(pg_temp.connect('many ' || i, '4 minutes')) FROM generate_series(1, 110) AS i;
SELECT count(pg_temp.connect('later ' || i, '6 minutes')) FROM generate_series(1, 3) AS i;
SELECT count(*), count(DISTINCT lease) AS leases, bool_and(secret_text LIKE 'many %') AS due,
       bool_and(leased_until BETWEEN clock_timestamp() + '110 seconds' AND clock_timestamp() + '2 minutes') AS two_minutes
FROM provconn_claim_due('w');
SELECT count(*), bool_and(secret_text LIKE 'many %') AS due FROM provconn_claim_due('w');
SELECT count(*) AS claimed, count(DISTINCT a.connection_id) AS connections, count(DISTINCT seq) AS seq, bool_and(c.updated_at = a.occurred_at) AS at_that_time,
       count(DISTINCT c.updated_at) > count(DISTINCT c.leased_until) AS each_at_its_own, count(DISTINCT c.leased_until) AS claims
FROM provconn.audit AS a JOIN provconn.connection AS c USING (connection_id) WHERE c.user_id = t.u('queue') AND a.action = 'claim_due' AND c.alias LIKE 'many %';
SELECT pg_temp.clear();
-- bytes that are no text of this database, and a secret of a megabyte
SELECT count(pg_temp.connect('bytes ' || i, '1 minute', 'oauth2', 'a', b)) FROM (VALUES (1, '\xff'::bytea), (2, '\x6100'), (3, '\xc3a9')) AS v (i, b);
SELECT pg_temp.connect('big', '2 minutes', 'oauth2', 'a', repeat('x', 1000000)::bytea) IS NOT NULL AS big;
SELECT length(secret), CASE WHEN length(secret) < 10 THEN secret END AS secret, secret_text IS NOT NULL AS text, secret_text = repeat('x', 1000000) AS big
FROM provconn_claim_due('w');
SELECT pg_temp.clear();

-- which: each status and each type
SELECT count(pg_temp.connect(format('%s %s', type, status), '1 minute', type))
FROM unnest(enum_range(NULL::provconn_credential_type)) AS type, unnest(ARRAY['active', 'expired', 'revoked', 'disconnected']) AS status;
DO $$ BEGIN
	PERFORM provconn_mark_expired(connection_id) FROM provconn.connection WHERE user_id = t.u('queue') AND alias LIKE '% expired';
	PERFORM provconn_mark_revoked(connection_id) FROM provconn.connection WHERE user_id = t.u('queue') AND alias LIKE '% revoked';
	PERFORM provconn_disconnect(provconn_disconnect_command(user_id, connection_id)) FROM provconn.connection WHERE user_id = t.u('queue') AND alias LIKE '% disconnected';
	PERFORM provconn_initiate(t.u('queue'), t.p('queue a'), 'queue-a', 'pending');
	PERFORM provconn_mark_failed((provconn_initiate(t.u('queue'), t.p('queue a'), 'queue-a', 'failed')).connection_id);
END $$;
SELECT status, count(*) FROM provconn.connection WHERE user_id = t.u('queue') AND (status <> 'disconnected' OR alias LIKE '% disconnected') GROUP BY 1 ORDER BY 1;
SELECT credential_type, secret_text FROM provconn_claim_due('w', '1 year') ORDER BY 1, 2;
SELECT pg_temp.clear();
-- which: by time
SELECT count(pg_temp.connect(name, expires_in)) FROM (VALUES ('day-old', interval '-1 day'), ('hour-old', '-1 hour'), ('minute-old', '-1 minute'),
	('in-4-minutes', '4 minutes'), ('in-6-minutes', '6 minutes'), ('in-years', '1000 years'), ('no-expiry', NULL)) AS v (name, expires_in);
SELECT provconn_connect(provconn_connect_command(t.u('queue'), t.p('queue a'), 'queue-a', provconn_credentials(time, 'oauth2', time::timestamptz), time)) IS NOT NULL AS ok
FROM unnest(ARRAY['infinity', '-infinity']) AS time;
SELECT within, pg_temp.due(within) FROM unnest(ARRAY['5 minutes', '0', '10 minutes', '-30 minutes', '-2 hours', '-100 years', '290000 years']::interval[])
	WITH ORDINALITY AS v (within, n) ORDER BY n;
SELECT t.code($$SELECT provconn_claim_due('w', '300000 years')$$);
-- what has been released is due at once, so each of them was found every time;
-- and so is what a transaction claimed that came to nothing
BEGIN;
SELECT count(*) FROM provconn_claim_due('w', '0');
SELECT count(*) FROM provconn_claim_due('w', '0');
ROLLBACK;
SELECT count(*) FROM provconn_claim_due('w', '0', lease_for => '1 hour');
SELECT count(*) FROM provconn_claim_due('w', '0');
-- which: not what is backing off
UPDATE provconn.connection SET lease = NULL, leased_by = NULL, leased_until = NULL WHERE user_id = t.u('queue');
UPDATE provconn.connection SET next_attempt_at = now() + interval '1 hour' WHERE connection_id = pg_temp.id('hour-old');
UPDATE provconn.connection SET next_attempt_at = now() - interval '1 second' WHERE connection_id = pg_temp.id('minute-old');
SELECT secret_text FROM provconn_claim_due('w', '-1 second') ORDER BY 1;
SELECT pg_temp.clear();

-- in turn: what there is of each provider, and what a claim takes of it
SELECT count(pg_temp.connect(format('a%s', i), i * interval '1 second', 'oauth2', 'a')) FROM generate_series(1, 40) AS i;
SELECT count(pg_temp.connect(format('b%s', i), i * interval '-1 minute', 'oauth2', 'b')) FROM generate_series(1, 3) AS i;
SELECT count(pg_temp.connect(format('c%s', i), i * interval '1 second', 'link_token', 'c')) FROM generate_series(1, 1) AS i;
CREATE TEMP TABLE taken (n int);
CREATE FUNCTION pg_temp.turns(max_connections int) RETURNS TABLE (turns text, a text, b text, c text) LANGUAGE plpgsql AS $$
BEGIN
	DROP TABLE taken;
	CREATE TEMP TABLE taken AS SELECT w.*, row_number() OVER (PARTITION BY w.provider_id ORDER BY w.n) AS turn
	FROM (SELECT f.*, row_number() OVER () AS n FROM provconn_claim_due('turns', '1 hour', max_connections) AS f) AS w;
	PERFORM provconn_release(f.connection_id, f.lease) FROM taken AS f;
	RETURN QUERY SELECT string_agg(f.turn::text, ' ' ORDER BY f.n), string_agg(f.secret_text, ' ' ORDER BY f.n) FILTER (WHERE f.provider_slug = 'queue-a'),
		string_agg(f.secret_text, ' ' ORDER BY f.n) FILTER (WHERE f.provider_slug = 'queue-b'),
		string_agg(f.secret_text, ' ' ORDER BY f.n) FILTER (WHERE f.provider_slug = 'queue-c') FROM taken AS f;
END $$;
SELECT max_connections, f.* FROM unnest(ARRAY[0, 3, 7, 8, 12]) AS max_connections, pg_temp.turns(max_connections) AS f;
-- one at a time: none is always first, so none starves another
CREATE TEMP TABLE singles AS SELECT f.provider_slug, f.secret_text, i FROM generate_series(1, 40) AS i, LATERAL (SELECT * FROM provconn_claim_due('w' || i, max_connections => 1)) AS f;
SELECT count(*), count(DISTINCT secret_text) AS connections, bool_or(provider_slug = 'queue-a') AS a, bool_or(provider_slug = 'queue-b') AS b, bool_or(provider_slug = 'queue-c') AS c
FROM singles;
SELECT string_agg(secret_text, ' ' ORDER BY i) AS soonest_first FROM singles WHERE provider_slug = 'queue-b';
DROP TABLE singles;
SELECT pg_temp.clear();
-- what is claimed again takes its place by the time since when it could have been
SELECT count(pg_temp.connect(name, expires_in)) FROM (VALUES ('first', interval '-3 minutes'), ('again', '-10 minutes'), ('last', '-1 minute'), ('leased', '-10 minutes')) AS v (name, expires_in);
UPDATE provconn.connection SET failure_count = 4, next_attempt_at = now() - interval '2 minutes' WHERE connection_id = pg_temp.id('again');
UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'w', leased_until = now() - interval '4 minutes' WHERE connection_id = pg_temp.id('leased');
SELECT secret_text, attempt FROM provconn_claim_due('w', max_connections => 3);
SELECT secret_text, attempt FROM provconn_claim_due('w');
SELECT pg_temp.clear();

-- A lease is what lets a worker write.  Past its time it holds until another
-- claims the connection, under whatever name.
SELECT pg_temp.connect('fenced', '1 minute') AS id \gset
CREATE TEMP TABLE held AS SELECT * FROM provconn_claim_due('w', lease_for => '1 millisecond');
SELECT pg_sleep(0.01);
SELECT secret_text, version, attempt, lease <> (SELECT lease FROM held) AS another FROM provconn_claim_due('w');
CREATE TEMP TABLE tried (command text, lease text, result provconn_result, untouched boolean, audits bigint);
DO $$
DECLARE
	command text; kind text; given uuid; was jsonb; audits bigint; r provconn_result; id uuid := pg_temp.id('fenced');
BEGIN
	FOR command, kind IN SELECT * FROM unnest(ARRAY['refresh', 'report_failure', 'release']) AS a, unnest(ARRAY['the old one', 'another', 'null']) AS b LOOP
		-- a refresh without a lease is nobody's
		CONTINUE WHEN command = 'refresh' AND kind = 'null';
		was := t.row_of(id);
		audits := count(*) FROM provconn.audit;
		given := CASE kind WHEN 'the old one' THEN (SELECT lease FROM held) WHEN 'another' THEN t.u('another') END;
		CASE command
			WHEN 'refresh' THEN r := pg_temp.refresh('fenced', given);
			WHEN 'report_failure' THEN r := provconn_report_failure(id, given, 'too late');
			WHEN 'release' THEN r := provconn_release(id, given);
		END CASE;
		INSERT INTO tried VALUES (command, kind, r, t.row_of(id) = was, (SELECT count(*) FROM provconn.audit) - audits);
	END LOOP;
END $$;
SELECT command, lease, (result).ok, (result).connection_id = :'id' AS id, (result).status, (result).version, (result).error_code, (result).needs_user_action, untouched, audits
FROM tried ORDER BY 1, 2;
SELECT DISTINCT (result).message FROM tried;
SELECT action, event, outcome, reason, old_status, new_status, version, error_code, seq FROM provconn_audit_log
WHERE connection_id = :'id' AND outcome = 'refused' ORDER BY audit_id;
SELECT t.code($$SELECT provconn_unwrap(provconn_release(pg_temp.id('fenced'), NULL))$$);
-- the current one goes through, once
SELECT ok, status, version, error_code FROM pg_temp.refresh('fenced', pg_temp.lease('fenced'), '1 minute');
SELECT lease, leased_by, leased_until FROM provconn.connection WHERE connection_id = :'id';
SELECT error_code, version FROM pg_temp.refresh('fenced', (SELECT lease FROM held), '1 minute');
-- no connection at all comes before the lease, and no lease before the state
SELECT asked, (provconn_release(id, NULL)).error_code AS release, (provconn_report_failure(id, NULL, 'x')).error_code AS report
FROM (VALUES ('null', NULL::uuid), ('unknown', t.u('no such connection')), ('its own', :'id')) AS v (asked, id);
SELECT secret_text, version FROM provconn_claim_due('w');
UPDATE provconn.connection SET status = 'expired' WHERE connection_id = :'id';
SELECT lease, (provconn_release(:'id', given)).error_code AS release, (provconn_report_failure(:'id', given, 'x')).error_code AS report,
       (pg_temp.refresh('fenced', given)).error_code AS refresh
FROM (VALUES ('null', NULL::uuid), ('another', t.u('another'))) AS v (lease, given);
SELECT command, r.ok, r.status, r.version, r.error_code, r.message, r.needs_user_action
FROM (VALUES ('release', provconn_release(:'id', pg_temp.lease('fenced'))), ('report_failure', provconn_report_failure(:'id', pg_temp.lease('fenced'), 'x', true)),
      ('refresh', pg_temp.refresh('fenced', pg_temp.lease('fenced')))) AS v (command, result), LATERAL (SELECT (v.result).*) AS r;
SELECT pg_temp.clear();
DROP TABLE tried, held;

-- a lease that ran out, and nobody came: each report is still taken
SELECT count(pg_temp.connect('late ' || command, '1 minute')) FROM unnest(ARRAY['refresh', 'report', 'release']) AS command;
CREATE TEMP TABLE held AS SELECT * FROM provconn_claim_due('w', lease_for => '1 millisecond');
SELECT pg_sleep(0.01);
SELECT count(*), bool_and(leased_until < now()) AS ran_out FROM held;
SELECT ok, version FROM pg_temp.refresh('late refresh', (SELECT lease FROM held WHERE secret_text = 'late refresh'));
SELECT ok, version FROM provconn_report_failure(pg_temp.id('late report'), (SELECT lease FROM held WHERE secret_text = 'late report'), 'timeout');
SELECT ok, version FROM provconn_release(pg_temp.id('late release'), (SELECT lease FROM held WHERE secret_text = 'late release'));
SELECT pg_temp.due('1 day');
SELECT pg_temp.clear();
DROP TABLE held;

-- release gives back what was claimed, and nothing else
SELECT pg_temp.connect('released', '1 minute') AS id \gset
UPDATE provconn.connection SET failure_count = 2, last_failure = 'timeout', failing_since = '2026-01-01', next_attempt_at = '2026-01-02' WHERE connection_id = :'id';
SELECT t.row_of(:'id') AS was \gset
SELECT attempt, lease FROM provconn_claim_due('w') \gset
SELECT :attempt AS attempt;
SELECT ok, connection_id = :'id' AS id, status, version, error_code, message, needs_user_action FROM provconn_release(:'id', :'lease');
SELECT t.changes(:'was', t.row_of(:'id'));
SELECT action, event, outcome, reason, old_status, new_status, version, error_code, seq FROM provconn_audit_log
WHERE connection_id = :'id' AND action IN ('claim_due', 'release') ORDER BY seq;
SELECT secret_text, attempt FROM provconn_claim_due('w');
-- a refresh that nobody leased takes the connection out of the worker's hands
SELECT pg_temp.lease('released') AS lease \gset
SELECT ok, version FROM pg_temp.refresh('released', NULL, '1 minute');
SELECT lease, leased_by, leased_until, failure_count, last_failure, failing_since FROM provconn.connection WHERE connection_id = :'id';
SELECT ok, error_code, version FROM pg_temp.refresh('released', :'lease');
SELECT ok, error_code FROM provconn_report_failure(:'id', :'lease', 'timeout');
SELECT secret_text, version, attempt FROM provconn_claim_due('w');
-- what is no refresh leaves it alone
SELECT pg_temp.lease('released') AS lease \gset
SELECT (provconn_record_sync(:'id')).ok AS sync, (provconn_rename(t.u('queue'), :'id', 'released')).ok AS rename, (provconn_set_metadata(t.u('queue'), :'id', '{}')).ok AS metadata;
SELECT pg_temp.lease('released') = :'lease' AS same, (provconn_release(:'id', :'lease')).ok;
SELECT pg_temp.clear();

-- leases in a batch: what was lost does not spoil the others
SELECT count(pg_temp.connect('batch ' || i, '1 minute')) FROM generate_series(1, 5) AS i;
CREATE TEMP TABLE held AS SELECT * FROM provconn_claim_due('w');
SELECT (provconn_release(connection_id, lease)).ok FROM held WHERE secret_text = 'batch 2';
SELECT (pg_temp.refresh('batch 3', NULL)).ok;
SELECT n, ok, version, error_code FROM provconn_refresh_batch(
	(SELECT array_agg(provconn_refresh_command(connection_id, provconn_credentials(secret_text || ' again', 'oauth2', now() + interval '1 hour')) ORDER BY secret_text) FROM held),
	(SELECT array_agg(CASE secret_text WHEN 'batch 4' THEN t.u('another') WHEN 'batch 5' THEN NULL ELSE lease END ORDER BY secret_text) FROM held))
	WITH ORDINALITY AS r (ok, connection_id, status, version, error_code, message, needs_user_action, n);
SELECT alias, version, lease IS NOT NULL AS leased FROM provconn.connection WHERE user_id = t.u('queue') AND status = 'active' ORDER BY 1;
SELECT pg_temp.clear();
DROP TABLE held;

-- how many and how long
SELECT pg_temp.connect('asked for', '1 minute') IS NOT NULL AS ok;
SELECT count(*) FROM provconn_claim_due('w', max_connections => 0);
SELECT arguments, t.message(format('SELECT provconn_claim_due(%s)', arguments)) FROM unnest(ARRAY[
	'NULL', '''w'', NULL', '''w'', max_connections => NULL', '''w'', lease_for => NULL',
	'''''', 'repeat(''w'', 101)', 'repeat(''ü'', 101)', '''w'', max_connections => -1',
	'''w'', lease_for => ''0''', '''w'', lease_for => ''-1 second''', '''w'', lease_for => ''300000 years''']) AS arguments;
SELECT pg_temp.lease('asked for') IS NULL AS free;
SELECT secret_text FROM provconn_claim_due(repeat('ü', 100), max_connections => 2147483647);
SELECT leased_by = repeat('ü', 100) AS worker FROM provconn.connection WHERE connection_id = pg_temp.id('asked for');
SELECT reason = repeat('ü', 100) AS worker FROM provconn_audit_log WHERE connection_id = pg_temp.id('asked for') AND action = 'claim_due';
BEGIN READ ONLY;
SELECT provconn_claim_due('w');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT call, t.code('SET LOCAL transaction_read_only = on; SELECT ' || call) FROM unnest(ARRAY['provconn_claim_due(''w'')',
	'provconn_report_failure(NULL, NULL, NULL)', 'provconn_release(NULL, NULL)', 'provconn_expire_overdue()', 'provconn_reset_provider(NULL)']) AS call;
SELECT pg_temp.clear();

-- A refresh that nobody leased leaves the row's place in the queue as it was,
-- so that no index changes; one that a worker leased moves it.
CREATE FUNCTION pg_temp.is_hot(name text, lease uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	was bigint := pg_stat_get_xact_tuples_hot_updated('provconn.connection'::regclass);
	updates bigint := pg_stat_get_xact_tuples_updated('provconn.connection'::regclass);
	r provconn_result := pg_temp.refresh(name, lease);
BEGIN
	IF NOT r.ok OR pg_stat_get_xact_tuples_updated('provconn.connection'::regclass) <> updates + 1 THEN
		RAISE EXCEPTION '%', r;
	END IF;
	RETURN pg_stat_get_xact_tuples_hot_updated('provconn.connection'::regclass) > was;
END $$;
CREATE FUNCTION pg_temp.place(name text, OUT due text, OUT held text) LANGUAGE sql AS $$
	SELECT CASE WHEN due_at = expires_at THEN 'at expiry' WHEN due_at < expires_at THEN 'before expiry' WHEN due_at > expires_at THEN 'after expiry' END,
	       CASE WHEN isfinite(held_until) THEN CASE WHEN held_until = greatest(leased_until, next_attempt_at) THEN 'as it says' ELSE 'otherwise' END ELSE held_until::text END
	FROM provconn.connection WHERE connection_id = pg_temp.id(name)
$$;
BEGIN;
SELECT pg_temp.connect('leased', '-1 minute') IS NOT NULL AS ok;
SELECT secret_text FROM provconn_claim_due('w');
SELECT * FROM pg_temp.place('leased');
SELECT pg_temp.is_hot('leased', pg_temp.lease('leased')) AS hot;
SELECT * FROM pg_temp.place('leased');
COMMIT;
BEGIN;
SELECT pg_temp.connect('lagging', '-1 minute') AS id \gset
SELECT * FROM pg_temp.place('lagging');
SELECT pg_temp.is_hot('lagging', NULL) AS hot;
SELECT pg_temp.is_hot('lagging', NULL) AS hot;
COMMIT;
SELECT * FROM pg_temp.place('lagging');
-- a claim that comes upon it puts it right, which is no change of the connection
SELECT t.row_of(:'id') AS was, (SELECT count(*) FROM provconn.audit) AS audits \gset
SELECT pg_temp.due() AS due;
SELECT t.changes(:'was', t.row_of(:'id')), (SELECT count(*) FROM provconn.audit) - :audits AS audits;
SELECT * FROM pg_temp.place('lagging');
-- so does provconn_expire_overdue
SELECT (pg_temp.refresh('lagging', NULL, '2 hours')).ok, (pg_temp.refresh('lagging', NULL, '-1 hour')).ok, (pg_temp.refresh('lagging', NULL, '1 hour')).ok;
SELECT * FROM pg_temp.place('lagging');
SELECT t.row_of(:'id') AS was, (SELECT count(*) FROM provconn.audit) AS audits \gset
SELECT provconn_expire_overdue();
SELECT t.changes(:'was', t.row_of(:'id')), (SELECT count(*) FROM provconn.audit) - :audits AS audits;
SELECT * FROM pg_temp.place('lagging');
-- it takes nothing from those that are due sooner, and waits for its own turn
SELECT (pg_temp.refresh('lagging', NULL, '-2 hours')).ok, (pg_temp.refresh('lagging', NULL, '2 minutes')).ok;
SELECT count(pg_temp.connect('sooner ' || i, i * interval '-1 minute')) FROM generate_series(1, 2) AS i;
SELECT * FROM pg_temp.place('lagging');
SELECT pg_temp.due(max_connections => 1);
SELECT * FROM pg_temp.place('lagging');
SELECT pg_temp.due();
-- where it is due first, it comes with the first claim
SELECT (pg_temp.refresh('lagging', NULL, '-2 hours')).ok, (pg_temp.refresh('lagging', NULL, '-90 seconds')).ok;
SELECT * FROM pg_temp.place('lagging');
SELECT pg_temp.due(max_connections => 1);
SELECT pg_temp.due(max_connections => 2);
SELECT pg_temp.due(max_connections => 3);
SELECT (pg_temp.refresh('lagging', NULL, '-2 hours')).ok, (pg_temp.refresh('lagging', NULL, '-150 seconds')).ok;
SELECT pg_temp.due(max_connections => 1);
-- an update that writes its place ends its lagging, one that does not leaves it
SELECT (pg_temp.refresh('lagging', NULL, '-2 hours')).ok, (pg_temp.refresh('lagging', NULL, '1 hour')).ok;
UPDATE provconn.connection SET metadata = '{}' WHERE connection_id = :'id';
SELECT * FROM pg_temp.place('lagging');
UPDATE provconn.connection SET metadata = NULL, due_at = NULL, held_until = NULL WHERE connection_id = :'id';
SELECT * FROM pg_temp.place('lagging');
-- an earlier expiry is in its place at once, and so is another type
SELECT (pg_temp.refresh('lagging', NULL, '1 day')).ok;
SELECT pg_temp.connect('other type', '-1 minute', 'api_key') IS NOT NULL AS ok;
SELECT * FROM pg_temp.place('other type');
SELECT (pg_temp.refresh('lagging', NULL, '-3 minutes')).ok, (pg_temp.refresh('other type', NULL, '-4 minutes')).ok;
SELECT name, p.* FROM unnest(ARRAY['lagging', 'other type']) AS name, pg_temp.place(name) AS p;
SELECT pg_temp.due();
SELECT pg_temp.clear();
-- many of them are put right by one claim, and are looked at a few times at most
SELECT count(pg_temp.connect('lagging ' || i, '-1 hour')) FROM generate_series(1, 2000) AS i;
UPDATE provconn.connection SET expires_at = now() + interval '1 hour' WHERE user_id = t.u('queue') AND status = 'active';
SELECT pg_temp.connect('due', '-1 minute') IS NOT NULL AS ok;
SELECT count(*) AS lagging FROM provconn.connection WHERE user_id = t.u('queue') AND due_at < expires_at;
SET statement_timeout = '60s';
BEGIN;
SELECT pg_stat_get_xact_tuples_returned('provconn.connection_queue_idx'::regclass) AS was \gset
SELECT secret_text FROM provconn_claim_due('w', max_connections => 1);
SELECT pg_stat_get_xact_tuples_returned('provconn.connection_queue_idx'::regclass) - :was BETWEEN 2000 AND 40000 AS few_times;
SELECT count(*) AS lagging FROM provconn.connection WHERE user_id = t.u('queue') AND due_at < expires_at;
SELECT pg_stat_get_xact_tuples_returned('provconn.connection_queue_idx'::regclass) AS was \gset
SELECT count(*) FROM provconn_claim_due('w');
SELECT pg_stat_get_xact_tuples_returned('provconn.connection_queue_idx'::regclass) - :was < 10000 AS as_often_as_before;
COMMIT;
RESET statement_timeout;
SELECT pg_temp.clear();

-- A direct UPDATE of a row's place alone is put right, and is no change.
SELECT pg_temp.connect('direct', '-1 minute') AS id \gset
SELECT t.row_of(:'id') AS was, (SELECT count(*) FROM provconn.audit) AS audits \gset
UPDATE provconn.connection SET due_at = now() + interval '1 day', held_until = 'infinity' WHERE connection_id = :'id';
UPDATE provconn.connection SET due_at = NULL, held_until = NULL WHERE connection_id = :'id';
SELECT t.changes(:'was', t.row_of(:'id')), (SELECT count(*) FROM provconn.audit) - :audits AS audits;
SELECT pg_temp.due();
-- one of what it follows from is a change, and moves the row
UPDATE provconn.connection SET leased_by = 'by hand', lease = t.u('lease'), leased_until = now() + interval '1 hour' WHERE connection_id = :'id';
SELECT * FROM pg_temp.place('direct');
SELECT pg_temp.due();
UPDATE provconn.connection SET leased_until = now() - interval '1 hour', due_at = 'infinity', held_until = NULL WHERE connection_id = :'id';
SELECT * FROM pg_temp.place('direct');
SELECT pg_temp.due();
UPDATE provconn.connection SET next_attempt_at = now() + interval '1 hour' WHERE connection_id = :'id';
SELECT * FROM pg_temp.place('direct');
SELECT pg_temp.due();
UPDATE provconn.connection SET next_attempt_at = NULL WHERE connection_id = :'id';
SELECT action, count(*) FROM provconn_audit_log WHERE connection_id = :'id' AND action <> 'connect' GROUP BY 1 ORDER BY 1;
SELECT count(*) = max(seq) AS gapless FROM provconn_audit_log WHERE connection_id = :'id';
-- infinity is a time like others: what waits or is leased so long is held, and still can be refreshed
UPDATE provconn.connection SET next_attempt_at = 'infinity' WHERE connection_id = :'id';
SELECT isfinite(held_until) AND held_until > '100000-01-01' AS held, pg_temp.due() FROM provconn.connection WHERE connection_id = :'id';
UPDATE provconn.connection SET next_attempt_at = '-infinity', lease = t.u('lease'), leased_by = 'by hand', leased_until = 'infinity' WHERE connection_id = :'id';
SELECT isfinite(held_until) AND held_until > '100000-01-01' AS held, pg_temp.due() FROM provconn.connection WHERE connection_id = :'id';
SELECT leased, leases_expired FROM provconn_stats WHERE provider_id = t.p('queue a') AND status = 'active';
UPDATE provconn.connection SET leased_until = '-infinity' WHERE connection_id = :'id';
SELECT * FROM pg_temp.place('direct');
SELECT pg_temp.due();
SELECT pg_temp.clear();

-- What was written with the triggers disabled has a wrong place in the queue.  A
-- claim judges the row itself: it hands out none of these, and puts them right.
SELECT count(pg_temp.connect(name, '-1 minute')) FROM unnest(ARRAY['revoked', 'no expiry', 'api_key', 'leased', 'backing off', 'later', 'good', 'hidden']) AS name;
UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'by hand', leased_until = now() + interval '1 hour' WHERE connection_id = pg_temp.id('hidden');
CREATE TEMP TABLE audits AS SELECT count(*) FROM provconn.audit;
ALTER TABLE provconn.connection DISABLE TRIGGER USER;
UPDATE provconn.connection SET status = 'revoked' WHERE connection_id = pg_temp.id('revoked');
UPDATE provconn.connection SET expires_at = NULL WHERE connection_id = pg_temp.id('no expiry');
UPDATE provconn.connection SET credential_type = 'api_key' WHERE connection_id = pg_temp.id('api_key');
UPDATE provconn.connection SET lease = t.u('lease'), leased_by = 'by hand', leased_until = now() + interval '1 hour' WHERE connection_id = pg_temp.id('leased');
UPDATE provconn.connection SET failure_count = 1, failing_since = now(), next_attempt_at = now() + interval '1 hour' WHERE connection_id = pg_temp.id('backing off');
UPDATE provconn.connection SET expires_at = now() + interval '1 day', held_until = now() - interval '1 hour' WHERE connection_id = pg_temp.id('later');
UPDATE provconn.connection SET due_at = '2000-01-01', held_until = '2000-01-01' WHERE connection_id = pg_temp.id('hidden');
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER zz_provconn_guard, ENABLE ALWAYS TRIGGER provconn_no_truncate, ENABLE ALWAYS TRIGGER provconn_audit, ENABLE ALWAYS TRIGGER provconn_import;
SET statement_timeout = '20s';
SELECT count(*) FROM provconn_claim_due('w', max_connections => 0);
SELECT secret_text FROM provconn_claim_due('w');
SELECT c.alias, c.status, p.*, c.leased_by FROM provconn.connection AS c, pg_temp.place(c.alias) AS p WHERE c.user_id = t.u('queue') AND c.status <> 'disconnected' ORDER BY 1;
SELECT count(*) - (SELECT count FROM audits) AS audits FROM provconn.audit;
SELECT count(*) FROM provconn_claim_due('w');
RESET statement_timeout;
-- nor do more of them than a claim asks for hold up what is due
SELECT count(pg_temp.connect('wrong ' || i, '-2 minutes')) FROM generate_series(1, 10) AS i;
SELECT pg_temp.connect('behind them', '-1 minute') IS NOT NULL AS ok;
ALTER TABLE provconn.connection DISABLE TRIGGER USER;
UPDATE provconn.connection SET status = 'revoked' WHERE user_id = t.u('queue') AND alias LIKE 'wrong %';
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER zz_provconn_guard, ENABLE ALWAYS TRIGGER provconn_no_truncate, ENABLE ALWAYS TRIGGER provconn_audit, ENABLE ALWAYS TRIGGER provconn_import;
SET statement_timeout = '20s';
SELECT secret_text FROM provconn_claim_due('w', max_connections => 1);
SELECT count(*) FROM provconn_claim_due('w');
RESET statement_timeout;
SELECT count(*) FILTER (WHERE held_until IS NULL) AS right, count(*) FROM provconn.connection WHERE user_id = t.u('queue') AND alias LIKE 'wrong %' AND status = 'revoked';
DROP TABLE audits;
SELECT pg_temp.clear();

-- A credential that does not open: the others are claimed, it backs off.
SELECT count(pg_temp.connect('good ' || i, i * interval '-2 minutes')) FROM generate_series(1, 3) AS i;
SELECT pg_temp.connect('damaged', '-3 minutes') AS id \gset
ALTER TABLE provconn.connection DISABLE TRIGGER USER;
UPDATE provconn.connection SET credential = set_byte(credential, length(credential) / 2, 255 - get_byte(credential, length(credential) / 2)) WHERE connection_id = :'id';
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER zz_provconn_guard;
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER provconn_no_truncate;
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER provconn_audit;
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER provconn_import;
SELECT t.row_of(:'id') AS was \gset
-- the warning names the connection, so here is its code alone
\set VERBOSITY sqlstate
SELECT secret_text, attempt FROM provconn_claim_due('w', max_connections => 3);
\set VERBOSITY default
SELECT t.changes(:'was', t.row_of(:'id'));
SELECT status, failure_count, last_failure, leased_by, leased_until, next_attempt_at > now() + interval '20 seconds' AS backs_off
FROM provconn_connections WHERE connection_id = :'id';
SELECT action, event, outcome, error_code, reason, old_status, new_status, version, seq FROM provconn_audit_log WHERE connection_id = :'id' AND action <> 'connect';
SELECT secret_text FROM provconn_claim_due('w');
-- its provider is not to blame
SELECT failures, allowance FROM provconn.provider_health WHERE provider_id = t.p('queue a');
-- when the time has come it fails once more; then new credentials take its place
UPDATE provconn.connection SET next_attempt_at = now() - interval '1 second' WHERE connection_id = :'id';
\set VERBOSITY sqlstate
SELECT secret_text FROM provconn_claim_due('w');
\set VERBOSITY default
SELECT failure_count, next_attempt_at > now() + interval '20 seconds' AS backs_off FROM provconn.connection WHERE connection_id = :'id';
SELECT ok, version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_oauth2_credentials('new', 'own', now() + interval '1 minute')));
SELECT secret_text, version, attempt FROM provconn_claim_due('w');
SELECT pg_temp.clear();
DROP TABLE got, taken;
