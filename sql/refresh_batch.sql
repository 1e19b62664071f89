-- provconn_refresh_batch: one result for each command, in order.
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.command(id uuid, secret provconn_secret) RETURNS provconn_refresh_command LANGUAGE sql
AS $$ SELECT provconn_refresh_command(id, provconn_credentials(secret, 'custom')) $$;

-- ids in an order that is not the ids' own, refused commands among the accepted
SELECT t.active(t.u('batch ' || i)) AS id INTO TEMP made FROM generate_series(1, 6) AS i;
CREATE TEMP TABLE asked AS
SELECT row_number() OVER (ORDER BY id DESC)::int AS n, id, 'new ' || row_number() OVER (ORDER BY id DESC) AS secret FROM made;
UPDATE provconn.connection SET status = 'expired' WHERE connection_id = (SELECT id FROM asked WHERE n = 3);
UPDATE asked SET secret = '' WHERE n = 5;
INSERT INTO asked VALUES (7, t.u('no such connection'), 'x'), (8, NULL, 'x');
SELECT count(*) AS audits FROM provconn.audit \gset
CREATE TEMP TABLE answered AS
SELECT b.*
FROM (SELECT array_agg(pg_temp.command(id, secret) ORDER BY n) AS commands FROM asked) AS v,
     provconn_refresh_batch(v.commands) WITH ORDINALITY AS b;
SELECT n, r.connection_id IS NOT DISTINCT FROM a.id AS its_own, ok, status, version, error_code, needs_user_action
FROM asked AS a JOIN answered AS r ON r.ordinality = a.n ORDER BY n;
SELECT count(*) AS results FROM answered;
-- as many audit rows as commands
SELECT count(*) - :audits AS audited FROM provconn.audit;
SELECT n, l.action, l.event, l.outcome, l.error_code, l.version, l.seq
FROM asked AS a JOIN provconn_audit_log AS l ON l.connection_id = a.id AND l.action = 'refresh_batch' ORDER BY n;
-- and what is stored is each one's own
WITH c AS MATERIALIZED (SELECT n, user_id, connection_id FROM asked JOIN provconn.connection ON connection_id = id)
SELECT n, v.ok, v.secret_text FROM c, provconn_reveal(c.user_id, c.connection_id) AS v ORDER BY n;

-- leases and expected versions go by place; null elements ask nothing
SELECT array_agg(id ORDER BY n) AS ids FROM asked WHERE n IN (1, 2, 4, 6) \gset
UPDATE provconn.connection SET lease = t.u('lease') WHERE connection_id = ANY (:'ids');
SELECT ordinality, ok, version, error_code
FROM provconn_refresh_batch(
	ARRAY(SELECT pg_temp.command(id, 's') FROM unnest(:'ids'::uuid[]) WITH ORDINALITY AS u (id, n) ORDER BY n),
	ARRAY[t.u('lease'), t.u('wrong'), NULL, NULL],
	ARRAY[2, 2, NULL, 1]) WITH ORDINALITY;
SELECT ordinality, ok, version, error_code
FROM provconn_refresh_batch(
	ARRAY(SELECT pg_temp.command(id, 's') FROM unnest(:'ids'::uuid[]) WITH ORDINALITY AS u (id, n) ORDER BY n),
	expected_versions => ARRAY[3, 2, 3, 0]) WITH ORDINALITY;
SELECT ordinality, ok, version, error_code
FROM provconn_refresh_batch(
	ARRAY(SELECT pg_temp.command(id, 's') FROM unnest(:'ids'::uuid[]) WITH ORDINALITY AS u (id, n) ORDER BY n),
	leases => ARRAY[NULL, NULL, NULL, t.u('lease')]) WITH ORDINALITY;

-- one connection twice: the one command after the other
SELECT t.active(t.u('batch twice')) AS id \gset
SELECT ordinality, ok, version, error_code
FROM provconn_refresh_batch(ARRAY[pg_temp.command(:'id', 'first'), pg_temp.command(:'id', 'second'), pg_temp.command(:'id', 'third')],
	NULL, ARRAY[1, 1, 2]) WITH ORDINALITY;
