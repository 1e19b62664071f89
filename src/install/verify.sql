-- Verification of the audit.  provconn_verify_audit() runs these as the owner of
-- the tables, in one snapshot; doc/audit.md has the rules and the bytes.

CREATE FUNCTION provconn.origin()
RETURNS integer LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'provconn_audit_origin';

CREATE FUNCTION provconn.entry_hash(
    previous_hash bytea,
    audit_id uuid,
    occurred_at timestamptz,
    connection_id uuid,
    seq bigint,
    provider_id uuid,
    provider_slug text,
    action text,
    outcome text,
    old_status @extschema@.provconn_status,
    new_status @extschema@.provconn_status,
    error_code text,
    version integer,
    session_role text,
    caller_role text,
    origin integer,
    transaction_id xid8,
    attempt_id xid8,
    personal_hash bytea)
RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'provconn_audit_entry_hash';

-- Null where the salt is.
CREATE FUNCTION provconn.personal_hash(
    salt bytea,
    user_id uuid,
    owner_id uuid,
    reason text,
    application_name text,
    client_address inet)
RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'provconn_audit_personal_hash';

CREATE FUNCTION provconn.seal_leaves(
    leaves bytea,
    OUT leaf_index integer,
    OUT audit_id uuid,
    OUT entry_hash bytea)
RETURNS SETOF record LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 1000
AS 'MODULE_PATHNAME', 'provconn_audit_seal_leaves';

CREATE FUNCTION provconn.seal_root(leaves bytea, heads bytea)
RETURNS bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'provconn_audit_seal_root';

CREATE FUNCTION provconn.seal_hash(
    previous_hash bytea,
    seal_id bigint,
    sealed_at timestamptz,
    origin integer,
    row_count integer,
    head_count integer,
    first_id uuid,
    last_id uuid,
    settled pg_snapshot,
    root bytea)
RETURNS bytea LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'provconn_audit_seal_hash';

CREATE FUNCTION provconn.seal_is_authentic(key_id integer, seal_hash bytea, mac bytea)
RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'provconn_audit_seal_is_authentic';

CREATE FUNCTION provconn.utc(moment timestamptz)
RETURNS text LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN pg_catalog.to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

CREATE FUNCTION provconn.hex(bytes bytea)
RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pg_catalog.encode(bytes, 'hex');

-- A row as its proof shows it; personal values only until they are erased.
CREATE FUNCTION provconn.entry_json(entry provconn.audit)
RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_catalog.jsonb_build_object(
    'audit_id', entry.audit_id,
    'occurred_at', provconn.utc(entry.occurred_at),
    'connection_id', entry.connection_id,
    'seq', entry.seq,
    'provider_id', entry.provider_id,
    'provider_slug', entry.provider_slug,
    'action', entry.action,
    'outcome', entry.outcome,
    'old_status', entry.old_status,
    'new_status', entry.new_status,
    'error_code', entry.error_code,
    'version', entry.version,
    'session_role', entry.session_role,
    'caller_role', entry.caller_role,
    'origin', entry.origin,
    'transaction_id', entry.transaction_id::pg_catalog.text,
    'attempt_id', entry.attempt_id::pg_catalog.text,
    'personal_hash', provconn.hex(entry.personal_hash),
    'previous_hash', provconn.hex(entry.previous_hash),
    'entry_hash', provconn.hex(entry.entry_hash),
    'personal', CASE WHEN entry.personal_salt IS NOT NULL THEN pg_catalog.jsonb_build_object(
        'salt', provconn.hex(entry.personal_salt),
        'user_id', entry.user_id,
        'owner_id', entry.owner_id,
        'reason', entry.reason,
        'application_name', entry.application_name,
        'client_address', CASE WHEN entry.client_address IS NOT NULL
            THEN pg_catalog.format('%s', entry.client_address) END) END);

CREATE FUNCTION provconn.seal_json(seal provconn.seal)
RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_catalog.jsonb_build_object(
    'seal_id', seal.seal_id,
    'sealed_at', provconn.utc(seal.sealed_at),
    'origin', seal.origin,
    'row_count', seal.row_count,
    'head_count', seal.head_count,
    'first_id', seal.first_id,
    'last_id', seal.last_id,
    'settled', seal.settled::pg_catalog.text,
    'root', provconn.hex(seal.root),
    'previous_hash', provconn.hex(seal.previous_hash),
    'seal_hash', provconn.hex(seal.seal_hash),
    'mac', provconn.hex(seal.mac));

