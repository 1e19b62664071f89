-- Refreshes the loaded rows up to :sealed, which makes their credentials real, and
-- leaves when they expire.  A transaction takes each 8th row, so one of a page at
-- most: the next finds the space of what the one before has left, and no row moves
-- to another page.
SELECT format($f$
SELECT count(*) FROM generate_series(%s::bigint, %s, 8) AS n,
  provconn_refresh(provconn_refresh_command(kit.link(n),
    provconn_credentials(%L, 'oauth2', %L::timestamptz + abs(hashint8(n)::bigint) %% 3600 * interval '1 second'))) AS r
WHERE NOT r.ok HAVING count(*) > 0;
$f$, 1 + 40000 * chunk + pass, least(40000 * (chunk + 1), :sealed), :'payload', :'at')
FROM generate_series(0, (:sealed - 1) / 40000) AS chunk, generate_series(0, 7) AS pass
ORDER BY chunk, pass \gexec
