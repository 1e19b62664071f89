-- The vault: what a stored credential is made of, what it is bound to, and what
-- becomes of one that was touched.
\set SHOW_CONTEXT never

-- never the plaintext, never twice the same bytes; 37 bytes and whole blocks
SELECT t.active(t.u('vault'), NULL, repeat('c4nary', 5)) AS id \gset
SELECT t.active(t.u('vault'), NULL, repeat('c4nary', 5)) AS twin \gset
SELECT position('c4nary'::bytea IN a.credential) AS plaintext_at, a.credential <> b.credential AS differ,
       substr(a.credential, 6, 16) <> substr(b.credential, 6, 16) AS ivs_differ, substr(a.credential, 22, 16) <> substr(b.credential, 22, 16) AS first_blocks_differ,
       get_byte(a.credential, 0) AS format
FROM provconn.connection AS a, provconn.connection AS b WHERE a.connection_id = :'id' AND b.connection_id = :'twin';
SELECT n, length(c.credential) = 37 + 16 * (n / 16 + 1) AS as_long_as_expected
FROM (VALUES (1), (15), (16), (17), (31), (32), (1000)) AS v (n), LATERAL (SELECT t.active(t.u('vault ' || n), NULL, repeat('x', n)) AS id OFFSET 0) AS a,
     LATERAL jsonb_to_record(t.row_of(a.id)) AS c (credential bytea) ORDER BY n;
SELECT c.relname, a.attstorage FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid WHERE a.attrelid = 'provconn.connection'::regclass AND attname = 'credential';

-- any bytes, of any length
SELECT n, length(b) AS length, t.bytes(b) = b AS same
FROM (VALUES (1, '\x00'::bytea), (2, '\x0000000000000000000000000000000000'), (3, '\xff'), (4, '\xc328a0ff00fe'), (5, repeat('16 bytes of text', 1)::bytea),
             (6, '\x10101010101010101010101010101010'), (7, convert_to(repeat('0123456789abcdef', 65536), 'UTF8')), (8, decode(repeat('00ff', 500001), 'hex'))) AS v (n, b)
ORDER BY n;
-- up to 16 MB
SELECT t.code($$SELECT t.active(t.u('vault long'), NULL, repeat('x', 16777216))$$) AS longest;
SELECT t.fault($$SELECT t.active(t.u('vault long'), NULL, repeat('x', 16777217))$$);

-- The format, pinned down in SQL: HKDF and encrypt-then-MAC by pgcrypto's own
-- functions, from the key file's content to the plaintext.
CREATE FUNCTION pg_temp.derived(key bytea, info bytea, OUT enc bytea, OUT mac bytea) LANGUAGE sql AS $$
	SELECT t1, public.hmac(t1 || info || '\x02', prk, 'sha256')
	FROM (SELECT prk, public.hmac(info || '\x01', prk, 'sha256') AS t1
	      FROM (SELECT public.hmac(key, decode(repeat('00', 32), 'hex'), 'sha256') AS prk) AS a) AS b
