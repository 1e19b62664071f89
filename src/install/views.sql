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
       transaction_id,
       seq
FROM provconn.audit;

CREATE VIEW @extschema@.provconn_transitions AS
SELECT from_status, command, to_status FROM @extschema@.provconn_list_transitions();
