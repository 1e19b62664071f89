-- Who may do what: a role for each capability, and PUBLIC, against every object.
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

-- A command makes the audit's months, so that they are looked at too.
SELECT is(ok, false, 'a command on an empty registry is refused')
FROM provconn_initiate('00000000-0000-0000-0000-000000000000', NULL, 'none');

CREATE TEMP TABLE capability (capability text);
INSERT INTO pg_temp.capability VALUES
    ('application'), ('secrets'), ('worker'), ('reader'), ('auditor'), ('operator');
CREATE ROLE provconn_tap_stranger;
SELECT format('CREATE ROLE %I', 'provconn_tap_' || capability) FROM pg_temp.capability \gexec
SELECT lives_ok(format('SELECT provconn_grant(%L, %L)', 'provconn_tap_' || capability, capability), 'grant ' || capability)
FROM pg_temp.capability;

-- What the contract says.  '*': every capability.

CREATE TEMP TABLE expected_right (capability text, object text, privilege text);
INSERT INTO expected_right VALUES
    ('*', 'provconn_credentials', 'EXECUTE'),
    ('*', 'provconn_oauth2_credentials', 'EXECUTE'),
    ('*', 'provconn_api_key_credentials', 'EXECUTE'),
    ('*', 'provconn_token_response', 'EXECUTE'),
    ('*', 'provconn_connect_command', 'EXECUTE'),
    ('*', 'provconn_disconnect_command', 'EXECUTE'),
    ('*', 'provconn_refresh_command', 'EXECUTE'),
    ('*', 'provconn_unwrap', 'EXECUTE'),
    ('*', 'provconn_shard', 'EXECUTE'),
    ('*', 'provconn_shard_of', 'EXECUTE'),
    ('*', 'provconn_state_diagram', 'EXECUTE'),
    ('application', 'provconn_connect', 'EXECUTE'),
    ('application', 'provconn_disconnect', 'EXECUTE'),
    ('application', 'provconn_refresh', 'EXECUTE'),
    ('application', 'provconn_refresh_batch', 'EXECUTE'),
    ('application', 'provconn_initiate', 'EXECUTE'),
    ('application', 'provconn_reauthenticate', 'EXECUTE'),
    ('application', 'provconn_mark_expired', 'EXECUTE'),
    ('application', 'provconn_mark_revoked', 'EXECUTE'),
    ('application', 'provconn_mark_failed', 'EXECUTE'),
    ('application', 'provconn_record_sync', 'EXECUTE'),
    ('application', 'provconn_rename', 'EXECUTE'),
    ('application', 'provconn_set_metadata', 'EXECUTE'),
    ('application', 'provconn_connections', 'SELECT'),
    ('application', 'provconn_stats', 'SELECT'),
    ('application', 'provconn_providers', 'SELECT'),
    ('application', 'provconn_transitions', 'SELECT'),
    ('application', 'provconn_list_transitions', 'EXECUTE'),
    ('secrets', 'provconn_reveal', 'EXECUTE'),
    ('worker', 'provconn_refresh', 'EXECUTE'),
    ('worker', 'provconn_refresh_batch', 'EXECUTE'),
    ('worker', 'provconn_claim_due', 'EXECUTE'),
    ('worker', 'provconn_report_failure', 'EXECUTE'),
    ('worker', 'provconn_release', 'EXECUTE'),
    ('worker', 'provconn_expire_overdue', 'EXECUTE'),
    ('reader', 'provconn_connections', 'SELECT'),
    ('reader', 'provconn_stats', 'SELECT'),
    ('reader', 'provconn_providers', 'SELECT'),
    ('reader', 'provconn_transitions', 'SELECT'),
    ('reader', 'provconn_list_transitions', 'EXECUTE'),
    ('auditor', 'provconn_audit_log', 'SELECT'),
    ('auditor', 'provconn_events', 'EXECUTE'),
    ('application', 'provconn_attempts_lost', 'EXECUTE'),
    ('reader', 'provconn_attempts_lost', 'EXECUTE'),
    ('auditor', 'provconn_verify_audit', 'EXECUTE'),
    ('auditor', 'provconn_audit_proof', 'EXECUTE'),
    ('operator', 'provconn_register_provider', 'EXECUTE'),
    ('operator', 'provconn_set_provider_active', 'EXECUTE'),
    ('operator', 'provconn_reset_provider', 'EXECUTE'),
    ('operator', 'provconn_expire_overdue', 'EXECUTE'),
    ('operator', 'provconn_rotate_key', 'EXECUTE'),
    ('operator', 'provconn_reencrypt', 'EXECUTE'),
    ('operator', 'provconn_retire_key', 'EXECUTE'),
    ('operator', 'provconn_rewrap_keys', 'EXECUTE'),
    ('operator', 'provconn_erase_user', 'EXECUTE'),
    ('operator', 'provconn_seal_audit', 'EXECUTE'),
    ('operator', 'provconn_archive_audit', 'EXECUTE'),
    ('operator', 'provconn_attach_audit', 'EXECUTE'),
    ('operator', 'provconn_keys', 'SELECT'),
    ('operator', 'provconn_progress', 'SELECT'),
    ('operator', 'provconn_doctor', 'EXECUTE'),
    -- PUBLIC
    ('public', 'provconn_secret', 'EXECUTE');

