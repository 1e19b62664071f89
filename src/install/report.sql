-- What provconn_audit_report() asks: it runs these as the owner of the tables, in
-- one snapshot.  src/report.c makes the page of it.

-- All rows on the user's connections, and those that name the user: as who asked,
-- or as the owner of a connection that somebody else asked for.
CREATE FUNCTION provconn.user_rows(user_id uuid, shard integer)
RETURNS SETOF provconn.audit LANGUAGE sql STABLE AS $function$
SELECT a.* FROM provconn.audit AS a
WHERE (a.shard_key OPERATOR(pg_catalog.=) $2
       AND (a.user_id OPERATOR(pg_catalog.=) $1 OR a.owner_id OPERATOR(pg_catalog.=) $1
            OR a.connection_id OPERATOR(pg_catalog.=) ANY (SELECT c.connection_id
                FROM provconn.connection AS c WHERE c.user_id OPERATOR(pg_catalog.=) $1)))
    OR ((a.owner_id IS NOT NULL OR a.error_code OPERATOR(pg_catalog.=) 'connection_not_found'
              OR a.outcome OPERATOR(pg_catalog.=) 'rolled_back') AND a.user_id OPERATOR(pg_catalog.=) $1)
$function$;

-- To the second, in UTC; null where it is infinite.
CREATE FUNCTION provconn.report_time(moment timestamptz)
RETURNS text LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN pg_catalog.to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS');

-- One row: what there is of the user.
CREATE FUNCTION provconn.report_counts(user_id uuid, shard integer)
RETURNS TABLE (first_at timestamptz, audit_rows bigint, reads bigint, refused bigint, rolled_back bigint, direct bigint,
               erased bigint, unsealed bigint, imported bigint, elsewhere bigint, first_time text, last_time text,
               erased_time text, shard_rows bigint, seals bigint, digest text)
LANGUAGE sql STABLE AS $function$
WITH newest AS (SELECT s.* FROM provconn.seal AS s ORDER BY s.seal_id DESC LIMIT 1)
SELECT pg_catalog.min(a.occurred_at),
       pg_catalog.count(*),
       pg_catalog.count(*) FILTER (WHERE a.action OPERATOR(pg_catalog.=) ANY ('{reveal,claim_due}'::pg_catalog._text)),
       pg_catalog.count(*) FILTER (WHERE a.outcome OPERATOR(pg_catalog.=) 'refused'),
       pg_catalog.count(*) FILTER (WHERE a.outcome OPERATOR(pg_catalog.=) 'rolled_back'),
       pg_catalog.count(*) FILTER (WHERE a.action OPERATOR(pg_catalog.=) 'direct'),
       pg_catalog.count(*) FILTER (WHERE a.personal_salt IS NULL),
       pg_catalog.count(*) FILTER (WHERE n.seal_id IS NULL OR (a.origin OPERATOR(pg_catalog.=) n.origin
           AND NOT pg_catalog.pg_visible_in_snapshot(a.transaction_id, n.settled))),
       pg_catalog.count(*) FILTER (WHERE a.origin OPERATOR(pg_catalog.<>) provconn.origin()),
       pg_catalog.count(*) FILTER (WHERE a.connection_id IS NULL AND a.outcome OPERATOR(pg_catalog.=) 'succeeded'),
       provconn.report_time(pg_catalog.min(a.occurred_at)),
       provconn.report_time(pg_catalog.max(a.occurred_at)),
       provconn.report_time(pg_catalog.max(a.occurred_at) FILTER (WHERE a.connection_id IS NULL
           AND a.action OPERATOR(pg_catalog.=) 'erase_user' AND a.outcome OPERATOR(pg_catalog.=) 'succeeded')),
       (SELECT pg_catalog.count(*) FROM provconn.audit AS s WHERE s.shard_key OPERATOR(pg_catalog.=) $2),
       (SELECT pg_catalog.count(*) FROM provconn.seal),
       (SELECT pg_catalog.jsonb_pretty(provconn.digest_json(n)) FROM newest AS n)
FROM provconn.user_rows($1, $2) AS a
LEFT JOIN newest AS n ON true
$function$;

-- The user's connections, the oldest first; also one whose own row is gone.
CREATE FUNCTION provconn.report_connections(user_id uuid, shard integer)
RETURNS TABLE (connection_id uuid, alias text, provider_slug text, provider_name text, status text, created_time text,
               connected_time text, expires_time text, synced_time text, version integer, audit_rows bigint,
               last_time text, is_gone boolean)
LANGUAGE sql STABLE AS $function$
SELECT r.connection_id, c.alias, COALESCE(p.slug, r.slug), p.name, c.status::pg_catalog.text,
       provconn.report_time(c.created_at), provconn.report_time(c.connected_at),
       CASE WHEN c.expires_at OPERATOR(pg_catalog.=) 'infinity' THEN 'never'
            ELSE provconn.report_time(c.expires_at) END,
       provconn.report_time(c.last_sync_at), c.version, r.audit_rows, provconn.report_time(r.last_at),
       c.connection_id IS NULL
