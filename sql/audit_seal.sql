-- The audit's chain, seals and proofs, and what verification finds; in a database
-- of its own, so that what is in it is known.
\set SHOW_CONTEXT never
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regression_provconn_seal;
CREATE DATABASE regression_provconn_seal TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
\c regression_provconn_seal
SET client_min_messages = warning;
CREATE EXTENSION provconn CASCADE;
RESET client_min_messages;

-- The tree: inputs and roots of the tests of certificate-transparency-go.
CREATE TEMP TABLE input AS SELECT n, decode(data, 'hex') AS data FROM unnest(ARRAY['', '00', '10', '2021', '3031', '40414243', '5051525354555657',
	'606162636465666768696a6b6c6d6e6f']) WITH ORDINALITY AS i (data, n);
SELECT n, provconn.seal_root(coalesce((SELECT string_agg('\x00000000000000000000000000000000'::bytea || sha256('\x00'::bytea || data), '' ORDER BY i.n) FROM input AS i WHERE i.n <= r.n), ''), '')
     = decode(root, 'hex') AS same
FROM (VALUES (0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'), (1, '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'),
             (2, 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'), (3, 'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77'),
             (4, 'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7'), (5, '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4'),
             (6, '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef'), (7, 'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c'),
             (8, '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328')) AS r (n, root) ORDER BY n;

-- The bytes that are hashed, put together from doc/audit.md alone.
CREATE FUNCTION pg_temp.f(value bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT coalesce('\x01'::bytea || int4send(length(value)) || value, '\x00') $$;
CREATE FUNCTION pg_temp.f(value text) RETURNS bytea LANGUAGE sql AS $$ SELECT pg_temp.f(convert_to(value, 'UTF8')) $$;
CREATE FUNCTION pg_temp.f(value uuid) RETURNS bytea LANGUAGE sql AS $$ SELECT pg_temp.f(uuid_send(value)) $$;
CREATE FUNCTION pg_temp.f(value integer) RETURNS bytea LANGUAGE sql AS $$ SELECT pg_temp.f(int4send(value)) $$;
CREATE FUNCTION pg_temp.f(value bigint) RETURNS bytea LANGUAGE sql AS $$ SELECT pg_temp.f(int8send(value)) $$;
CREATE FUNCTION pg_temp.f(value timestamptz) RETURNS bytea LANGUAGE sql AS $$ SELECT pg_temp.f((extract(epoch FROM value) * 1000000)::bigint) $$;
CREATE FUNCTION pg_temp.zeros() RETURNS bytea LANGUAGE sql AS $$ SELECT decode(repeat('00', 32), 'hex') $$;
CREATE FUNCTION pg_temp.entry_bytes(e jsonb) RETURNS bytea LANGUAGE sql AS $$
	SELECT '\x0001'::bytea || coalesce(decode(e ->> 'previous_hash', 'hex'), pg_temp.zeros()) || pg_temp.f((e ->> 'audit_id')::uuid) || pg_temp.f((e ->> 'occurred_at')::timestamptz)
		|| pg_temp.f((e ->> 'connection_id')::uuid) || pg_temp.f((e ->> 'seq')::bigint) || pg_temp.f((e ->> 'provider_id')::uuid) || pg_temp.f(e ->> 'provider_slug')
		|| pg_temp.f(e ->> 'action') || pg_temp.f(e ->> 'outcome') || pg_temp.f(e ->> 'old_status') || pg_temp.f(e ->> 'new_status') || pg_temp.f(e ->> 'error_code')
		|| pg_temp.f((e ->> 'version')::integer) || pg_temp.f(e ->> 'session_role') || pg_temp.f(e ->> 'caller_role') || pg_temp.f((e ->> 'origin')::integer)
		|| pg_temp.f((e ->> 'transaction_id')::bigint) || pg_temp.f((e ->> 'attempt_id')::bigint) || pg_temp.f(decode(e ->> 'personal_hash', 'hex'))
$$;
CREATE FUNCTION pg_temp.personal_bytes(p jsonb) RETURNS bytea LANGUAGE sql AS $$
	SELECT decode(p ->> 'salt', 'hex') || pg_temp.f((p ->> 'user_id')::uuid) || pg_temp.f((p ->> 'owner_id')::uuid) || pg_temp.f(p ->> 'reason')
		|| pg_temp.f(p ->> 'application_name') || pg_temp.f(p ->> 'client_address')
$$;
CREATE FUNCTION pg_temp.seal_bytes(s jsonb) RETURNS bytea LANGUAGE sql AS $$
	SELECT '\x0201'::bytea || pg_temp.f(coalesce(decode(s ->> 'previous_hash', 'hex'), pg_temp.zeros())) || pg_temp.f((s ->> 'seal_id')::bigint) || pg_temp.f((s ->> 'sealed_at')::timestamptz)
		|| pg_temp.f((s ->> 'origin')::integer) || pg_temp.f((s ->> 'row_count')::integer) || pg_temp.f((s ->> 'head_count')::integer)
		|| pg_temp.f((s ->> 'first_id')::uuid) || pg_temp.f((s ->> 'last_id')::uuid) || pg_temp.f(s ->> 'settled') || pg_temp.f(decode(s ->> 'root', 'hex'))
$$;
-- What is wrong with a proof, or "proven".
CREATE FUNCTION pg_temp.check_proof(proof jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	e jsonb := proof -> 'entry';
	hash bytea := sha256(pg_temp.entry_bytes(e));
	path text[] := ARRAY(SELECT jsonb_array_elements_text(proof -> 'audit_path'));
	i bigint := proof ->> 'leaf_index';
	n bigint := proof ->> 'tree_size';
	used integer := 0;
BEGIN
	IF hash <> decode(e ->> 'entry_hash', 'hex') THEN RETURN 'entry'; END IF;
	IF e -> 'personal' <> 'null' AND sha256(pg_temp.personal_bytes(e -> 'personal')) <> decode(e ->> 'personal_hash', 'hex') THEN RETURN 'personal values'; END IF;
	WHILE n > 1 LOOP
		IF i % 2 = 1 THEN
			used := used + 1;
			hash := sha256('\x01'::bytea || decode(path[used], 'hex') || hash);
		ELSIF i + 1 < n THEN
			used := used + 1;
			hash := sha256('\x01'::bytea || hash || decode(path[used], 'hex'));
		END IF;
		i := i / 2;
		n := (n + 1) / 2;
	END LOOP;
	IF used <> cardinality(path) OR hash <> decode(proof #>> '{seal,root}', 'hex') THEN RETURN 'path'; END IF;
	IF sha256(pg_temp.seal_bytes(proof -> 'seal')) <> decode(proof #>> '{seal,seal_hash}', 'hex') THEN RETURN 'seal'; END IF;
	IF (proof ->> 'tree_size')::integer <> (proof #>> '{seal,row_count}')::integer + (proof #>> '{seal,head_count}')::integer THEN RETURN 'tree size'; END IF;
	RETURN 'proven';
END $$;

-- Test vectors: those of doc/audit.md.
CREATE TEMP TABLE vector AS SELECT
	'{"salt": "000102030405060708090a0b0c0d0e0f", "user_id": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "owner_id": null, "reason": "Kündigung", "application_name": "psql", "client_address": "192.0.2.7"}'::jsonb AS p,
	'{"previous_hash": "6da0633528deaa0144e7b058315f0b753ec0b945163a72bf96a0d18180f9de0d", "audit_id": "019abcde-f012-74ce-8123-456789abcdef", "occurred_at": "2026-11-25T15:04:05.123456Z",
	  "connection_id": "019abcde-f000-74ce-8000-000000000001", "seq": 2, "provider_id": "00000000-0000-4000-8000-0000000000aa", "provider_slug": "schwab", "action": "refresh", "outcome": "succeeded",
	  "old_status": "active", "new_status": "active", "error_code": null, "version": 2, "session_role": "app_login", "caller_role": "app", "origin": 305419897, "transaction_id": "4294968051", "attempt_id": null}'::jsonb AS e,
	'{"previous_hash": null, "seal_id": 1, "sealed_at": "2026-11-25T15:05:00.000000Z", "origin": 305419897, "row_count": 1, "head_count": 1, "first_id": "019abcde-f012-74ce-8123-456789abcdef",
	  "last_id": "019abcde-f012-74ce-8123-456789abcdef", "settled": "4294968052:4294968055:4294968053"}'::jsonb AS s;
SELECT encode(pg_temp.personal_bytes(p), 'hex') AS bytes,
       provconn.personal_hash(decode(p ->> 'salt', 'hex'), (p ->> 'user_id')::uuid, (p ->> 'owner_id')::uuid, p ->> 'reason', p ->> 'application_name', (p ->> 'client_address')::inet) AS personal_hash,
       encode(sha256(pg_temp.personal_bytes(p)), 'hex') AS again FROM vector \gx
UPDATE vector SET e = e || jsonb_build_object('personal_hash', encode(sha256(pg_temp.personal_bytes(p)), 'hex'));
SELECT encode(pg_temp.entry_bytes(e), 'hex') AS bytes,
       provconn.entry_hash(decode(e ->> 'previous_hash', 'hex'), (e ->> 'audit_id')::uuid, (e ->> 'occurred_at')::timestamptz, (e ->> 'connection_id')::uuid, (e ->> 'seq')::bigint, (e ->> 'provider_id')::uuid,
           e ->> 'provider_slug', e ->> 'action', e ->> 'outcome', (e ->> 'old_status')::provconn_status, (e ->> 'new_status')::provconn_status, e ->> 'error_code', (e ->> 'version')::integer,
           e ->> 'session_role', e ->> 'caller_role', (e ->> 'origin')::integer, (e ->> 'transaction_id')::xid8, (e ->> 'attempt_id')::xid8, decode(e ->> 'personal_hash', 'hex')) AS entry_hash,
       encode(sha256(pg_temp.entry_bytes(e)), 'hex') AS again FROM vector \gx
UPDATE vector SET e = e || jsonb_build_object('entry_hash', encode(sha256(pg_temp.entry_bytes(e)), 'hex'));
SELECT encode(h.bytes, 'hex') AS bytes, encode(sha256(h.bytes), 'hex') AS head_hash, encode(sha256('\x01'::bytea || decode(e ->> 'entry_hash', 'hex') || sha256(h.bytes)), 'hex') AS root,
       encode(provconn.seal_root(uuid_send((e ->> 'audit_id')::uuid) || decode(e ->> 'entry_hash', 'hex'), uuid_send((e ->> 'connection_id')::uuid) || int8send((e ->> 'seq')::bigint) || int4send(0)), 'hex') AS again
FROM vector, LATERAL (SELECT '\x0002'::bytea || pg_temp.f((e ->> 'connection_id')::uuid) || pg_temp.f((e ->> 'seq')::bigint) || pg_temp.f(decode(e ->> 'entry_hash', 'hex')) AS bytes) AS h \gx
UPDATE vector SET s = s || jsonb_build_object('root', encode(provconn.seal_root(uuid_send((e ->> 'audit_id')::uuid) || decode(e ->> 'entry_hash', 'hex'),
	uuid_send((e ->> 'connection_id')::uuid) || int8send((e ->> 'seq')::bigint) || int4send(0)), 'hex'));
SELECT encode(pg_temp.seal_bytes(s), 'hex') AS bytes,
       provconn.seal_hash(NULL, (s ->> 'seal_id')::bigint, (s ->> 'sealed_at')::timestamptz, (s ->> 'origin')::integer, (s ->> 'row_count')::integer, (s ->> 'head_count')::integer,
           (s ->> 'first_id')::uuid, (s ->> 'last_id')::uuid, (s ->> 'settled')::pg_snapshot, decode(s ->> 'root', 'hex')) AS seal_hash,
       encode(sha256(pg_temp.seal_bytes(s)), 'hex') AS again FROM vector \gx

-- An audit of two connections, with refusals and a reveal, under three seals; the last row is not sealed yet.
CREATE FUNCTION pg_temp.said(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
\set acme '''00000000-0000-4000-8000-0000000000aa'''
\set alice '''00000000-0000-4000-8000-000000000001'''
\set bob '''00000000-0000-4000-8000-000000000002'''
SELECT provconn_seal_audit() AS nothing_to_seal;
SELECT * FROM provconn_verify_audit();
SELECT FROM provconn_register_provider('acme', 'Acme', 'custom', NULL, :acme);
SELECT connection_id AS a FROM provconn_connect(provconn_connect_command(:alice, :acme, 'acme', provconn_credentials('s', 'custom'), 'alice')) \gset
SELECT ok FROM provconn_refresh(provconn_refresh_command(:'a', provconn_credentials('s2', 'custom')));
SELECT connection_id AS b FROM provconn_initiate(:bob, :acme, 'acme', 'bob') \gset
SELECT error_code FROM provconn_refresh(provconn_refresh_command(:'b', provconn_credentials('s', 'custom')));
SELECT d - ARRAY['mac', 'root', 'seal_hash', 'sealed_at'] AS digest, octet_length(d::text) < 400 AS short FROM provconn_seal_audit() AS d;
SELECT ok FROM provconn_mark_failed(:'b', 'bank says no');
SELECT error_code FROM provconn_rename(:bob, :'a', 'mine');
SELECT ok FROM provconn_rename(:alice, :'a', 'Alice');
SELECT provconn_seal_audit() AS middle \gset
SELECT ok FROM provconn_reveal(:alice, :'a', 'support');
SELECT ok FROM provconn_mark_expired(:'a');
SELECT provconn_seal_audit() AS digest \gset
SELECT provconn_seal_audit() = :'digest' AS nothing_new, :'digest'::jsonb ->> 'seal_id' AS seal_id;
SELECT ok FROM provconn_reauthenticate(:alice, :'a', provconn_credentials('s3', 'custom'));
CREATE TABLE named AS SELECT audit_id, connection_id, CASE connection_id WHEN :'a' THEN 'alice' WHEN :'b' THEN 'bob' END AS connection, concat_ws(' ', CASE connection_id WHEN :'a' THEN 'alice' WHEN :'b' THEN 'bob' END, seq, CASE WHEN seq IS NULL THEN concat_ws(' ', action, error_code) END) AS name FROM provconn.audit;
SELECT n.name, a.outcome, l.seal_id, a.previous_hash = b.entry_hash AS follows, c.audit_hash = a.entry_hash AS is_head FROM named AS n JOIN provconn.audit AS a USING (audit_id)
LEFT JOIN provconn.audit AS b ON b.connection_id = a.connection_id AND b.seq = a.seq - 1 LEFT JOIN provconn.connection AS c ON c.audit_id = a.audit_id
LEFT JOIN (SELECT s.seal_id, l.* FROM provconn.seal AS s, provconn.seal_leaves(s.leaves) AS l) AS l ON l.audit_id = a.audit_id ORDER BY a.occurred_at;
SELECT seal_id, row_count, head_count, previous_hash = lag(seal_hash) OVER (ORDER BY seal_id) AS follows,
       (SELECT array_agg(audit_id ORDER BY leaf_index) = array_agg(audit_id ORDER BY audit_id) FROM provconn.seal_leaves(leaves)) AS in_order FROM provconn.seal ORDER BY seal_id;
-- untouched
SELECT * FROM provconn_verify_audit();
SELECT * FROM provconn_verify_audit(:'digest');
SELECT * FROM provconn_verify_audit(:'middle', now() - interval '1 day', now() + interval '1 day');

-- Proofs, checked by the rules of doc/audit.md alone.
SELECT n.name, pg_temp.check_proof(p.proof) AS proof, p.proof #>> '{seal,seal_id}' AS seal_id, p.proof #> '{entry,personal}' <> 'null' AS personal,
       (SELECT count(*) FROM jsonb_object_keys(p.proof) AS k) AS members
FROM named AS n, LATERAL (SELECT provconn_audit_proof(n.audit_id) AS proof) AS p WHERE n.name <> 'alice 5' ORDER BY 1;
SELECT provconn_audit_proof(audit_id) #>> '{seal,seal_hash}' = :'digest'::jsonb ->> 'seal_hash' AS of_the_digest FROM named WHERE name = 'alice 4';
SELECT provconn_audit_proof(audit_id) AS proof FROM named WHERE name = 'bob 1' \gset
SELECT what, pg_temp.check_proof(jsonb_set(:'proof', path::text[], value)) FROM (VALUES
	(1, 'the row', '{entry,action}', '"connect"'::jsonb), (2, 'a person', '{entry,personal,user_id}', '"00000000-0000-4000-8000-000000000001"'), (3, 'the path', '{audit_path,0}', to_jsonb(repeat('0', 64))),
	(4, 'a longer path', '{audit_path,9}', to_jsonb(repeat('0', 64))), (5, 'the place', '{leaf_index}', to_jsonb((:'proof'::jsonb ->> 'leaf_index')::integer # 1)), (6, 'the seal', '{seal,settled}', '"1:1:"')) AS v (n, what, path, value) ORDER BY n;
SELECT pg_temp.said(format('SELECT provconn_audit_proof(%L)', audit_id)) AS not_sealed FROM named WHERE name = 'alice 5';
SELECT pg_temp.said('SELECT provconn_audit_proof(''00000000-0000-4000-8000-000000000000'')') AS unknown, pg_temp.said('SELECT provconn_audit_proof(NULL)') AS nothing;

-- Tampering by a superuser, past the triggers, and undone again: problem, and the row that it names.
CREATE FUNCTION pg_temp.tables() RETURNS SETOF regclass LANGUAGE sql AS $$
	SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'provconn.audit'::regclass
	UNION ALL SELECT unnest('{provconn.audit,provconn.connection,provconn.seal,provconn.seal_key,provconn.import,provconn.archive}'::regclass[])
$$;
CREATE FUNCTION pg_temp.tamper(statement text, digest jsonb DEFAULT NULL, from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL,
	OUT problem text, OUT row_of text, OUT connection text, OUT seq bigint, OUT seal bigint, OUT detail text) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
BEGIN
	FOR t IN SELECT pg_temp.tables() LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', t); END LOOP;
	EXECUTE statement;
	FOR problem, row_of, connection, seq, seal, detail IN
		SELECT v.problem, coalesce(n.name, CASE WHEN v.audit_id IS NOT NULL THEN 'another' END), (SELECT c.connection FROM named AS c WHERE c.connection_id = v.connection_id LIMIT 1), v.seq, v.seal_id, v.detail
		FROM provconn_verify_audit(digest, from_time, to_time) AS v LEFT JOIN named AS n ON n.audit_id = v.audit_id
		WHERE v.problem <> 'trigger' AND v.severity = 'problem' ORDER BY v.problem COLLATE "C", n.name COLLATE "C", v.seal_id, v.detail COLLATE "C"
	LOOP RETURN NEXT; END LOOP;
	RAISE EXCEPTION 'undone' USING ERRCODE = 'ZZ001';
EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
	RETURN;
END $$;
-- The hash that a row should have, for those who know how.
CREATE FUNCTION rehashed(a provconn.audit) RETURNS bytea LANGUAGE sql AS $$
	SELECT provconn.entry_hash(a.previous_hash, a.audit_id, a.occurred_at, a.connection_id, a.seq, a.provider_id, a.provider_slug, a.action, a.outcome, a.old_status, a.new_status, a.error_code, a.version,
		a.session_role, a.caller_role, a.origin, a.transaction_id, a.attempt_id, a.personal_hash)
$$;
CREATE FUNCTION row_named(text) RETURNS uuid STABLE LANGUAGE sql AS $$ SELECT audit_id FROM named WHERE name = $1 $$;
SELECT * FROM pg_temp.tamper('SELECT');
-- rows are altered
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET action = 'connect' WHERE audit_id = row_named('alice 2')$$);
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET outcome = 'succeeded' WHERE audit_id = row_named('bob refresh not_active')$$);
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET version = 7 WHERE audit_id = row_named('alice 5')$$);
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET occurred_at = occurred_at + interval '1 microsecond' WHERE audit_id = row_named('alice 3')$$);
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET previous_hash = NULL WHERE audit_id = row_named('alice 2')$$);
SELECT column_name, problem, row_of, detail FROM unnest('{user_id,owner_id,reason,application_name,client_address,personal_salt}'::text[]) WITH ORDINALITY AS c (column_name, n),
	pg_temp.tamper(format('UPDATE provconn.audit SET %1$I = %2$s WHERE audit_id = row_named(''alice reveal'')', column_name,
		CASE column_name WHEN 'user_id' THEN 'gen_random_uuid()' WHEN 'owner_id' THEN 'gen_random_uuid()' WHEN 'reason' THEN '''fun''' WHEN 'application_name' THEN 'NULL' WHEN 'client_address' THEN '''192.0.2.7''' ELSE '''\x00''' END)) ORDER BY n;
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET personal_salt = NULL WHERE audit_id = row_named('alice 2')$$);
-- as if the user had been erased
\set erase 'SET user_id = NULL, owner_id = NULL, reason = NULL, application_name = NULL, client_address = NULL, personal_salt = NULL'
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit $$ || :'erase' || $$ WHERE audit_id = row_named('alice 2')$$);
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit $$ || :'erase' || $$ WHERE audit_id = row_named('alice reveal')$$);
-- and given the hash that they should have
\set rehash '; UPDATE provconn.audit AS a SET entry_hash = rehashed(a) WHERE entry_hash <> rehashed(a)'
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET action = 'connect' WHERE audit_id = row_named('alice 2')$$ || :'rehash');
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET reason = 'fun' WHERE audit_id = row_named('bob 2');
	UPDATE provconn.audit SET personal_hash = provconn.personal_hash(personal_salt, user_id, owner_id, reason, application_name, client_address) WHERE audit_id = row_named('bob 2')$$ || :'rehash');
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET action = 'connect' WHERE audit_id = row_named('alice 5')$$ || :'rehash');
-- with the head of the chain, too: what was sealed is known, what was not is lost
\set head '; UPDATE provconn.connection AS c SET audit_hash = a.entry_hash FROM provconn.audit AS a WHERE a.audit_id = c.audit_id'
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET action = 'connect' WHERE audit_id = row_named('bob 2')$$ || :'rehash' || :'head');
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET action = 'connect' WHERE audit_id = row_named('alice 5')$$ || :'rehash' || :'head');
-- rows are taken away
SELECT * FROM pg_temp.tamper($$DELETE FROM provconn.audit WHERE audit_id = row_named('alice 2')$$);
SELECT * FROM pg_temp.tamper($$DELETE FROM provconn.audit WHERE audit_id IN (row_named('alice 2'), row_named('alice 3'))$$);
SELECT * FROM pg_temp.tamper($$DELETE FROM provconn.audit WHERE audit_id = row_named('alice 1')$$);
SELECT * FROM pg_temp.tamper($$DELETE FROM provconn.audit WHERE audit_id = row_named('bob 2')$$);
SELECT * FROM pg_temp.tamper($$DELETE FROM provconn.audit WHERE audit_id = row_named('alice 5')$$);
SELECT * FROM pg_temp.tamper($$DELETE FROM provconn.audit WHERE connection_id = (SELECT connection_id FROM provconn.connection WHERE alias = 'bob') AND seq IS NOT NULL$$);
SELECT * FROM pg_temp.tamper($$DELETE FROM provconn.audit WHERE audit_id = row_named('bob refresh not_active')$$);
SELECT * FROM pg_temp.tamper($$DELETE FROM provconn.audit WHERE audit_id = row_named('alice reveal')$$);
SELECT problem, count(*) FROM pg_temp.tamper('DELETE FROM provconn.audit') GROUP BY problem ORDER BY problem;
SELECT * FROM pg_temp.tamper($$DELETE FROM provconn.connection WHERE alias = 'bob'$$);
-- or moved, or put in between
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET seq = 5 - seq WHERE audit_id IN (row_named('alice 2'), row_named('alice 3'))$$);
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET seq = 5 - seq WHERE audit_id IN (row_named('alice 2'), row_named('alice 3'))$$ || :'rehash');
SELECT * FROM pg_temp.tamper($$UPDATE provconn.audit SET seq = 2 WHERE audit_id = row_named('alice 3')$$);
\set forge 'INSERT INTO provconn.audit SELECT (jsonb_populate_record(a, jsonb_build_object(''audit_id'', overlay(a.audit_id::text PLACING ''000000000000'' FROM 25), ''seq'', a.seq + 1, ''previous_hash'', CASE WHEN a.seq IS NOT NULL THEN a.entry_hash END))).* FROM provconn.audit AS a WHERE audit_id = row_named('
SELECT * FROM pg_temp.tamper(:'forge' || $$'bob refresh not_active')$$ || :'rehash');
SELECT * FROM pg_temp.tamper(:'forge' || $$'bob 2')$$ || :'rehash');
SELECT * FROM pg_temp.tamper(:'forge' || $$'bob 1')$$ || :'rehash');
SELECT * FROM pg_temp.tamper(:'forge' || $$'alice 5')$$ || :'rehash');
-- a connection's head is put back, or another's
SELECT * FROM pg_temp.tamper($$UPDATE provconn.connection AS c SET audit_seq = a.seq, audit_id = a.audit_id, audit_hash = a.entry_hash FROM provconn.audit AS a WHERE a.audit_id = row_named('alice 4') AND c.connection_id = a.connection_id$$);
SELECT * FROM pg_temp.tamper($$UPDATE provconn.connection SET audit_seq = audit_seq + 3 WHERE alias = 'bob'$$);
SELECT * FROM pg_temp.tamper($$UPDATE provconn.connection SET audit_hash = sha256(audit_hash) WHERE alias = 'bob'$$);
SELECT * FROM pg_temp.tamper($$UPDATE provconn.connection SET audit_id = row_named('bob 1') WHERE alias = 'bob'$$);
-- both with the chain: its last row, and the head that would tell
SELECT * FROM pg_temp.tamper($$DELETE FROM provconn.audit WHERE audit_id = row_named('bob 2'); UPDATE provconn.connection AS c SET audit_seq = a.seq, audit_id = a.audit_id, audit_hash = a.entry_hash FROM provconn.audit AS a WHERE a.audit_id = row_named('bob 1') AND c.connection_id = a.connection_id$$);