-- What there is: every privilege on every function, table, view and schema of ours.

CREATE TEMP VIEW api AS
SELECT p.pronamespace FROM pg_proc AS p
JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'provconn') AND p.proname = 'provconn_connect';

CREATE TEMP VIEW our_function AS
SELECT p.oid, CASE WHEN pronamespace = 'provconn'::regnamespace THEN 'provconn.' ELSE '' END || proname AS object
FROM pg_proc AS p
WHERE pronamespace = 'provconn'::regnamespace
   OR pronamespace IN (TABLE api) AND proname LIKE 'provconn\_%';

CREATE TEMP VIEW our_relation AS
SELECT oid, CASE WHEN relnamespace = 'provconn'::regnamespace THEN 'provconn.' ELSE '' END || relname AS object
FROM pg_class AS c
WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND (relnamespace = 'provconn'::regnamespace
       OR relnamespace IN (TABLE api) AND relname LIKE 'provconn\_%');

CREATE FUNCTION pg_temp.rights_of(role name) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT object || ' EXECUTE' FROM our_function WHERE has_function_privilege(role, oid, 'EXECUTE')
    UNION
    SELECT object || ' ' || privilege
    FROM our_relation,
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
    WHERE has_table_privilege(role, oid, privilege)
    UNION
    SELECT object || '.' || attname || ' ' || privilege
    FROM our_relation JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped,
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS privilege
    WHERE has_column_privilege(role, oid, attnum, privilege)
      AND NOT has_table_privilege(role, oid, privilege)
    UNION
    SELECT 'schema provconn ' || privilege
    FROM unnest(ARRAY['USAGE', 'CREATE']) AS privilege
    WHERE has_schema_privilege(role, 'provconn', privilege)
$$;

CREATE FUNCTION pg_temp.expected_of(VARIADIC capabilities text[]) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT DISTINCT object || ' ' || privilege FROM expected_right
    WHERE capability = ANY (capabilities || '{*,public}'::text[])
$$;

-- The matrix.

SELECT set_eq(format('SELECT pg_temp.rights_of(%L)', 'provconn_tap_' || capability),
              format('SELECT pg_temp.expected_of(%L)', capability),
              capability || ': exactly its rights')
FROM pg_temp.capability;
SELECT set_eq($$SELECT pg_temp.rights_of('provconn_tap_stranger')$$,
              $$SELECT 'provconn_secret EXECUTE'::text$$,
              'a stranger: nothing but the casts');

-- Cell by cell, so that a difference is named.
SELECT is((r.object || ' ' || privilege) IN (SELECT pg_temp.rights_of(('provconn_tap_' || capability)::name)),
          (r.object || ' ' || privilege) IN (SELECT pg_temp.expected_of(capability)),
          format('%s: %s on %s', capability, privilege, r.object))
FROM pg_temp.capability,
     (SELECT DISTINCT object, 'EXECUTE' AS privilege FROM our_function
      UNION SELECT object, 'SELECT' FROM our_relation) AS r
ORDER BY capability, r.object;

-- PUBLIC, by the access lists themselves.

