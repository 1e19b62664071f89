-- The shard stands first in every key of a per-user table, and is tied to the
-- row's id: see doc/design.md, "Ids and shards".

CREATE FUNCTION @extschema@.provconn_shard(user_id uuid)
RETURNS integer LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_shard_of(connection_id uuid)
RETURNS integer LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE TABLE provconn.provider (
    provider_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    credential_type @extschema@.provconn_credential_type NOT NULL,
    category text,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    CONSTRAINT provider_pkey PRIMARY KEY (provider_id),
    CONSTRAINT provider_slug_key UNIQUE (slug),
    CONSTRAINT provider_slug_check CHECK (slug OPERATOR(pg_catalog.~) '^[a-z0-9_-]{1,50}$')
);

-- Circuit breakers: of this server alone, so neither dumped nor replicated.
CREATE TABLE provconn.provider_health (
    provider_id uuid NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    allowance integer,
    taken integer NOT NULL DEFAULT 0,
    opened_at timestamptz,
    next_claim_at timestamptz,
    CONSTRAINT provider_health_pkey PRIMARY KEY (provider_id)
) WITH (fillfactor = 50);

CREATE TABLE provconn.data_key (
    key_id integer NOT NULL,
    master_key_id integer NOT NULL,
    master_check bytea NOT NULL,
    wrapped bytea NOT NULL,
    check_value bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    CONSTRAINT data_key_pkey PRIMARY KEY (key_id)
);

CREATE TABLE provconn.connection (
    shard_key integer NOT NULL,
    connection_id uuid NOT NULL,
    user_id uuid NOT NULL,
    provider_id uuid NOT NULL,
    status @extschema@.provconn_status NOT NULL,
    version integer NOT NULL,
    credential_type @extschema@.provconn_credential_type,
    failure_count integer NOT NULL DEFAULT 0,
    expires_at timestamptz,
    connected_at timestamptz,
    last_sync_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    failing_since timestamptz,
    next_attempt_at timestamptz,
    leased_until timestamptz,
    held_until timestamptz,
    due_at timestamptz,
    lease uuid,
    audit_id uuid NOT NULL,
    audit_at timestamptz NOT NULL,
    audit_seq bigint NOT NULL,
    alias text,
    leased_by text,
    last_failure text,
    metadata jsonb,
    credential bytea,
    CONSTRAINT connection_pkey PRIMARY KEY (shard_key, connection_id),
    CONSTRAINT connection_shard_check CHECK (shard_key OPERATOR(pg_catalog.=) @extschema@.provconn_shard_of(connection_id))
) WITH (fillfactor = 80);

-- A ciphertext does not compress.
ALTER TABLE provconn.connection ALTER COLUMN credential SET STORAGE EXTERNAL;

CREATE INDEX connection_id_idx ON provconn.connection (connection_id);
CREATE INDEX connection_user_idx ON provconn.connection (user_id, provider_id, status);

-- The refresh queue: see src/queue.c.  No refresh changes it but that of a
-- connection which was leased or failing.
CREATE INDEX connection_queue_idx ON provconn.connection (provider_id, held_until, due_at);

CREATE TABLE provconn.idempotency (
    shard_key integer NOT NULL,
    user_id uuid NOT NULL,
    idempotency_key uuid NOT NULL,
    provider_id uuid NOT NULL,
    connection_id uuid NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    alias text,
    CONSTRAINT idempotency_pkey PRIMARY KEY (shard_key, user_id, idempotency_key),
    CONSTRAINT idempotency_shard_check CHECK (shard_key OPERATOR(pg_catalog.=) @extschema@.provconn_shard(user_id))
);

-- Tasks of many transactions: of this server alone, so neither dumped nor replicated.
CREATE TABLE provconn.progress (
    task text NOT NULL,
    key_id integer NOT NULL,
    connection_id uuid NOT NULL,
    done bigint NOT NULL,
    total bigint NOT NULL,
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT progress_pkey PRIMARY KEY (task)
) WITH (fillfactor = 50);

-- Months are partitions; the library makes them, ahead of time, each with the
-- primary key (shard_key, audit_id) and indexes on (connection_id, audit_id) and
-- on the user_id of refusals that name an owner, too.
CREATE TABLE provconn.audit (
    shard_key integer NOT NULL,
    audit_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    connection_id uuid,
    seq bigint,
    provider_id uuid,
    provider_slug text,
    action text NOT NULL,
    outcome text NOT NULL,
    old_status @extschema@.provconn_status,
    new_status @extschema@.provconn_status,
    error_code text,
    version integer,
    session_role text,
    caller_role text,
    transaction_id xid8,
    user_id uuid,
    owner_id uuid,
    reason text,
    application_name text,
    client_address inet,
    personal_salt bytea,
    personal_hash bytea NOT NULL,
    CONSTRAINT audit_shard_check CHECK (shard_key OPERATOR(pg_catalog.=) @extschema@.provconn_shard_of(audit_id))
) PARTITION BY RANGE (audit_id);

-- Which functions and views a capability consists of; '*': every capability.
CREATE TABLE provconn.capability (
    capability text NOT NULL,
    object_name name NOT NULL,
    is_function boolean NOT NULL,
    CONSTRAINT capability_pkey PRIMARY KEY (capability, object_name)
);

CREATE TABLE provconn.role_grant (
    role regrole NOT NULL,
    capability text NOT NULL,
    granted_by name NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    CONSTRAINT role_grant_pkey PRIMARY KEY (role, capability)
);

-- The triggers of the installation, as triggers.sql made them, for the doctor.
CREATE TABLE provconn.required_trigger (
    table_name name NOT NULL,
    trigger_name name NOT NULL,
    definition text NOT NULL,
    CONSTRAINT required_trigger_pkey PRIMARY KEY (table_name, trigger_name)
);

SELECT pg_catalog.pg_extension_config_dump('provconn.provider', '');
SELECT pg_catalog.pg_extension_config_dump('provconn.data_key', '');
SELECT pg_catalog.pg_extension_config_dump('provconn.connection', '');
SELECT pg_catalog.pg_extension_config_dump('provconn.idempotency', '');
SELECT pg_catalog.pg_extension_config_dump('provconn.audit', '');
-- A role that is gone would be dumped by its number.
SELECT pg_catalog.pg_extension_config_dump('provconn.role_grant',
    'WHERE role OPERATOR(pg_catalog.=) ANY (SELECT oid FROM pg_catalog.pg_roles)');
