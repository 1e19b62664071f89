-- Tables, columns, keys, indexes, triggers and views, as published.
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

-- An empty database has no month yet; a command makes the months.
SELECT is(ok, false, 'a command on an empty registry is refused')
FROM provconn_initiate('00000000-0000-0000-0000-000000000000', NULL, 'none');

CREATE TEMP VIEW months AS
SELECT inhrelid AS oid, inhrelid::regclass AS month
FROM pg_inherits WHERE inhparent = 'provconn.audit'::regclass;

SELECT is((SELECT extrelocatable FROM pg_extension WHERE extname = 'provconn'), false,
          'the extension is not relocatable');
SELECT is((SELECT extversion FROM pg_extension WHERE extname = 'provconn'), '1.0', 'version is 1.0');

SELECT tables_are('provconn',
    ARRAY['archive', 'audit', 'capability', 'connection', 'data_key', 'idempotency', 'import', 'progress', 'provider',
          'provider_health', 'required_trigger', 'role_grant', 'seal', 'seal_key']
    || ARRAY(SELECT split_part(month::text, '.', 2) FROM months));
SELECT views_are('provconn', '{finding,wrong_trigger}'::name[]);
SELECT sequences_are('provconn', '{}'::name[], 'ids need no sequence');

-- Types.

SELECT enum_has_labels('public', 'provconn_status',
    ARRAY['pending', 'active', 'expired', 'revoked', 'failed', 'disconnected']);
SELECT enum_has_labels('public', 'provconn_credential_type',
    ARRAY['oauth2', 'api_key', 'link_token', 'certificate', 'file_import', 'custom']);
SELECT is(concat(typtype, typcategory, typstorage, typlen, typdelim), 'bUe-1,',
          'provconn_secret is a base type of its own, of variable length, not compressed')
FROM pg_type WHERE oid = 'provconn_secret'::regtype;
SELECT is_empty($$ SELECT attrelid::regclass, attname
                   FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                   WHERE atttypid = 'provconn_secret'::regtype AND relkind <> 'c' $$,
                'no column of a table or view is a provconn_secret');

CREATE FUNCTION pg_temp.attributes(relation oid) RETURNS text[] LANGUAGE sql AS $$
    SELECT array_agg(attname || ' ' || format_type(atttypid, atttypmod) ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;

SELECT is(pg_temp.attributes('provconn_credentials'::regclass),
    ARRAY['secret provconn_secret', 'credential_type provconn_credential_type',
          'expires_at timestamp with time zone'],
    'attributes of provconn_credentials');
SELECT is(pg_temp.attributes('provconn_connect_command'::regclass),
    ARRAY['user_id uuid', 'provider_id uuid', 'provider_slug text',
          'credentials provconn_credentials', 'alias text'],
    'attributes of provconn_connect_command');
SELECT is(pg_temp.attributes('provconn_disconnect_command'::regclass),
    ARRAY['user_id uuid', 'connection_id uuid'],
    'attributes of provconn_disconnect_command');
SELECT is(pg_temp.attributes('provconn_refresh_command'::regclass),
    ARRAY['connection_id uuid', 'credentials provconn_credentials'],
    'attributes of provconn_refresh_command');
SELECT is(pg_temp.attributes('provconn_result'::regclass),
    ARRAY['ok boolean', 'connection_id uuid', 'status provconn_status', 'version integer',
          'error_code text', 'message text', 'needs_user_action boolean'],
    'attributes of provconn_result');
SELECT is(pg_temp.attributes('provconn_revealed'::regclass),
    ARRAY['ok boolean', 'connection_id uuid', 'version integer', 'secret bytea', 'secret_text text',
          'credential_type provconn_credential_type', 'expires_at timestamp with time zone',
          'error_code text', 'message text'],
    'attributes of provconn_revealed');
SELECT is(pg_temp.attributes('provconn_claimed'::regclass),
    ARRAY['connection_id uuid', 'user_id uuid', 'provider_id uuid', 'provider_slug text', 'secret bytea',
          'secret_text text', 'credential_type provconn_credential_type', 'expires_at timestamp with time zone',
          'version integer', 'attempt integer', 'lease uuid', 'leased_until timestamp with time zone'],
    'attributes of provconn_claimed');
SELECT set_eq(
    $$SELECT relname::text FROM pg_class JOIN pg_type ON typrelid = pg_class.oid
      JOIN pg_depend AS d ON d.objid = pg_type.oid AND d.classid = 'pg_type'::regclass AND d.deptype = 'e'
      WHERE relkind = 'c' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'provconn')$$,
    ARRAY['provconn_credentials', 'provconn_connect_command', 'provconn_disconnect_command',
          'provconn_refresh_command', 'provconn_result', 'provconn_revealed', 'provconn_claimed'],
    'composite types');

