\set n random(1, :conns)
SELECT :n::bigint;
