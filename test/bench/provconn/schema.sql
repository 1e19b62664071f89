-- load.sql and seal.sql bring the rows.
CREATE EXTENSION provconn CASCADE;
SELECT provconn_register_provider('bank-' || k, 'Bank ' || k, 'oauth2',
         provider_id => ('01900000-0000-7000-8000-00000000000' || k)::uuid)
FROM generate_series(0, 6) AS k;

-- A connection's id carries the shard of its user, which is taken from a hash
-- of the user's id.  So that the n-th id can be told from n, as kit.cid does it,
-- the n-th connection belongs to one of 4096 users, each of another shard.
SELECT format($f$
CREATE FUNCTION kit.user(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT (%L::uuid[])[(n & 4095)::int + 1] $$;
$f$, array_agg(user_id ORDER BY shard))
FROM (SELECT DISTINCT ON (shard) shard, user_id
      FROM (SELECT md5('u' || k)::uuid AS user_id, provconn_shard(md5('u' || k)::uuid) AS shard
            FROM generate_series(1, 100000) AS k) AS u
      ORDER BY shard) AS s
HAVING count(*) = 4096 \gexec

-- Both cost what kit.cid and kit.oid cost together, which the others compute.
CREATE FUNCTION kit.link(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
SELECT ('01900000-0000-7' || lpad(to_hex(n & 4095), 3, '0') || '-8' || left(kit.cid(n)::text, 3) || '-' || right(kit.oid(n)::text, 12))::uuid $$;
-- A user that has no connection yet.
CREATE FUNCTION kit.stranger(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
SELECT (left(kit.cid(n)::text, 18) || right(kit.oid(n)::text, 18))::uuid $$;