-- The feed: seals in their order, and in each its rows by id, so by time.  Events
-- that are put away keep their place.
CREATE FUNCTION provconn.events_after(after_seal bigint, after_leaf integer, before_seal bigint, max_events integer)
RETURNS TABLE ("position" text, event text, audit_id uuid, occurred_at timestamptz, connection_id uuid,
    user_id uuid, provider_id uuid, provider_slug text, action text, outcome text,
    old_status @extschema@.provconn_status, new_status @extschema@.provconn_status,
    error_code text, reason text, version integer, seq bigint)
LANGUAGE sql STABLE AS $function$
SELECT pg_catalog.concat(l.seal_id, ':', l.leaf_index, ':', pg_catalog.left(provconn.hex(l.seal_hash), 8)),
       CASE WHEN a.audit_id IS NULL THEN 'archived' ELSE
           CASE a.action
               WHEN 'connect' THEN 'provider_connection'
               WHEN 'disconnect' THEN 'provider_disconnection'
               WHEN 'refresh' THEN 'provider_token_refresh'
               ELSE a.action
           END OPERATOR(pg_catalog.||) '_' OPERATOR(pg_catalog.||)
           CASE a.outcome WHEN 'refused' THEN 'failed' ELSE a.outcome END END,
       l.audit_id, a.occurred_at, a.connection_id, a.user_id, a.provider_id, a.provider_slug,
       a.action, a.outcome, a.old_status, a.new_status, a.error_code, a.reason, a.version, a.seq
FROM (SELECT s.seal_id, s.seal_hash, i.leaf_index, i.audit_id, i.shard
      FROM provconn.seal AS s
      CROSS JOIN LATERAL (
          SELECT e.leaf_index, e.audit_id,
                 (pg_catalog.get_byte(pg_catalog.uuid_send(e.audit_id), 6) OPERATOR(pg_catalog.&) 15)
                     OPERATOR(pg_catalog.*) 256
                     OPERATOR(pg_catalog.+) pg_catalog.get_byte(pg_catalog.uuid_send(e.audit_id), 7) AS shard
          FROM provconn.seal_leaves(s.leaves) AS e) AS i
      WHERE s.seal_id OPERATOR(pg_catalog.>=) $1 AND s.seal_id OPERATOR(pg_catalog.<) $3
        AND (s.seal_id OPERATOR(pg_catalog.>) $1 OR i.leaf_index OPERATOR(pg_catalog.>) $2)
      ORDER BY s.seal_id, i.leaf_index LIMIT $4) AS l
LEFT JOIN provconn.audit AS a
    ON a.shard_key OPERATOR(pg_catalog.=) l.shard AND a.audit_id OPERATOR(pg_catalog.=) l.audit_id
ORDER BY l.seal_id, l.leaf_index
$function$;

-- The newest of these is what to keep outside of the database.
CREATE FUNCTION provconn.digest_json(seal provconn.seal)
RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_catalog.jsonb_build_object(
    'format', 1,
    'seal_id', seal.seal_id,
    'sealed_at', provconn.utc(seal.sealed_at),
    'rows', seal.row_count,
    'heads', seal.head_count,
    'root', provconn.hex(seal.root),
    'seal_hash', provconn.hex(seal.seal_hash),
    'mac', provconn.hex(seal.mac));

CREATE FUNCTION provconn.shard_of(id uuid)
RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN @extschema@.provconn_shard_of(id);

-- Whether a row is in a month that was detached on the record.
CREATE FUNCTION provconn.is_archived(id uuid)
RETURNS boolean LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN EXISTS (SELECT FROM provconn.archive AS r
    WHERE id OPERATOR(pg_catalog.>=) r.from_id AND id OPERATOR(pg_catalog.<) r.to_id);

-- The functions that end in "_of" look at one shard, where it is not null.

