-- The life of a data key: current, old, retired; sealing anew what it sealed.
-- Late, as the other files know of one data key.
\set SHOW_CONTEXT never

-- What the others left, damaged credentials among it, is out of the way.
DO $$ BEGIN
	PERFORM provconn_disconnect(provconn_disconnect_command(user_id, connection_id)) FROM provconn.connection WHERE credential IS NOT NULL;
END $$;

CREATE FUNCTION pg_temp.sealed_by(id uuid) RETURNS int LANGUAGE sql AS $$ SELECT get_byte(credential, 4) FROM provconn.connection WHERE connection_id = id $$;
SELECT key_id, state, retired_at, connections FROM provconn_keys ORDER BY key_id;
-- the view shows no bytes
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'provconn_keys'::regclass AND attnum > 0 ORDER BY attnum;

-- one in each state that keeps credentials, and two that have none
SELECT alias, t.in_status(t.u('rotation'), alias::provconn_status, alias) AS id INTO TEMP was
FROM unnest(ARRAY['active', 'expired', 'revoked', 'pending', 'failed', 'disconnected']) AS alias;
SELECT t.active(t.u('rotation large'), 'large', string_agg(md5(i::text), '')) AS large FROM generate_series(1, 1000) AS i \gset

SELECT provconn_rotate_key();
SELECT key_id, state FROM provconn_keys ORDER BY key_id;
-- old ones open, new ones are sealed with the new key; a refresh leaves the old one
SELECT ok, secret_text FROM was, provconn_reveal(t.u('rotation'), id) WHERE alias = 'active';
SELECT t.active(t.u('rotation new'), NULL, 'new') AS new, t.active(t.u('rotation new'), NULL, 'refreshed') AS refreshed \gset
SELECT pg_temp.sealed_by(:'new') AS new, pg_temp.sealed_by(id) AS active FROM was WHERE alias = 'active';
SELECT t.fault('SELECT provconn_retire_key(1)') AS in_use;
SELECT t.fault('SELECT provconn_retire_key(2)') AS current;
SELECT t.fault('SELECT provconn_retire_key(12345)') AS unknown;
SELECT t.code('SELECT provconn_retire_key(0)') AS zero, t.code('SELECT provconn_retire_key(NULL)') AS nothing;

-- Re-encryption changes the ciphertext alone, and is no change of the connection.
CREATE TEMP TABLE before AS SELECT w.alias, w.id, t.row_of(w.id) AS row FROM was AS w;
SELECT count(*) AS audit_rows FROM provconn.audit \gset
CALL provconn_reencrypt(0);
\echo :LAST_ERROR_SQLSTATE
CALL provconn_reencrypt(NULL);
\echo :LAST_ERROR_SQLSTATE
CALL provconn_reencrypt(3);
SELECT b.alias, t.changes(b.row, t.row_of(b.id)) AS changed, pg_temp.sealed_by(b.id) AS sealed_by FROM before AS b ORDER BY alias;
SELECT count(*) - :audit_rows AS audit_rows FROM provconn.audit;
SELECT action, outcome, event, connection_id, user_id, regexp_replace(reason, '[0-9]+ credentials', 'N credentials') AS reason
FROM provconn_audit_log WHERE action IN ('rotate_key', 'reencrypt') ORDER BY occurred_at;
SELECT key_id, state, connections FROM provconn_keys ORDER BY key_id;
SELECT task, key_id, done = total AS all_of_them, done, finished_at = updated_at AS finished, started_at < updated_at AS took_time FROM provconn_progress;
SELECT ok, secret_text FROM was, provconn_reveal(t.u('rotation'), id) WHERE alias = 'active';
SELECT secret_text = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) AS i) AS large FROM provconn_reveal(t.u('rotation large'), :'large');
SELECT ok, version FROM was, provconn_refresh(provconn_refresh_command(id, provconn_credentials('r', 'custom')), NULL, 1) WHERE alias = 'active';
SELECT (SELECT r.ok FROM provconn_reauthenticate(t.u('rotation'), id, provconn_credentials('again', 'custom')) AS r) AS reauthenticated FROM was WHERE alias IN ('expired', 'revoked');
-- once more: nothing to do
CALL provconn_reencrypt();
SELECT key_id, done, total FROM provconn_progress;

