\set n random(1, :conns)
SELECT (provconn_reveal(kit.user(:n), kit.link(:n))).secret_text;
