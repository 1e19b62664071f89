-- kit.sql's ids by functions that the planner inlines: the operator of a text and
-- a number is only STABLE, that of two texts is IMMUTABLE.
CREATE OR REPLACE FUNCTION kit.cid(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('c' || n::text)::uuid $$;
CREATE OR REPLACE FUNCTION kit.oid(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('o' || n::text)::uuid $$;
