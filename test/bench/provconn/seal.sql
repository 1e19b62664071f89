-- Refreshes the loaded rows :from to :to, which makes their credentials real.
-- A transaction takes each 8th row, so one of a page at most: the next finds
-- the space of what the one before has left, and no row moves to another page.
SELECT format($f$
SELECT count(*) FROM generate_series(%s::bigint, %s, 8) AS n,
  provconn_refresh(provconn_refresh_command(kit.link(n), provconn_credentials(%L, 'oauth2', now() + random() * interval '1 hour'))) AS r
WHERE NOT r.ok HAVING count(*) > 0;
$f$, :from + 40000 * chunk + pass, least(:from + 40000 * (chunk + 1) - 1, :to), :'payload')
FROM generate_series(0, (:to - :from) / 40000) AS chunk, generate_series(0, 7) AS pass
ORDER BY chunk, pass \gexec