$$;
-- AES-256-CMAC, as NIST SP 800-38B has it; a block doubled is one shifted in GF(2^128)
CREATE FUNCTION pg_temp.doubled(block bytea) RETURNS bytea LANGUAGE sql AS $$
	SELECT string_agg(set_byte('\x00', 0, (get_byte(block, i) << 1) & 255
		# CASE WHEN i < 15 THEN get_byte(block, i + 1) >> 7 ELSE (get_byte(block, 0) >> 7) * 135 END), '' ORDER BY i)
	FROM generate_series(0, 15) AS i
$$;
CREATE FUNCTION pg_temp.cmac(message bytea, key bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	subkey bytea := pg_temp.doubled(public.encrypt(decode(repeat('00', 16), 'hex'), key, 'aes-ecb/pad:none'));
	padded bytea := message;
	at int;
BEGIN
	IF length(message) = 0 OR length(message) % 16 > 0 THEN
		subkey := pg_temp.doubled(subkey);
		padded := message || '\x80' || decode(repeat('00', 15 - length(message) % 16), 'hex');
	END IF;
	FOR i IN 0 .. 15 LOOP
		at := length(padded) - 16 + i;
		padded := set_byte(padded, at, get_byte(padded, at) # get_byte(subkey, i));
	END LOOP;
	RETURN substr(public.encrypt(padded, key, 'aes-cbc/pad:none'), length(padded) - 15);
END $$;
-- the published examples
SELECT n, encode(pg_temp.cmac(substr('\x6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710'::bytea, 1, n),
	'\x603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4'), 'hex') = tag AS as_published
FROM (VALUES (0, '028962f61b7bf89efc6b551f4667d983'), (16, '28a7023f452e8f82bd4bf28d8c37c35c'),
             (40, 'aaf3d8f1de5640c232f5b169b9c911e6'), (64, 'e1992190549f6ed5696a2c056c315410')) AS v (n, tag) ORDER BY n;
-- The two in the middle are tried on the C code, too: what it seals never fills its
-- blocks, but ends 11, 3 or 9 bytes behind one (a credential that never expires, one
-- that does, a data key).
SELECT status, detail FROM provconn_doctor() WHERE check_name = 'pgcrypto_library';
CREATE FUNCTION pg_temp.opened(envelope bytea, key bytea, purpose bytea, associated bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	body bytea := substr(envelope, 1, length(envelope) - 16);
	k record;
BEGIN
	IF get_byte(envelope, 0) <> 1 THEN
		RETURN 'format';
	END IF;
	k := pg_temp.derived(key, purpose);
	IF pg_temp.cmac(associated || body, k.mac) <> substr(envelope, length(envelope) - 15) THEN
		RETURN 'tag';
	END IF;
	RETURN public.decrypt_iv(substr(body, 22), k.enc, substr(body, 6, 16), 'aes-cbc/pad:pkcs');
END $$;
CREATE FUNCTION pg_temp.field(value bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT set_byte('\x00', 0, length(value)) || value $$;
-- the master key: the last line of the file, "id:64 hex digits" or the digits alone
CREATE FUNCTION pg_temp.master_key(OUT id int, OUT key bytea) LANGUAGE sql AS $$
	SELECT coalesce(m[2]::int, 1), decode(m[3], 'hex')
	FROM (SELECT regexp_match(pg_read_file(current_setting('provconn.key_file')), '(([0-9]+):)?([0-9A-Fa-f]{64})\s*$') AS m) AS v
$$;
SELECT key_id, master_key_id = (pg_temp.master_key()).id AS master_key_id, retired_at,
       master_check = substr(hmac('provconn.master_check', (pg_temp.master_key()).key, 'sha256'), 1, 8) AS master_check,
       length(wrapped) AS wrapped_length, get_byte(wrapped, 0) AS format, substr(wrapped, 2, 4) = int4send(master_key_id) AS key_id_within
FROM provconn.data_key ORDER BY key_id;
CREATE FUNCTION pg_temp.data_key(id int) RETURNS bytea LANGUAGE sql AS $$
	SELECT pg_temp.opened(wrapped, (pg_temp.master_key()).key, 'provconn.data_key', int4send(key_id)) FROM provconn.data_key WHERE key_id = id
$$;
SELECT length(pg_temp.data_key(1)) AS data_key_length, check_value = substr(hmac('provconn.data_check', pg_temp.data_key(1), 'sha256'), 1, 8) AS check_value
FROM provconn.data_key WHERE key_id = 1;
CREATE FUNCTION pg_temp.unsealed(id uuid) RETURNS bytea LANGUAGE sql AS $$
	SELECT pg_temp.opened(credential, pg_temp.data_key(key_id), 'provconn.credential',
		pg_temp.field('provconn.credential') || pg_temp.field('\x01') || pg_temp.field(int4send(key_id))
		|| pg_temp.field(uuid_send(connection_id)) || pg_temp.field(uuid_send(user_id)) || pg_temp.field(uuid_send(provider_id))
		|| pg_temp.field(set_byte('\x00', 0, array_position(enum_range(NULL::provconn_credential_type), credential_type)))
		|| pg_temp.field(coalesce(timestamptz_send(expires_at), ''))
		|| pg_temp.field(int4send(version)))
	FROM (SELECT *, ('x' || encode(substr(credential, 2, 4), 'hex'))::bit(32)::int AS key_id FROM provconn.connection) AS c WHERE connection_id = id
$$;
SELECT n, expires_at AT TIME ZONE 'UTC' AS expires_at, pg_temp.unsealed(t.active(t.u('vault format'), NULL, secret, expires_at)) = secret::bytea AS opens
FROM (VALUES (1, 'plain', NULL::timestamptz), (2, 'sixteen bytes...', '2031-01-01 00:00+00'), (3, 'x', '1970-01-01 00:00+00'),
             (4, 'x', '1999-12-31 23:59:59.999999+00'), (5, repeat('long', 1000), '2000-01-01 00:00+00')) AS v (n, secret, expires_at) ORDER BY n;
SELECT type, pg_temp.unsealed(r.connection_id) = 'secret' AS opens
FROM unnest(enum_range(NULL::provconn_credential_type)) AS type,
     provconn_connect(provconn_connect_command(t.u('vault type'), t.p('plaid'), 'plaid', provconn_credentials('secret', type))) AS r ORDER BY type;
SELECT version, pg_temp.unsealed(connection_id) = 'v' || version::text::bytea AS opens
FROM (SELECT t.active(t.u('vault version'), NULL, 'v1') AS id OFFSET 0) AS a, LATERAL provconn_refresh(provconn_refresh_command(a.id, provconn_credentials('v2', 'custom'))) AS r;

-- Every byte of a ciphertext, flipped one by one: reveal says one and the same.
CREATE TEMP TABLE said AS SELECT NULL::int AS place, NULL::int AS mask, NULL::text AS fault WITH NO DATA;
DO $$
DECLARE
	id uuid := t.active(t.u('flipped'), NULL, 'a secret of more than one block of sixteen');
	kept bytea := credential FROM provconn.connection WHERE connection_id = id;
	reveal text := format('SELECT provconn_reveal(%L, %L)', t.u('flipped'), id);
	mask int;
BEGIN
	FOREACH mask IN ARRAY ARRAY[1, 128, 255] LOOP
		FOR i IN 0 .. length(kept) - 1 LOOP
			UPDATE provconn.connection SET credential = set_byte(kept, i, get_byte(kept, i) # mask) WHERE connection_id = id;
			INSERT INTO said VALUES (i, mask, t.fault(reveal));
		END LOOP;
	END LOOP;
	UPDATE provconn.connection SET credential = kept WHERE connection_id = id;
	INSERT INTO said VALUES (-1, 0, t.fault(reveal));
END $$;
SELECT fault, count(*), min(place) AS first, max(place) AS last FROM said GROUP BY fault ORDER BY min(place), fault COLLATE "C";
-- cut short, made longer, put together anew
DO $$
DECLARE
	id uuid := t.active(t.u('cut'), NULL, 'a secret of more than one block of sixteen');
	kept bytea := credential FROM provconn.connection WHERE connection_id = id;
	reveal text := format('SELECT provconn_reveal(%L, %L)', t.u('cut'), id);
	changed bytea;
	faults text[];
BEGIN
	FOREACH changed IN ARRAY array_cat(ARRAY(SELECT substr(kept, 1, i) FROM generate_series(0, length(kept) - 1) AS i),
		ARRAY[kept || '\x00', kept || kept, substr(kept, 2), 'x'::bytea, '\x00'::bytea || kept,
			overlay(kept PLACING substr(kept, 38, 16) FROM 22), overlay(kept PLACING '' FROM 22 FOR 16)])
	LOOP
		UPDATE provconn.connection SET credential = changed WHERE connection_id = id;
		faults := faults || t.message(reveal);
	END LOOP;
	RAISE NOTICE '% times %', cardinality(faults), array(SELECT DISTINCT unnest(faults));
END $$;

-- It is bound to its row: swapped, put back, or with the row's own data changed,
-- it does not open.
SELECT credential AS a FROM provconn.connection WHERE connection_id = :'id' \gset
SELECT credential AS b FROM provconn.connection WHERE connection_id = :'twin' \gset
UPDATE provconn.connection SET credential = CASE connection_id WHEN :'id' THEN :'b'::bytea ELSE :'a' END WHERE connection_id IN (:'id', :'twin');
SELECT t.message(format('SELECT provconn_reveal(%L, %L)', t.u('vault'), :'id')) AS one, t.message(format('SELECT provconn_reveal(%L, %L)', t.u('vault'), :'twin')) AS other;
UPDATE provconn.connection SET credential = CASE connection_id WHEN :'id' THEN :'a'::bytea ELSE :'b' END WHERE connection_id IN (:'id', :'twin');
SELECT a.ok AND b.ok AS back_again FROM provconn_reveal(t.u('vault'), :'id') AS a, provconn_reveal(t.u('vault'), :'twin') AS b;
-- an old version put back after a refresh
SELECT version FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials(repeat('c4nary', 5), 'custom')));
SELECT credential AS newer FROM provconn.connection WHERE connection_id = :'id' \gset
UPDATE provconn.connection SET credential = :'a' WHERE connection_id = :'id';
SELECT t.message(format('SELECT provconn_reveal(%L, %L)', t.u('vault'), :'id'));
UPDATE provconn.connection SET credential = :'newer' WHERE connection_id = :'id';
-- what it is bound to, changed in the row
SELECT n, change, t.message(format('UPDATE provconn.connection SET %s WHERE connection_id = %L', change, :'id')) AS updated,
       t.message(format('SELECT provconn_reveal(%L, %L)', t.u('vault'), :'id')) AS revealed
FROM (VALUES (1, 'expires_at = ''2031-01-01 00:00+00'''), (2, 'expires_at = NULL'), (3, 'credential_type = ''api_key'''), (4, 'credential_type = ''custom'''),
             (5, 'version = 1'), (6, 'version = 2'), (7, 'alias = ''x'', metadata = ''{}'', last_sync_at = now(), connected_at = NULL, failure_count = 3')) AS v (n, change)
ORDER BY n;
-- through another status and back it is the same
UPDATE provconn.connection SET status = 'revoked' WHERE connection_id = :'id';
UPDATE provconn.connection SET status = 'active' WHERE connection_id = :'id';
SELECT ok FROM provconn_reveal(t.u('vault'), :'id');
DROP TABLE said;
