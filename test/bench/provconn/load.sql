-- The rows 1 to :rows as a dump would have them.  Those up to :sealed expire in
-- the hour from :at on and get real credentials by seal.sql, the others ten hours
-- later.  A refresh must not expire sooner: it would move the row in the queue.
COPY (
SELECT (n & 4095)::int, kit.link(n), kit.user(n), ('01900000-0000-7000-8000-00000000000' || n % 7)::uuid,
       'active'::provconn_status, 1, 'oauth2'::provconn_credential_type, 0,
       expires_at, now(), now(), now(), '-infinity'::timestamptz, expires_at,
       ('00000000-0000-7' || lpad(to_hex(n & 4095), 3, '0') || '-8000-000000000000')::uuid, now(), 1::bigint,
       decode(repeat('00', 32), 'hex'), 'my account', convert_to(repeat('x', 46) || :'payload', 'UTF8')
FROM (SELECT n, :'at'::timestamptz + (abs(hashint8(n)::bigint) % 3600 + CASE WHEN n > :sealed THEN 36000 ELSE 0 END) * interval '1 second' AS expires_at
      FROM generate_series(1, :rows::bigint) AS n) AS r
) TO STDOUT (FORMAT binary)
