-- provconn_initiate: a connection that waits for its user.
\set SHOW_CONTEXT never

CREATE TEMP TABLE got AS SELECT r.* FROM provconn_initiate(user_id => t.u('initiate'), provider_id => t.p('schwab'), provider_slug => 'schwab', alias => 'IRA') AS r;
SELECT ok, connection_id IS NOT NULL AS id, status, version, error_code, message, needs_user_action FROM got;
SELECT c.status, c.version, c.alias, c.connected_at, c.credential_type, c.expires_at, c.credential, c.failure_count,
       c.created_at = c.updated_at AS times, c.user_id = t.u('initiate') AS "user", c.provider_id = t.p('schwab') AS provider,
       provconn_shard_of(c.connection_id) = provconn_shard(t.u('initiate')) AS shard
FROM got JOIN provconn.connection AS c USING (connection_id) \gx
SELECT l.event, l.outcome, l.old_status, l.new_status, l.version, l.seq, l.provider_slug
FROM got JOIN provconn_audit_log AS l USING (connection_id);
-- the alias may be left out; each call makes another connection
SELECT r.ok, t.row_of(r.connection_id) ->> 'alias' IS NULL AS no_alias FROM provconn_initiate(t.u('initiate'), t.p('schwab'), 'schwab') AS r;
SELECT r.ok FROM provconn_initiate(t.u('initiate'), t.p('schwab'), 'schwab') AS r;
SELECT count(*) FROM provconn_connections WHERE user_id = t.u('initiate') AND status = 'pending';

-- Checks as in connect, but for the credentials: every combination.
CREATE TEMP TABLE tried AS
SELECT u.fault AS user_fault, s.fault AS slug_fault, a.fault AS alias_fault, p.fault AS provider_fault,
       CASE WHEN u.fault IS NOT NULL THEN 'invalid_user'
            WHEN s.fault IN ('null', 'empty', '51') THEN 'invalid_provider_slug'
            WHEN a.fault IS NOT NULL THEN 'invalid_alias'
            WHEN p.fault IN ('null', 'unknown') THEN 'provider_not_found'
            WHEN p.fault = 'closed' THEN 'provider_inactive'
            WHEN s.fault = 'mismatch' THEN 'invalid_provider_slug' END AS expected,
       r.*
FROM (VALUES (NULL, t.u('initiate order')), ('null', NULL)) AS u (fault, user_id),
     (VALUES (NULL, NULL), ('null', NULL), ('empty', ''), ('51', repeat('s', 51)), ('mismatch', 'plaid')) AS s (fault, slug),
     (VALUES (NULL, repeat(chr(233), 100)), ('101', repeat(chr(233), 101))) AS a (fault, alias),
     (VALUES (NULL, t.p('schwab'), 'schwab'), ('null', NULL, 'schwab'), ('unknown', t.p('unknown'), 'schwab'),
             ('closed', t.p('closed'), 'closed')) AS p (fault, provider_id, slug),
     provconn_initiate(u.user_id, p.provider_id, CASE WHEN s.fault IS NULL THEN p.slug ELSE s.slug END, a.alias) AS r;
SELECT count(*) AS combinations, count(*) FILTER (WHERE error_code IS DISTINCT FROM expected) AS wrong,
       count(*) FILTER (WHERE ok) AS accepted, count(connection_id) AS ids FROM tried;
SELECT * FROM tried WHERE error_code IS DISTINCT FROM expected;
SELECT count(*) AS audited, count(DISTINCT event) AS events, min(event) AS event FROM provconn_audit_log
WHERE user_id = t.u('initiate order') AND outcome = 'refused';
SELECT n, r.error_code FROM (VALUES (1, repeat(chr(233), 50)), (2, repeat(chr(233), 51))) AS v (n, slug),
     provconn_initiate(t.u('initiate'), t.p('unknown'), slug) AS r ORDER BY n;
-- all null
SELECT r.ok, r.error_code FROM provconn_initiate(NULL, NULL, NULL, NULL) AS r;
DROP TABLE got, tried;
