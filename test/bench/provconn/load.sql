-- The rows as a dump would have them, :from to :to; psql variables: payload.
-- They are no connection's history: the credential is none yet, see seal.sql.
COPY (
SELECT (n & 4095)::int, kit.link(n), kit.user(n), ('01900000-0000-7000-8000-00000000000' || n % 7)::uuid,
       'active'::provconn_status, 1, 'oauth2'::provconn_credential_type, 0,
       now() + (1 + d) * interval '1 hour', now(), now(), now(), '-infinity'::timestamptz, now() + (1 + d) * interval '1 hour',
       ('00000000-0000-7' || lpad(to_hex(n & 4095), 3, '0') || '-8000-000000000000')::uuid, now(), 1::bigint,
       decode(repeat('00', 32), 'hex'), 'my account', convert_to(repeat('x', 46) || :'payload', 'UTF8')
FROM (SELECT n, random() AS d FROM generate_series(:from::bigint, :to::bigint) AS n) AS r
) TO STDOUT (FORMAT binary)
