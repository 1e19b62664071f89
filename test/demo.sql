-- The walk of test/demo: run by psql as a superuser, on a server of its own.
\set ON_ERROR_STOP on
\set VERBOSITY default
\set SHOW_CONTEXT never
\pset pager off
\pset footer off
\pset null '-'
\set me '''7d9f2c1e-0b54-4c57-9a3e-2f6b1d8e4a90'''
\set somebody_else '''c0ffee00-5e1f-4b6a-8d21-9b7f3e5a1c42'''
SET timezone = 'UTC';
\set ECHO queries

\echo
\echo '1. Install the extension. CASCADE brings pgcrypto, which does the encryption.'
\echo
CREATE EXTENSION provconn CASCADE;

\echo
\echo '2. Register a provider that users can connect to.'
\echo
SELECT provconn_register_provider('schwab', 'Charles Schwab', 'oauth2',
         category => 'brokerage') AS provider_id;
SELECT provider_id, slug, name, credential_type, is_active FROM provconn_providers;
\set ECHO none
SELECT provider_id FROM provconn_providers WHERE slug = 'schwab'
\gset
\set ECHO queries

\echo
\echo '3. A user comes back from the provider''s login. Its token endpoint answered with'
\echo '   this JSON (RFC 6749, section 5.1); it goes in as it came. An application binds'
\echo '   it as a parameter: a literal, as here for reading, may end in the server''s log.'
\echo
SELECT ok, connection_id, status, version
FROM provconn_connect(provconn_connect_command(
  user_id       => :me,
  provider_id   => :'provider_id',
  provider_slug => 'schwab',
  alias         => 'My IRA',
  credentials   => provconn_token_response('{
    "access_token":  "2YotnFZFEjr1zCsicMWpAA",
    "token_type":    "Bearer",
    "expires_in":    1800,
    "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA",
    "scope":         "readonly",
    "id_token":      "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"
  }')));

\echo
\echo '4. What applications read: the view holds no secret.'
\echo
\x on
SELECT connection_id, provider_slug, alias, status, expires_at,
       is_connected, can_sync, is_expiring_soon, supports_refresh
FROM provconn_connections
WHERE user_id = :me;
\x off

\set ECHO none
SELECT connection_id FROM provconn_connections WHERE user_id = :me
\gset
\set ECHO queries

\echo
\echo '5. What is stored: bytes encrypted with a key that is not in the database.'
\echo
SELECT octet_length(credential) AS bytes, encode(substr(credential, 1, 32), 'hex') AS first_32
FROM provconn.connection
WHERE connection_id = :'connection_id';

\echo
\echo '6. The owner''s application gets the secret back, and says what for.'
\echo
\x on
SELECT ok, version, credential_type, expires_at, secret_text
FROM provconn_reveal(:me, :'connection_id', 'demo');
\x off

\echo
\echo '7. A refresh. This provider sends no new refresh_token, so the old one still'
\echo '   holds (RFC 6749, section 6) and is carried over.'
\echo
SELECT ok, status, version
FROM provconn_refresh(provconn_refresh_command(
  connection_id => :'connection_id',
  credentials   => provconn_token_response('{
    "access_token": "SlAV32hkKG3oh8TzRrTWYx",
    "token_type":   "Bearer",
    "expires_in":   1800
  }')));
\x on
SELECT version, secret_text
FROM provconn_reveal(:me, :'connection_id', 'demo: after the refresh');
\x off

\echo
\echo '8. Somebody else asks to disconnect it. A refusal is a value, not an error, and'
\echo '   tells a stranger nothing of the connection.'
\echo
\x on
SELECT *
FROM provconn_disconnect(provconn_disconnect_command(
  user_id => :somebody_else, connection_id => :'connection_id'));
\x off

\echo
\echo '9. The keys change while it runs: a new one seals, the old one retires.'
\echo
SELECT provconn_rotate_key();
CALL provconn_reencrypt();
SELECT provconn_retire_key(1);
SELECT key_id, state, connections FROM provconn_keys ORDER BY key_id;

\echo
\echo '10. The user disconnects. The ciphertext is gone from the row.'
\echo
SELECT ok, status, version
FROM provconn_disconnect(provconn_disconnect_command(
  user_id => :me, connection_id => :'connection_id'));
SELECT status, credential, credential_type, expires_at, alias
FROM provconn.connection
WHERE connection_id = :'connection_id';

\echo
\echo '11. A late refresh is refused: only the user can help, by connecting anew.'
\echo
SELECT ok, status, error_code, message, needs_user_action
FROM provconn_refresh(provconn_refresh_command(
  connection_id => :'connection_id',
  credentials   => provconn_token_response(
    '{"access_token": "9pXwZ1kQv7Lr2TnB", "token_type": "Bearer"}')));

\echo
\echo '12. Not even a superuser''s own UPDATE gets past the state machine: this is an error.'
\echo
\set ON_ERROR_STOP off
UPDATE provconn.connection SET status = 'active'
WHERE connection_id = :'connection_id';
\set update_was_an_error :ERROR
\set ON_ERROR_STOP on

\echo
\echo '13. The state machine, drawn by the extension itself (in Mermaid).'
\echo
\pset tuples_only on
\pset format unaligned
SELECT provconn_state_diagram();
\pset format aligned
\pset tuples_only off

\echo
\echo '14. The audit log: one row for each command, accepted or refused.'
\echo
SELECT to_char(occurred_at, 'HH24:MI:SS.MS') AS time, action, outcome,
       old_status AS "from", new_status AS "to", version AS v, error_code, reason
FROM provconn_audit_log
WHERE connection_id = :'connection_id'
ORDER BY occurred_at;

-- The walk went as it says, or this is an error.
\set ECHO none
SET provconn_demo.update_was_an_error = :'update_was_an_error';
DO $$
DECLARE
  expected constant text[] := ARRAY[
    'connect succeeded', 'reveal succeeded', 'refresh succeeded', 'reveal succeeded',
    'disconnect refused', 'disconnect succeeded', 'refresh refused'];
  found text[];
BEGIN
  SELECT array_agg(action || ' ' || outcome ORDER BY occurred_at) INTO found FROM provconn_audit_log
  WHERE connection_id IS NOT NULL;
  IF found IS DISTINCT FROM expected THEN
    RAISE 'the audit log should read %, not %', expected, found;
  END IF;
  IF current_setting('provconn_demo.update_was_an_error') <> 'true' THEN
    RAISE 'the direct UPDATE should have been an error';
  END IF;
END
$$;
