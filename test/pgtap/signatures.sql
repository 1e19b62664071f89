-- Every function's arguments, defaults, result and attributes, as published.
\set ECHO none
\set QUIET 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS provconn CASCADE;
SELECT * FROM no_plan();

CREATE TEMP TABLE expected (function text, arguments text, result text, attributes text);
INSERT INTO expected VALUES
-- the secret type
('provconn_secret_in', 'cstring', 'provconn_secret', 'immutable strict parallel restricted'),
('provconn_secret_out', 'provconn_secret', 'cstring', 'immutable strict parallel safe'),
('provconn_secret_recv', 'internal', 'provconn_secret', 'immutable strict parallel restricted'),
('provconn_secret_send', 'provconn_secret', 'bytea', 'immutable strict parallel safe'),
('provconn_secret', 'text', 'provconn_secret', 'immutable strict parallel restricted'),
('provconn_secret', 'bytea', 'provconn_secret', 'immutable strict parallel restricted'),
('provconn_secret', 'json', 'provconn_secret', 'immutable strict parallel restricted'),
('provconn_secret', 'jsonb', 'provconn_secret', 'immutable strict parallel restricted'),
-- constructors
('provconn_credentials',
 'secret provconn_secret DEFAULT NULL::provconn_secret, credential_type provconn_credential_type DEFAULT NULL::provconn_credential_type, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone',
 'provconn_credentials', 'immutable parallel restricted'),
('provconn_oauth2_credentials',
 'access_token provconn_secret, refresh_token provconn_secret DEFAULT NULL::provconn_secret, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, scope text DEFAULT NULL::text, token_type text DEFAULT NULL::text',
 'provconn_credentials', 'immutable parallel restricted'),
('provconn_api_key_credentials',
 'api_key provconn_secret, api_secret provconn_secret DEFAULT NULL::provconn_secret, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone',
 'provconn_credentials', 'immutable parallel restricted'),
('provconn_token_response',
 'response provconn_secret, received_at timestamp with time zone DEFAULT now()',
 'provconn_credentials', 'immutable parallel restricted'),
('provconn_connect_command',
 'user_id uuid DEFAULT NULL::uuid, provider_id uuid DEFAULT NULL::uuid, provider_slug text DEFAULT NULL::text, credentials provconn_credentials DEFAULT NULL::provconn_credentials, alias text DEFAULT NULL::text',
 'provconn_connect_command', 'immutable parallel safe'),
('provconn_disconnect_command',
 'user_id uuid DEFAULT NULL::uuid, connection_id uuid DEFAULT NULL::uuid',
 'provconn_disconnect_command', 'immutable parallel safe'),
('provconn_refresh_command',
 'connection_id uuid DEFAULT NULL::uuid, credentials provconn_credentials DEFAULT NULL::provconn_credentials',
 'provconn_refresh_command', 'immutable parallel safe'),
-- commands
('provconn_initiate',
 'user_id uuid, provider_id uuid, provider_slug text, alias text DEFAULT NULL::text',
 'provconn_result', 'volatile parallel unsafe'),
('provconn_connect',
 'command provconn_connect_command, idempotency_key uuid DEFAULT NULL::uuid',
 'provconn_result', 'volatile parallel unsafe'),
('provconn_refresh',
 'command provconn_refresh_command, lease uuid DEFAULT NULL::uuid, expected_version integer DEFAULT NULL::integer',
 'provconn_result', 'volatile parallel unsafe'),
('provconn_refresh_batch',
 'commands provconn_refresh_command[], leases uuid[] DEFAULT NULL::uuid[], expected_versions integer[] DEFAULT NULL::integer[]',
 'SETOF provconn_result', 'volatile parallel unsafe'),
('provconn_disconnect',
 'command provconn_disconnect_command',
 'provconn_result', 'volatile parallel unsafe'),
('provconn_reveal',
 'user_id uuid, connection_id uuid, purpose text DEFAULT NULL::text',
 'provconn_revealed', 'volatile parallel unsafe'),
('provconn_unwrap', 'result provconn_result', 'provconn_result', 'volatile parallel safe'),
-- the rest of a connection's life
('provconn_reauthenticate',
 'user_id uuid, connection_id uuid, credentials provconn_credentials',
 'provconn_result', 'volatile parallel unsafe'),
