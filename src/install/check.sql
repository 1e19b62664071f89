-- Refuses a schema of our tables' name that is not ours, and one whose owner
-- could drop the extension with it, with a hint; warns of one where everybody may
-- create functions.
CREATE FUNCTION @extschema@.provconn_check_install(
    target name,
    tables_schema_exists boolean,
    target_is_a_strangers boolean,
    target_is_open boolean)
RETURNS void LANGUAGE c STRICT AS 'MODULE_PATHNAME';

SELECT @extschema@.provconn_check_install(
    n.nspname,
    EXISTS (SELECT FROM pg_catalog.pg_namespace
            WHERE nspname OPERATOR(pg_catalog.=) 'provconn'),
    NOT r.rolsuper
        AND r.rolname OPERATOR(pg_catalog.<>) 'pg_database_owner'
        AND r.rolname OPERATOR(pg_catalog.<>) current_user
        AND r.oid OPERATOR(pg_catalog.<>) d.datdba,
    EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) AS a
            WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
                AND a.grantee OPERATOR(pg_catalog.=) 0))
FROM pg_catalog.pg_namespace AS n
JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
JOIN pg_catalog.pg_database AS d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
WHERE n.nspname OPERATOR(pg_catalog.=) pg_catalog.current_schema();

DROP FUNCTION @extschema@.provconn_check_install(name, boolean, boolean, boolean);

CREATE SCHEMA provconn;