-- Rows against their hashes, commitments and seals; with the shard come the rows
-- of other shards in which the user claimed another's connection.
CREATE FUNCTION provconn.verify_rows_of(from_id uuid, to_id uuid, shard integer, user_id uuid)
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
WITH newest AS (
    SELECT s.settled, s.origin FROM provconn.seal AS s
    -- Where seals are gone, that is the problem, not each of their rows.
    WHERE s.seal_id OPERATOR(pg_catalog.=) (SELECT pg_catalog.count(*) FROM provconn.seal)
    ORDER BY s.seal_id DESC LIMIT 1
)
SELECT 'problem', f.problem, COALESCE(a.audit_id, l.audit_id), a.connection_id, a.seq, l.seal_id, f.detail
FROM (SELECT e.audit_id, e.connection_id, e.seq, e.entry_hash, e.origin, e.transaction_id,
             provconn.entry_hash(e.previous_hash, e.audit_id, e.occurred_at, e.connection_id, e.seq,
                 e.provider_id, e.provider_slug, e.action, e.outcome, e.old_status, e.new_status,
                 e.error_code, e.version, e.session_role, e.caller_role, e.origin, e.transaction_id,
                 e.attempt_id, e.personal_hash) OPERATOR(pg_catalog.=) e.entry_hash
                 AND e.shard_key OPERATOR(pg_catalog.=) provconn.shard_of(e.audit_id) AS is_whole,
             COALESCE(provconn.personal_hash(e.personal_salt, e.user_id, e.owner_id, e.reason,
                 e.application_name, e.client_address) OPERATOR(pg_catalog.=) e.personal_hash,
                 COALESCE(e.user_id::pg_catalog.text, e.owner_id::pg_catalog.text, e.reason,
                     e.application_name, e.client_address::pg_catalog.text) IS NULL) AS is_committed
      FROM provconn.audit AS e
      WHERE ($1 IS NULL OR e.audit_id OPERATOR(pg_catalog.>=) $1)
        AND ($2 IS NULL OR e.audit_id OPERATOR(pg_catalog.<) $2)
        AND ($3 IS NULL OR e.shard_key OPERATOR(pg_catalog.=) $3
             OR ((e.owner_id IS NOT NULL OR e.error_code OPERATOR(pg_catalog.=) 'connection_not_found'
              OR e.outcome OPERATOR(pg_catalog.=) 'rolled_back') AND e.user_id OPERATOR(pg_catalog.=) $4))) AS a
FULL JOIN (SELECT s.seal_id, i.audit_id, i.entry_hash
           FROM provconn.seal AS s, provconn.seal_leaves(s.leaves) AS i
           WHERE ($1 IS NULL OR s.last_id OPERATOR(pg_catalog.>=) $1
                  AND i.audit_id OPERATOR(pg_catalog.>=) $1)
             AND ($2 IS NULL OR s.first_id OPERATOR(pg_catalog.<) $2
                  AND i.audit_id OPERATOR(pg_catalog.<) $2)
             AND ($3 IS NULL OR provconn.shard_of(i.audit_id) OPERATOR(pg_catalog.=) $3
                  OR i.audit_id OPERATOR(pg_catalog.=) ANY (SELECT o.audit_id FROM provconn.audit AS o
                      WHERE (o.owner_id IS NOT NULL OR o.error_code OPERATOR(pg_catalog.=) 'connection_not_found'
              OR o.outcome OPERATOR(pg_catalog.=) 'rolled_back') AND o.user_id OPERATOR(pg_catalog.=) $4))) AS l
    ON l.audit_id OPERATOR(pg_catalog.=) a.audit_id
