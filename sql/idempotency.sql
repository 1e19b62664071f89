-- Idempotency keys of provconn_connect.
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.connect(owner text, key text, alias text DEFAULT NULL, slug text DEFAULT 'schwab',
								secret provconn_secret DEFAULT 's'::text, provider text DEFAULT NULL)
RETURNS provconn_result LANGUAGE sql
AS $$
	SELECT provconn_connect(provconn_connect_command(t.u(owner), t.p(coalesce(provider, slug)), slug,
		provconn_credentials(secret, 'custom'), alias), t.u('key ' || key))
$$;

-- a repeat answers as the first did and changes no connection
CREATE TEMP TABLE first AS SELECT r.* FROM pg_temp.connect('idem', 'a', 'IRA') AS r;
SELECT ok, status, version, error_code, message, needs_user_action FROM first;
SELECT connection_id AS id, t.row_of(connection_id) AS was FROM first \gset
SELECT r = first AS same FROM pg_temp.connect('idem', 'a', 'IRA') AS r, first;
-- nor is the secret compared, or anything but provider and alias
SELECT r = first AS same FROM pg_temp.connect('idem', 'a', 'IRA', secret => 'another') AS r, first;
SELECT r = first AS same FROM pg_temp.connect('idem', 'a', 'IRA', slug => 'plaid', provider => 'schwab') AS r, first;
SELECT r = first AS same
FROM provconn_connect(provconn_connect_command(t.u('idem'), t.p('schwab'), 'schwab',
	provconn_oauth2_credentials('x', expires_at => '2001-01-01'), 'IRA'), t.u('key a')) AS r, first;
SELECT t.row_of(:'id') = :'was'::jsonb AS untouched,
       (SELECT count(*) FROM provconn_connections WHERE user_id = t.u('idem')) AS connections;
-- each repeat has its own audit row
SELECT action, event, outcome, old_status, new_status, version, seq, connection_id = :'id' AS connection,
       user_id = t.u('idem') AS "user", provider_id = t.p('schwab') AS provider, reason
FROM provconn_audit_log WHERE user_id = t.u('idem') ORDER BY occurred_at;
-- the first one's values, whatever became of the connection
SELECT (provconn_refresh(provconn_refresh_command(:'id', provconn_credentials('s2', 'custom')))).version;
SELECT r = first AS same FROM pg_temp.connect('idem', 'a', 'IRA') AS r, first;
SELECT (provconn_disconnect(provconn_disconnect_command(t.u('idem'), :'id'))).status;
SELECT r = first AS same FROM pg_temp.connect('idem', 'a', 'IRA') AS r, first;
SELECT status, version FROM provconn_connections WHERE connection_id = :'id';
-- also where the provider was closed since
SELECT provconn_set_provider_active(t.p('schwab'), false);
SELECT r = first AS same FROM pg_temp.connect('idem', 'a', 'IRA') AS r, first;
SELECT provconn_set_provider_active(t.p('schwab'), true);

-- another provider or alias: a conflict, whatever else is wrong with the command
SELECT n, r.ok, r.connection_id, r.status, r.version, r.error_code, r.needs_user_action
FROM (VALUES (1, 'plaid', 'plaid', 'IRA'), (2, 'schwab', 'schwab', NULL), (3, 'schwab', 'schwab', 'ira'),
             (4, 'schwab', 'schwab', 'IRA '), (5, 'schwab', 'schwab', ''), (6, 'unknown', 'schwab', 'IRA'),
             (7, 'schwab', repeat('s', 51), 'no'), (8, 'schwab', 'schwab', repeat('a', 101)),
             (9, 'closed', 'closed', 'IRA')) AS v (n, provider, slug, alias),
     pg_temp.connect('idem', 'a', alias, slug, provider => provider) AS r ORDER BY n;
SELECT r.error_code, r.message FROM provconn_connect(provconn_connect_command(t.u('idem'), NULL, 'schwab',
	provconn_credentials('s', 'custom'), 'IRA'), t.u('key a')) AS r;
-- a null alias against one, and null against null
SELECT r.ok FROM pg_temp.connect('idem', 'b') AS r;
SELECT r.ok, r.version FROM pg_temp.connect('idem', 'b') AS r;
SELECT r.error_code FROM pg_temp.connect('idem', 'b', 'IRA') AS r;
SELECT r.error_code FROM pg_temp.connect('idem', 'b', '') AS r;
-- a conflict keeps what was kept
SELECT r = first AS same FROM pg_temp.connect('idem', 'a', 'IRA') AS r, first;
SELECT outcome, error_code, connection_id, version, seq FROM provconn_audit_log
WHERE user_id = t.u('idem') AND outcome = 'refused' ORDER BY occurred_at;

-- the key is looked up after the null checks, and before the others
SELECT n, r.error_code
FROM (VALUES
	(1, provconn_connect_command(NULL, t.p('schwab'), 'schwab', provconn_credentials('s', 'custom'), 'IRA')),
	(2, provconn_connect_command(t.u('idem'), t.p('schwab'), 'schwab', NULL, 'IRA')),
	(3, provconn_connect_command(t.u('idem'), t.p('schwab'), 'schwab', provconn_credentials(NULL, 'custom'), 'IRA')),
	(4, provconn_connect_command(t.u('idem'), t.p('schwab'), 'schwab', provconn_credentials('s', NULL), 'IRA')),
	(5, provconn_connect_command(t.u('idem'), t.p('schwab'), NULL, provconn_credentials('s', 'custom'), 'IRA')),
	(6, provconn_connect_command(t.u('idem'), t.p('schwab'), '', provconn_credentials('s', 'custom'), 'IRA')),
	(7, provconn_connect_command(t.u('idem'), t.p('schwab'), repeat('s', 51), provconn_credentials('s', 'custom'), 'IRA'))
) AS v (n, command), provconn_connect(command, t.u('key a')) AS r ORDER BY n;

