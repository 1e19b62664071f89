\set n random(1, :conns)
SELECT kit.stranger(:n);