-- Casts lead to the secret, none away from it.

SELECT set_eq($$ SELECT castsource::regtype::text, castcontext::text FROM pg_cast
                 WHERE casttarget = 'provconn_secret'::regtype $$,
    $$VALUES ('text', 'i'), ('character varying', 'i'), ('bytea', 'i'), ('json', 'i'), ('jsonb', 'i')$$,
    'casts to provconn_secret are implicit');
SELECT is_empty($$ SELECT castsource::regtype, casttarget::regtype FROM pg_cast
                   WHERE castsource = 'provconn_secret'::regtype $$,
                'no cast leads away from provconn_secret');

-- Columns of the tables.

CREATE TEMP TABLE expected_column (position serial, tab text, col text, type text, required boolean);
INSERT INTO expected_column (tab, col, type, required) VALUES
    ('provider', 'provider_id', 'uuid', true),
    ('provider', 'slug', 'text', true),
    ('provider', 'name', 'text', true),
    ('provider', 'credential_type', 'provconn_credential_type', true),
    ('provider', 'category', 'text', false),
    ('provider', 'is_active', 'boolean', true),
    ('provider', 'created_at', 'timestamp with time zone', true),
    ('provider', 'updated_at', 'timestamp with time zone', true),
    ('provider_health', 'provider_id', 'uuid', true),
    ('provider_health', 'failures', 'integer', true),
    ('provider_health', 'allowance', 'integer', false),
    ('provider_health', 'taken', 'integer', true),
    ('provider_health', 'opened_at', 'timestamp with time zone', false),
    ('provider_health', 'next_claim_at', 'timestamp with time zone', false),
    ('data_key', 'key_id', 'integer', true),
    ('data_key', 'master_key_id', 'integer', true),
    ('data_key', 'master_check', 'bytea', true),
    ('data_key', 'wrapped', 'bytea', true),
    ('data_key', 'check_value', 'bytea', true),
    ('data_key', 'created_at', 'timestamp with time zone', true),
    ('data_key', 'retired_at', 'timestamp with time zone', false),
    ('connection', 'shard_key', 'integer', true),
    ('connection', 'connection_id', 'uuid', true),
    ('connection', 'user_id', 'uuid', true),
    ('connection', 'provider_id', 'uuid', true),
    ('connection', 'status', 'provconn_status', true),
    ('connection', 'credential_type', 'provconn_credential_type', false),
    ('connection', 'failure_count', 'integer', true),
    ('connection', 'created_at', 'timestamp with time zone', true),
    ('connection', 'connected_at', 'timestamp with time zone', false),
    ('connection', 'last_sync_at', 'timestamp with time zone', false),
    ('connection', 'failing_since', 'timestamp with time zone', false),
    ('connection', 'next_attempt_at', 'timestamp with time zone', false),
    ('connection', 'leased_until', 'timestamp with time zone', false),
    ('connection', 'held_until', 'timestamp with time zone', false),
    ('connection', 'due_at', 'timestamp with time zone', false),
    ('connection', 'expires_at', 'timestamp with time zone', false),
    ('connection', 'updated_at', 'timestamp with time zone', true),
    ('connection', 'audit_at', 'timestamp with time zone', true),
    ('connection', 'audit_seq', 'bigint', true),
    ('connection', 'version', 'integer', true),
    ('connection', 'audit_id', 'uuid', true),
    ('connection', 'lease', 'uuid', false),
    ('connection', 'audit_hash', 'bytea', true),
    ('connection', 'credential', 'bytea', false),
    ('connection', 'alias', 'text', false),
    ('connection', 'leased_by', 'text', false),
    ('connection', 'last_failure', 'text', false),
    ('connection', 'metadata', 'jsonb', false),
    ('idempotency', 'shard_key', 'integer', true),
    ('idempotency', 'user_id', 'uuid', true),
    ('idempotency', 'idempotency_key', 'uuid', true),
    ('idempotency', 'provider_id', 'uuid', true),
    ('idempotency', 'connection_id', 'uuid', true),
    ('idempotency', 'version', 'integer', true),
    ('idempotency', 'created_at', 'timestamp with time zone', true),
    ('idempotency', 'alias', 'text', false),
    ('audit', 'shard_key', 'integer', true),
    ('audit', 'audit_id', 'uuid', true),
    ('audit', 'occurred_at', 'timestamp with time zone', true),
    ('audit', 'connection_id', 'uuid', false),
    ('audit', 'seq', 'bigint', false),
    ('audit', 'provider_id', 'uuid', false),
    ('audit', 'provider_slug', 'text', false),
    ('audit', 'action', 'text', true),
    ('audit', 'outcome', 'text', true),
    ('audit', 'old_status', 'provconn_status', false),
    ('audit', 'new_status', 'provconn_status', false),
    ('audit', 'error_code', 'text', false),
    ('audit', 'version', 'integer', false),
    ('audit', 'origin', 'integer', true),
    ('audit', 'transaction_id', 'xid8', true),
    ('audit', 'attempt_id', 'xid8', false),
    ('audit', 'session_role', 'text', false),
    ('audit', 'caller_role', 'text', false),
    ('audit', 'user_id', 'uuid', false),
    ('audit', 'owner_id', 'uuid', false),
    ('audit', 'reason', 'text', false),
    ('audit', 'application_name', 'text', false),
    ('audit', 'client_address', 'inet', false),
    ('audit', 'personal_salt', 'bytea', false),
    ('audit', 'personal_hash', 'bytea', true),
    ('audit', 'previous_hash', 'bytea', false),
    ('audit', 'entry_hash', 'bytea', true),
    ('seal', 'seal_id', 'bigint', true),
    ('seal', 'sealed_at', 'timestamp with time zone', true),
    ('seal', 'origin', 'integer', true),
    ('seal', 'key_id', 'integer', true),
    ('seal', 'row_count', 'integer', true),
    ('seal', 'head_count', 'integer', true),
    ('seal', 'first_id', 'uuid', true),
    ('seal', 'last_id', 'uuid', true),
    ('seal', 'settled', 'pg_snapshot', true),
    ('seal', 'root', 'bytea', true),
    ('seal', 'previous_hash', 'bytea', false),
    ('seal', 'seal_hash', 'bytea', true),
    ('seal', 'mac', 'bytea', true),
    ('seal', 'leaves', 'bytea', true),
    ('seal', 'heads', 'bytea', true),
    ('seal_key', 'key_id', 'integer', true),
    ('seal_key', 'master_key_id', 'integer', true),
    ('seal_key', 'master_check', 'bytea', true),
    ('seal_key', 'wrapped', 'bytea', true),
    ('seal_key', 'check_value', 'bytea', true),
    ('seal_key', 'created_at', 'timestamp with time zone', true),
    ('seal_key', 'retired_at', 'timestamp with time zone', false),
    ('import', 'import_id', 'uuid', true),
    ('import', 'imported_at', 'timestamp with time zone', true),
    ('import', 'kind', 'text', true),
    ('import', 'table_name', 'name', true),
    ('import', 'origin', 'integer', true),
    ('import', 'transaction_id', 'xid8', true),
    ('import', 'session_role', 'text', false),
    ('archive', 'table_name', 'name', true),
    ('archive', 'from_id', 'uuid', true),
    ('archive', 'to_id', 'uuid', true),
    ('archive', 'row_count', 'bigint', true),
    ('archive', 'detached_at', 'timestamp with time zone', true),
    ('archive', 'session_role', 'text', false),
    ('capability', 'capability', 'text', true),
    ('capability', 'object_name', 'name', true),
    ('capability', 'is_function', 'boolean', true),
    ('required_trigger', 'table_name', 'name', true),
    ('required_trigger', 'trigger_name', 'name', true),
    ('required_trigger', 'definition', 'text', true),
    ('role_grant', 'role', 'regrole', true),
    ('role_grant', 'capability', 'text', true),
    ('role_grant', 'granted_by', 'name', true),
    ('role_grant', 'granted_at', 'timestamp with time zone', true);