SELECT set_eq($$
    SELECT object, privilege_type::text FROM our_function AS f JOIN pg_proc USING (oid),
           aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0 $$,
    $$VALUES ('provconn_secret', 'EXECUTE')$$, 'PUBLIC: of the functions the casts');
SELECT is_empty($$
    SELECT object, privilege_type FROM our_relation JOIN pg_class USING (oid),
           aclexplode(coalesce(relacl, acldefault('r', relowner))) WHERE grantee = 0 $$,
    'PUBLIC: no table and no view');
SELECT is_empty($$
    SELECT privilege_type FROM pg_namespace,
           aclexplode(coalesce(nspacl, acldefault('n', nspowner))) WHERE nspname = 'provconn' AND grantee = 0 $$,
    'PUBLIC: not the schema provconn');
SELECT is(has_type_privilege('provconn_tap_stranger', t, 'USAGE'), true, 'PUBLIC: type ' || t)
FROM unnest(ARRAY['provconn_status', 'provconn_credential_type', 'provconn_secret', 'provconn_credentials',
                  'provconn_connect_command', 'provconn_disconnect_command', 'provconn_refresh_command',
                  'provconn_result', 'provconn_revealed', 'provconn_claimed']) AS t;

-- The tables are out of reach in deed, whatever the capability.