CROSS JOIN LATERAL (
    SELECT 'missing' AS problem, 'the row was sealed and is gone' AS detail
    WHERE a.audit_id IS NULL AND NOT provconn.is_archived(l.audit_id)
    UNION ALL
    SELECT 'altered', 'the row does not have the hash that stands in it' WHERE NOT a.is_whole
    UNION ALL
    SELECT 'altered', 'the row is not the one that was sealed'
    WHERE a.is_whole AND l.entry_hash OPERATOR(pg_catalog.<>) a.entry_hash
    UNION ALL
    SELECT 'altered', 'the personal values are not those that the row committed to'
    WHERE NOT a.is_committed
    UNION ALL
    SELECT 'forged', 'the row is not in the seal that covers its transaction'
    FROM newest AS n
    WHERE a.audit_id IS NOT NULL AND l.audit_id IS NULL
        AND a.origin OPERATOR(pg_catalog.=) n.origin
        AND pg_catalog.pg_visible_in_snapshot(a.transaction_id, n.settled)
    UNION ALL
    SELECT 'forged', 'the row is of a transaction that has not been yet'
    WHERE a.audit_id IS NOT NULL AND a.origin OPERATOR(pg_catalog.=) provconn.origin()
        AND a.transaction_id OPERATOR(pg_catalog.>=) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
        AND a.transaction_id IS DISTINCT FROM pg_catalog.pg_current_xact_id_if_assigned()
) AS f
WHERE a.audit_id IS NULL OR l.audit_id IS NULL OR NOT a.is_whole OR NOT a.is_committed
    OR l.entry_hash OPERATOR(pg_catalog.<>) a.entry_hash
$function$;

CREATE FUNCTION provconn.verify_rows(from_id uuid, to_id uuid)
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT * FROM provconn.verify_rows_of($1, $2, NULL, NULL)
$function$;

-- Personal values that are gone although their user was not erased.
CREATE FUNCTION provconn.verify_erasures_of(from_id uuid, to_id uuid, shard integer)
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT 'problem', 'altered', a.audit_id, a.connection_id, a.seq, NULL::pg_catalog.int8,
       'the personal values are gone, but the user was not erased'
FROM provconn.audit AS a
JOIN provconn.connection AS c ON c.connection_id OPERATOR(pg_catalog.=) a.connection_id
WHERE a.personal_salt IS NULL AND a.error_code IS DISTINCT FROM 'not_owned_by_user'
    AND ($1 IS NULL OR a.audit_id OPERATOR(pg_catalog.>=) $1)
    AND ($2 IS NULL OR a.audit_id OPERATOR(pg_catalog.<) $2)
    AND ($3 IS NULL OR (a.shard_key OPERATOR(pg_catalog.=) $3 AND c.shard_key OPERATOR(pg_catalog.=) $3))
    AND NOT EXISTS (SELECT FROM provconn.audit AS e
        WHERE e.action OPERATOR(pg_catalog.=) 'erase_user' AND e.connection_id IS NULL
            AND e.user_id OPERATOR(pg_catalog.=) c.user_id
            AND ($3 IS NULL OR e.shard_key OPERATOR(pg_catalog.=) $3))
$function$;

CREATE FUNCTION provconn.verify_erasures(from_id uuid, to_id uuid)
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT * FROM provconn.verify_erasures_of($1, $2, NULL)
$function$;

-- Chains: their rows follow one another, without a gap, up to the head.
CREATE FUNCTION provconn.verify_chains_of(from_id uuid, to_id uuid, shard integer)
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT 'problem', f.problem, f.audit_id, c.connection_id, f.seq, NULL::pg_catalog.int8, f.detail
FROM (SELECT a.audit_id, a.connection_id, a.seq, a.previous_hash, a.entry_hash,
             pg_catalog.lag(a.audit_id) OVER chain AS before_id,
             pg_catalog.lag(a.seq) OVER chain AS before_seq,
             pg_catalog.lag(a.entry_hash) OVER chain AS before_hash,
             pg_catalog.lead(a.seq) OVER chain IS NULL AND $2 IS NULL AS is_last
      FROM provconn.audit AS a
      WHERE a.seq IS NOT NULL
        AND ($1 IS NULL OR a.audit_id OPERATOR(pg_catalog.>=) $1)
        AND ($2 IS NULL OR a.audit_id OPERATOR(pg_catalog.<) $2)
        AND ($3 IS NULL OR a.shard_key OPERATOR(pg_catalog.=) $3)
      WINDOW chain AS (PARTITION BY a.connection_id ORDER BY a.seq, a.audit_id)) AS c
LEFT JOIN provconn.connection AS n
    ON n.connection_id OPERATOR(pg_catalog.=) c.connection_id AND c.is_last
    AND ($3 IS NULL OR n.shard_key OPERATOR(pg_catalog.=) $3)
