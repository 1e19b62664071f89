-- The feed: each event of the audit once, in an order that stays.
\set SHOW_CONTEXT never
SELECT ok FROM provconn_initiate(t.u('events 1'), t.p('schwab'), 'schwab');
SELECT provconn_seal_audit() IS NOT NULL AS sealed;
SELECT count(*) AS n, count(DISTINCT audit_id) AS distinct FROM provconn_events(NULL, NULL) \gset
SELECT :n = count(*) AS "all rows", :n = :distinct AS once FROM provconn_audit_log;
SELECT position AS start FROM provconn_events(NULL, NULL) ORDER BY (string_to_array(position, ':'))[1]::bigint DESC, (string_to_array(position, ':'))[2]::int DESC LIMIT 1 \gset
SELECT count(*) AS "nothing new" FROM provconn_events(:'start');

-- what happens meanwhile comes after it, a chain's rows in their order
SELECT t.in_status(t.u('events'), 'pending', 'IRA') AS id \gset
SELECT ok FROM provconn_connect(provconn_connect_command(t.u('events'), t.p('schwab'), 'schwab', provconn_credentials('s', 'custom'), 'IRA'));
SELECT ok FROM provconn_reveal(t.u('events'), :'id', 'because');
SELECT error_code FROM provconn_refresh(provconn_refresh_command(:'id', NULL));
DO $$ BEGIN FOR i IN 1..20 LOOP PERFORM public.provconn_record_sync(connection_id) FROM public.provconn_connections WHERE user_id = t.u('events'); END LOOP; END $$;
SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u('events'), :'id'));
-- a call returns what is sealed, and seals what is new for the next one
SELECT count(*) FROM provconn_events(:'start');
SELECT event, action, outcome, old_status, new_status, error_code, reason, version, seq, provider_slug, connection_id = :'id' AS connection, user_id = t.u('events') AS user, provider_id = t.p('schwab') AS provider
FROM provconn_events(:'start') WHERE action <> 'record_sync';
SELECT count(*) AS syncs, bool_and(seq > before) AS in_order FROM (SELECT action, seq, lag(seq) OVER () AS before FROM provconn_events(:'start') WHERE seq IS NOT NULL) AS e WHERE action = 'record_sync';
-- the events are those of the view
SELECT count(*) AS differ FROM (SELECT event, audit_id, occurred_at, connection_id, user_id, provider_id, provider_slug, action, outcome, old_status, new_status, error_code, reason, version, seq FROM provconn_events(:'start')) AS e
WHERE NOT EXISTS (SELECT FROM provconn_audit_log AS l WHERE l.audit_id = e.audit_id AND l.event = e.event AND l.occurred_at = e.occurred_at AND (l.connection_id, l.user_id, l.provider_id, l.provider_slug, l.action, l.outcome, l.old_status, l.new_status, l.error_code, l.reason, l.version, l.seq) IS NOT DISTINCT FROM (e.connection_id, e.user_id, e.provider_id, e.provider_slug, e.action, e.outcome, e.old_status, e.new_status, e.error_code, e.reason, e.version, e.seq));

-- page by page it is the same, and the same again
CREATE FUNCTION pg_temp.read(after text, page int) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
	got uuid[] = '{}';
	event record;
	more boolean := true;
BEGIN
	WHILE more LOOP
		more := false;
		FOR event IN SELECT e.position, e.audit_id FROM public.provconn_events(after, page) AS e LOOP
			got := got || event.audit_id;
			after := event.position;
			more := true;
		END LOOP;
	END LOOP;
	RETURN got;
END $$;
SELECT cardinality(pg_temp.read(:'start', 1000)) AS events, pg_temp.read(:'start', 1) = pg_temp.read(:'start', 7) AS ones_and_sevens, pg_temp.read(:'start', 7) = pg_temp.read(:'start', 1000) AS sevens_and_all, cardinality(pg_temp.read(NULL, 100)) = :n + cardinality(pg_temp.read(:'start', 1000)) AS from_the_beginning;
SELECT count(*) FROM provconn_events(:'start', 0);

-- what a transaction has sealed itself is for others, once it is committed
SELECT ok FROM provconn_initiate(t.u('events 4'), t.p('schwab'), 'schwab');
BEGIN;
SELECT count(*) AS before FROM provconn_events(:'start') \gset
SELECT provconn_seal_audit() IS NOT NULL AS sealed;
SELECT count(*) = :before AS same FROM provconn_events(:'start');
ROLLBACK;
SELECT count(*) = :before AS same FROM provconn_events(:'start');
SELECT count(*) = :before + 1 AS one_more FROM provconn_events(:'start');
-- an open transaction's own rows are not in it yet; a rolled back one's never
BEGIN;
SELECT ok FROM provconn_initiate(t.u('events 2'), t.p('schwab'), 'schwab');
SELECT count(*) AS own FROM provconn_events(:'start') WHERE user_id = t.u('events 2');
ROLLBACK;
SELECT provconn_seal_audit() IS NOT NULL AS sealed;
SELECT count(*) AS undone FROM provconn_events(:'start') WHERE user_id = t.u('events 2');
-- without sealing, what is sealed
SELECT ok FROM provconn_initiate(t.u('events 3'), t.p('schwab'), 'schwab');
BEGIN READ ONLY;
SELECT count(*) AS read_only FROM provconn_events(:'start') WHERE user_id = t.u('events 3');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) AS repeatable_read FROM provconn_events(:'start') WHERE user_id = t.u('events 3');
ROLLBACK;
SELECT count(*) AS first FROM provconn_events(:'start') WHERE user_id = t.u('events 3');
SELECT count(*) AS second FROM provconn_events(:'start') WHERE user_id = t.u('events 3');

-- no positions
SELECT t.code(format('SELECT provconn_events(%L)', p)) FROM unnest(ARRAY['', 'x', '1', '1:', ':1', '1:x', '1:1:1', '-1:1', '0:0', '1:-1', '1:99999999999', '99999999999999999999:1', '1: 1', '1:1', '1:1:', '1:1:00000000', '9223372036854775807:2147483647:00000000']) AS p;
SELECT t.code('SELECT provconn_events(NULL, -1)');
SELECT t.code(format('SELECT provconn_events(%L)', overlay(:'start' placing 'zzzzzzzz' from length(:'start') - 7))) AS another_seal;

-- who may
CREATE ROLE regress_provconn_feed;
SELECT provconn_grant('regress_provconn_feed', 'operator');
SET ROLE regress_provconn_feed;
SELECT count(*) FROM provconn_events();
RESET ROLE;
SELECT provconn_grant('regress_provconn_feed', 'auditor');
SET ROLE regress_provconn_feed;
SELECT count(*) > 0 AS events FROM provconn_events();
RESET ROLE;
SELECT provconn_revoke('regress_provconn_feed', 'auditor');
SELECT provconn_revoke('regress_provconn_feed', 'operator');
DROP ROLE regress_provconn_feed;
