-- The vault: what a stored credential is made of, what it is bound to, and what
-- becomes of one that was touched.
\set SHOW_CONTEXT never

-- never the plaintext, never twice the same bytes; 37 bytes more than the secret
SELECT t.active(t.u('vault'), NULL, repeat('c4nary', 5)) AS id \gset
SELECT t.active(t.u('vault'), NULL, repeat('c4nary', 5)) AS twin \gset
SELECT position('c4nary'::bytea IN a.credential) AS plaintext_at, a.credential <> b.credential AS differ,
       substr(a.credential, 6, 16) <> substr(b.credential, 6, 16) AS counters_differ, substr(a.credential, 22, 16) <> substr(b.credential, 22, 16) AS first_blocks_differ,
       get_byte(a.credential, 0) AS format
FROM provconn.connection AS a, provconn.connection AS b WHERE a.connection_id = :'id' AND b.connection_id = :'twin';
SELECT n, length(c.credential) = n + 37 AS as_long_as_expected
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
-- AES-256-CTR, as NIST SP 800-38A, section 6.5, has it: the counter block is one
-- number of 128 bits, here taken in words of 32
CREATE FUNCTION pg_temp.word(block bytea, i int) RETURNS bigint LANGUAGE sql AS $$
	SELECT ('x' || encode(substr(block, 4 * i + 1, 4), 'hex'))::bit(32)::bigint
$$;
CREATE FUNCTION pg_temp.counters(start bytea, count int) RETURNS bytea LANGUAGE sql AS $$
	SELECT string_agg(substr(int8send(w0), 5) || substr(int8send(w1), 5) || substr(int8send(w2), 5) || substr(int8send(w3), 5), '' ORDER BY i)
	FROM (SELECT pg_temp.word(start, 0) AS s0, pg_temp.word(start, 1) AS s1, pg_temp.word(start, 2) AS s2, pg_temp.word(start, 3) AS s3) AS s,
	     generate_series(0, count - 1) AS i, LATERAL (SELECT s3 + i AS w3) AS d, LATERAL (SELECT s2 + (w3 >> 32) AS w2) AS c,
	     LATERAL (SELECT s1 + (w2 >> 32) AS w1) AS b, LATERAL (SELECT s0 + (w1 >> 32) AS w0) AS a
$$;
CREATE FUNCTION pg_temp.bits(bytes bytea) RETURNS varbit LANGUAGE sql AS $$ SELECT ('x' || encode(bytes, 'hex'))::varbit $$;
CREATE FUNCTION pg_temp.ctr(bytes bytea, key bytea, start bytea) RETURNS bytea LANGUAGE sql AS $$
	SELECT substr(varbit_send(pg_temp.bits(bytes) # pg_temp.bits(substr(
		public.encrypt(pg_temp.counters(start, (length(bytes) + 15) / 16), key, 'aes-ecb/pad:none'), 1, length(bytes)))), 5)
$$;
-- the published example (F.5.5), whole and cut, and the counter's carries
SELECT n, encode(pg_temp.ctr(substr('\x6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710'::bytea, 1, n),
	'\x603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4', '\xf0f1f2f3f4f5f6f7f8f9fafbfcfdfeff'), 'hex')
	= left('601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6', 2 * n) AS as_published
FROM (VALUES (64), (50), (32), (17), (16), (1)) AS v (n) ORDER BY n;
SELECT start, substr(pg_temp.counters(start, 2), 17) AS next
FROM (VALUES ('\x000000000000000000000000ffffffff'::bytea), ('\x0000000000000000ffffffffffffffff'), ('\x00000000ffffffffffffffffffffffff'),
             ('\xffffffffffffffffffffffffffffffff'), ('\x000000000000000000000000000000fe')) AS v (start);
-- The C code tries itself on the two in the middle and on the last one.
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
	RETURN pg_temp.ctr(substr(body, 22), k.enc, substr(body, 6, 16));
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
CREATE FUNCTION pg_temp.associated(c provconn.connection) RETURNS bytea LANGUAGE sql AS $$
	SELECT pg_temp.field('provconn.credential') || pg_temp.field('\x01') || pg_temp.field(substr(c.credential, 2, 4))
		|| pg_temp.field(uuid_send(c.connection_id)) || pg_temp.field(uuid_send(c.user_id)) || pg_temp.field(uuid_send(c.provider_id))
		|| pg_temp.field(set_byte('\x00', 0, array_position(enum_range(NULL::provconn_credential_type), c.credential_type)))
		|| pg_temp.field(coalesce(timestamptz_send(c.expires_at), ''))
		|| pg_temp.field(int4send(c.version))