CROSS JOIN LATERAL (
    SELECT 'missing' AS problem, c.audit_id, c.seq,
           pg_catalog.format('rows %s to %s before it are gone', (COALESCE(c.before_seq, 0) OPERATOR(pg_catalog.+) 1),
                             (c.seq OPERATOR(pg_catalog.-) 1)) AS detail
    WHERE c.seq OPERATOR(pg_catalog.>) (COALESCE(c.before_seq, 0) OPERATOR(pg_catalog.+) 1)
        AND ($1 IS NULL OR c.before_seq IS NOT NULL)
        AND NOT EXISTS (SELECT FROM provconn.archive AS r
            WHERE r.from_id OPERATOR(pg_catalog.<) c.audit_id
                AND (c.before_id IS NULL OR r.to_id OPERATOR(pg_catalog.>) c.before_id))
    UNION ALL
    SELECT 'forged', c.audit_id, c.seq, 'another row of the connection has the same number'
    WHERE c.seq OPERATOR(pg_catalog.=) c.before_seq
    UNION ALL
    SELECT x.problem, CASE x.problem WHEN 'reordered' THEN c.audit_id ELSE c.before_id END,
           CASE x.problem WHEN 'reordered' THEN c.seq ELSE c.before_seq END,
           CASE x.problem WHEN 'reordered' THEN 'the row does not follow the one before it'
                ELSE 'the row is not the one that the next row follows' END
    FROM (SELECT CASE WHEN EXISTS (SELECT FROM provconn.audit AS o
                          WHERE o.connection_id OPERATOR(pg_catalog.=) c.connection_id
                              AND o.entry_hash OPERATOR(pg_catalog.=) c.previous_hash)
                      THEN 'reordered' ELSE 'altered' END AS problem) AS x
    WHERE c.seq OPERATOR(pg_catalog.=) (c.before_seq OPERATOR(pg_catalog.+) 1)
        AND c.previous_hash IS DISTINCT FROM c.before_hash
    UNION ALL
    SELECT 'missing', c.audit_id, c.seq, 'the row of its connection is gone'
    WHERE c.is_last AND n.connection_id IS NULL
    UNION ALL
    SELECT 'truncated', c.audit_id, c.seq,
           pg_catalog.format('rows %s to %s after it are gone', c.seq OPERATOR(pg_catalog.+) 1, n.audit_seq)
    WHERE c.is_last AND n.audit_seq OPERATOR(pg_catalog.>) c.seq
        AND NOT provconn.is_archived(n.audit_id)
    UNION ALL
    SELECT 'forged', c.audit_id, c.seq,
           pg_catalog.format('its connection has %s rows, this one is beyond them', n.audit_seq)
    WHERE c.is_last AND n.audit_seq OPERATOR(pg_catalog.<) c.seq
    UNION ALL
    SELECT 'altered', c.audit_id, c.seq, 'the row is not the head of the chain that its connection has'
    WHERE c.is_last AND n.audit_seq OPERATOR(pg_catalog.=) c.seq
        AND (n.audit_hash OPERATOR(pg_catalog.<>) c.entry_hash
             OR n.audit_id OPERATOR(pg_catalog.<>) c.audit_id)
) AS f
WHERE c.seq OPERATOR(pg_catalog.<>) (COALESCE(c.before_seq, 0) OPERATOR(pg_catalog.+) 1)
    OR (c.before_seq IS NOT NULL AND c.previous_hash IS DISTINCT FROM c.before_hash)
    OR (c.is_last AND (n.connection_id IS NULL OR n.audit_seq OPERATOR(pg_catalog.<>) c.seq
        OR n.audit_hash OPERATOR(pg_catalog.<>) c.entry_hash
        OR n.audit_id OPERATOR(pg_catalog.<>) c.audit_id))
UNION ALL
SELECT 'problem', 'truncated', n.audit_id, n.connection_id, n.audit_seq, NULL,
       'no row of this connection is left'
FROM provconn.connection AS n
WHERE $2 IS NULL AND ($1 IS NULL OR n.audit_id OPERATOR(pg_catalog.>=) $1)
    AND ($3 IS NULL OR n.shard_key OPERATOR(pg_catalog.=) $3)
    AND NOT provconn.is_archived(n.audit_id)
    AND NOT EXISTS (SELECT FROM provconn.audit AS a
        WHERE a.connection_id OPERATOR(pg_catalog.=) n.connection_id AND a.seq IS NOT NULL
            AND ($3 IS NULL OR a.shard_key OPERATOR(pg_catalog.=) $3))