-- The old key retires, for good.
SELECT provconn_retire_key(1);
SELECT key_id, state, retired_at IS NOT NULL AS retired FROM provconn_keys ORDER BY key_id;
SELECT key_id, length(wrapped) AS wrapped, length(check_value) AS check_value FROM provconn.data_key ORDER BY key_id;
SELECT provconn_retire_key(1) AS again;
SELECT count(*) AS audited FROM provconn_audit_log WHERE action = 'retire_key';
SELECT t.code('UPDATE provconn.data_key SET retired_at = NULL') AS back, t.code('DELETE FROM provconn.data_key') AS away, t.code('TRUNCATE provconn.data_key') AS all_away;
SELECT ok FROM provconn_reveal(t.u('rotation new'), :'new');
SELECT provconn_rewrap_keys();

-- A credential that does not open is left, told of, and keeps its key.
SELECT t.active(t.u('rotation damaged'), 'damaged') AS damaged \gset
ALTER TABLE provconn.connection DISABLE TRIGGER USER;
UPDATE provconn.connection SET credential = set_byte(credential, 40, get_byte(credential, 40) # 1) WHERE connection_id = :'damaged';
ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER zz_provconn_guard, ENABLE ALWAYS TRIGGER provconn_no_truncate, ENABLE ALWAYS TRIGGER provconn_audit, ENABLE ALWAYS TRIGGER provconn_import;
SELECT provconn_rotate_key();
SET client_min_messages = error;
CALL provconn_reencrypt();
RESET client_min_messages;
SELECT key_id, state, connections FROM provconn_keys ORDER BY key_id;
SELECT finished_at IS NOT NULL AS finished FROM provconn_progress;
SELECT t.message('SELECT provconn_retire_key(2)') AS in_use;
SELECT ok FROM provconn_disconnect(provconn_disconnect_command(t.u('rotation damaged'), :'damaged'));
SELECT provconn_retire_key(2);

-- A trigger of the DBA's that changes more makes it a change of the connection.
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.touch();
SELECT provconn_rotate_key();
CALL provconn_reencrypt();
DROP FUNCTION public.touch() CASCADE;
SELECT count(*) AS left_over FROM provconn_keys WHERE state = 'old' AND connections > 0;
SELECT DISTINCT action, outcome, seq IS NOT NULL AS numbered FROM provconn_audit_log WHERE action = 'reencrypt' ORDER BY numbered;
SELECT ok FROM provconn_reveal(t.u('rotation new'), :'new');

-- It commits as it goes, so it is no part of a transaction.
BEGIN;
CALL provconn_reencrypt();
ROLLBACK;
SELECT t.fault('CALL provconn_reencrypt()');
SELECT provconn_reencrypt();
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT t.code('SELECT provconn_rotate_key()') AS rotate, t.code('SELECT provconn_rewrap_keys()') AS rewrap, t.code('SELECT provconn_retire_key(1)') AS retire;
ROLLBACK;
-- from a procedure of somebody's, too
CREATE PROCEDURE public.nightly() LANGUAGE plpgsql AS $$ BEGIN PERFORM provconn_rotate_key(); COMMIT; CALL provconn_reencrypt(100); END $$;
CALL public.nightly();
DROP PROCEDURE public.nightly();
SELECT count(*) AS left_over FROM provconn_keys WHERE state = 'old' AND connections > 0;

-- An operator may, others may not.
CREATE ROLE regress_provconn_operator;
CREATE ROLE regress_provconn_app;
SELECT provconn_grant('regress_provconn_operator', 'operator'), provconn_grant('regress_provconn_app', 'application'), provconn_grant('regress_provconn_app', 'secrets');
SET ROLE regress_provconn_operator;
SELECT provconn_rotate_key() IS NOT NULL AS rotated;
CALL provconn_reencrypt();
SELECT provconn_rewrap_keys();
SELECT count(*) > 1 AS keys FROM provconn_keys;
SELECT count(*) AS progress FROM provconn_progress;
SELECT t.code('SELECT * FROM provconn.data_key') AS the_table;
SET ROLE regress_provconn_app;
SELECT t.code('SELECT provconn_rotate_key()') AS rotate, t.code('CALL provconn_reencrypt()') AS reencrypt, t.code('SELECT provconn_retire_key(1)') AS retire,
       t.code('SELECT provconn_rewrap_keys()') AS rewrap, t.code('SELECT * FROM provconn_keys') AS keys, t.code('SELECT * FROM provconn_progress') AS progress;
RESET ROLE;
DROP OWNED BY regress_provconn_operator, regress_provconn_app;
DROP ROLE regress_provconn_operator, regress_provconn_app;
DELETE FROM provconn.role_grant AS g WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = g.role);