CREATE FUNCTION pg_temp.columns(relation regclass) RETURNS text[] LANGUAGE sql AS $$
    SELECT array_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod),
                               CASE WHEN attnotnull THEN 'NOT NULL' END) ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;
CREATE TEMP VIEW expected_columns AS
SELECT tab, array_agg(concat_ws(' ', col, type, CASE WHEN required THEN 'NOT NULL' END) ORDER BY position) AS columns
FROM expected_column GROUP BY tab;

SELECT is(pg_temp.columns(('provconn.' || tab)::regclass), columns, format('columns of provconn.%s', tab))
FROM expected_columns ORDER BY tab;
SELECT is(pg_temp.columns(month), columns, format('columns of %s', month))
FROM months, expected_columns WHERE tab = 'audit' ORDER BY month;

SELECT is(attstorage::text, 'e', format('%s of %s is stored uncompressed', attname, attrelid::regclass))
FROM pg_attribute WHERE attrelid = 'provconn.connection'::regclass AND attname = 'credential'
    OR attrelid = 'provconn.seal'::regclass AND attname IN ('leaves', 'heads');
SELECT is_empty($$ SELECT attrelid::regclass, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                   WHERE relnamespace = 'provconn'::regnamespace AND (attgenerated <> '' OR attidentity <> '') $$,
                'no generated or identity column');