$function$;

CREATE FUNCTION provconn.verify_chains(from_id uuid, to_id uuid)
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT * FROM provconn.verify_chains_of($1, $2, NULL)
$function$;

-- Seals: each follows the one before, has the root of its leaves, and the key's mark.
CREATE FUNCTION provconn.verify_seals(has_key boolean)
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT 'problem', f.problem, NULL::pg_catalog.uuid, NULL::pg_catalog.uuid, NULL::pg_catalog.int8, s.seal_id, f.detail
FROM (SELECT t.*, pg_catalog.lag(t.seal_id) OVER (ORDER BY t.seal_id) AS before_id,
             pg_catalog.lag(t.seal_hash) OVER (ORDER BY t.seal_id) AS before_hash
      FROM provconn.seal AS t) AS s
CROSS JOIN LATERAL (
    SELECT 'missing' AS problem,
           pg_catalog.format('seals %s to %s before it are gone', (COALESCE(s.before_id, 0) OPERATOR(pg_catalog.+) 1),
                             (s.seal_id OPERATOR(pg_catalog.-) 1)) AS detail
    WHERE s.seal_id OPERATOR(pg_catalog.<>) (COALESCE(s.before_id, 0) OPERATOR(pg_catalog.+) 1)
    UNION ALL
    SELECT 'seal_mismatch', 'the seal does not follow the one before it'
    WHERE s.seal_id OPERATOR(pg_catalog.=) (COALESCE(s.before_id, 0) OPERATOR(pg_catalog.+) 1)
        AND s.previous_hash IS DISTINCT FROM s.before_hash
    UNION ALL
    SELECT 'seal_mismatch', 'the seal does not have the hash that stands in it'
    WHERE provconn.seal_hash(s.previous_hash, s.seal_id, s.sealed_at, s.origin, s.row_count, s.head_count,
            s.first_id, s.last_id, s.settled, s.root) OPERATOR(pg_catalog.<>) s.seal_hash
    UNION ALL
    SELECT 'seal_mismatch', 'the root is not that of the leaves'
    WHERE (provconn.seal_root(s.leaves, s.heads) OPERATOR(pg_catalog.<>) s.root
           OR pg_catalog.octet_length(s.leaves) OPERATOR(pg_catalog.<>) (48 OPERATOR(pg_catalog.*) s.row_count)
           OR pg_catalog.octet_length(s.heads) OPERATOR(pg_catalog.<>) (28 OPERATOR(pg_catalog.*) s.head_count))
        AND NOT (pg_catalog.octet_length(s.leaves) OPERATOR(pg_catalog.=) 0
                 AND provconn.is_archived(s.first_id) AND provconn.is_archived(s.last_id))
    UNION ALL
    SELECT 'seal_mismatch', 'the seal was not made with the key of seals'
    WHERE $1 AND NOT provconn.seal_is_authentic(s.key_id, s.seal_hash, s.mac)
) AS f
UNION ALL
SELECT 'problem', 'seal_key', NULL, NULL, NULL, NULL, 'seals cannot be authenticated: their key is gone'
WHERE EXISTS (SELECT FROM provconn.seal) AND NOT EXISTS (SELECT FROM provconn.seal_key)
$function$;

-- The digest that was kept outside against the seal of that number.
CREATE FUNCTION provconn.verify_digest(digest jsonb)
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT 'problem', CASE WHEN s.seal_id IS NULL THEN 'truncated' ELSE 'seal_mismatch' END,
       NULL::pg_catalog.uuid, NULL::pg_catalog.uuid, NULL::pg_catalog.int8, d.seal_id,
       CASE WHEN s.seal_id IS NULL THEN 'there is no seal of the digest''s number'
            ELSE 'the seal is not the one that the digest is of' END
FROM (SELECT CASE WHEN ($1 OPERATOR(pg_catalog.->>) 'seal_id') OPERATOR(pg_catalog.~) '^[0-9]{1,18}$'
             THEN ($1 OPERATOR(pg_catalog.->>) 'seal_id')::pg_catalog.int8 END AS seal_id) AS d
