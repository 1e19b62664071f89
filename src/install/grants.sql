-- Nobody but the owner has anything yet, whatever the default privileges say;
-- PUBLIC keeps the types and the casts to provconn_secret.
CREATE FUNCTION provconn.withdraw_defaults()
RETURNS void LANGUAGE c AS 'MODULE_PATHNAME', 'provconn_withdraw_defaults';

SELECT provconn.withdraw_defaults();

DROP FUNCTION provconn.withdraw_defaults();

GRANT EXECUTE ON FUNCTION
    @extschema@.provconn_secret(text),
    @extschema@.provconn_secret(bytea),
    @extschema@.provconn_secret(json),
    @extschema@.provconn_secret(jsonb)
TO PUBLIC;

GRANT USAGE ON TYPE
    @extschema@.provconn_status,
    @extschema@.provconn_credential_type,
    @extschema@.provconn_secret,
    @extschema@.provconn_credentials,
    @extschema@.provconn_connect_command,
    @extschema@.provconn_disconnect_command,
    @extschema@.provconn_refresh_command,
    @extschema@.provconn_result,
    @extschema@.provconn_revealed,
    @extschema@.provconn_claimed
TO PUBLIC;

INSERT INTO provconn.capability (capability, object_name, is_function) VALUES
    ('*', 'provconn_credentials', true),
    ('*', 'provconn_connect_command', true),
    ('*', 'provconn_disconnect_command', true),
    ('*', 'provconn_refresh_command', true),
    ('*', 'provconn_oauth2_credentials', true),
    ('*', 'provconn_api_key_credentials', true),
    ('*', 'provconn_token_response', true),
    ('*', 'provconn_unwrap', true),
    ('*', 'provconn_shard', true),
    ('*', 'provconn_shard_of', true),
    ('*', 'provconn_state_diagram', true),
    ('application', 'provconn_connect', true),
    ('application', 'provconn_disconnect', true),
    ('application', 'provconn_refresh', true),
    ('application', 'provconn_refresh_batch', true),
    ('application', 'provconn_initiate', true),
    ('application', 'provconn_reauthenticate', true),
    ('application', 'provconn_mark_expired', true),
    ('application', 'provconn_mark_revoked', true),
    ('application', 'provconn_mark_failed', true),
    ('application', 'provconn_record_sync', true),
    ('application', 'provconn_rename', true),
    ('application', 'provconn_set_metadata', true),
    ('application', 'provconn_list_transitions', true),
    ('application', 'provconn_connections', false),
    ('application', 'provconn_providers', false),
    ('application', 'provconn_stats', false),
    ('application', 'provconn_attempts_lost', true),
    ('application', 'provconn_transitions', false),
    ('secrets', 'provconn_reveal', true),
    ('worker', 'provconn_refresh', true),
    ('worker', 'provconn_refresh_batch', true),
    ('worker', 'provconn_claim_due', true),
    ('worker', 'provconn_report_failure', true),
    ('worker', 'provconn_release', true),
    ('worker', 'provconn_expire_overdue', true),
    ('reader', 'provconn_list_transitions', true),
    ('reader', 'provconn_connections', false),
    ('reader', 'provconn_providers', false),
    ('reader', 'provconn_stats', false),
    ('reader', 'provconn_attempts_lost', true),
    ('reader', 'provconn_transitions', false),
    ('auditor', 'provconn_audit_log', false),
    ('auditor', 'provconn_verify_audit', true),
    ('auditor', 'provconn_audit_proof', true),
    ('auditor', 'provconn_events', true),
    ('operator', 'provconn_register_provider', true),
    ('operator', 'provconn_set_provider_active', true),
    ('operator', 'provconn_reset_provider', true),
    ('operator', 'provconn_expire_overdue', true),
    ('operator', 'provconn_rotate_key', true),
    ('operator', 'provconn_reencrypt', true),
    ('operator', 'provconn_retire_key', true),
    ('operator', 'provconn_rewrap_keys', true),
    ('operator', 'provconn_erase_user', true),
    ('operator', 'provconn_seal_audit', true),
    ('operator', 'provconn_archive_audit', true),
    ('operator', 'provconn_attach_audit', true),
    ('operator', 'provconn_keys', false),
    ('operator', 'provconn_progress', false),
    ('operator', 'provconn_doctor', true);