-- Keys: the shard is first, and the primary key the only one.

SELECT col_is_pk('provconn', 'provider', 'provider_id', 'provider: key');
SELECT col_is_unique('provconn', 'provider', 'slug', 'provider: slug is unique');
SELECT col_is_pk('provconn', 'provider_health', 'provider_id', 'provider_health: key');
SELECT col_is_pk('provconn', 'data_key', 'key_id', 'data_key: key');
SELECT col_is_pk('provconn', 'seal', 'seal_id', 'seal: key');
SELECT col_is_pk('provconn', 'seal_key', 'key_id', 'seal_key: key');
SELECT col_is_pk('provconn', 'import', 'import_id', 'import: key');
SELECT col_is_pk('provconn', 'archive', 'from_id', 'archive: key');
SELECT col_is_pk('provconn', 'connection', ARRAY['shard_key', 'connection_id'], 'connection: key');
SELECT col_is_pk('provconn', 'idempotency', ARRAY['shard_key', 'user_id', 'idempotency_key'], 'idempotency: key');
SELECT col_is_pk('provconn', 'capability', ARRAY['capability', 'object_name'], 'capability: key');
SELECT col_is_pk('provconn', 'required_trigger', ARRAY['table_name', 'trigger_name'], 'required_trigger: key');
SELECT col_is_pk('provconn', 'role_grant', ARRAY['role', 'capability'], 'role_grant: key');
SELECT col_is_pk('provconn', split_part(month::text, '.', 2)::name, ARRAY['shard_key', 'audit_id'],
                 format('%s: key', month))
FROM months ORDER BY month;

CREATE TEMP VIEW per_user AS
SELECT oid, oid::regclass AS tab FROM pg_class
WHERE relnamespace = 'provconn'::regnamespace AND relkind IN ('r', 'p')
  AND oid IN (SELECT attrelid FROM pg_attribute WHERE attname = 'shard_key' AND NOT attisdropped);

SELECT ok('{provconn.connection,provconn.idempotency,provconn.audit}'::regclass[]
          <@ ARRAY(SELECT oid::regclass FROM per_user), 'every per-user table has a shard_key');