('provconn_mark_expired', 'connection_id uuid, reason text DEFAULT NULL::text', 'provconn_result', 'volatile parallel unsafe'),
('provconn_mark_revoked', 'connection_id uuid, reason text DEFAULT NULL::text', 'provconn_result', 'volatile parallel unsafe'),
('provconn_mark_failed', 'connection_id uuid, reason text DEFAULT NULL::text', 'provconn_result', 'volatile parallel unsafe'),
('provconn_record_sync', 'connection_id uuid', 'provconn_result', 'volatile parallel unsafe'),
('provconn_rename', 'user_id uuid, connection_id uuid, alias text', 'provconn_result', 'volatile parallel unsafe'),
('provconn_set_metadata', 'user_id uuid, connection_id uuid, metadata jsonb', 'provconn_result', 'volatile parallel unsafe'),
-- the refresh queue
('provconn_claim_due',
 'worker text, within interval DEFAULT ''00:05:00''::interval, max_connections integer DEFAULT 100, lease_for interval DEFAULT ''00:02:00''::interval',
 'SETOF provconn_claimed', 'volatile parallel unsafe'),
('provconn_report_failure',
 'connection_id uuid, lease uuid, reason text, permanent boolean DEFAULT false',
 'provconn_result', 'volatile parallel unsafe'),
('provconn_release', 'connection_id uuid, lease uuid', 'provconn_result', 'volatile parallel unsafe'),
('provconn_expire_overdue',
 'grace interval DEFAULT ''00:00:00''::interval, max_connections integer DEFAULT 1000',
 'integer', 'volatile parallel unsafe'),
('provconn_reset_provider', 'provider_id uuid', 'void', 'volatile parallel unsafe'),
-- providers, states, shards, rights
('provconn_register_provider',
 'slug text, name text, credential_type provconn_credential_type, category text DEFAULT NULL::text, provider_id uuid DEFAULT NULL::uuid',
 'uuid', 'volatile parallel unsafe'),
('provconn_set_provider_active', 'provider_id uuid, active boolean', 'void', 'volatile parallel unsafe'),
('provconn_list_transitions',
 'OUT from_status provconn_status, OUT command text, OUT to_status provconn_status',
 'SETOF record', 'stable strict parallel safe'),
('provconn_doctor', 'OUT check_name text, OUT status text, OUT detail text, OUT fix text',
 'SETOF record', 'volatile parallel unsafe'),
('provconn_state_diagram', 'format text DEFAULT ''mermaid''::text', 'text', 'immutable strict parallel safe'),
('provconn_shard', 'user_id uuid', 'integer', 'immutable strict parallel safe'),
('provconn_shard_of', 'connection_id uuid', 'integer', 'immutable strict parallel safe'),
('provconn_grant', 'role regrole, capability text', 'void', 'volatile strict parallel unsafe'),
('provconn_revoke', 'role regrole, capability text', 'void', 'volatile strict parallel unsafe'),
-- keys, users who leave
('provconn_rotate_key', '', 'integer', 'volatile parallel unsafe'),
('provconn_reencrypt', 'IN batch_size integer DEFAULT 1000', NULL, 'volatile parallel unsafe'),
('provconn_retire_key', 'key_id integer', 'void', 'volatile parallel unsafe'),
('provconn_rewrap_keys', '', 'integer', 'volatile parallel unsafe'),
('provconn_erase_user', 'user_id uuid', 'integer', 'volatile parallel unsafe'),
-- the feed, what did not come so far
('provconn_events',
 'after text DEFAULT NULL::text, max_events integer DEFAULT 1000, OUT "position" text, OUT event text, OUT audit_id uuid, OUT occurred_at timestamp with time zone, OUT connection_id uuid, OUT user_id uuid, OUT provider_id uuid, OUT provider_slug text, OUT action text, OUT outcome text, OUT old_status provconn_status, OUT new_status provconn_status, OUT error_code text, OUT reason text, OUT version integer, OUT seq bigint',
 'SETOF record', 'volatile parallel unsafe'),