FROM (SELECT a.connection_id, pg_catalog.count(*) AS audit_rows, pg_catalog.max(a.occurred_at) AS last_at,
             pg_catalog.min(a.occurred_at) AS first_at,
             pg_catalog.max(a.provider_slug) FILTER (WHERE a.seq IS NOT NULL) AS slug,
             pg_catalog.bool_or(a.seq IS NOT NULL) AS is_changed
      FROM provconn.user_rows($1, $2) AS a
      WHERE a.connection_id IS NOT NULL
      GROUP BY a.connection_id
      UNION ALL
      SELECT o.connection_id, 0, o.audit_at, o.created_at, NULL, true
      FROM provconn.connection AS o
      WHERE o.user_id OPERATOR(pg_catalog.=) $1
        AND NOT EXISTS (SELECT FROM provconn.audit AS b
            WHERE b.shard_key OPERATOR(pg_catalog.=) $2 AND b.connection_id OPERATOR(pg_catalog.=) o.connection_id)) AS r
LEFT JOIN provconn.connection AS c ON c.connection_id OPERATOR(pg_catalog.=) r.connection_id
LEFT JOIN provconn.provider AS p ON p.provider_id OPERATOR(pg_catalog.=) c.provider_id
WHERE c.user_id OPERATOR(pg_catalog.=) $1 OR (c.connection_id IS NULL AND r.is_changed)
ORDER BY COALESCE(c.created_at, r.first_at), r.connection_id
$function$;

-- Rows for tables, the newest first: of one connection, or of one kind.
CREATE FUNCTION provconn.report_rows(user_id uuid, shard integer, of_kind text, of_connection uuid, up_to integer)
RETURNS TABLE (occurred_time text, seq bigint, audit_id uuid, connection_id uuid, action text, outcome text,
               error_code text, old_status text, new_status text, version integer, session_role text, caller_role text,
               named_user uuid, named_owner uuid, application_name text, client_address text, reason text,
               is_erased boolean)
LANGUAGE sql STABLE AS $function$
SELECT pg_catalog.to_char(a.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), a.seq, a.audit_id,
       a.connection_id, a.action, a.outcome, a.error_code, a.old_status::pg_catalog.text, a.new_status::pg_catalog.text,
       a.version, a.session_role, a.caller_role, NULLIF(a.user_id, $1), NULLIF(a.owner_id, $1), a.application_name,
       CASE WHEN a.client_address IS NOT NULL THEN pg_catalog.format('%s', a.client_address) END, a.reason,
       a.personal_salt IS NULL
FROM provconn.user_rows($1, $2) AS a
WHERE CASE $3
    WHEN 'connection' THEN a.connection_id OPERATOR(pg_catalog.=) $4
    WHEN 'read' THEN a.action OPERATOR(pg_catalog.=) ANY ('{reveal,claim_due}'::pg_catalog._text)
    WHEN 'refused' THEN a.outcome OPERATOR(pg_catalog.<>) 'succeeded'
    WHEN 'direct' THEN a.action OPERATOR(pg_catalog.=) 'direct'
    WHEN 'elsewhere' THEN a.connection_id IS NULL AND a.outcome OPERATOR(pg_catalog.=) 'succeeded' END
ORDER BY a.occurred_at DESC, a.seq DESC NULLS LAST, a.audit_id DESC
LIMIT $5
$function$;

-- All of a connection's events, in order, for its picture.
CREATE FUNCTION provconn.report_events(user_id uuid, shard integer, of_connection uuid)
RETURNS TABLE (occurred_at timestamptz, action text, outcome text, new_status text)
LANGUAGE sql STABLE AS $function$
SELECT a.occurred_at, a.action, a.outcome, CASE WHEN a.seq IS NOT NULL THEN a.new_status::pg_catalog.text END
FROM provconn.user_rows($1, $2) AS a
WHERE a.connection_id OPERATOR(pg_catalog.=) $3
ORDER BY a.occurred_at, a.seq NULLS LAST, a.audit_id
$function$;

-- All that can be checked of the user: rows, chains and erasures of the user's
-- shard, the seals of all shards, the triggers.
CREATE FUNCTION provconn.report_problems(user_id uuid, shard integer)
RETURNS TABLE (severity text, problem text, audit_id uuid, connection_id uuid, seq bigint, seal_id bigint, detail text)
LANGUAGE sql STABLE AS $function$
SELECT * FROM provconn.verify_rows_of(NULL, NULL, $2, $1)
UNION ALL SELECT * FROM provconn.verify_chains_of(NULL, NULL, $2)
UNION ALL SELECT * FROM provconn.verify_erasures_of(NULL, NULL, $2)
UNION ALL SELECT * FROM provconn.verify_seals(false)
UNION ALL SELECT * FROM provconn.verify_triggers()
$function$;

-- What is not of this user alone, but to be known by who reads the report.
CREATE FUNCTION provconn.report_notices()
RETURNS TABLE (noticed_time text, kind text, detail text)
LANGUAGE sql STABLE AS $function$
SELECT provconn.report_time(n.noticed_at), n.kind, n.detail
FROM (SELECT i.imported_at AS noticed_at, i.kind,
             pg_catalog.format('rows into provconn.%I, by role %s, in transaction %s', i.table_name,
                               COALESCE(pg_catalog.quote_ident(i.session_role), '(none)'), i.transaction_id) AS detail
      FROM provconn.import AS i
      UNION ALL
      SELECT r.detached_at, 'archived',
             pg_catalog.format('%s rows of provconn.%I were put away, by role %s', r.row_count, r.table_name,
                               COALESCE(pg_catalog.quote_ident(r.session_role), '(none)'))
      FROM provconn.archive AS r) AS n
ORDER BY n.noticed_at DESC
$function$;
