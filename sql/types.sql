-- The types: their shapes, and the secret, whose bytes go in and never out.
\set SHOW_CONTEXT never

-- shapes, as the contract has them
SELECT t.typname AS enum, string_agg(e.enumlabel, ' ' ORDER BY e.enumsortorder) AS labels
FROM pg_type AS t JOIN pg_enum AS e ON e.enumtypid = t.oid
WHERE t.typname LIKE 'provconn\_%' GROUP BY 1 ORDER BY 1;
SELECT t.typname AS composite,
       string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ', ' ORDER BY a.attnum) AS attributes
FROM pg_type AS t JOIN pg_class AS c ON c.oid = t.typrelid AND c.relkind = 'c'
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE t.typname LIKE 'provconn\_%' GROUP BY 1 ORDER BY 1 \gx
SELECT typtype, typlen, typstorage, typcategory, typispreferred
FROM pg_type WHERE oid = 'provconn_secret'::regtype;

-- casts lead to it, none leads back
SELECT castsource::regtype AS source, castcontext AS context, castmethod AS method, p.provolatile AS volatility
FROM pg_cast JOIN pg_proc AS p ON p.oid = castfunc
WHERE casttarget = 'provconn_secret'::regtype ORDER BY castsource::regtype::text COLLATE "C";
SELECT count(*) AS casts_back FROM pg_cast WHERE castsource = 'provconn_secret'::regtype;
-- and nothing compares, sorts, hashes or adds it
SELECT count(*) AS operators FROM pg_operator
WHERE 'provconn_secret'::regtype IN (oprleft, oprright, oprresult);
SELECT count(*) AS operator_classes FROM pg_opclass WHERE opcintype = 'provconn_secret'::regtype;
SELECT proname FROM pg_proc
WHERE prorettype <> 'provconn_secret'::regtype AND 'provconn_secret'::regtype = ANY (proargtypes)
  AND pronamespace = 'public'::regnamespace ORDER BY 1;

-- byte for byte, whatever it was made of
SELECT t.bytes('plain'::provconn_secret) = 'plain' AS untyped,
       t.bytes('plain'::text) = 'plain' AS text,
       t.bytes('plain'::varchar) = 'plain' AS varchar,
       t.bytes('plain'::varchar(9)) = 'plain' AS varchar_9,
       t.bytes('\x00ff0a'::bytea) = '\x00ff0a' AS bytea,
       t.bytes(' { "a" : 1, "a":2 } '::json) = ' { "a" : 1, "a":2 } ' AS json,
       t.bytes(' { "b" : 1, "a":2 } '::jsonb) = '{"a": 2, "b": 1}' AS jsonb;
-- an untyped literal is no bytea and no array: a backslash is a backslash
SELECT t.bytes('\x6162'::provconn_secret) = '\\x6162' AS backslash_x,
       t.bytes('to\123en'::provconn_secret) = 'to\\123en' AS octal,
       t.bytes('{a}'::provconn_secret) = '{a}' AS braces,
       t.bytes(' blanks '::provconn_secret) = ' blanks ' AS blanks;
SELECT t.bytes((U&'\00e9\20ac\+01f511')::text) = '\xc3a9e282acf09f9491' AS characters,
       t.bytes(repeat('x', 100000)) = repeat('x', 100000)::bytea AS long,
       t.bytes(c::provconn_secret) = 'from a column' AS toasted
FROM (VALUES ('from a column'::text)) AS v (c);
-- as a parameter of no declared type, and of every declared one
PREPARE untyped AS SELECT t.bytes($1::provconn_secret) = 'p';
EXECUTE untyped('p');
PREPARE constructed AS SELECT t.bytes(provconn_credentials($1, 'custom', NULL)) = 'p';
EXECUTE constructed('p');
SELECT parameter_types FROM pg_prepared_statements ORDER BY name;
DEALLOCATE ALL;
-- through its binary input, which takes any bytes
CREATE TEMP TABLE raw (secret bytea);
CREATE TEMP TABLE cooked (secret provconn_secret);
INSERT INTO raw VALUES ('\x00fe41'), (NULL);
SELECT current_setting('data_directory') || '/provconn_regress.copy' AS file \gset
COPY raw TO :'file' WITH (FORMAT binary);
COPY cooked FROM :'file' WITH (FORMAT binary);
SELECT count(*), count(secret) FROM cooked;
SELECT t.bytes(secret) = '\x00fe41' AS received FROM cooked WHERE secret IS NOT NULL;
-- and its binary output
TRUNCATE raw;
COPY cooked TO :'file' WITH (FORMAT binary);
COPY raw FROM :'file' WITH (FORMAT binary);
SELECT convert_from(secret, 'UTF8') FROM raw ORDER BY 1;
SELECT format('cat > /dev/null; rm -f %L', :'file') AS remove \gset
COPY (SELECT) TO PROGRAM :'remove';