('provconn_attempts_lost', '', 'bigint', 'stable parallel safe'),
('provconn_seal_audit', '', 'jsonb', 'volatile parallel unsafe'),
('provconn_verify_audit', 'digest jsonb DEFAULT NULL::jsonb, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, OUT severity text, OUT problem text, OUT audit_id uuid, OUT connection_id uuid, OUT seq bigint, OUT seal_id bigint, OUT detail text', 'SETOF record', 'volatile parallel unsafe'),
('provconn_audit_proof', 'audit_id uuid', 'jsonb', 'volatile parallel unsafe'),
('provconn_audit_report', 'user_id uuid', 'text', 'volatile parallel unsafe'),
('provconn_archive_audit', 'month date', 'regclass', 'volatile parallel unsafe'),
('provconn_attach_audit', 'archive regclass', 'void', 'volatile parallel unsafe'),
-- inside
('provconn.events_after', 'after_seal bigint, after_leaf integer, before_seal bigint, max_events integer',
 'TABLE("position" text, event text, audit_id uuid, occurred_at timestamp with time zone, connection_id uuid, user_id uuid, provider_id uuid, provider_slug text, action text, outcome text, old_status provconn_status, new_status provconn_status, error_code text, reason text, version integer, seq bigint)',
 'stable parallel unsafe'),
