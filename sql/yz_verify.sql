-- All that the tests before this one did to the audit verifies, by seals too.
SELECT max((d ->> 'rows')::integer) > 10000 AS many, max((d ->> 'heads')::integer) > 1000 AS heads FROM provconn_seal_audit() AS d;
SELECT * FROM provconn_verify_audit();
-- direct SQL, a role that was dropped, rows of every kind are among them
SELECT outcome, count(*) > 100 AS many FROM provconn.audit GROUP BY outcome ORDER BY outcome;
SELECT count(DISTINCT action) > 15 AS actions FROM provconn.audit;
