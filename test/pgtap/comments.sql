-- Every object that the extension owns has a comment.
\set ECHO none
\set QUIET 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS provconn CASCADE;
SELECT * FROM no_plan();

-- Members, less the types that PostgreSQL makes for arrays and for rows of tables and views.
CREATE TEMP VIEW member AS
SELECT classid, objid, pg_describe_object(classid, objid, 0) AS object
FROM pg_depend AS d
WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'provconn')
  AND NOT (classid = 'pg_type'::regclass AND EXISTS (
      SELECT FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
      WHERE t.oid = d.objid AND (t.typcategory = 'A' OR c.relkind <> 'c')));

SELECT cmp_ok(count(*), '>', 50::bigint, 'the extension has members') FROM member;
SELECT isnt(obj_description(objid, classid::regclass::name), NULL, 'comment on ' || object)
FROM member ORDER BY object;

-- Columns of tables and views, attributes of composite types.
SELECT isnt(col_description(c.oid, attnum), NULL, format('comment on column %s.%s', c.relname, attname))
FROM member
LEFT JOIN pg_type AS t ON classid = 'pg_type'::regclass AND t.oid = objid
JOIN pg_class AS c ON c.oid = CASE classid WHEN 'pg_class'::regclass THEN objid ELSE t.typrelid END
JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'c')
ORDER BY c.relname, attnum;

SELECT isnt(obj_description(g.oid, 'pg_trigger'), NULL, format('comment on trigger %s of %s', tgname, tgrelid::regclass))
FROM pg_trigger AS g JOIN member ON classid = 'pg_class'::regclass AND objid = tgrelid
WHERE NOT tgisinternal
ORDER BY tgrelid::regclass::text, tgname;

SELECT isnt(obj_description(oid, 'pg_extension'), NULL, 'comment on the extension')
FROM pg_extension WHERE extname = 'provconn';

-- They are one line each, so that \df+ and \d+ stay readable, and no sentences.
SELECT is_empty($$ SELECT object, description FROM pg_description AS d JOIN member ON objoid = objid AND classoid = classid
                   WHERE length(description) > 110 OR description ~ E'\n' OR description ~ '\.$' $$,
                'comments are short');

-- A month that is made later brings its comments along.
SELECT is(ok, false, 'a command on an empty registry is refused')
FROM provconn_initiate('00000000-0000-0000-0000-000000000000', NULL, 'none');
SELECT matches(obj_description(inhrelid, 'pg_class'), '^provconn: audit rows of \d{4}-\d\d \(UTC\)$',
               format('comment on %s', inhrelid::regclass))
FROM pg_inherits WHERE inhparent = 'provconn.audit'::regclass;

SELECT * FROM finish();
ROLLBACK;