-- Seals are tampered with.
SELECT c.what, f.problem, f.seal, f.detail FROM (VALUES
	(1, 'root', 'root = sha256(root)'), (2, 'leaves', 'leaves = set_byte(leaves, 29, get_byte(leaves, 29) # 255)'), (3, 'a leaf less', 'leaves = substr(leaves, 49)'), (4, 'heads', 'heads = overlay(heads PLACING ''\xff'' FROM 20)'),
	(5, 'no leaves', 'leaves = '''', heads = '''''), (6, 'previous_hash', 'previous_hash = sha256(''x'')'), (7, 'seal_hash', 'seal_hash = sha256(seal_hash)'), (8, 'mac', 'mac = sha256(mac)'), (9, 'an empty mac', 'mac = '''''),
	(10, 'sealed_at', 'sealed_at = sealed_at + interval ''1 microsecond'''), (11, 'row_count', 'row_count = row_count + 1'), (12, 'settled', 'settled = ''3:3:'''), (13, 'origin', 'origin = 3'), (14, 'key_id', 'key_id = 7'),
	(15, 'rehashed', 'sealed_at = sealed_at - interval ''1 year'', seal_hash = provconn.seal_hash(previous_hash, seal_id, sealed_at - interval ''1 year'', origin, row_count, head_count, first_id, last_id, settled, root)')) AS c (n, what, change),
	pg_temp.tamper('UPDATE provconn.seal SET ' || c.change || ' WHERE seal_id = 2') AS f ORDER BY c.n, f.problem, f.seal, f.detail COLLATE "C";