SELECT is_empty($$ SELECT indexrelid::regclass FROM pg_index JOIN per_user ON per_user.oid = indrelid
                   JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
                   WHERE indisunique AND attname <> 'shard_key' $$,
                'the shard is first in every unique index of a per-user table');
SELECT is_empty($$ SELECT conrelid::regclass, conname FROM pg_constraint
                   WHERE contype = 'f' AND connamespace = 'provconn'::regnamespace $$,
                'there are no foreign keys');
SELECT is_empty($$ SELECT tab FROM per_user WHERE NOT EXISTS (
                       SELECT FROM pg_constraint WHERE conrelid = per_user.oid AND contype = 'c'
                       AND pg_get_constraintdef(pg_constraint.oid) ~ 'shard_key = .*provconn_shard') $$,
                'a check ties every shard_key to an id');
SELECT matches(pg_get_constraintdef(oid), 'provconn_shard_of\(connection_id\)', 'connection: by connection_id')
FROM pg_constraint WHERE conrelid = 'provconn.connection'::regclass AND contype = 'c';
SELECT matches(pg_get_constraintdef(oid), 'provconn_shard\(user_id\)', 'idempotency: by user_id')
FROM pg_constraint WHERE conrelid = 'provconn.idempotency'::regclass AND contype = 'c';
SELECT matches(pg_get_constraintdef(oid), 'provconn_shard_of\(audit_id\)', 'audit: by audit_id')
FROM pg_constraint WHERE conrelid = 'provconn.audit'::regclass AND contype = 'c';

-- Indexes beside the keys'.

PREPARE other_indexes AS
SELECT c.relname::text, pg_get_indexdef(i.indexrelid)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'provconn'::regnamespace)
  AND i.indrelid <> 'provconn.audit'::regclass AND i.indrelid NOT IN (SELECT oid FROM months)
  AND NOT i.indisunique;
SELECT set_eq('other_indexes',
    $$VALUES ('connection_id_idx', 'CREATE INDEX connection_id_idx ON provconn.connection USING btree (connection_id)'),
             ('connection_user_idx', 'CREATE INDEX connection_user_idx ON provconn.connection USING btree (user_id, provider_id, status)'),
             ('connection_queue_idx', 'CREATE INDEX connection_queue_idx ON provconn.connection USING btree (provider_id, held_until, due_at)'),
             ('seal_last_id_idx', 'CREATE INDEX seal_last_id_idx ON provconn.seal USING btree (last_id)')$$,
    'indexes');
SELECT is_empty($$ SELECT month FROM months WHERE NOT EXISTS (
                       SELECT FROM pg_index WHERE indrelid = months.oid
                       AND pg_get_indexdef(indexrelid) LIKE '% USING btree (connection_id, audit_id)') $$,
                'every month has an index on connection and id');
SELECT is_empty($$ SELECT month FROM months WHERE NOT EXISTS (
                       SELECT FROM pg_index WHERE indrelid = months.oid
                       AND pg_get_indexdef(indexrelid) LIKE '% USING brin (transaction_id provconn.xid8_minmax_ops)%') $$,
                'and a small one on the transaction');
SELECT is_empty($$ SELECT attname FROM pg_index
                   JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
                   WHERE indrelid = 'provconn.connection'::regclass
                   AND attname NOT IN ('shard_key', 'connection_id', 'user_id', 'provider_id', 'status', 'held_until', 'due_at') $$,
                'no index holds what a refresh changes');

-- So its updates stay HOT; held_until and due_at are moved by the queue alone.
SELECT provconn_register_provider('tap', 'TAP', 'oauth2') AS provider \gset
SELECT connection_id AS id FROM provconn_connect(provconn_connect_command(
    '00000000-0000-0000-0000-000000000000', :'provider', 'tap', provconn_oauth2_credentials('a', 'r', now() + '1 day'))) \gset
CREATE FUNCTION pg_temp.updates(OUT rows bigint, OUT hot bigint) LANGUAGE sql AS $$
    SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_all_tables WHERE relid = 'provconn.connection'::regclass