-- null stays null
SELECT NULL::provconn_secret IS NULL AS untyped, NULL::text::provconn_secret IS NULL AS text,
       NULL::bytea::provconn_secret IS NULL AS bytea, NULL::jsonb::provconn_secret IS NULL AS jsonb;

-- what is no text and no bytes is no secret
SELECT t.code($$SELECT 1::provconn_secret$$) AS integer,
       t.code($$SELECT now()::provconn_secret$$) AS timestamptz,
       t.code($$SELECT gen_random_uuid()::provconn_secret$$) AS uuid,
       t.code($$SELECT t.bytes(ROW('a')::provconn_secret)$$) AS record;

-- every way to look at it
\set canary '\'c4nary-s3cret\'::provconn_secret'
SELECT :canary;
SELECT :canary::text, :canary::varchar, :canary::char(20), :canary::name;
SELECT 'a' || :canary, concat(:canary, '!'), concat_ws('-', :canary, :canary);
SELECT format('%s %I %L', :canary, :canary, :canary), quote_literal(:canary), quote_nullable(:canary);
SELECT ARRAY[:canary, NULL], array_to_string(ARRAY[:canary, :canary], ','), '{a,"b c"}'::provconn_secret[];
SELECT ARRAY['a'::text, 'b']::provconn_secret[], ARRAY['a'::bytea]::provconn_secret[];
SELECT ROW(:canary, 1), ROW(:canary, 'oauth2', NULL)::provconn_credentials;
SELECT provconn_connect_command(NULL, NULL, 'slug', ROW(:canary, 'oauth2', NULL)::provconn_credentials, 'alias');
SELECT ROW(NULL, ROW(:canary, 'oauth2', NULL))::provconn_refresh_command;
SELECT '(s3cret,oauth2,)'::provconn_credentials;
SELECT to_json(:canary), to_jsonb(:canary), json_build_object('k', :canary), jsonb_build_array(:canary),
       row_to_json(ROW(:canary)), to_jsonb(ROW(:canary, 'custom', NULL)::provconn_credentials);
SELECT json_agg(s), jsonb_agg(s), json_object_agg(1, s), string_agg(s::text, ','), array_agg(s)
FROM (SELECT :canary AS s) AS v;
SELECT json_build_object(:canary, 1), array_to_json(ARRAY[:canary]);
SELECT min(s::text), max(s::text) FROM (SELECT :canary AS s) AS v;
SELECT convert_from(provconn_secret_send(:canary), 'UTF8') AS binary,
       position('c4nary'::bytea IN array_send(ARRAY[:canary])) AS in_array,
       position('c4nary'::bytea IN record_send(ROW(:canary, 'custom', NULL)::provconn_credentials)) AS in_record;
COPY (SELECT :canary, ARRAY[:canary], ROW(:canary, 'custom', NULL)::provconn_credentials) TO STDOUT;
COPY (SELECT :canary) TO STDOUT WITH (FORMAT csv);
SELECT pg_typeof(:canary), (ROW(:canary, 'custom', NULL)::provconn_credentials).secret;
VALUES (:canary);
DO $$ BEGIN
	RAISE NOTICE '%', 'c4nary-s3cret'::provconn_secret;
END $$;

-- a table of one is a mistake, and even so it shows nothing
CREATE TEMP TABLE mistake (secret provconn_secret, CHECK (secret IS NULL));
INSERT INTO mistake VALUES ('c4nary-s3cret');
ALTER TABLE mistake DROP CONSTRAINT mistake_secret_check;
INSERT INTO mistake VALUES ('c4nary-s3cret') RETURNING *;
SELECT mistake, mistake.* FROM mistake;
COPY mistake TO STDOUT;

-- comparing, sorting, grouping, hashing, measuring: there is no such function
SELECT statement, t.code(statement)
FROM (VALUES
	(1, $$SELECT 'a'::provconn_secret = 'a'::provconn_secret$$),
	(2, $$SELECT 'a'::provconn_secret = 'a'::text$$),
	(3, $$SELECT 'a'::provconn_secret < 'b'$$),
	(4, $$SELECT 'a'::provconn_secret LIKE 'a%'$$),
	(5, $$SELECT 'a'::provconn_secret ~ 'a'$$),
	(6, $$SELECT 'a'::provconn_secret IS DISTINCT FROM 'a'::provconn_secret$$),
	(7, $$SELECT 'a'::provconn_secret IN ('a', 'b')$$),
	(8, $$SELECT 'a'::provconn_secret = ANY (ARRAY['a'::provconn_secret])$$),
	(9, $$SELECT ARRAY['a'::provconn_secret] = ARRAY['a'::provconn_secret]$$),
	(10, $$SELECT ROW('a', 'custom', NULL)::provconn_credentials = ROW('a', 'custom', NULL)::provconn_credentials$$),
	(11, $$SELECT s FROM (VALUES ('a'::provconn_secret)) AS v (s) ORDER BY s$$),
	(12, $$SELECT s FROM (VALUES ('a'::provconn_secret)) AS v (s) GROUP BY s$$),
	(13, $$SELECT DISTINCT s FROM (VALUES ('a'::provconn_secret)) AS v (s)$$),
	(14, $$SELECT count(DISTINCT s) FROM (VALUES ('a'::provconn_secret)) AS v (s)$$),
	(15, $$SELECT min(s) FROM (VALUES ('a'::provconn_secret)) AS v (s)$$),
	(16, $$SELECT CASE 'a'::provconn_secret WHEN 'a' THEN 1 END$$),
	(17, $$SELECT nullif('a'::provconn_secret, 'a')$$),
	(18, $$SELECT greatest('a'::provconn_secret, 'b')$$),
	(19, $$SELECT length('a'::provconn_secret)$$),
	(20, $$SELECT octet_length('a'::provconn_secret)$$),
	(21, $$SELECT md5('a'::provconn_secret)$$),
	(22, $$SELECT substr('a'::provconn_secret, 1, 1)$$),
	(23, $$SELECT encode('a'::provconn_secret, 'hex')$$),
	(24, $$SELECT 'a'::provconn_secret::bytea$$),
	(25, $$SELECT 'a'::provconn_secret || 'b'::provconn_secret$$),
	(26, $$CREATE INDEX ON mistake (secret)$$)
) AS v (n, statement) ORDER BY n;