SELECT problem, row_of, seal, detail FROM pg_temp.tamper('DELETE FROM provconn.seal WHERE seal_id = 1');
SELECT problem, row_of, seal, detail FROM pg_temp.tamper('DELETE FROM provconn.seal WHERE seal_id = 2');
-- who takes the last one, or all, is found by the digest that was kept
SELECT problem, row_of, seal, detail FROM pg_temp.tamper('DELETE FROM provconn.seal WHERE seal_id = 3');
SELECT problem, row_of, seal, detail FROM pg_temp.tamper('DELETE FROM provconn.seal WHERE seal_id = 3', :'digest');
SELECT problem, row_of, seal, detail FROM pg_temp.tamper('DELETE FROM provconn.seal');
SELECT problem, row_of, seal, detail FROM pg_temp.tamper('DELETE FROM provconn.seal', :'digest');
SELECT * FROM pg_temp.tamper('SELECT', :'digest');
SELECT member, f.problem, f.seal, f.detail FROM unnest('{seal_id,root,seal_hash,mac}'::text[]) WITH ORDINALITY AS m (member, n), pg_temp.tamper('SELECT', :'digest'::jsonb || jsonb_build_object(member, '2')) AS f ORDER BY n;
SELECT member, f.problem, f.seal, f.detail FROM unnest('{seal_id,root,seal_hash,mac}'::text[]) WITH ORDINALITY AS m (member, n), pg_temp.tamper('SELECT', :'digest'::jsonb - member) AS f ORDER BY n;
SELECT problem, seal_id, detail FROM provconn_verify_audit('{"seal_id": "many"}');
SELECT problem, seal_id, detail FROM provconn_verify_audit('[]');
-- a row that no shard's index leads to, one of a transaction that was never begun
SELECT problem, row_of, seq, seal, detail FROM pg_temp.tamper($$
	DO 'BEGIN ALTER TABLE provconn.audit DROP CONSTRAINT audit_shard_check;
		UPDATE provconn.audit SET shard_key = (shard_key + 1) % 4096 WHERE audit_id = row_named(''alice 2''); END'
$$);
SELECT problem, row_of, seq, seal, detail FROM pg_temp.tamper($$
	DO 'BEGIN INSERT INTO provconn.audit SELECT (r).* FROM (SELECT jsonb_populate_record(a, jsonb_build_object(''audit_id'', left(audit_id::text, 19) || ''8000-000000000001'', ''transaction_id'', ''4611686018427387904'')) AS r FROM provconn.audit AS a WHERE audit_id = row_named(''bob refresh not_active'')) AS f;
		UPDATE provconn.audit AS a SET entry_hash = rehashed(a) WHERE transaction_id = ''4611686018427387904''; END'
$$);
-- a key that does not open, or is gone: all the rest is checked
SELECT problem, row_of, seal, detail FROM pg_temp.tamper($$UPDATE provconn.seal_key SET wrapped = set_byte(wrapped, 60, get_byte(wrapped, 60) # 255); UPDATE provconn.audit SET action = 'connect' WHERE audit_id = row_named('alice 2')$$);
SELECT problem, row_of, seal, detail FROM pg_temp.tamper($$DELETE FROM provconn.seal_key; UPDATE provconn.seal SET mac = '' WHERE seal_id = 2$$);
-- by time
SELECT f.within, t.problem, t.row_of, t.detail FROM (VALUES (1, 'all', NULL::interval, NULL::interval), (2, 'since yesterday', '-1 day', NULL), (3, 'till tomorrow', NULL, '1 day'), (4, 'both', '-1 day', '1 day'), (5, 'tomorrow', '1 day', NULL), (6, 'till yesterday', NULL, '-1 day'), (7, 'till 20000', NULL, '17974 years')) AS f (n, within, since, until),
	pg_temp.tamper($$UPDATE provconn.audit SET action = 'connect' WHERE audit_id = row_named('alice 2'); DELETE FROM provconn.audit WHERE audit_id = row_named('bob 1')$$, NULL, now() + f.since, now() + f.until) AS t ORDER BY f.n, t.row_of;

SELECT f.since, f.until, t.problem, t.row_of, t.detail FROM (VALUES (1, '-infinity'::timestamptz, 'infinity'::timestamptz), (2, 'infinity', NULL), (3, NULL, '-infinity')) AS f (n, since, until),
	pg_temp.tamper($$DELETE FROM provconn.audit WHERE audit_id IN (row_named('alice 5'), row_named('bob 1'))$$, NULL, f.since, f.until) AS t ORDER BY f.n, t.row_of;

-- Triggers, on tables and on a single month.
SELECT tableoid::regclass AS month FROM provconn.audit LIMIT 1 \gset
CREATE FUNCTION pg_temp.weaken(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	found text[];
BEGIN
	EXECUTE statement;
	found := array_agg(concat_ws(' ', problem, replace(detail, (SELECT tableoid::regclass::text FROM provconn.audit LIMIT 1), 'MONTH')) ORDER BY detail COLLATE "C") FROM provconn_verify_audit();
	RAISE EXCEPTION 'undone' USING ERRCODE = 'ZZ001';
EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
	RETURN QUERY SELECT unnest(found);
END $$;
SELECT n, found FROM unnest(ARRAY['DROP TRIGGER provconn_guard ON provconn.seal', 'DROP TRIGGER provconn_import ON provconn.connection', 'DROP TRIGGER provconn_audit_no_truncate ON ' || :'month',
	'ALTER TABLE provconn.seal ENABLE TRIGGER provconn_import', 'ALTER TABLE provconn.connection ENABLE REPLICA TRIGGER zz_provconn_guard', 'ALTER TABLE ' || :'month' || ' DISABLE TRIGGER provconn_audit_guard', 'ALTER TABLE ' || :'month' || ' ENABLE TRIGGER provconn_import',
	'DROP TRIGGER provconn_audit ON provconn.connection; CREATE TRIGGER provconn_audit AFTER INSERT ON provconn.connection FOR EACH ROW EXECUTE FUNCTION provconn.audit_connection(); ALTER TABLE provconn.connection ENABLE ALWAYS TRIGGER provconn_audit',
	'ALTER TABLE provconn.import DISABLE TRIGGER ALL', 'ALTER TABLE provconn.seal_key DISABLE TRIGGER provconn_guard']) WITH ORDINALITY AS w (what, n), pg_temp.weaken(what) AS found ORDER BY n, found COLLATE "C";
SELECT * FROM provconn_verify_audit(:'digest');

-- Erasing a user takes nothing from what verifies.
SELECT provconn_erase_user(:alice);
SELECT * FROM provconn_verify_audit(:'digest');
SELECT n.name, pg_temp.check_proof(p.proof) AS proof, p.proof #> '{entry,personal}' AS personal FROM named AS n, LATERAL (SELECT provconn_audit_proof(n.audit_id) AS proof) AS p WHERE n.name LIKE 'alice%' AND n.name <> 'alice 5' ORDER BY 1;
SELECT d ->> 'seal_id' AS seal_id FROM provconn_seal_audit() AS d;
SELECT * FROM provconn_verify_audit(:'digest');
-- the same done to another, who was not erased
SELECT problem, row_of, detail FROM pg_temp.tamper($$UPDATE provconn.audit $$ || :'erase' || $$ WHERE audit_id = row_named('bob 2')$$);
SELECT provconn_erase_user(:bob);
SELECT * FROM provconn_verify_audit(:'digest');

-- A month of long ago, as a restore brings it: two connections, one of which lives on, and a refusal.
CREATE TABLE provconn.audit_2020_01 (LIKE provconn.audit INCLUDING ALL, PRIMARY KEY (shard_key, audit_id));
CREATE TRIGGER provconn_audit_no_truncate BEFORE TRUNCATE ON provconn.audit_2020_01 FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_audit();
CREATE TRIGGER provconn_import BEFORE INSERT ON provconn.audit_2020_01 FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_import();
ALTER TABLE provconn.audit_2020_01 ENABLE ALWAYS TRIGGER provconn_audit_no_truncate, ENABLE ALWAYS TRIGGER provconn_import;
ALTER TABLE provconn.audit ATTACH PARTITION provconn.audit_2020_01 FOR VALUES FROM ('016f5e66-e800-7000-8000-000000000000') TO ('016ffe0c-0c00-7000-8000-000000000000');
CREATE FUNCTION pg_temp.old_id(n integer) RETURNS uuid LANGUAGE sql AS $$ SELECT ('016f6000-0000-7' || lpad(to_hex(provconn_shard('00000000-0000-4000-8000-000000000003')), 3, '0') || '-8000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE TEMP TABLE old (LIKE provconn.audit);
INSERT INTO old SELECT provconn_shard_of(i), i, '2020-01-01 12:00+00'::timestamptz + n * interval '1 minute', pg_temp.old_id(c), seq, :acme::uuid, 'acme', CASE WHEN seq = 2 THEN 'rename' ELSE 'initiate' END,
	CASE WHEN seq IS NULL THEN 'refused' ELSE 'succeeded' END, CASE WHEN seq = 2 THEN 'pending'::provconn_status END, CASE WHEN seq IS NOT NULL THEN 'pending'::provconn_status END, NULL, 0, 7, '700', NULL, 'them', 'them',
	'00000000-0000-4000-8000-000000000003', NULL, NULL, NULL, NULL, '\x00', '', NULL, ''
FROM (VALUES (1, 91, 1), (2, 91, 2), (3, 92, 1), (4, NULL, NULL)) AS v (n, c, seq), LATERAL (SELECT pg_temp.old_id(n) AS i) AS i;
SELECT attname FROM pg_attribute AS a WHERE attrelid = 'provconn.audit'::regclass AND attnum > 0 AND (SELECT b.attname FROM pg_attribute AS b WHERE b.attrelid = 'old'::regclass AND b.attnum = a.attnum) <> a.attname;
UPDATE old SET personal_hash = provconn.personal_hash(personal_salt, user_id, owner_id, reason, application_name, client_address);
UPDATE old SET entry_hash = rehashed(jsonb_populate_record(NULL::provconn.audit, to_jsonb(old))) WHERE seq = 1 OR seq IS NULL;
UPDATE old SET previous_hash = (SELECT b.entry_hash FROM old AS b WHERE b.connection_id = old.connection_id AND b.seq = 1) WHERE seq = 2;
UPDATE old SET entry_hash = rehashed(jsonb_populate_record(NULL::provconn.audit, to_jsonb(old))) WHERE seq = 2;
SELECT current_setting('data_directory') || '/provconn_regress.rows' AS rows, current_setting('data_directory') || '/provconn_regress.heads' AS heads \gset
COPY (SELECT * FROM old) TO :'rows';
COPY (SELECT shard_key, connection_id, user_id, provider_id, 'pending', 0, occurred_at, occurred_at, audit_id, occurred_at, seq, entry_hash, 'old ' || seq FROM old WHERE seq = 2 OR connection_id = pg_temp.old_id(92)) TO :'heads';
SELECT d ->> 'seal_id' AS seal_id FROM provconn_seal_audit() AS d;
-- nobody but a restore brings rows
COPY provconn.audit FROM :'rows';
INSERT INTO provconn.audit SELECT * FROM old;
SET row_security = off;
COPY provconn.audit FROM :'rows';
COPY provconn.connection (shard_key, connection_id, user_id, provider_id, status, version, created_at, updated_at, audit_id, audit_at, audit_seq, audit_hash, alias) FROM :'heads';
RESET row_security;
CREATE VIEW findings AS SELECT severity, problem, seq, seal_id, CASE WHEN severity = 'problem' THEN detail ELSE substring(detail FROM '^rows into provconn\.\w+|^\d+ rows of (?:provconn\.\w+|another database)') END AS detail FROM provconn_verify_audit();
SELECT * FROM findings;
SELECT d ->> 'seal_id' AS seal_id, d ->> 'rows' AS rows, d ->> 'heads' AS heads FROM provconn_seal_audit() AS d;
SELECT * FROM findings;
SELECT ok FROM provconn_rename('00000000-0000-4000-8000-000000000003', pg_temp.old_id(91), 'lives on');
SELECT seq, previous_hash IS NOT NULL AS follows FROM provconn.audit WHERE connection_id = pg_temp.old_id(91) ORDER BY seq;
SELECT * FROM findings WHERE severity = 'problem';

-- Archived.
SELECT m AS month, pg_temp.said(format('SELECT provconn_archive_audit(%L)', m)) FROM unnest(ARRAY[NULL, 'infinity', '2019-12-31', '2020-02-01']::date[]) AS m;
SELECT months, pg_temp.said(format('SELECT provconn_archive_audit((now() AT TIME ZONE ''UTC'' + interval ''%s months'')::date)', months)) FROM generate_series(0, 1) AS months;
SELECT name, pg_temp.said(format('SELECT provconn_attach_audit(%s)', coalesce(quote_literal(name), 'NULL'))) FROM unnest(ARRAY[NULL, 'provconn.audit_2020_01', 'provconn.seal', 'pg_catalog.pg_class', '4711']) AS name;
-- what does not verify is not put away, nor what is not settled
BEGIN;
ALTER TABLE provconn.audit DISABLE TRIGGER provconn_audit_guard;
UPDATE provconn.audit SET action = 'connect' WHERE audit_id = pg_temp.old_id(2);
ALTER TABLE provconn.audit ENABLE ALWAYS TRIGGER provconn_audit_guard;
SELECT pg_temp.said('SELECT provconn_archive_audit(''2020-01-31'')');
ROLLBACK;
BEGIN;
UPDATE old SET audit_id = pg_temp.old_id(5), origin = provconn.origin(), transaction_id = pg_current_xact_id() WHERE seq IS NULL;
UPDATE old SET entry_hash = rehashed(jsonb_populate_record(NULL::provconn.audit, to_jsonb(old))) WHERE seq IS NULL;
COPY (SELECT * FROM old WHERE seq IS NULL) TO :'rows';
SET LOCAL row_security = off;
COPY provconn.audit_2020_01 FROM :'rows';
SELECT pg_temp.said('SELECT provconn_archive_audit(''2020-01-01'')');
ROLLBACK;
SELECT provconn_archive_audit('2020-01-31') AS archived;
SELECT * FROM findings;
SELECT seal_id, row_count, octet_length(leaves) AS leaves, octet_length(heads) AS heads FROM provconn.seal WHERE seal_id IN (5, 6, 7) ORDER BY seal_id;
SELECT seal_id, row_count, octet_length(leaves) AS leaves, octet_length(heads) AS heads FROM provconn.audit_2020_01_seal ORDER BY seal_id;
SELECT table_name, row_count, from_id, to_id FROM provconn.archive;
SELECT count(*) FROM provconn.audit_2020_01;
SELECT pg_temp.said(format('SELECT provconn_audit_proof(%L)', pg_temp.old_id(2))) AS proof, pg_temp.said('SELECT provconn_archive_audit(''2020-01-31'')') AS again;
SELECT status, detail FROM provconn_doctor() WHERE check_name = 'audit_months';
-- the chain goes on, new seals follow, and what is missing is known from what is archived
SELECT ok FROM provconn_rename('00000000-0000-4000-8000-000000000003', pg_temp.old_id(91), 'and on');
SELECT d ->> 'seal_id' AS seal_id, d ->> 'rows' AS rows FROM provconn_seal_audit() AS d;
SELECT * FROM findings WHERE severity = 'problem';
SELECT pg_temp.said(s) FROM unnest(ARRAY['DELETE FROM provconn.archive', 'UPDATE provconn.archive SET row_count = 0', 'TRUNCATE provconn.archive', 'INSERT INTO provconn.archive SELECT * FROM provconn.archive']) AS s;
SELECT problem, row_of, seq, seal, detail FROM pg_temp.tamper('DELETE FROM provconn.archive');
-- a record that is stretched over a row which is deleted
SELECT problem, row_of, seq, seal, detail FROM pg_temp.tamper($$
	DO 'BEGIN UPDATE provconn.archive SET to_id = ''ffffffff-ffff-7fff-bfff-ffffffffffff''; DELETE FROM provconn.audit WHERE audit_id = row_named(''bob refresh not_active''); END'
$$);
SELECT problem, row_of, seq, seal, detail FROM pg_temp.tamper(format('DELETE FROM provconn.audit WHERE connection_id = %L AND seq = 3', pg_temp.old_id(91)));
SELECT problem, row_of, seal, detail FROM pg_temp.tamper($$UPDATE provconn.seal SET leaves = '' WHERE seal_id = 1$$);
-- taken back, it verifies, or is found out
SELECT problem, row_of, seq, seal, detail FROM pg_temp.tamper(format($$UPDATE provconn.audit_2020_01 SET action = 'connect' WHERE audit_id = %L; SELECT provconn_attach_audit('provconn.audit_2020_01')$$, pg_temp.old_id(2)));
SELECT problem, row_of, seq, seal, detail FROM pg_temp.tamper($$UPDATE provconn.audit_2020_01_seal SET leaves = substr(leaves, 49); SELECT provconn_attach_audit('provconn.audit_2020_01')$$);
SELECT provconn_attach_audit('provconn.audit_2020_01');
SELECT * FROM findings;
SELECT count(*) AS archives, to_regclass('provconn.audit_2020_01_seal') AS seals FROM provconn.archive;
SELECT pg_temp.check_proof(provconn_audit_proof(pg_temp.old_id(2))) AS proof;
SELECT pg_temp.said('DELETE FROM provconn.audit_2020_01') AS guarded, pg_temp.said('TRUNCATE provconn.audit_2020_01') AS from_truncate, pg_temp.said('INSERT INTO provconn.audit_2020_01 SELECT * FROM provconn.audit_2020_01') AS from_insert;
SELECT provconn_archive_audit('2020-01-15') AS once_more;
SELECT * FROM findings WHERE severity = 'problem' OR problem = 'archived';

-- Who may, and when.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT provconn_seal_audit();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT count(*) FROM provconn_verify_audit() WHERE severity = 'problem';
SELECT provconn_seal_audit();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CREATE ROLE regress_provconn_auditor;
CREATE ROLE regress_provconn_operator;
CREATE ROLE regress_provconn_nobody;
SELECT provconn_grant('regress_provconn_auditor', 'auditor'), provconn_grant('regress_provconn_operator', 'operator');
CREATE FUNCTION pg_temp.as_role(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r text;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	r := pg_temp.said(statement);
	RESET ROLE;
	RETURN r;
END $$;
GRANT EXECUTE ON FUNCTION pg_temp.said(text) TO PUBLIC;
SELECT call, pg_temp.as_role('regress_provconn_nobody', call) AS nobody, pg_temp.as_role('regress_provconn_auditor', call) AS auditor, pg_temp.as_role('regress_provconn_operator', call) AS operator
FROM unnest(ARRAY['SELECT provconn_seal_audit()', 'SELECT * FROM provconn_verify_audit()', 'SELECT provconn_audit_proof(NULL)', 'SELECT provconn_archive_audit(NULL)', 'SELECT provconn_attach_audit(NULL)',
	'SELECT * FROM provconn.verify_rows(NULL, NULL)', 'SELECT provconn.seal_is_authentic(1, '''', '''')', 'SELECT * FROM provconn.seal']) AS call;
-- what an auditor is told does not hang on the search path, nor on what they have there
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT ''\x00''::bytea';
CREATE FUNCTION hostile.no(bytea, bytea) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR hostile.= (FUNCTION = hostile.no, LEFTARG = bytea, RIGHTARG = bytea);
CREATE OPERATOR hostile.<> (FUNCTION = hostile.no, LEFTARG = bytea, RIGHTARG = bytea);
GRANT USAGE ON SCHEMA hostile TO regress_provconn_auditor;
SET ROLE regress_provconn_auditor;
SET search_path = hostile, pg_catalog, public;
SELECT pg_catalog.count(*) FROM public.provconn_verify_audit() WHERE severity OPERATOR(pg_catalog.=) 'problem';
RESET search_path;
RESET ROLE;
SELECT provconn_revoke('regress_provconn_auditor', 'auditor'), provconn_revoke('regress_provconn_operator', 'operator');
SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
DROP OWNED BY regress_provconn_auditor, regress_provconn_operator;
DROP ROLE regress_provconn_auditor, regress_provconn_operator, regress_provconn_nobody;
SELECT format('cat > /dev/null; rm -f %L %L', :'rows', :'heads') AS remove \gset
COPY (SELECT) TO PROGRAM :'remove';
\c :home
DROP DATABASE regression_provconn_seal;