$$;
CREATE FUNCTION pg_temp.is_hot(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    was record := pg_temp.updates();
    is_now record;
BEGIN
    EXECUTE statement;
    is_now := pg_temp.updates();
    RETURN format('%s of %s', is_now.hot - was.hot, is_now.rows - was.rows);
END
$$;
SELECT is(pg_temp.is_hot(format('SELECT provconn_unwrap(' || call || ')', :'id')), hot, what)
FROM (VALUES
    ('provconn_refresh(provconn_refresh_command(%L, provconn_oauth2_credentials(''a'', ''r'', now() + ''2 days'')))', '1 of 1',
     'a refresh to a later expiry is HOT'),
    ('provconn_record_sync(%L)', '1 of 1', 'a sync is HOT'),
    ('provconn_rename(''00000000-0000-0000-0000-000000000000'', %L, ''x'')', '1 of 1', 'a rename is HOT'),
    ('provconn_refresh(provconn_refresh_command(%L, provconn_oauth2_credentials(''a'', ''r'', now() + ''1 hour'')))', '0 of 1',
     'a refresh to an earlier expiry is not'),
    ('provconn_mark_expired(%L)', '0 of 1', 'nor is what changes the status')) AS v (call, hot, what);

-- The audit's partitions.

SELECT is(pg_get_partkeydef('provconn.audit'::regclass), 'RANGE (audit_id)', 'the audit is partitioned by its id');
SELECT is((SELECT count(*)::int FROM months), 4, 'this month and three ahead are there');
SELECT is(
    (SELECT array_agg(month::text ORDER BY month::text) FROM months),
    (SELECT array_agg('provconn.audit_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC')
                                                   + make_interval(months => i), 'YYYY_MM') ORDER BY i)
     FROM generate_series(0, 3) AS i),
    'and named for their months');
SELECT is_empty($$ SELECT month FROM months WHERE EXISTS (
                       SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
                       AND objid = months.oid AND deptype = 'e') $$,
                'months are no members of the extension, so pg_dump takes them along');
SELECT is((SELECT array_agg(oid::regclass::text ORDER BY oid::regclass::text)
           FROM (SELECT unnest(extconfig) AS oid FROM pg_extension WHERE extname = 'provconn') AS c),
    ARRAY['provconn.archive', 'provconn.audit', 'provconn.connection', 'provconn.data_key', 'provconn.idempotency',
          'provconn.import', 'provconn.provider', 'provconn.role_grant', 'provconn.seal', 'provconn.seal_key'],
    'pg_dump takes the rows of these tables along');

-- Triggers: all of them fire always, on the months too.

CREATE TEMP VIEW actual_trigger AS
SELECT tgrelid, tgname::text, tgenabled::text, tgfoid::regproc::text AS function,
       CASE WHEN tgtype & 2 > 0 THEN 'BEFORE' ELSE 'AFTER' END
       || CASE WHEN tgtype & 4 > 0 THEN ' INSERT' ELSE '' END
       || CASE WHEN tgtype & 8 > 0 THEN ' DELETE' ELSE '' END
       || CASE WHEN tgtype & 16 > 0 THEN ' UPDATE' ELSE '' END
       || CASE WHEN tgtype & 32 > 0 THEN ' TRUNCATE' ELSE '' END
       || CASE WHEN tgtype & 1 > 0 THEN ' ROW' ELSE ' STATEMENT' END AS fires
FROM pg_trigger
WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'provconn'::regnamespace);

