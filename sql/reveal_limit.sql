-- The brake on reveals: so many a minute for each role, whatever is rolled back.
\set SHOW_CONTEXT never
SELECT t.active(t.u('limit')) AS id, t.in_status(t.u('limit'), 'expired') AS expired \gset
CREATE ROLE regress_provconn_reader;
CREATE ROLE regress_provconn_other;
SELECT provconn_grant('regress_provconn_reader', 'secrets'), provconn_grant('regress_provconn_other', 'secrets');
SHOW provconn.reveal_limit;
SELECT count(ok) AS no_limit FROM generate_series(1, 20), LATERAL (SELECT ok FROM provconn_reveal(t.u('limit'), :'id') WHERE ok) AS r;

SET provconn.reveal_limit = 3;
SET ROLE regress_provconn_reader;
SELECT t.code('SET provconn.reveal_limit = 0') AS set_by_the_role;
-- refused ones use nothing up
SELECT error_code FROM provconn_reveal(t.u('limit'), :'expired') UNION ALL SELECT error_code FROM provconn_reveal(t.u('other'), :'id')
UNION ALL SELECT error_code FROM provconn_reveal(NULL, :'id') UNION ALL SELECT error_code FROM provconn_reveal(t.u('limit'), NULL);
SELECT ok FROM provconn_reveal(t.u('limit'), :'id');
-- what is rolled back counts
BEGIN;
SELECT ok FROM provconn_reveal(t.u('limit'), :'id');
SAVEPOINT s;
SELECT ok FROM provconn_reveal(t.u('limit'), :'id');
ROLLBACK TO s;
SELECT ok, version, secret, secret_text, credential_type, expires_at, error_code, message FROM provconn_reveal(t.u('limit'), :'id', 'too many');
ROLLBACK;
SELECT ok, error_code, secret FROM provconn_reveal(t.u('limit'), :'id', 'too many');
-- order: exists, owned, limit, state
SELECT error_code FROM provconn_reveal(t.u('limit'), t.u('nothing')) UNION ALL SELECT error_code FROM provconn_reveal(t.u('other'), :'id') UNION ALL SELECT error_code FROM provconn_reveal(t.u('limit'), :'expired');
RESET ROLE;
SELECT action, outcome, error_code, reason, caller_role, seq FROM provconn_audit_log WHERE connection_id = :'id' AND error_code = 'reveal_limited';
-- for each role
SET ROLE regress_provconn_other;
SELECT ok FROM provconn_reveal(t.u('limit'), :'id');
RESET ROLE;
-- in every session
\c -
SET provconn.reveal_limit = 3;
SET ROLE regress_provconn_reader;
SELECT ok, error_code FROM provconn_reveal(t.u('limit'), :'id');
RESET ROLE;
-- a higher limit, or none
SET provconn.reveal_limit = 4;
SET ROLE regress_provconn_reader;
SELECT ok FROM provconn_reveal(t.u('limit'), :'id');
SELECT ok FROM provconn_reveal(t.u('limit'), :'id');
RESET ROLE;
SET provconn.reveal_limit = 0;
SET ROLE regress_provconn_reader;
SELECT ok FROM provconn_reveal(t.u('limit'), :'id');
RESET ROLE;
RESET provconn.reveal_limit;
DROP OWNED BY regress_provconn_reader, regress_provconn_other;
DROP ROLE regress_provconn_reader, regress_provconn_other;
DELETE FROM provconn.role_grant AS g WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = g.role);
