-- Constructors, for named notation.

CREATE FUNCTION @extschema@.provconn_credentials(
    secret @extschema@.provconn_secret DEFAULT NULL,
    credential_type @extschema@.provconn_credential_type DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL)
RETURNS @extschema@.provconn_credentials LANGUAGE c IMMUTABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_connect_command(
    user_id uuid DEFAULT NULL,
    provider_id uuid DEFAULT NULL,
    provider_slug text DEFAULT NULL,
    credentials @extschema@.provconn_credentials DEFAULT NULL,
    alias text DEFAULT NULL)
RETURNS @extschema@.provconn_connect_command LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_disconnect_command(
    user_id uuid DEFAULT NULL,
    connection_id uuid DEFAULT NULL)
RETURNS @extschema@.provconn_disconnect_command LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_refresh_command(
    connection_id uuid DEFAULT NULL,
    credentials @extschema@.provconn_credentials DEFAULT NULL)
RETURNS @extschema@.provconn_refresh_command LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_oauth2_credentials(
    access_token @extschema@.provconn_secret,
    refresh_token @extschema@.provconn_secret DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    scope text DEFAULT NULL,
    token_type text DEFAULT NULL)
RETURNS @extschema@.provconn_credentials LANGUAGE c IMMUTABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_api_key_credentials(
    api_key @extschema@.provconn_secret,
    api_secret @extschema@.provconn_secret DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL)
RETURNS @extschema@.provconn_credentials LANGUAGE c IMMUTABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_token_response(
    response @extschema@.provconn_secret,
    received_at timestamptz DEFAULT pg_catalog.now())
RETURNS @extschema@.provconn_credentials LANGUAGE c IMMUTABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';

-- Commands.

CREATE FUNCTION @extschema@.provconn_connect(
    command @extschema@.provconn_connect_command,
    idempotency_key uuid DEFAULT NULL)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_disconnect(
    command @extschema@.provconn_disconnect_command)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_refresh(
    command @extschema@.provconn_refresh_command,
    lease uuid DEFAULT NULL,
    expected_version integer DEFAULT NULL)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_refresh_batch(
    commands @extschema@.provconn_refresh_command[],
    leases uuid[] DEFAULT NULL,
    expected_versions integer[] DEFAULT NULL)
RETURNS SETOF @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_initiate(
    user_id uuid,
    provider_id uuid,
    provider_slug text,
    alias text DEFAULT NULL)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_reveal(
    user_id uuid,
    connection_id uuid,
    purpose text DEFAULT NULL)
RETURNS @extschema@.provconn_revealed LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_unwrap(result @extschema@.provconn_result)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME';

-- The rest of a connection's life.

CREATE FUNCTION @extschema@.provconn_reauthenticate(
    user_id uuid,
    connection_id uuid,
    credentials @extschema@.provconn_credentials)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_mark_expired(
    connection_id uuid,
    reason text DEFAULT NULL)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_mark_revoked(
    connection_id uuid,
    reason text DEFAULT NULL)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_mark_failed(
    connection_id uuid,
    reason text DEFAULT NULL)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_record_sync(connection_id uuid)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_rename(
    user_id uuid,
    connection_id uuid,
    alias text)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_set_metadata(
    user_id uuid,
    connection_id uuid,
    metadata jsonb)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

-- The refresh queue.

CREATE FUNCTION @extschema@.provconn_claim_due(
    worker text,
    within interval DEFAULT '5 minutes',
    max_connections integer DEFAULT 100,
    lease_for interval DEFAULT '2 minutes')
RETURNS SETOF @extschema@.provconn_claimed LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_report_failure(
    connection_id uuid,
    lease uuid,
    reason text,
    permanent boolean DEFAULT false)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_release(
    connection_id uuid,
    lease uuid)
RETURNS @extschema@.provconn_result LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_expire_overdue(
    grace interval DEFAULT '0',
    max_connections integer DEFAULT 1000)
RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_reset_provider(provider_id uuid)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

-- Providers.

CREATE FUNCTION @extschema@.provconn_register_provider(
    slug text,
    name text,
    credential_type @extschema@.provconn_credential_type,
    category text DEFAULT NULL,
    provider_id uuid DEFAULT NULL)
RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_set_provider_active(
    provider_id uuid,
    active boolean)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

-- The state machine.

CREATE FUNCTION @extschema@.provconn_list_transitions(
    OUT from_status @extschema@.provconn_status,
    OUT command text,
    OUT to_status @extschema@.provconn_status)
RETURNS SETOF record LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 20 AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_state_diagram(format text DEFAULT 'mermaid')
RETURNS text LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

-- Keys.

CREATE FUNCTION @extschema@.provconn_rotate_key()
RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE PROCEDURE @extschema@.provconn_reencrypt(batch_size integer DEFAULT 1000)
LANGUAGE c AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_retire_key(key_id integer)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_rewrap_keys()
RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

-- Users who leave.

CREATE FUNCTION @extschema@.provconn_erase_user(user_id uuid)
RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

-- The audit.

-- For provconn_stats, with whose rights it is granted.
CREATE FUNCTION @extschema@.provconn_attempts_lost()
RETURNS bigint LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_seal_audit()
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_verify_audit(
    digest jsonb DEFAULT NULL,
    from_time timestamptz DEFAULT NULL,
    to_time timestamptz DEFAULT NULL,
    OUT severity text,
    OUT problem text,
    OUT audit_id uuid,
    OUT connection_id uuid,
    OUT seq bigint,
    OUT seal_id bigint,
    OUT detail text)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_audit_proof(audit_id uuid)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_events(
    after text DEFAULT NULL,
    max_events integer DEFAULT 1000,
    OUT "position" text,
    OUT event text,
    OUT audit_id uuid,
    OUT occurred_at timestamptz,
    OUT connection_id uuid,
    OUT user_id uuid,
    OUT provider_id uuid,
    OUT provider_slug text,
    OUT action text,
    OUT outcome text,
    OUT old_status @extschema@.provconn_status,
    OUT new_status @extschema@.provconn_status,
    OUT error_code text,
    OUT reason text,
    OUT version integer,
    OUT seq bigint)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_archive_audit(month date)
RETURNS regclass LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_attach_audit(archive regclass)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

-- The doctor.

CREATE FUNCTION @extschema@.provconn_doctor(
    OUT check_name text,
    OUT status text,
    OUT detail text,
    OUT fix text)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 32 AS 'MODULE_PATHNAME';

-- Rights.

CREATE FUNCTION @extschema@.provconn_grant(role regrole, capability text)
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_revoke(role regrole, capability text)
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION provconn.reapply_grants()
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'provconn_reapply_grants';
