-- Erasing a user: connections end, names and notes go, commitments stay.
\set SHOW_CONTEXT never
SELECT t.active(t.u('erase other'), 'stays') AS other \gset
SET application_name = 'c4nary application';
SELECT t.active(t.u('erase'), 'c4nary alias') AS id, t.in_status(t.u('erase'), 'pending', 'c4nary pending') AS pending,
       t.in_status(t.u('erase'), 'disconnected', 'c4nary gone') AS gone \gset
SELECT ok FROM provconn_set_metadata(t.u('erase'), :'id', '{"c4nary": "metadata"}');
SELECT ok FROM provconn_reveal(t.u('erase'), :'id', 'c4nary purpose');
SELECT ok FROM provconn_connect(provconn_connect_command(t.u('erase'), t.p('schwab'), 'schwab', provconn_credentials('s', 'custom'), 'c4nary key'), t.u('key'));
SELECT error_code FROM provconn_connect(provconn_connect_command(t.u('erase'), t.p('schwab'), 'wrong', provconn_credentials('s', 'custom')));
-- the user at another's connection, and another at the user's
SELECT error_code FROM provconn_reveal(t.u('erase'), :'other', 'c4nary foreign') UNION ALL SELECT error_code FROM provconn_reveal(t.u('erase other'), :'id', 'c4nary stranger');
-- and at one that never was
SELECT error_code FROM provconn_reveal(t.u('erase'), 'f81d4fae-7dec-71d0-a765-00a0c91e6bf6', 'c4nary nothing');
RESET application_name;
SELECT ok FROM provconn_reveal(t.u('erase other'), :'other', 'kept');

CREATE TEMP VIEW named AS SELECT audit_id, action, outcome, error_code, connection_id FROM provconn.audit
WHERE user_id = t.u('erase') OR owner_id = t.u('erase') OR reason LIKE '%c4nary%' AND connection_id = :'id';
CREATE TEMP TABLE before AS SELECT a.* FROM provconn.audit AS a JOIN named USING (audit_id);
SELECT count(*) AS rows FROM before;
SELECT t.code('SELECT provconn_erase_user(NULL)') AS nobody;
SELECT provconn_erase_user(t.u('nobody')) AS unknown;
-- rolled back it has not happened
BEGIN;
SELECT provconn_erase_user(t.u('erase'));
ROLLBACK;
SELECT count(*) AS rows FROM named;
SELECT provconn_erase_user(t.u('erase'));

SELECT status, alias, metadata, connected_at IS NOT NULL AS connected_at FROM provconn_connections WHERE user_id = t.u('erase') ORDER BY created_at;
SELECT count(*) AS with_credential FROM provconn.connection WHERE user_id = t.u('erase') AND credential IS NOT NULL;
SELECT count(*) AS keys FROM provconn.idempotency WHERE user_id = t.u('erase');
-- the record of it, and nothing else, names the user
SELECT action, outcome, connection_id, reason FROM provconn_audit_log WHERE user_id = t.u('erase') ORDER BY occurred_at;
SELECT count(*) AS rows, count(b.user_id) + count(a.user_id) AS named, count(a.personal_salt) AS salts, bool_and(a.personal_hash = b.personal_hash) AS commitments,
       bool_and(to_jsonb(a) - ARRAY['user_id', 'owner_id', 'reason', 'application_name', 'client_address', 'personal_salt']
              = to_jsonb(b) - ARRAY['user_id', 'owner_id', 'reason', 'application_name', 'client_address', 'personal_salt']) AS rest_is_the_same
FROM before AS b JOIN provconn.audit AS a USING (audit_id) WHERE a.user_id IS NULL;
SELECT count(*) AS still_told FROM provconn.audit AS a WHERE a::text LIKE '%c4nary%';
SELECT count(*) AS still_told FROM provconn.connection AS c WHERE c::text LIKE '%c4nary%';
SELECT count(*) AS still_told FROM provconn.idempotency AS i WHERE i::text LIKE '%c4nary%';
-- the connections' changes are numbered as ever
SELECT action, old_status, new_status, seq FROM provconn_audit_log WHERE connection_id = :'id' AND seq IS NOT NULL ORDER BY seq;
-- others keep what is theirs
SELECT alias, status FROM provconn_connections WHERE user_id = t.u('erase other');
SELECT action, outcome, reason FROM provconn_audit_log WHERE user_id = t.u('erase other') ORDER BY occurred_at;
-- a second time the record of the first stays
SELECT provconn_erase_user(t.u('erase')) AS again;
SELECT reason FROM provconn_audit_log WHERE user_id = t.u('erase') ORDER BY occurred_at;
-- the same key may come again
SELECT ok FROM provconn_connect(provconn_connect_command(t.u('erase'), t.p('schwab'), 'schwab', provconn_credentials('s', 'custom')), t.u('key'));

-- No other way leads there.
SELECT t.code(format('UPDATE provconn.audit SET user_id = NULL, personal_salt = NULL WHERE connection_id = %L', :'other')) AS update,
       t.code(format('DELETE FROM provconn.audit WHERE connection_id = %L', :'other')) AS delete;
BEGIN;
CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.error_code := 'forged'; RETURN NEW; END $$;
CREATE TRIGGER a_meddle BEFORE UPDATE ON provconn.audit FOR EACH ROW EXECUTE FUNCTION public.meddle();
SELECT t.message(format('SELECT provconn_erase_user(%L)', t.u('erase other'))) AS meddled;
ROLLBACK;
BEGIN READ ONLY;
SELECT t.code(format('SELECT provconn_erase_user(%L)', t.u('erase other'))) AS read_only;
ROLLBACK;
CREATE ROLE regress_provconn_app;
SELECT provconn_grant('regress_provconn_app', 'application');
SET ROLE regress_provconn_app;
SELECT t.code(format('SELECT provconn_erase_user(%L)', t.u('erase other'))) AS application;
RESET ROLE;
SELECT provconn_revoke('regress_provconn_app', 'application');
DROP ROLE regress_provconn_app;
