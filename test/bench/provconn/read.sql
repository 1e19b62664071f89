\set n random(1, :conns)
SELECT ok, secret_text, error_code FROM provconn_reveal(kit.user(:n), kit.link(:n));
