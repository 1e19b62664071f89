\set n random(1, :conns)
SELECT provconn_refresh(ROW(kit.link(:n), ROW(:p, 'oauth2', now() + interval '1 hour')::provconn_credentials)::provconn_refresh_command);
