\set n random(1, :conns)
SELECT * FROM provconn_refresh_batch((SELECT array_agg(provconn_refresh_command(kit.link(1 + (:n + k * 7919) % :conns), provconn_credentials(:p, 'oauth2', now() + interval '1 hour'))) FROM generate_series(1, 100) AS k));
