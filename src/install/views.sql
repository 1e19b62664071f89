CREATE VIEW @extschema@.provconn_providers AS
SELECT provider_id, slug, name, credential_type, category, is_active, created_at, updated_at
FROM provconn.provider;

CREATE VIEW @extschema@.provconn_connections AS
SELECT c.connection_id,
       c.user_id,
       c.provider_id,
       p.slug AS provider_slug,
       c.alias,
       c.status,
       c.credential_type,
       c.expires_at,
       c.version,
       c.connected_at,
       c.last_sync_at,
       c.created_at,
       c.updated_at,
       c.metadata,
       c.failure_count,
       c.last_failure,
       c.next_attempt_at,
       c.leased_by,
       c.leased_until,
       (c.status OPERATOR(pg_catalog.=) 'active' AND c.credential IS NOT NULL) AS is_connected,
       (c.status OPERATOR(pg_catalog.=) 'expired' OR c.status OPERATOR(pg_catalog.=) 'revoked'
        OR c.status OPERATOR(pg_catalog.=) 'failed') AS needs_reauthentication,
       (c.credential IS NOT NULL AND c.expires_at IS NOT NULL
        AND pg_catalog.now() OPERATOR(pg_catalog.>=) c.expires_at) AS is_credentials_expired,
       (c.credential IS NOT NULL AND c.expires_at IS NOT NULL
        AND (pg_catalog.now() OPERATOR(pg_catalog.+) '5 minutes'::pg_catalog.interval)
            OPERATOR(pg_catalog.>=) c.expires_at) AS is_expiring_soon,
       (c.status OPERATOR(pg_catalog.=) 'active' AND c.credential IS NOT NULL
        AND (c.expires_at IS NULL OR pg_catalog.now() OPERATOR(pg_catalog.<) c.expires_at)) AS can_sync,
       CASE
           WHEN c.credential IS NULL OR c.expires_at IS NULL THEN NULL
           WHEN c.expires_at OPERATOR(pg_catalog.<=) pg_catalog.now() THEN '0'::pg_catalog.interval
           WHEN pg_catalog.isfinite(c.expires_at) THEN c.expires_at OPERATOR(pg_catalog.-) pg_catalog.now()
       END AS time_until_expiry,
       (c.credential IS NOT NULL AND c.credential_type IS NOT NULL
        AND (c.credential_type OPERATOR(pg_catalog.=) 'oauth2'
             OR c.credential_type OPERATOR(pg_catalog.=) 'link_token')) AS supports_refresh
FROM provconn.connection AS c
LEFT JOIN provconn.provider AS p ON p.provider_id OPERATOR(pg_catalog.=) c.provider_id;

CREATE VIEW @extschema@.provconn_audit_log AS
SELECT audit_id,
       occurred_at,
       connection_id,
       user_id,
       provider_id,
       provider_slug,
       action,
       outcome,
       CASE action
           WHEN 'connect' THEN 'provider_connection'
           WHEN 'disconnect' THEN 'provider_disconnection'
           WHEN 'refresh' THEN 'provider_token_refresh'
           ELSE action
       END OPERATOR(pg_catalog.||) '_' OPERATOR(pg_catalog.||)
       CASE outcome WHEN 'refused' THEN 'failed' ELSE outcome END AS event,
       old_status,
       new_status,
       error_code,
       reason,
       version,
       owner_id,
       session_role,
       caller_role,
       application_name,
       client_address,
       COALESCE(attempt_id, transaction_id) AS transaction_id,
       seq
FROM provconn.audit;

CREATE VIEW @extschema@.provconn_transitions AS
SELECT from_status, command, to_status FROM @extschema@.provconn_list_transitions();

-- What is counted in the queue is found by its index; see doc/operations.md
-- for what a look at this view costs.
CREATE VIEW @extschema@.provconn_stats AS
SELECT n.provider_id,
       p.slug AS provider_slug,
       n.status,
       n.connections,
       COALESCE(q.due, 0) AS due,
       COALESCE(q.overdue, 0) AS overdue,
       COALESCE(q.leased, 0) AS leased,
       COALESCE(q.leases_expired, 0) AS leases_expired,
       COALESCE(q.failing, 0) AS failing,
       CASE WHEN n.status OPERATOR(pg_catalog.=) 'expired' THEN (
           SELECT pg_catalog.count(*) FROM provconn.connection AS g
           WHERE g.provider_id OPERATOR(pg_catalog.=) n.provider_id
             AND g.held_until IS NULL AND g.due_at IS NOT NULL) ELSE 0 END AS given_up,
       q.oldest_due,
       CASE WHEN h.allowance IS NULL THEN 'closed'
            WHEN h.allowance OPERATOR(pg_catalog.=) 1 THEN 'open'
            ELSE 'half_open' END AS breaker,
       h.opened_at AS breaker_opened_at,
       @extschema@.provconn_attempts_lost() AS attempts_lost