CREATE FUNCTION pg_temp.run_as(role name, statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    RESET ROLE;
END
$$;

SELECT throws_ok(format('SELECT pg_temp.run_as(%L, %L)', 'provconn_tap_' || capability, 'SELECT FROM ' || object),
                 '42501', NULL, format('%s cannot read %s', capability, object))
FROM pg_temp.capability, our_relation
WHERE object LIKE 'provconn.%'
ORDER BY capability, object;

-- No capability brings the right to give one.

SELECT throws_ok(format('SELECT pg_temp.run_as(%L, %L)', 'provconn_tap_' || capability,
                        format('SELECT provconn_grant(%L, %L)', 'provconn_tap_stranger', capability)),
                 '42501', 'permission denied for function provconn_grant', capability || ' cannot grant')
FROM pg_temp.capability;
GRANT EXECUTE ON FUNCTION provconn_grant(regrole, text), provconn_revoke(regrole, text), provconn.reapply_grants()
TO provconn_tap_operator;
GRANT USAGE ON SCHEMA provconn TO provconn_tap_operator;
SELECT throws_ok(format('SELECT pg_temp.run_as(%L, %L)', 'provconn_tap_operator', statement),
                 '42501', 'must be owner of extension provconn', 'EXECUTE alone makes no owner: ' || statement)
FROM unnest(ARRAY[$$SELECT provconn_grant('provconn_tap_operator', 'secrets')$$,
                  $$SELECT provconn_revoke('provconn_tap_secrets', 'secrets')$$,
                  $$SELECT provconn.reapply_grants()$$]) AS statement;
REVOKE EXECUTE ON FUNCTION provconn_grant(regrole, text), provconn_revoke(regrole, text), provconn.reapply_grants()
FROM provconn_tap_operator;
REVOKE USAGE ON SCHEMA provconn FROM provconn_tap_operator;

-- Functions and views work for a role that has no more than its capability.

SELECT lives_ok(format('SELECT pg_temp.run_as(%L, %L)', 'provconn_tap_' || role, statement),
                format('%s: %s', role, split_part(statement, E'\n', 1)))
FROM (VALUES
    ('reader', 'SELECT FROM provconn_connections'),
    ('reader', 'SELECT FROM provconn_providers'),
    ('reader', 'SELECT FROM provconn_transitions'),
    ('reader', 'SELECT sum(due), min(breaker) FROM provconn_stats'),
    ('application', 'SELECT sum(due), min(breaker) FROM provconn_stats'),
    ('application', 'SELECT provconn_reauthenticate(NULL, NULL, NULL)'),
    ('application', 'SELECT provconn_mark_expired(NULL)'),
    ('application', 'SELECT provconn_mark_revoked(NULL)'),
    ('application', 'SELECT provconn_mark_failed(NULL)'),
    ('application', 'SELECT provconn_record_sync(NULL)'),
    ('application', 'SELECT provconn_rename(NULL, NULL, NULL)'),
    ('application', 'SELECT provconn_set_metadata(NULL, NULL, NULL)'),
    ('worker', $$SELECT provconn_claim_due('tap')$$),
    ('worker', 'SELECT provconn_report_failure(NULL, NULL, NULL)'),
    ('worker', 'SELECT provconn_release(NULL, NULL)'),
    ('worker', 'SELECT provconn_expire_overdue()'),
    ('operator', 'SELECT provconn_expire_overdue()'),
    ('operator', 'SELECT provconn_doctor()'),
    ('auditor', 'SELECT FROM provconn_audit_log'),
    ('auditor', 'SELECT FROM provconn_verify_audit()'),
    ('operator', 'SELECT provconn_seal_audit()'),
    ('operator', $$SELECT provconn_register_provider('tap', 'TAP', 'oauth2', provider_id => '00000000-0000-0000-0000-0000000000aa')$$),
    ('operator', $$SELECT provconn_reset_provider('00000000-0000-0000-0000-0000000000aa')$$),
    ('application', $$SELECT provconn_unwrap(provconn_initiate('00000000-0000-0000-0000-000000000000',
                      (SELECT provider_id FROM provconn_providers WHERE slug = 'tap'), 'tap'))$$),
    ('worker', 'SELECT provconn_refresh(provconn_refresh_command())'),
    ('worker', 'SELECT provconn_refresh_batch(ARRAY[provconn_refresh_command()])'),
    ('secrets', 'SELECT provconn_reveal(NULL, NULL)'),
    ('secrets', $$SELECT provconn_connect_command(credentials => provconn_api_key_credentials('key'))$$),
    ('secrets', 'SELECT provconn_state_diagram()')) AS allowed (role, statement);
SELECT is(caller_role || ' ' || session_role, 'provconn_tap_application ' || session_user,
          'and the audit has both roles')
FROM provconn_audit_log WHERE action = 'initiate' AND outcome = 'succeeded';

-- Two capabilities that share a function, and one of them taken away.

SELECT lives_ok($$SELECT provconn_grant('provconn_tap_worker', 'application')$$, 'worker becomes application too');
SELECT set_eq($$SELECT pg_temp.rights_of('provconn_tap_worker')$$,
              $$SELECT pg_temp.expected_of('worker', 'application')$$, 'and has the rights of both');
SELECT lives_ok($$SELECT provconn_revoke('provconn_tap_worker', 'application')$$, 'application is taken away');
SELECT set_eq($$SELECT pg_temp.rights_of('provconn_tap_worker')$$,
              $$SELECT pg_temp.expected_of('worker')$$, 'and what both shared stays');
SELECT lives_ok($$SELECT provconn_grant('provconn_tap_worker', 'worker')$$, 'a second grant is no error');
SELECT lives_ok(format('SELECT provconn_revoke(%L, %L)', 'provconn_tap_' || capability, capability),
                'revoke ' || capability)
FROM pg_temp.capability;
SELECT set_eq(format('SELECT pg_temp.rights_of(%L)', 'provconn_tap_' || capability),
              $$SELECT 'provconn_secret EXECUTE'::text$$, capability || ': nothing is left')
FROM pg_temp.capability;
SELECT is_empty($$SELECT role FROM provconn.role_grant WHERE role::text LIKE 'provconn\_tap\_%'$$,
                'and no grant is on record');

SELECT throws_ok($$SELECT provconn_grant('provconn_tap_stranger', 'everything')$$, '22023', 'no such capability',
                 'a capability that there is not');
SELECT throws_ok($$SELECT provconn_grant('provconn_tap_stranger', '*')$$, '22023', 'no such capability',
                 'the star is no capability');

-- Grants are on record, and can be given again from there.

SELECT lives_ok($$SELECT provconn_grant('provconn_tap_reader', 'reader')$$, 'reader again');
REVOKE SELECT ON provconn_connections FROM provconn_tap_reader;
SELECT lives_ok('SELECT provconn.reapply_grants()', 'grants are given again');
SELECT set_eq($$SELECT pg_temp.rights_of('provconn_tap_reader')$$, $$SELECT pg_temp.expected_of('reader')$$,
              'and the right that was lost is back');

SELECT * FROM finish();
ROLLBACK;