$$;
CREATE FUNCTION pg_temp.unsealed(id uuid) RETURNS bytea LANGUAGE sql AS $$
	SELECT pg_temp.opened(credential, pg_temp.data_key(pg_temp.word(substr(credential, 2, 4), 0)::int), 'provconn.credential', pg_temp.associated(c))
	FROM provconn.connection AS c WHERE connection_id = id
$$;
SELECT n, expires_at AT TIME ZONE 'UTC' AS expires_at, pg_temp.unsealed(t.active(t.u('vault format'), NULL, secret, expires_at)) = secret::bytea AS opens
FROM (VALUES (1, 'plain', NULL::timestamptz), (2, 'sixteen bytes...', '2031-01-01 00:00+00'), (3, 'x', '1970-01-01 00:00+00'),
             (4, 'x', '1999-12-31 23:59:59.999999+00'), (5, repeat('long', 1000), '2000-01-01 00:00+00')) AS v (n, secret, expires_at) ORDER BY n;
SELECT type, pg_temp.unsealed(r.connection_id) = 'secret' AS opens
FROM unnest(enum_range(NULL::provconn_credential_type)) AS type,
     provconn_connect(provconn_connect_command(t.u('vault type'), t.p('plaid'), 'plaid', provconn_credentials('secret', type))) AS r ORDER BY type;
SELECT version, pg_temp.unsealed(connection_id) = 'v' || version::text::bytea AS opens
FROM (SELECT t.active(t.u('vault version'), NULL, 'v1') AS id OFFSET 0) AS a, LATERAL provconn_refresh(provconn_refresh_command(a.id, provconn_credentials('v2', 'custom'))) AS r;

-- The other way round: what is sealed in SQL opens, from whichever counter block on
-- (the carries; over the last block to 0), and of whatever length.
CREATE FUNCTION pg_temp.sealed(id uuid, secret bytea, start bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	c provconn.connection := c FROM provconn.connection AS c WHERE connection_id = id;
	k record := pg_temp.derived(pg_temp.data_key(pg_temp.word(substr(c.credential, 2, 4), 0)::int), 'provconn.credential');
	body bytea := substr(c.credential, 1, 5) || start || pg_temp.ctr(secret, k.enc, start);
BEGIN
	RETURN body || pg_temp.cmac(pg_temp.associated(c) || body, k.mac);
END $$;
SELECT t.active(t.u('vault sealed')) AS sealed \gset
CREATE FUNCTION pg_temp.reveals(id uuid, owner uuid, plain bytea, start bytea) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	UPDATE provconn.connection SET credential = pg_temp.sealed(id, plain, start) WHERE connection_id = id;
	RETURN r.secret = plain FROM provconn_reveal(owner, id) AS r;
END $$;
SELECT start, array_agg(n ORDER BY n) AS lengths, bool_and(pg_temp.reveals(:'sealed', t.u('vault sealed'), convert_to(repeat('of 17 characters ', n / 17) || repeat('x', n % 17), 'UTF8'), start)) AS opens
FROM (VALUES ('\x0000000000000000ffffffffffffffff'::bytea), ('\xffffffffffffffffffffffffffffffff'), ('\x0123456789abcdeffffffffffffffc18'), ('\x00000000000000000000000000000000')) AS v (start),
     unnest(ARRAY[1, 15, 16, 17, 33, 65535, 65536, 65537, 131072, 140001]) AS n GROUP BY start ORDER BY start;

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

-- No counter block is used twice, whatever becomes of the transaction.  Short ones,
-- every third of which is rolled back, and every fifth preceded by a refusal.
CREATE TABLE t.sealed (n int, credential bytea);
DO $$
DECLARE
	refused uuid := t.in_status(t.u('counters refused'), 'revoked');
	id uuid;
	sealed bytea;
BEGIN
	FOR i IN 1 .. 300 LOOP
		IF i % 5 = 0 AND (SELECT ok FROM provconn_refresh(provconn_refresh_command(refused, provconn_credentials(repeat('x', i), 'custom')))) THEN
			RAISE NOTICE 'not refused';
		END IF;
		BEGIN
			id := t.active(t.u('counters ' || i), NULL, repeat('x', 1 + i * 37 % 400));
			sealed := credential FROM provconn.connection WHERE connection_id = id;
			IF i % 3 = 0 THEN
				RAISE EXCEPTION 'rolled back';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
		INSERT INTO t.sealed VALUES (1, sealed);
	END LOOP;
END $$;
BEGIN;
SELECT t.active(t.u('counters'), NULL, repeat('x', 100)) AS id \gset
SAVEPOINT a;
SELECT FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials(repeat('y', 100), 'custom')));
SELECT credential AS a FROM provconn.connection WHERE connection_id = :'id' \gset
ROLLBACK TO a;
SELECT credential AS b FROM provconn.connection WHERE connection_id = :'id' \gset
SELECT FROM provconn_refresh(provconn_refresh_command(:'id', provconn_credentials(repeat('z', 100), 'custom')));
SELECT credential AS c FROM provconn.connection WHERE connection_id = :'id' \gset
ROLLBACK;
SELECT t.active(t.u('counters'), NULL, repeat('x', 100)) AS id \gset
INSERT INTO t.sealed SELECT 2, v FROM unnest(ARRAY[:'a', :'b', :'c']::bytea[]) AS v;
INSERT INTO t.sealed SELECT 2, credential FROM provconn.connection WHERE connection_id = :'id';
-- a batch, of which one is refused
SELECT count(*) FILTER (WHERE ok) AS ok, count(*) FILTER (WHERE NOT ok) AS refused
FROM provconn_refresh_batch((SELECT array_agg(provconn_refresh_command(connection_id, provconn_credentials(repeat('z', 90), 'custom')) ORDER BY connection_id)
	FROM provconn.connection WHERE user_id IN (SELECT t.u('counters ' || i) FROM generate_series(1, 20) AS i UNION ALL SELECT t.u('counters refused'))));
