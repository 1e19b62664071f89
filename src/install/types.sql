CREATE TYPE @extschema@.provconn_status AS ENUM
    ('pending', 'active', 'expired', 'revoked', 'failed', 'disconnected');

CREATE TYPE @extschema@.provconn_credential_type AS ENUM
    ('oauth2', 'api_key', 'link_token', 'certificate', 'file_import', 'custom');

-- A secret serves the process that made it, so none is made in a parallel worker.
CREATE TYPE @extschema@.provconn_secret;

CREATE FUNCTION @extschema@.provconn_secret_in(cstring)
RETURNS @extschema@.provconn_secret LANGUAGE c IMMUTABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_secret_out(@extschema@.provconn_secret)
RETURNS cstring LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_secret_recv(internal)
RETURNS @extschema@.provconn_secret LANGUAGE c IMMUTABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME';

CREATE FUNCTION @extschema@.provconn_secret_send(@extschema@.provconn_secret)
RETURNS bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE TYPE @extschema@.provconn_secret (
    INPUT = @extschema@.provconn_secret_in,
    OUTPUT = @extschema@.provconn_secret_out,
    RECEIVE = @extschema@.provconn_secret_recv,
    SEND = @extschema@.provconn_secret_send,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);

CREATE FUNCTION @extschema@.provconn_secret(text)
RETURNS @extschema@.provconn_secret LANGUAGE c IMMUTABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'provconn_secret_from_text';

CREATE FUNCTION @extschema@.provconn_secret(bytea)
RETURNS @extschema@.provconn_secret LANGUAGE c IMMUTABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'provconn_secret_from_bytea';

CREATE FUNCTION @extschema@.provconn_secret(json)
RETURNS @extschema@.provconn_secret LANGUAGE c IMMUTABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'provconn_secret_from_json';

CREATE FUNCTION @extschema@.provconn_secret(jsonb)
RETURNS @extschema@.provconn_secret LANGUAGE c IMMUTABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'provconn_secret_from_jsonb';

CREATE CAST (text AS @extschema@.provconn_secret)
    WITH FUNCTION @extschema@.provconn_secret(text) AS IMPLICIT;
CREATE CAST (varchar AS @extschema@.provconn_secret)
    WITH FUNCTION @extschema@.provconn_secret(text) AS IMPLICIT;
CREATE CAST (bytea AS @extschema@.provconn_secret)
    WITH FUNCTION @extschema@.provconn_secret(bytea) AS IMPLICIT;
CREATE CAST (json AS @extschema@.provconn_secret)
    WITH FUNCTION @extschema@.provconn_secret(json) AS IMPLICIT;
CREATE CAST (jsonb AS @extschema@.provconn_secret)
    WITH FUNCTION @extschema@.provconn_secret(jsonb) AS IMPLICIT;

CREATE TYPE @extschema@.provconn_credentials AS (
    secret @extschema@.provconn_secret,
    credential_type @extschema@.provconn_credential_type,
    expires_at timestamptz
);

CREATE TYPE @extschema@.provconn_connect_command AS (
    user_id uuid,
    provider_id uuid,
    provider_slug text,
    credentials @extschema@.provconn_credentials,
    alias text
);

CREATE TYPE @extschema@.provconn_disconnect_command AS (
    user_id uuid,
    connection_id uuid
);

CREATE TYPE @extschema@.provconn_refresh_command AS (
    connection_id uuid,
    credentials @extschema@.provconn_credentials
);

CREATE TYPE @extschema@.provconn_result AS (
    ok boolean,
    connection_id uuid,
    status @extschema@.provconn_status,
    version integer,
    error_code text,
    message text,
    needs_user_action boolean
);

CREATE TYPE @extschema@.provconn_revealed AS (
    ok boolean,
    connection_id uuid,
    version integer,
    secret bytea,
    secret_text text,
    credential_type @extschema@.provconn_credential_type,
    expires_at timestamptz,
    error_code text,
    message text
);

CREATE TYPE @extschema@.provconn_claimed AS (
    connection_id uuid,
    user_id uuid,
    provider_id uuid,
    provider_slug text,
    secret bytea,
    secret_text text,
    credential_type @extschema@.provconn_credential_type,
    expires_at timestamptz,
    version integer,
    attempt integer,
    lease uuid,
    leased_until timestamptz
);
