-- Refuses a schema of our tables' name that is not ours, with a hint.
CREATE FUNCTION @extschema@.provconn_check_install(target name, tables_schema_exists boolean)
RETURNS void LANGUAGE c STRICT AS 'MODULE_PATHNAME';

SELECT @extschema@.provconn_check_install(
    pg_catalog.current_schema(),
    EXISTS (SELECT FROM pg_catalog.pg_namespace
            WHERE nspname OPERATOR(pg_catalog.=) 'provconn'));

DROP FUNCTION @extschema@.provconn_check_install(name, boolean);

CREATE SCHEMA provconn;
