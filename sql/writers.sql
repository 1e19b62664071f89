-- What the executor needs for a row is kept from one command to the next: nothing
-- that others hang on the tables may be missed, or see more than it should.
\set SHOW_CONTEXT never

-- A foreign key's action fires triggers of a table that the library never opened,
-- each time, under the safe search path.
ALTER TABLE provconn.connection ADD CONSTRAINT by_status UNIQUE (connection_id, status);
CREATE TABLE public.follower (connection_id uuid, status provconn_status, says text,
	FOREIGN KEY (connection_id, status) REFERENCES provconn.connection (connection_id, status) ON UPDATE CASCADE);
CREATE FUNCTION public.follow() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN NEW.says := concat_ws(' ', NEW.says, TG_WHEN, current_setting('search_path')); RETURN NEW; END $$;
CREATE TABLE public.followed (says text);
CREATE FUNCTION public.followed() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO public.followed VALUES (NEW.says || ', ' || TG_WHEN || ' ' || current_setting('search_path')); RETURN NULL; END $$;
CREATE TRIGGER follow BEFORE UPDATE ON public.follower FOR EACH ROW EXECUTE FUNCTION public.follow();
CREATE TRIGGER followed AFTER UPDATE ON public.follower FOR EACH ROW EXECUTE FUNCTION public.followed();
SELECT n, t.active(t.u('writers'), n::text) AS id INTO TEMP made FROM generate_series(1, 4) AS n;
INSERT INTO public.follower SELECT id, 'active' FROM made;
SELECT ok FROM made, provconn_disconnect(provconn_disconnect_command(t.u('writers'), id)) WHERE n = 1;
SELECT ok FROM made, provconn_disconnect(provconn_disconnect_command(t.u('writers'), id)) WHERE n = 2;
ALTER TABLE public.follower ADD COLUMN more int;
SELECT ok FROM made, provconn_disconnect(provconn_disconnect_command(t.u('writers'), id)) WHERE n = 3;
SELECT ok FROM made, provconn_mark_revoked(id) WHERE n = 4;
SELECT says, count(*) FROM public.followed GROUP BY says;
SELECT status, count(*) FROM public.follower GROUP BY status ORDER BY status;
DROP TABLE public.follower, public.followed;
DROP FUNCTION public.follow(), public.followed();
ALTER TABLE provconn.connection DROP CONSTRAINT by_status;

-- An index on what a function makes of a column, in a session that meets it first
-- as somebody with functions of their own.
CREATE ROLE regress_provconn_path LOGIN;
SELECT provconn_grant('regress_provconn_path', 'application');
CREATE SCHEMA path AUTHORIZATION regress_provconn_path;
CREATE FUNCTION path.lower(text) RETURNS text LANGUAGE plpgsql IMMUTABLE
AS $$ BEGIN RAISE NOTICE 'runs as % ', current_user; RETURN 'caught'; END $$;
GRANT EXECUTE ON FUNCTION path.lower(text) TO PUBLIC;
CREATE FUNCTION public.plain(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
CREATE INDEX plain_alias ON provconn.connection (public.plain(alias));
\c -
SET SESSION AUTHORIZATION regress_provconn_path;
SET search_path = path, pg_catalog, public;
SELECT ok FROM provconn_connect(provconn_connect_command(t.u('path'), t.p('plaid'), 'plaid', provconn_credentials('x', 'custom'), 'Mine'));
SELECT ok FROM provconn_connect(provconn_connect_command(t.u('path'), t.p('plaid'), 'plaid', provconn_credentials('x', 'custom'), 'Yours'));
RESET search_path;
RESET SESSION AUTHORIZATION;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT alias FROM provconn.connection WHERE public.plain(alias) IN ('mine', 'yours', 'caught') AND user_id = t.u('path') ORDER BY alias;
RESET enable_seqscan;
RESET enable_bitmapscan;
DROP INDEX provconn.plain_alias;
DROP FUNCTION public.plain(text);
SELECT provconn_revoke('regress_provconn_path', 'application');
DROP SCHEMA path CASCADE;
DROP ROLE regress_provconn_path;

-- Partial indexes: over a generated column, and for a few rows.
ALTER TABLE provconn.audit ADD COLUMN is_rename boolean GENERATED ALWAYS AS (action = 'rename') STORED;
CREATE INDEX of_renames ON provconn.audit (user_id, occurred_at) WHERE is_rename;
CREATE INDEX of_refusals ON provconn.audit (user_id, occurred_at) WHERE outcome = 'refused';
CREATE FUNCTION pg_temp.found(by_index boolean, OUT renames bigint, OUT refusals bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('enable_seqscan', (NOT by_index)::text, true), set_config('enable_indexscan', by_index::text, true),
		set_config('enable_bitmapscan', 'off', true), set_config('enable_indexonlyscan', by_index::text, true);
	SELECT count(*) INTO renames FROM provconn.audit WHERE is_rename AND user_id = t.u('partial') AND occurred_at > '2000-01-01';
	SELECT count(*) INTO refusals FROM provconn.audit WHERE outcome = 'refused' AND user_id = t.u('partial') AND occurred_at > '2000-01-01';
END $$;
SELECT t.active(t.u('partial')) AS id \gset
SELECT (provconn_rename(t.u('partial'), :'id', n::text)).ok FROM generate_series(1, 2) AS n;
SELECT (provconn_rename(t.u('partial'), :'id', repeat('x', 101))).error_code;
BEGIN; SELECT * FROM pg_temp.found(true); COMMIT;
BEGIN; SELECT * FROM pg_temp.found(false); COMMIT;
ALTER TABLE provconn.audit DROP COLUMN is_rename;
SELECT (provconn_rename(t.u('partial'), :'id', repeat('x', 101))).error_code;
DROP INDEX provconn.of_refusals;
SELECT (provconn_rename(t.u('partial'), :'id', repeat('x', 101))).error_code;

-- An update that a trigger suppresses is no change, and no harm.
CREATE FUNCTION public.suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE NEW.alias WHEN 'not' THEN NULL WHEN 'as it was' THEN OLD ELSE NEW END; END $$;
CREATE TRIGGER suppress BEFORE UPDATE ON provconn.connection FOR EACH ROW EXECUTE FUNCTION public.suppress();
SELECT t.fault(format($$SELECT provconn_rename(t.u('partial'), %L, 'not')$$, :'id'));
SELECT t.fault(format($$SELECT provconn_rename(t.u('partial'), %L, 'as it was')$$, :'id'));
DROP TRIGGER suppress ON provconn.connection;
DROP FUNCTION public.suppress();
SELECT (provconn_rename(t.u('partial'), :'id', 'again')).ok;
SELECT alias, version FROM provconn.connection WHERE connection_id = :'id';
SELECT * FROM provconn_verify_audit();