SELECT set_eq(
    $$SELECT tgrelid::regclass::text, tgname, function, fires FROM actual_trigger
      WHERE tgrelid NOT IN (SELECT oid FROM months)$$,
    $$VALUES
      ('provconn.connection', 'zz_provconn_guard', 'provconn.guard_connection', 'BEFORE INSERT DELETE UPDATE ROW'),
      ('provconn.connection', 'provconn_no_truncate', 'provconn.guard_connection', 'BEFORE TRUNCATE STATEMENT'),
      ('provconn.connection', 'provconn_import', 'provconn.guard_import', 'BEFORE INSERT STATEMENT'),
      ('provconn.audit', 'provconn_import', 'provconn.guard_import', 'BEFORE INSERT STATEMENT'),
      ('provconn.archive', 'provconn_import', 'provconn.guard_import', 'BEFORE INSERT STATEMENT'),
      ('provconn.archive', 'provconn_guard', 'provconn.guard_seal', 'BEFORE DELETE UPDATE ROW'),
      ('provconn.archive', 'provconn_no_truncate', 'provconn.guard_seal', 'BEFORE TRUNCATE STATEMENT'),
      ('provconn.seal', 'provconn_import', 'provconn.guard_import', 'BEFORE INSERT STATEMENT'),
      ('provconn.seal', 'provconn_guard', 'provconn.guard_seal', 'BEFORE DELETE UPDATE ROW'),
      ('provconn.seal', 'provconn_no_truncate', 'provconn.guard_seal', 'BEFORE TRUNCATE STATEMENT'),
      ('provconn.import', 'provconn_guard', 'provconn.guard_seal', 'BEFORE DELETE UPDATE ROW'),
      ('provconn.import', 'provconn_no_truncate', 'provconn.guard_seal', 'BEFORE TRUNCATE STATEMENT'),
      ('provconn.seal_key', 'provconn_guard', 'provconn.guard_data_key', 'BEFORE DELETE UPDATE ROW'),
      ('provconn.seal_key', 'provconn_no_truncate', 'provconn.guard_data_key', 'BEFORE TRUNCATE STATEMENT'),
      ('provconn.connection', 'provconn_audit', 'provconn.audit_connection', 'AFTER INSERT UPDATE ROW'),
      ('provconn.provider', 'provconn_guard', 'provconn.guard_provider', 'BEFORE DELETE UPDATE ROW'),
      ('provconn.provider', 'provconn_no_truncate', 'provconn.guard_provider', 'BEFORE TRUNCATE STATEMENT'),
      ('provconn.provider', 'provconn_open', 'provconn.open_provider', 'AFTER INSERT ROW'),
      ('provconn.audit', 'provconn_audit_guard', 'provconn.guard_audit', 'BEFORE DELETE UPDATE ROW'),
      ('provconn.data_key', 'provconn_guard', 'provconn.guard_data_key', 'BEFORE DELETE UPDATE ROW'),
      ('provconn.data_key', 'provconn_no_truncate', 'provconn.guard_data_key', 'BEFORE TRUNCATE STATEMENT'),
      ('provconn.data_key', 'provconn_notice', 'provconn.notice_change', 'AFTER INSERT DELETE UPDATE ROW'),
      ('provconn.provider', 'provconn_notice', 'provconn.notice_change', 'AFTER INSERT DELETE UPDATE ROW'),
      ('provconn.audit', 'provconn_audit_no_truncate', 'provconn.guard_audit', 'BEFORE TRUNCATE STATEMENT')$$,
    'triggers of the tables');
SELECT set_eq(
    format('SELECT tgname, function, fires FROM actual_trigger WHERE tgrelid = %s', oid),
    $$VALUES ('provconn_audit_guard', 'provconn.guard_audit', 'BEFORE DELETE UPDATE ROW'),
             ('provconn_import', 'provconn.guard_import', 'BEFORE INSERT STATEMENT'),
             ('provconn_audit_no_truncate', 'provconn.guard_audit', 'BEFORE TRUNCATE STATEMENT')$$,
    format('triggers of %s', month))
FROM months ORDER BY month;
SELECT is_empty($$SELECT tgrelid::regclass, tgname, tgenabled FROM actual_trigger WHERE tgenabled <> 'A'$$,
                'every trigger is ENABLE ALWAYS');
SELECT is(max(tgname), 'zz_provconn_guard', 'the guard sorts last among the BEFORE triggers')
FROM actual_trigger WHERE tgrelid = 'provconn.connection'::regclass AND fires LIKE 'BEFORE %ROW';

-- Views: exactly these columns, in this order.