FROM (SELECT c.provider_id, c.status, pg_catalog.count(*) AS connections
      FROM provconn.connection AS c GROUP BY c.provider_id, c.status) AS n
LEFT JOIN provconn.provider AS p ON p.provider_id OPERATOR(pg_catalog.=) n.provider_id
LEFT JOIN provconn.provider_health AS h ON h.provider_id OPERATOR(pg_catalog.=) n.provider_id
LEFT JOIN LATERAL (
    SELECT pg_catalog.count(*) FILTER (WHERE w.is_due) AS due,
           pg_catalog.count(*) FILTER (WHERE w.expires_at OPERATOR(pg_catalog.<=) pg_catalog.now()) AS overdue,
           pg_catalog.count(*) FILTER (WHERE w.leased_until OPERATOR(pg_catalog.>) pg_catalog.now()) AS leased,
           pg_catalog.count(*) FILTER (WHERE w.leased_until OPERATOR(pg_catalog.<=) pg_catalog.now()) AS leases_expired,
           pg_catalog.count(*) FILTER (WHERE w.failure_count OPERATOR(pg_catalog.>) 0) AS failing,
           pg_catalog.min(w.expires_at) FILTER (WHERE w.is_due) AS oldest_due
    FROM (
        SELECT f.expires_at, f.leased_until, f.failure_count,
               f.expires_at OPERATOR(pg_catalog.<=)
                   (pg_catalog.now() OPERATOR(pg_catalog.+) '5 minutes'::pg_catalog.interval) AS is_due
        FROM provconn.connection AS f
        WHERE f.provider_id OPERATOR(pg_catalog.=) n.provider_id
          AND f.held_until OPERATOR(pg_catalog.=) '-infinity'
          AND f.due_at OPERATOR(pg_catalog.<=)
              (pg_catalog.now() OPERATOR(pg_catalog.+) '5 minutes'::pg_catalog.interval)
        UNION ALL
        SELECT f.expires_at, f.leased_until, f.failure_count,
               f.held_until OPERATOR(pg_catalog.<=) pg_catalog.now() AND f.expires_at OPERATOR(pg_catalog.<=)
                   (pg_catalog.now() OPERATOR(pg_catalog.+) '5 minutes'::pg_catalog.interval)
        FROM provconn.connection AS f
        WHERE f.provider_id OPERATOR(pg_catalog.=) n.provider_id
          AND f.held_until OPERATOR(pg_catalog.>) '-infinity'
          AND f.held_until OPERATOR(pg_catalog.<) 'infinity'
        UNION ALL
        SELECT f.expires_at, NULL, 0, false
        FROM provconn.connection AS f
        WHERE f.provider_id OPERATOR(pg_catalog.=) n.provider_id
          AND f.held_until OPERATOR(pg_catalog.=) 'infinity'
          AND f.due_at OPERATOR(pg_catalog.<=) pg_catalog.now()
    ) AS w
) AS q ON n.status OPERATOR(pg_catalog.=) 'active';

-- It counts at each look, through the whole of provconn.connection.
CREATE VIEW @extschema@.provconn_keys AS
SELECT k.key_id,
       CASE WHEN k.retired_at IS NOT NULL THEN 'retired'
            WHEN k.key_id OPERATOR(pg_catalog.=) (
                SELECT pg_catalog.max(m.key_id) FROM provconn.data_key AS m WHERE m.retired_at IS NULL)
                THEN 'current'
            ELSE 'old' END AS state,
       k.master_key_id,
       k.created_at,
       k.retired_at,
       COALESCE(u.connections, 0) AS connections
FROM provconn.data_key AS k
LEFT JOIN (SELECT pg_catalog.substring(c.credential, 2, 4) AS sealed_by, pg_catalog.count(*) AS connections
           FROM provconn.connection AS c WHERE c.credential IS NOT NULL
           GROUP BY pg_catalog.substring(c.credential, 2, 4)) AS u
    ON u.sealed_by OPERATOR(pg_catalog.=) pg_catalog.int4send(k.key_id);

CREATE VIEW @extschema@.provconn_progress AS
SELECT task, key_id, done, total, started_at, updated_at, finished_at
FROM provconn.progress;