LEFT JOIN provconn.seal AS s ON s.seal_id OPERATOR(pg_catalog.=) d.seal_id
WHERE s.seal_id IS NULL
    OR provconn.hex(s.seal_hash) IS DISTINCT FROM ($1 OPERATOR(pg_catalog.->>) 'seal_hash')
    OR provconn.hex(s.root) IS DISTINCT FROM ($1 OPERATOR(pg_catalog.->>) 'root')
    OR provconn.hex(s.mac) IS DISTINCT FROM ($1 OPERATOR(pg_catalog.->>) 'mac')
$function$;

-- The triggers that keep the audit whole, on each table and month.
CREATE FUNCTION provconn.verify_triggers()
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT 'problem', 'trigger', NULL::pg_catalog.uuid, NULL::pg_catalog.uuid, NULL::pg_catalog.int8,
       NULL::pg_catalog.int8, pg_catalog.format('%s on %s is %s', w.name, w.oid::pg_catalog.regclass, w.problem)
FROM provconn.wrong_trigger AS w
ORDER BY w.place, w.oid::pg_catalog.regclass::pg_catalog.text, w.name
$function$;

-- All months that are put away, as the audit has it on record.
CREATE FUNCTION provconn.archive_hash()
RETURNS text LANGUAGE sql STABLE
RETURN (SELECT provconn.hex(pg_catalog.sha256(pg_catalog.convert_to(COALESCE(
        pg_catalog.string_agg(pg_catalog.format('%s %s %s %s', r.table_name, r.from_id, r.to_id, r.row_count),
                              ';' ORDER BY r.from_id), ''), 'UTF8')))
    FROM provconn.archive AS r);

CREATE FUNCTION provconn.verify_archives()
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT 'problem', 'altered', n.audit_id, NULL::pg_catalog.uuid, NULL::pg_catalog.int8, NULL::pg_catalog.int8,
       'the months in provconn.archive are not those that the audit says were detached'
FROM (SELECT 1) AS one
LEFT JOIN (SELECT a.audit_id, a.reason FROM provconn.audit AS a
           WHERE a.action OPERATOR(pg_catalog.=) ANY ('{archive_audit,attach_audit}')
               AND a.outcome OPERATOR(pg_catalog.=) 'succeeded'
           ORDER BY a.audit_id DESC LIMIT 1) AS n ON true
WHERE CASE WHEN n.audit_id IS NULL THEN EXISTS (SELECT FROM provconn.archive)
      ELSE pg_catalog.right(n.reason, 64) IS DISTINCT FROM provconn.archive_hash() END
$function$;

-- What came in past the guards or was put away: no problem, but to be known.
CREATE FUNCTION provconn.verify_imports()
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT 'notice', i.kind, NULL::pg_catalog.uuid, NULL::pg_catalog.uuid, NULL::pg_catalog.int8, NULL::pg_catalog.int8,
       pg_catalog.format('rows into provconn.%I at %s, by role %s, in transaction %s', i.table_name,
                         provconn.utc(i.imported_at), COALESCE(pg_catalog.quote_ident(i.session_role), '(none)'), i.transaction_id)
FROM provconn.import AS i
UNION ALL
SELECT 'notice', 'foreign', NULL, NULL, NULL, NULL,
       pg_catalog.format('%s rows of another database (origin %s), %s to %s', pg_catalog.count(*), a.origin,
                         provconn.utc(pg_catalog.min(a.occurred_at)), provconn.utc(pg_catalog.max(a.occurred_at)))
FROM provconn.audit AS a
WHERE a.origin OPERATOR(pg_catalog.<>) provconn.origin()
GROUP BY a.origin
UNION ALL
SELECT 'notice', 'archived', NULL, NULL, NULL, NULL,
       pg_catalog.format('%s rows of provconn.%I, %s to %s, detached at %s by role %s', r.row_count, r.table_name,
                         r.from_id, r.to_id,
                         provconn.utc(r.detached_at), COALESCE(pg_catalog.quote_ident(r.session_role), '(none)'))
FROM provconn.archive AS r
$function$;