SELECT is(pg_temp.attributes('provconn_connections'::regclass), ARRAY[
    'connection_id uuid', 'user_id uuid', 'provider_id uuid', 'provider_slug text', 'alias text',
    'status provconn_status', 'credential_type provconn_credential_type',
    'expires_at timestamp with time zone', 'version integer', 'connected_at timestamp with time zone',
    'last_sync_at timestamp with time zone', 'created_at timestamp with time zone',
    'updated_at timestamp with time zone', 'metadata jsonb', 'failure_count integer', 'last_failure text',
    'next_attempt_at timestamp with time zone', 'leased_by text', 'leased_until timestamp with time zone',
    'is_connected boolean', 'needs_reauthentication boolean', 'is_credentials_expired boolean',
    'is_expiring_soon boolean', 'can_sync boolean', 'time_until_expiry interval',
    'supports_refresh boolean'], 'columns of provconn_connections');
SELECT is(pg_temp.attributes('provconn_audit_log'::regclass), ARRAY[
    'audit_id uuid', 'occurred_at timestamp with time zone', 'connection_id uuid', 'user_id uuid',
    'provider_id uuid', 'provider_slug text', 'action text', 'outcome text', 'event text',
    'old_status provconn_status', 'new_status provconn_status', 'error_code text', 'reason text',
    'version integer', 'owner_id uuid', 'session_role text', 'caller_role text',
    'application_name text', 'client_address inet', 'transaction_id xid8', 'seq bigint'],
    'columns of provconn_audit_log');
SELECT is(pg_temp.attributes('provconn_providers'::regclass), ARRAY[
    'provider_id uuid', 'slug text', 'name text', 'credential_type provconn_credential_type',
    'category text', 'is_active boolean', 'created_at timestamp with time zone',
    'updated_at timestamp with time zone'], 'columns of provconn_providers');
SELECT is(pg_temp.attributes('provconn_transitions'::regclass), ARRAY[
    'from_status provconn_status', 'command text', 'to_status provconn_status'],
    'columns of provconn_transitions');
SELECT is(pg_temp.attributes('provconn_stats'::regclass), ARRAY[
    'provider_id uuid', 'provider_slug text', 'status provconn_status', 'connections bigint', 'due bigint',
    'overdue bigint', 'leased bigint', 'leases_expired bigint', 'failing bigint', 'given_up bigint',
    'oldest_due timestamp with time zone', 'breaker text', 'breaker_opened_at timestamp with time zone',
    'attempts_lost bigint'],
    'columns of provconn_stats');
SELECT is(pg_temp.attributes('provconn_keys'::regclass), ARRAY[
    'key_id integer', 'state text', 'master_key_id integer', 'created_at timestamp with time zone',
    'retired_at timestamp with time zone', 'connections bigint'],
    'columns of provconn_keys');
SELECT is(pg_temp.attributes('provconn_progress'::regclass), ARRAY[
    'task text', 'key_id integer', 'done bigint', 'total bigint', 'started_at timestamp with time zone',
    'updated_at timestamp with time zone', 'finished_at timestamp with time zone'],
    'columns of provconn_progress');
SELECT set_eq(
    $$SELECT relname::text FROM pg_class JOIN pg_depend ON objid = pg_class.oid AND classid = 'pg_class'::regclass
      WHERE deptype = 'e' AND relkind = 'v' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'provconn')$$,
    ARRAY['provconn_connections', 'provconn_audit_log', 'provconn_providers', 'provconn_transitions',
          'provconn_stats', 'provconn_keys', 'provconn_progress', 'finding', 'wrong_trigger'],
    'views');

-- The ids of the shards, as published.

SELECT is(provconn_shard('00000000-0000-0000-0000-000000000000'), 884, 'shard of the nil UUID');
SELECT is(provconn_shard('f81d4fae-7dec-11d0-a765-00a0c91e6bf6'), 1230, 'shard of another UUID');
SELECT is(provconn_shard(u), ('x' || left(encode(sha256(uuid_send(u)), 'hex'), 3))::bit(12)::int,
          'shard of a random UUID is the first 12 bits of SHA-256')
FROM gen_random_uuid() AS u;
SELECT is(provconn_shard_of('018f0000-0000-7abc-8000-000000000000'), x'abc'::int, 'shard that an id carries');

SELECT * FROM finish();
ROLLBACK;