SELECT secret_text, version FROM provconn_reveal(t.u('batch twice'), :'id');
SELECT seq, outcome, version FROM provconn_audit_log WHERE connection_id = :'id' AND action = 'refresh_batch' ORDER BY outcome DESC, seq;

-- refresh tokens are carried over here too
SELECT t.active(t.u('batch carry'), NULL, '{"access_token":"a","refresh_token":"r"}') AS id \gset
SELECT ok FROM provconn_refresh_batch(ARRAY[provconn_refresh_command(:'id', provconn_oauth2_credentials('b')),
	provconn_refresh_command(:'id', provconn_token_response('{"access_token":"c"}'))]);
SELECT secret_text FROM provconn_reveal(t.u('batch carry'), :'id');

-- no commands, no results, no audit
SELECT count(*) AS audits FROM provconn.audit \gset
SELECT count(*) FROM provconn_refresh_batch('{}');
SELECT count(*) FROM provconn_refresh_batch('{}', '{}', '{}');
SELECT count(*) - :audits AS audited FROM provconn.audit;
-- array bounds are nobody's business
SELECT ordinality, ok, version FROM provconn_refresh_batch(
	format('[5:5]={"%s"}', replace(format('(%s,"(x,custom,)")', :'id'), '"', '\"'))::provconn_refresh_command[],
	'[0:0]={NULL}', '[-1:-1]={3}') WITH ORDINALITY;

-- broken input fails as a whole and changes nothing
SELECT t.row_of(:'id') AS was \gset
SELECT count(*) AS audits FROM provconn.audit \gset
SELECT t.fault('SELECT provconn_refresh_batch(NULL)');
SELECT t.fault(format('SELECT provconn_refresh_batch(ARRAY[pg_temp.command(%L, ''s''), NULL])', :'id'));
SELECT t.fault(format('SELECT provconn_refresh_batch(ARRAY[pg_temp.command(%L, ''s'')], ''{}'')', :'id'));
SELECT t.fault(format('SELECT provconn_refresh_batch(ARRAY[pg_temp.command(%L, ''s'')], ARRAY[NULL, NULL]::uuid[])', :'id'));
SELECT t.fault(format('SELECT provconn_refresh_batch(ARRAY[pg_temp.command(%L, ''s'')], NULL, ''{}'')', :'id'));
SELECT t.code(format('SELECT provconn_refresh_batch(ARRAY[pg_temp.command(%L, ''s'')], ARRAY[t.u(''lease'')], ARRAY[1, 2])', :'id')) AS longer,
       t.code(format('SELECT provconn_refresh_batch(ARRAY[pg_temp.command(%L, ''s'')], ARRAY[t.u(''lease''), NULL], ARRAY[1])', :'id')) AS longer,
       t.code('SELECT provconn_refresh_batch(''{}'', ARRAY[t.u(''lease'')])') AS empty,
       t.code(format('SELECT provconn_refresh_batch(ARRAY[ARRAY[pg_temp.command(%L, ''s'')]])', :'id')) AS two_dimensions;
-- so does a fault in one of them
SELECT t.active(t.u('batch damaged')) AS damaged \gset
UPDATE provconn.connection SET credential = 'x' WHERE connection_id = :'damaged';
SELECT t.message(format('SELECT provconn_refresh_batch(ARRAY[pg_temp.command(%L, ''s''), provconn_refresh_command(%L, provconn_oauth2_credentials(''b''))])', :'id', :'damaged'));
SELECT t.row_of(:'id') = :'was'::jsonb AS untouched,
       (SELECT count(*) - :audits FROM provconn.audit WHERE connection_id IS DISTINCT FROM :'damaged') AS audited;

-- a thousand at once
SELECT count(*) AS results, count(DISTINCT b.connection_id) AS connections, bool_and(b.ok AND b.version = 2) AS ok
FROM (SELECT array_agg(pg_temp.command(t.active(t.u('many ' || i)), 's')) AS commands FROM generate_series(1, 1000) AS i OFFSET 0) AS v,
     provconn_refresh_batch(v.commands) AS b;
DROP TABLE made, asked, answered;