INSERT INTO t.sealed SELECT 3, credential FROM provconn.connection WHERE user_id IN (SELECT t.u('counters ' || i) FROM generate_series(1, 20) AS i);
-- as long as what is made ahead, longer, and short ones between
DO $$
DECLARE
	n int;
	id uuid;
BEGIN
	FOREACH n IN ARRAY ARRAY[16384, 1, 16385, 17, 1048576, 15, 9000, 9000, 20000, 16368, 32, 16] LOOP
		id := t.active(t.u('counters of ' || n), gen_random_uuid()::text, repeat('x', n));
		INSERT INTO t.sealed SELECT 4, credential FROM provconn.connection WHERE connection_id = id;
		IF (SELECT r.secret <> convert_to(repeat('x', n), 'UTF8') FROM provconn_reveal(t.u('counters of ' || n), id) AS r) THEN
			RAISE NOTICE '% bytes do not open', n;
		END IF;
	END LOOP;
END $$;
-- another session
\c -
INSERT INTO t.sealed
SELECT 5, credential
FROM (SELECT t.active(t.u('counters again ' || i), NULL, repeat('x', 200)) AS id FROM generate_series(1, 50) AS i OFFSET 0) AS a,
     LATERAL jsonb_to_record(t.row_of(a.id)) AS c (credential bytea);
-- Most short ones begin where another one ends; none begins where another one is not over.
CREATE FUNCTION pg_temp.number(block bytea) RETURNS numeric LANGUAGE sql AS $$
	SELECT sum(get_byte(block, i) * 256::numeric ^ (15 - i)) FROM generate_series(0, 15) AS i
$$;
WITH range AS (SELECT n, first, first + (length(credential) - 37 + 15) / 16 AS next FROM t.sealed, pg_temp.number(substr(credential, 6, 16)) AS first),
     ordered AS (SELECT n, first, lag(next) OVER (ORDER BY first) AS before FROM range)
SELECT n, count(*), count(*) FILTER (WHERE first = before) > count(*) / 2 AS most_follow_on, count(*) FILTER (WHERE first < before) AS overlap FROM ordered GROUP BY n ORDER BY n;
DROP TABLE t.sealed;
