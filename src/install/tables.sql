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

-- What a refresh leaves alone comes first and last: the WAL holds what is between.
CREATE TABLE provconn.connection (
    shard_key integer NOT NULL,
    connection_id uuid NOT NULL,
    user_id uuid NOT NULL,
    provider_id uuid NOT NULL,
    status @extschema@.provconn_status NOT NULL,
    credential_type @extschema@.provconn_credential_type,
    failure_count integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    connected_at timestamptz,
    last_sync_at timestamptz,
    failing_since timestamptz,
    next_attempt_at timestamptz,
    leased_until timestamptz,
    held_until timestamptz,
    due_at timestamptz,
    expires_at timestamptz,
    updated_at timestamptz NOT NULL,
    audit_at timestamptz NOT NULL,
    audit_seq bigint NOT NULL,
    version integer NOT NULL,
    audit_id uuid NOT NULL,
    lease uuid,
    audit_hash bytea NOT NULL,
    credential bytea,
    alias text,
    leased_by text,
    last_failure text,
    metadata jsonb,
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
    origin integer NOT NULL,
    transaction_id xid8 NOT NULL,
    attempt_id xid8,
    session_role text,
    caller_role text,
    user_id uuid,
    owner_id uuid,
    reason text,
    application_name text,
    client_address inet,
    personal_salt bytea,
    personal_hash bytea NOT NULL,
    previous_hash bytea,
    entry_hash bytea NOT NULL,
    CONSTRAINT audit_shard_check CHECK (shard_key OPERATOR(pg_catalog.=) @extschema@.provconn_shard_of(audit_id))
) PARTITION BY RANGE (audit_id);

-- The xid8 of the rows of a month rises almost with their place in the heap.
CREATE OPERATOR CLASS provconn.xid8_minmax_ops FOR TYPE xid8 USING brin AS
    OPERATOR 1 pg_catalog.< (xid8, xid8),
    OPERATOR 2 pg_catalog.<= (xid8, xid8),
    OPERATOR 3 pg_catalog.= (xid8, xid8),
    OPERATOR 4 pg_catalog.>= (xid8, xid8),
    OPERATOR 5 pg_catalog.> (xid8, xid8),
    FUNCTION 1 pg_catalog.brin_minmax_opcinfo(internal),
    FUNCTION 2 pg_catalog.brin_minmax_add_value(internal, internal, internal, internal),
    FUNCTION 3 pg_catalog.brin_minmax_consistent(internal, internal, internal),
    FUNCTION 4 pg_catalog.brin_minmax_union(internal, internal, internal);

-- A seal is over the leaves of a Merkle tree: rows of the audit, each by its id
-- and hash, in the order of the ids, then heads of chains, each by its
-- connection, number and the place of its row among the leaves.
CREATE TABLE provconn.seal (
    seal_id bigint NOT NULL,
    sealed_at timestamptz NOT NULL,
    origin integer NOT NULL,
    key_id integer NOT NULL,
    row_count integer NOT NULL,
    head_count integer NOT NULL,
    first_id uuid NOT NULL,
    last_id uuid NOT NULL,
    settled pg_snapshot NOT NULL,
    root bytea NOT NULL,
    previous_hash bytea,
    seal_hash bytea NOT NULL,
    mac bytea NOT NULL,
    leaves bytea NOT NULL,
    heads bytea NOT NULL,
    CONSTRAINT seal_pkey PRIMARY KEY (seal_id)
);

-- Hashes do not compress.
ALTER TABLE provconn.seal
    ALTER COLUMN leaves SET STORAGE EXTERNAL,
    ALTER COLUMN heads SET STORAGE EXTERNAL;

-- For who looks for the seal of a row.
CREATE INDEX seal_last_id_idx ON provconn.seal (last_id);

-- The keys that seals are authenticated with, wrapped as data keys are.
CREATE TABLE provconn.seal_key (
    key_id integer NOT NULL,
    master_key_id integer NOT NULL,
    master_check bytea NOT NULL,
    wrapped bytea NOT NULL,
    check_value bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    CONSTRAINT seal_key_pkey PRIMARY KEY (key_id)
);

-- What came in past the guards: by a restore or by logical replication.
CREATE TABLE provconn.import (
    import_id uuid NOT NULL,
    imported_at timestamptz NOT NULL,
    kind text NOT NULL,
    table_name name NOT NULL,
    origin integer NOT NULL,
    transaction_id xid8 NOT NULL,
    session_role text,
    CONSTRAINT import_pkey PRIMARY KEY (import_id)
);

-- Months of the audit that were detached, by the bounds of their ids.
CREATE TABLE provconn.archive (
    table_name name NOT NULL,
    from_id uuid NOT NULL,
    to_id uuid NOT NULL,
    row_count bigint NOT NULL,
    detached_at timestamptz NOT NULL,
    session_role text,
    CONSTRAINT archive_pkey PRIMARY KEY (from_id)
);

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
SELECT pg_catalog.pg_extension_config_dump('provconn.seal', '');
SELECT pg_catalog.pg_extension_config_dump('provconn.seal_key', '');
SELECT pg_catalog.pg_extension_config_dump('provconn.import', '');
SELECT pg_catalog.pg_extension_config_dump('provconn.archive', '');
-- A role that is gone would be dumped by its number.
SELECT pg_catalog.pg_extension_config_dump('provconn.role_grant',
    'WHERE role OPERATOR(pg_catalog.=) ANY (SELECT oid FROM pg_catalog.pg_roles)');
