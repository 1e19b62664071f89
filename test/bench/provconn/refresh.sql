\set n random(1, :conns)
SELECT (provconn_refresh(provconn_refresh_command(kit.link(:n), provconn_credentials(:p, 'oauth2', now() + interval '1 hour')))).ok;
