\set n random(1, :conns)
SELECT kit.cid(:n), kit.oid(:n);