('provconn.reapply_grants', '', 'void', 'volatile parallel unsafe'),
('provconn.guard_connection', '', 'trigger', 'volatile parallel unsafe'),
('provconn.audit_connection', '', 'trigger', 'volatile parallel unsafe'),
('provconn.guard_data_key', '', 'trigger', 'volatile parallel unsafe'),
('provconn.notice_change', '', 'trigger', 'volatile parallel unsafe'),
('provconn.guard_provider', '', 'trigger', 'volatile parallel unsafe'),
('provconn.open_provider', '', 'trigger', 'volatile parallel unsafe'),
('provconn.guard_audit', '', 'trigger', 'volatile parallel unsafe'),
('provconn.guard_seal', '', 'trigger', 'volatile parallel unsafe'),
('provconn.guard_import', '', 'trigger', 'volatile parallel unsafe'),
('provconn.origin', '', 'integer', 'stable parallel safe'),
('provconn.entry_hash', 'previous_hash bytea, audit_id uuid, occurred_at timestamp with time zone, connection_id uuid, seq bigint, provider_id uuid, provider_slug text, action text, outcome text, old_status provconn_status, new_status provconn_status, error_code text, version integer, session_role text, caller_role text, origin integer, transaction_id xid8, attempt_id xid8, personal_hash bytea', 'bytea', 'stable parallel safe'),
('provconn.personal_hash', 'salt bytea, user_id uuid, owner_id uuid, reason text, application_name text, client_address inet', 'bytea', 'stable parallel safe'),
('provconn.seal_leaves', 'leaves bytea, OUT leaf_index integer, OUT audit_id uuid, OUT entry_hash bytea', 'SETOF record', 'immutable strict parallel safe'),
('provconn.seal_root', 'leaves bytea, heads bytea', 'bytea', 'immutable strict parallel safe'),
('provconn.seal_hash', 'previous_hash bytea, seal_id bigint, sealed_at timestamp with time zone, origin integer, row_count integer, head_count integer, first_id uuid, last_id uuid, settled pg_snapshot, root bytea', 'bytea', 'immutable parallel safe'),
('provconn.seal_is_authentic', 'key_id integer, seal_hash bytea, mac bytea', 'boolean', 'volatile strict parallel unsafe'),
('provconn.utc', 'moment timestamp with time zone', 'text', 'stable strict parallel safe'),
('provconn.hex', 'bytes bytea', 'text', 'immutable strict parallel safe'),
('provconn.entry_json', 'entry provconn.audit', 'jsonb', 'stable parallel safe'),
('provconn.seal_json', 'seal provconn.seal', 'jsonb', 'stable parallel safe'),
('provconn.is_archived', 'id uuid', 'boolean', 'stable strict parallel safe'),
('provconn.verify_rows', 'from_id uuid, to_id uuid', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.verify_erasures', 'from_id uuid, to_id uuid', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.verify_chains', 'from_id uuid, to_id uuid', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.digest_json', 'seal provconn.seal', 'jsonb', 'stable parallel safe'),
('provconn.shard_of', 'id uuid', 'integer', 'immutable strict parallel safe'),
('provconn.verify_rows_of', 'from_id uuid, to_id uuid, shard integer, user_id uuid', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.verify_erasures_of', 'from_id uuid, to_id uuid, shard integer', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.verify_chains_of', 'from_id uuid, to_id uuid, shard integer', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.user_rows', 'user_id uuid, shard integer', 'SETOF provconn.audit', 'stable parallel unsafe'),
('provconn.report_time', 'moment timestamp with time zone', 'text', 'stable strict parallel safe'),
('provconn.report_counts', 'user_id uuid, shard integer', 'TABLE(first_at timestamp with time zone, audit_rows bigint, reads bigint, refused bigint, rolled_back bigint, direct bigint, erased bigint, unsealed bigint, imported bigint, elsewhere bigint, first_time text, last_time text, erased_time text, shard_rows bigint, seals bigint, digest text)', 'stable parallel unsafe'),
('provconn.report_connections', 'user_id uuid, shard integer', 'TABLE(connection_id uuid, alias text, provider_slug text, provider_name text, status text, created_time text, connected_time text, expires_time text, synced_time text, version integer, audit_rows bigint, last_time text, is_gone boolean)', 'stable parallel unsafe'),
('provconn.report_rows', 'user_id uuid, shard integer, of_kind text, of_connection uuid, up_to integer', 'TABLE(occurred_time text, seq bigint, audit_id uuid, connection_id uuid, action text, outcome text, error_code text, old_status text, new_status text, version integer, session_role text, caller_role text, named_user uuid, named_owner uuid, application_name text, client_address text, reason text, is_erased boolean)', 'stable parallel unsafe'),
('provconn.report_events', 'user_id uuid, shard integer, of_connection uuid', 'TABLE(occurred_at timestamp with time zone, action text, outcome text, new_status text)', 'stable parallel unsafe'),
('provconn.report_problems', 'user_id uuid, shard integer', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.report_notices', '', 'TABLE(noticed_time text, kind text, detail text)', 'stable parallel unsafe'),
('provconn.verify_seals', 'has_key boolean', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.verify_digest', 'digest jsonb', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.verify_triggers', '', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.archive_hash', '', 'text', 'stable parallel unsafe'),
('provconn.verify_archives', '', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe'),
('provconn.verify_imports', '', 'TABLE(severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)', 'stable parallel unsafe');

CREATE TEMP VIEW actual AS
SELECT CASE WHEN p.pronamespace = 'provconn'::regnamespace THEN 'provconn.' ELSE '' END || p.proname
       || CASE WHEN p.proname = 'provconn_secret' THEN '(' || pg_get_function_arguments(p.oid) || ')' ELSE '' END AS function,
       pg_get_function_arguments(p.oid) AS arguments,
       pg_get_function_result(p.oid) AS result,
       concat_ws(' ', CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
                 CASE WHEN proisstrict THEN 'strict' END,
                 CASE proparallel WHEN 's' THEN 'parallel safe' WHEN 'r' THEN 'parallel restricted'
                                  ELSE 'parallel unsafe' END) AS attributes,
       prosecdef, proconfig, prosrc, probin, proleakproof, lanname
FROM pg_proc AS p
JOIN pg_language AS l ON l.oid = p.prolang
JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE d.refclassid = 'pg_extension'::regclass
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'provconn');

-- provconn_secret stands for four functions, told apart by their argument.
UPDATE pg_temp.expected SET function = function || '(' || arguments || ')' WHERE function = 'provconn_secret';
SELECT set_eq('SELECT function FROM actual', 'SELECT function FROM expected', 'these functions and no others');
SELECT is(f.arguments, e.arguments, e.function || ': arguments and defaults')
FROM expected AS e LEFT JOIN actual AS f USING (function);
SELECT is(f.result, e.result, e.function || ': result')
FROM expected AS e LEFT JOIN actual AS f USING (function);
SELECT is(f.attributes, e.attributes, e.function || ': volatility, strictness, parallel safety')
FROM expected AS e LEFT JOIN actual AS f USING (function);

SELECT is_empty('SELECT function FROM actual WHERE prosecdef', 'no function is SECURITY DEFINER');
SELECT is_empty('SELECT function, proconfig FROM actual WHERE proconfig IS NOT NULL', 'no function sets a setting');
SELECT is_empty('SELECT function FROM actual WHERE proleakproof', 'no function claims to be leakproof');
-- What verifies the audit is SQL, over functions in C that compute the hashes.
SELECT set_eq($$SELECT function FROM actual WHERE lanname <> 'c'$$,
    ARRAY['provconn.utc', 'provconn.hex', 'provconn.entry_json', 'provconn.seal_json', 'provconn.is_archived',
          'provconn.verify_rows', 'provconn.verify_erasures', 'provconn.verify_chains', 'provconn.verify_seals',
          'provconn.verify_digest', 'provconn.verify_triggers', 'provconn.verify_imports', 'provconn.events_after', 'provconn.archive_hash', 'provconn.verify_archives',
          'provconn.digest_json', 'provconn.shard_of', 'provconn.verify_rows_of', 'provconn.verify_erasures_of',
          'provconn.verify_chains_of', 'provconn.user_rows', 'provconn.report_time', 'provconn.report_counts',
          'provconn.report_connections', 'provconn.report_rows', 'provconn.report_events', 'provconn.report_problems',
          'provconn.report_notices'], 'every function but these is in C');
SELECT is_empty($$SELECT function, lanname FROM actual WHERE lanname NOT IN ('c', 'sql')$$, 'and these are in SQL');
SELECT is_empty($$SELECT prosrc, array_agg(function) FROM actual WHERE lanname = 'c' GROUP BY prosrc HAVING count(*) > 1$$,
                'no two functions share a C symbol');
SELECT is_empty($$SELECT function, prosrc FROM actual WHERE lanname = 'c' AND prosrc NOT LIKE 'provconn\_%'$$,
                'every C symbol has the prefix provconn_');

-- Calls as they are published, by name, find their function: EXPLAIN resolves and runs nothing.
SELECT lives_ok('EXPLAIN SELECT * FROM ' || call, call)
FROM unnest(ARRAY[
    'provconn_reauthenticate(user_id => NULL, connection_id => NULL, credentials => NULL)',
    'provconn_mark_expired(connection_id => NULL, reason => NULL)', 'provconn_mark_expired(NULL)',
    'provconn_mark_revoked(connection_id => NULL, reason => NULL)', 'provconn_mark_revoked(NULL)',
    'provconn_mark_failed(connection_id => NULL, reason => NULL)', 'provconn_mark_failed(NULL)',
    'provconn_record_sync(connection_id => NULL)',
    'provconn_rename(user_id => NULL, connection_id => NULL, alias => NULL)',
    'provconn_set_metadata(user_id => NULL, connection_id => NULL, metadata => NULL)',
    'provconn_claim_due(''w'')',
    'provconn_claim_due(worker => ''w'', within => ''1 hour'', max_connections => 1, lease_for => ''1 hour'')',
    'provconn_report_failure(connection_id => NULL, lease => NULL, reason => NULL)',
    'provconn_report_failure(NULL, NULL, NULL, permanent => true)',
    'provconn_release(connection_id => NULL, lease => NULL)',
    'provconn_expire_overdue()', 'provconn_expire_overdue(grace => ''1 hour'', max_connections => 1)',
    'provconn_reset_provider(provider_id => NULL)', 'provconn_rotate_key()', 'provconn_rewrap_keys()',
    'provconn_retire_key(key_id => NULL)', 'provconn_erase_user(user_id => NULL)', 'provconn_doctor()',
    'provconn_seal_audit()', 'provconn_verify_audit()', 'provconn_audit_proof(audit_id => NULL)',
    'provconn_audit_report(user_id => NULL)',
    'provconn_verify_audit(digest => NULL, from_time => ''-infinity'', to_time => ''infinity'')',
    'provconn_archive_audit(month => NULL)', 'provconn_attach_audit(archive => NULL)']) AS call;

-- A bind value must show as [redacted] in the log, so what may be secret is a provconn_secret.
SELECT is_empty($$ SELECT function, arguments FROM expected
                   WHERE arguments ~ '(token|response|api_key|api_secret|secret) (text|bytea|varchar|json)'
                   AND arguments !~ 'token_type text' $$,
                'parameters that carry a secret are of type provconn_secret');

SELECT * FROM finish();
ROLLBACK;