-- Plans: what a bind value becomes in EXPLAIN VERBOSE.  Custom plans fold it to
-- a constant of type provconn_secret, generic ones keep the parameter.
CREATE FUNCTION pg_temp.plan_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE) ' || statement LOOP
		plan := plan || line || E'\n';
	END LOOP;
	RETURN plan;
END $$;
CREATE TEMP TABLE call (n serial, type text, call text);
INSERT INTO call (type, call) VALUES
	('provconn_secret', 'SELECT $1'),
	('provconn_secret', 'SELECT provconn_credentials($1, ''custom'')'),
	('provconn_secret', 'SELECT provconn_oauth2_credentials($1, $1)'),
	('provconn_secret', 'SELECT provconn_api_key_credentials($1, $1)'),
	('provconn_secret', 'SELECT provconn_token_response($1, NULL)'),
	('provconn_secret', 'SELECT provconn_token_response($1)'),
	('provconn_secret', 'SELECT * FROM provconn_connect(provconn_connect_command(credentials => provconn_oauth2_credentials($1)))'),
	('provconn_secret', 'SELECT * FROM provconn_connect(ROW(NULL, NULL, NULL, ROW($1, ''custom'', NULL), NULL)::provconn_connect_command)'),
	('provconn_secret', 'SELECT * FROM provconn_refresh(provconn_refresh_command(NULL, provconn_api_key_credentials($1)))'),
	('provconn_secret', 'SELECT * FROM provconn_refresh_batch(ARRAY[provconn_refresh_command(NULL, provconn_api_key_credentials($1))])'),
	('text', 'SELECT $1::provconn_secret'),
	('text', 'SELECT provconn_oauth2_credentials($1)'),
	('text', 'SELECT provconn_token_response($1)'),
	('text', 'SELECT * FROM provconn_connect(provconn_connect_command(credentials => provconn_oauth2_credentials($1)))'),
	('varchar', 'SELECT provconn_credentials($1, ''custom'')'),
	('bytea', 'SELECT provconn_credentials($1, ''custom'')'),
	('json', 'SELECT provconn_credentials($1, ''custom'')'),
	('jsonb', 'SELECT provconn_credentials($1, ''custom'')');
CREATE FUNCTION pg_temp.explained(type text, call text, mode text, OUT leaks boolean,
								  OUT redacted boolean, OUT parameter boolean)
LANGUAGE plpgsql AS $$
DECLARE
	plan text;
	value text := '{"access_token": "c4nary"}';
BEGIN
	PERFORM set_config('plan_cache_mode', mode, true);
	EXECUTE format('PREPARE explained(%s) AS %s', type, call);
	plan := pg_temp.plan_of(format('EXECUTE explained(%L)', value));
	DEALLOCATE explained;
	leaks := plan ~ 'c4nary' OR plan ~ encode('c4nary', 'hex');
	redacted := plan ~ '\[redacted\]';
	parameter := plan ~ '\$1';
END $$;
SELECT n, type, call, leaks, redacted, parameter
FROM call, pg_temp.explained(type, call, 'force_custom_plan') ORDER BY n;
SELECT n, type, leaks, parameter
FROM call, pg_temp.explained(type, call, 'force_generic_plan') ORDER BY n;
-- a literal is in the statement anyway, but not in its plan
SELECT pg_temp.plan_of($$SELECT provconn_oauth2_credentials('c4nary', 'c4nary', NULL, 'a', 'b')$$) ~ 'c4nary' AS in_plan;
-- the search above can find something: a text argument does leak
SELECT leaks FROM pg_temp.explained('text', 'SELECT $1 || ''x''', 'force_custom_plan');

DROP TABLE raw, cooked, mistake, call;