-- a refused connect is not kept: the same key serves again
SELECT n, r.ok, r.error_code, r.version
FROM (VALUES (1, 'unknown', 'unknown', NULL), (2, 'closed', 'closed', NULL), (3, 'schwab', 'plaid', NULL),
             (4, 'schwab', 'schwab', repeat('a', 101))) AS v (n, provider, slug, alias),
     pg_temp.connect('refused first', 'a', alias, slug, provider => provider) AS r ORDER BY n;
SELECT count(*) AS kept FROM provconn.idempotency WHERE user_id = t.u('refused first');
SELECT r.ok, r.version FROM pg_temp.connect('refused first', 'a') AS r;
SELECT r.ok, r.version FROM pg_temp.connect('refused first', 'a') AS r;
SELECT count(*) AS connections FROM provconn_connections WHERE user_id = t.u('refused first');
-- nor is one that was rolled back
BEGIN;
SELECT r.ok FROM pg_temp.connect('rolled back', 'a') AS r;
ROLLBACK;
SELECT r.ok, r.version FROM pg_temp.connect('rolled back', 'a', 'another alias') AS r;
SELECT count(*) AS connections FROM provconn_connections WHERE user_id = t.u('rolled back');
-- in one transaction
BEGIN;
SELECT a = b AS same FROM pg_temp.connect('one transaction', 'a') AS a, LATERAL (SELECT a.ok) AS l,
     pg_temp.connect('one transaction', 'a', CASE WHEN l.ok THEN NULL END) AS b;
SAVEPOINT s;
SELECT r.ok FROM pg_temp.connect('one transaction', 'b', 'lost') AS r;
ROLLBACK TO s;
SELECT r.ok FROM pg_temp.connect('one transaction', 'b') AS r;
COMMIT;
SELECT count(*) AS connections FROM provconn_connections WHERE user_id = t.u('one transaction');

-- keys are the user's own
SELECT a.ok AND b.ok AND a.connection_id <> b.connection_id AS apart
FROM pg_temp.connect('idem one', 'shared') AS a, pg_temp.connect('idem two', 'shared') AS b;
-- and no key is no key
SELECT count(DISTINCT r.connection_id) FROM generate_series(1, 2) AS i,
     provconn_connect(provconn_connect_command(CASE WHEN i > 0 THEN t.u('keyless') END, t.p('schwab'), 'schwab', provconn_credentials('s', 'custom')), NULL) AS r;

-- the first completes a pending connection, the repeat does not take the next
SELECT t.in_status(t.u('idem pending'), 'pending') AS older \gset
SELECT t.in_status(t.u('idem pending'), 'pending') AS newer \gset
SELECT r.connection_id = :'newer' AS newer, r.version FROM pg_temp.connect('idem pending', 'a') AS r;
SELECT r.connection_id = :'newer' AS newer, r.version FROM pg_temp.connect('idem pending', 'a') AS r;
SELECT status FROM provconn_connections WHERE connection_id = :'older';

-- Kept for provconn.idempotency_retention.
SHOW provconn.idempotency_retention;
SET provconn.idempotency_retention = '1min';
SELECT r.connection_id AS id FROM pg_temp.connect('aged', 'a', 'old') AS r \gset
SELECT r.connection_id = :'id' AS same FROM pg_temp.connect('aged', 'a', 'old') AS r;
UPDATE provconn.idempotency SET created_at = created_at - interval '2 minutes' WHERE user_id = t.u('aged');
SELECT r.ok, r.connection_id = :'id' AS same, r.error_code FROM pg_temp.connect('aged', 'a', 'new') AS r;
SELECT r.ok, r.error_code FROM pg_temp.connect('aged', 'a', 'old') AS r;
SELECT count(*) AS connections FROM provconn_connections WHERE user_id = t.u('aged');
-- the user's old keys go when a new one is kept, nobody else's
SELECT r.ok FROM pg_temp.connect('aged', 'b') AS r;
UPDATE provconn.idempotency SET created_at = created_at - interval '2 minutes' WHERE user_id IN (t.u('aged'), t.u('idem'));
SELECT r.ok FROM pg_temp.connect('aged', 'c') AS r;
SELECT (SELECT count(*) FROM provconn.idempotency WHERE user_id = t.u('aged')) AS kept,
       (SELECT count(*) FROM provconn.idempotency WHERE user_id = t.u('idem')) AS others;
-- just within the time
RESET provconn.idempotency_retention;
SELECT r.connection_id AS id FROM pg_temp.connect('week', 'a') AS r \gset
UPDATE provconn.idempotency SET created_at = now() - interval '7 days' + interval '1 minute' WHERE user_id = t.u('week');
SELECT r.connection_id = :'id' AS same FROM pg_temp.connect('week', 'a') AS r;
UPDATE provconn.idempotency SET created_at = now() - interval '7 days' - interval '1 minute' WHERE user_id = t.u('week');
SELECT r.connection_id = :'id' AS same FROM pg_temp.connect('week', 'a') AS r;
-- it has bounds, and is not for everybody
SELECT t.code('SET provconn.idempotency_retention = 0') AS zero, t.code('SET provconn.idempotency_retention = soon') AS soon,
       t.code($$SET provconn.idempotency_retention = '366d'$$) AS too_long;
CREATE ROLE regress_provconn_plain;
SET ROLE regress_provconn_plain;
SET provconn.idempotency_retention = '1s';
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
DROP ROLE regress_provconn_plain;
DROP TABLE first;
