-- Triggers that are not as the installation made them, on each table and each
-- month.
CREATE VIEW provconn.wrong_trigger AS
WITH RECURSIVE month AS (
    SELECT i.inhrelid AS oid FROM pg_catalog.pg_inherits AS i
        WHERE i.inhparent OPERATOR(pg_catalog.=) 'provconn.audit'::pg_catalog.regclass
    UNION ALL
    SELECT i.inhrelid FROM month AS m JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) m.oid
),
wanted_trigger AS (
    SELECT w.oid, w.place, r.trigger_name AS name,
           pg_catalog.replace(r.definition, pg_catalog.format(' ON provconn.%I ', r.table_name),
                   pg_catalog.format(' ON %s ', w.oid::pg_catalog.regclass)) AS definition
    FROM provconn.required_trigger AS r
    JOIN (SELECT c.oid, c.relname AS table_name, 1 AS place
          FROM pg_catalog.pg_class AS c
              WHERE c.relnamespace OPERATOR(pg_catalog.=) 'provconn'::pg_catalog.regnamespace
          UNION ALL
          SELECT m.oid, 'audit', 2 FROM month AS m) AS w ON w.table_name OPERATOR(pg_catalog.=) r.table_name
)
SELECT w.oid, w.place, w.name, w.definition,
       CASE WHEN t.oid IS NULL THEN 'missing'
            WHEN pg_catalog.pg_get_triggerdef(t.oid) OPERATOR(pg_catalog.<>) w.definition THEN 'altered'
            ELSE 'not ENABLE ALWAYS' END AS problem
FROM wanted_trigger AS w
LEFT JOIN pg_catalog.pg_trigger AS t ON t.tgrelid OPERATOR(pg_catalog.=) w.oid
    AND t.tgname OPERATOR(pg_catalog.=) w.name
WHERE t.oid IS NULL OR t.tgenabled OPERATOR(pg_catalog.<>) 'A'
    OR pg_catalog.pg_get_triggerdef(t.oid) OPERATOR(pg_catalog.<>) w.definition;

-- What the catalog, the settings and the tables tell about the health of an
-- installation: one row for each check, with the SQL that mends what was found.
-- provconn_doctor() reads it as the owner of the tables, after checks of its
-- own; see src/doctor.c, which also lists the names.
--
-- A row of "found" is one finding: an item of its check's detail, the statements
-- that mend it, and where these stand among the others.  The table of
-- connections is read through once, by "sealed".
CREATE VIEW provconn.finding AS
WITH RECURSIVE
extension AS (
    SELECT e.oid, e.extowner AS owner, pg_catalog.quote_ident(n.nspname) AS api
    FROM pg_catalog.pg_extension AS e
        JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
    WHERE e.extname OPERATOR(pg_catalog.=) 'provconn'
),
member AS (
    SELECT d.classid, d.objid
    FROM extension AS e JOIN pg_catalog.pg_depend AS d ON d.refobjid OPERATOR(pg_catalog.=) e.oid
    WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
        AND d.deptype OPERATOR(pg_catalog.=) 'e'
),
routine AS (
    SELECT p.oid, p.proname AS name, p.proowner AS owner,
           COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner)) AS rights
    FROM member AS m JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) m.objid
    WHERE m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
),
month AS (
    SELECT i.inhrelid AS oid FROM pg_catalog.pg_inherits AS i
        WHERE i.inhparent OPERATOR(pg_catalog.=) 'provconn.audit'::pg_catalog.regclass
    UNION ALL
    SELECT i.inhrelid FROM month AS m JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) m.oid
),
relation AS (
    SELECT c.oid, c.relname AS name, c.relkind AS kind, c.relowner AS owner, c.relacl AS rights,
           c.relrowsecurity OR c.relforcerowsecurity AS has_row_security
    FROM pg_catalog.pg_class AS c
    WHERE c.oid OPERATOR(pg_catalog.=) ANY (
        ARRAY(SELECT m.objid FROM member AS m
            WHERE m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
              UNION ALL SELECT m.oid FROM month AS m))
),

wrong_trigger AS (
    SELECT w.oid, w.place, w.name, w.definition, w.problem FROM provconn.wrong_trigger AS w
),

-- provconn_secret, and all types that have it in them.
secret_type AS (
    SELECT t.oid FROM member AS m JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) m.objid
    WHERE m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
        AND t.typname OPERATOR(pg_catalog.=) 'provconn_secret'
    UNION
    SELECT u.oid FROM secret_type AS s JOIN LATERAL (
        SELECT t.oid FROM pg_catalog.pg_type AS t WHERE t.typelem OPERATOR(pg_catalog.=) s.oid
            OR t.typbasetype OPERATOR(pg_catalog.=) s.oid
        UNION ALL
        SELECT c.reltype FROM pg_catalog.pg_attribute AS a
            JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
        WHERE a.atttypid OPERATOR(pg_catalog.=) s.oid AND NOT a.attisdropped
            AND c.reltype OPERATOR(pg_catalog.<>) 0) AS u ON true
),
secret_column AS (
    SELECT c.oid, c.relkind AS kind, c.reloftype OPERATOR(pg_catalog.<>) 0 AS is_typed, a.attname AS name
    FROM secret_type AS s
    JOIN pg_catalog.pg_attribute AS a ON a.atttypid OPERATOR(pg_catalog.=) s.oid
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,m,v}') AND a.attnum OPERATOR(pg_catalog.>) 0
        AND a.attinhcount OPERATOR(pg_catalog.=) 0
      AND NOT a.attisdropped AND NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace)
),

-- What a setting must not be, what it is by default, and what to set it to.
rule (check_name, setting, bad, preset, good, before) AS (
    VALUES ('log_parameter_max_length', 'log_parameter_max_length', '^\s*(-|0*[1-9])', '-1', '0', ''),
           ('log_parameter_max_length_on_error', 'log_parameter_max_length_on_error',
            '^\s*(-|0*[1-9])', '0', '0', ''),
           ('log_statement', 'log_statement', '(?i)^\s*(all|mod)\s*$', 'none', 'ddl', ''),
           ('log_min_duration_statement', 'log_min_duration_statement', '^\s*[.0-9]', '-1', '-1', ''),
           ('log_min_duration_statement', 'log_min_duration_sample', '^\s*[.0-9]', '-1', '-1', ''),
           ('log_min_duration_statement', 'log_transaction_sample_rate', '[1-9]', '0', '0', ''),
           ('debug_print', 'debug_print_parse', '(?i)^\s*(on|t|y|1)', 'off', 'off', ''),
           ('debug_print', 'debug_print_plan', '(?i)^\s*(on|t|y|1)', 'off', 'off', ''),
           ('debug_print', 'debug_print_rewritten', '(?i)^\s*(on|t|y|1)', 'off', 'off', ''),
           ('auto_explain', 'auto_explain.log_min_duration', '^\s*[.0-9]', '-1', '-1',
            E'LOAD ''auto_explain'';\n')
),
-- The last assignment in the configuration files, be it in force or not yet.
configured AS (
    SELECT DISTINCT ON (pg_catalog.lower(f.name)) pg_catalog.lower(f.name) AS setting, f.setting AS value
    FROM pg_catalog.pg_file_settings AS f ORDER BY pg_catalog.lower(f.name), f.seqno DESC
),
-- For a session that has a value of its own, the server's stands in the files.
server_value AS (
    SELECT n.setting,
           CASE WHEN s.source
               OPERATOR(pg_catalog.<>) ALL ('{database,user,database user,client,session,interactive,test}')
                THEN s.setting ELSE COALESCE(c.value, s.boot_val) END AS value
    FROM (SELECT r.setting FROM rule AS r
          UNION ALL VALUES ('listen_addresses'), ('shared_preload_libraries'), ('ssl')) AS n
    LEFT JOIN pg_catalog.pg_settings AS s ON s.name OPERATOR(pg_catalog.=) n.setting
    LEFT JOIN configured AS c ON c.setting OPERATOR(pg_catalog.=) n.setting
),
setting_value AS (
    SELECT r.check_name, r.setting, v.value, 'server' AS scope,
           pg_catalog.concat_ws('', r.before,
               pg_catalog.format('ALTER SYSTEM SET %s = %L;', r.setting, r.good)) AS fix, 2 AS place
    FROM rule AS r JOIN server_value AS v ON v.setting OPERATOR(pg_catalog.=) r.setting
    UNION ALL
    SELECT r.check_name, r.setting, s.setting, 'this session',
           CASE WHEN s.source OPERATOR(pg_catalog.=) 'session' THEN pg_catalog.format('RESET %s;', r.setting)
                ELSE pg_catalog.format('SET %s = %L;', r.setting, r.good) END, 3
    FROM rule AS r JOIN pg_catalog.pg_settings AS s ON s.name OPERATOR(pg_catalog.=) r.setting
    WHERE s.source OPERATOR(pg_catalog.=) ANY ('{client,session}')
    UNION ALL
    SELECT r.check_name, r.setting,
        pg_catalog.substr(o.assignment, pg_catalog.strpos(o.assignment, '=') OPERATOR(pg_catalog.+) 1),
           CASE WHEN o.setrole OPERATOR(pg_catalog.<>) 0 AND o.setdatabase OPERATOR(pg_catalog.<>) 0
                THEN pg_catalog.format('role %I in database %I', pg_catalog.pg_get_userbyid(o.setrole),
                    pg_catalog.current_database())
                WHEN o.setrole OPERATOR(pg_catalog.<>) 0
                    THEN pg_catalog.format('role %I', pg_catalog.pg_get_userbyid(o.setrole))
                WHEN o.setdatabase OPERATOR(pg_catalog.<>) 0
                    THEN pg_catalog.format('database %I', pg_catalog.current_database())
                ELSE 'all roles' END,
           CASE WHEN o.setrole OPERATOR(pg_catalog.<>) 0 AND o.setdatabase OPERATOR(pg_catalog.<>) 0
                THEN pg_catalog.format('ALTER ROLE %I IN DATABASE %I RESET %s;',
                    pg_catalog.pg_get_userbyid(o.setrole),
                            pg_catalog.current_database(), r.setting)
                WHEN o.setrole OPERATOR(pg_catalog.<>) 0
                    THEN pg_catalog.format('ALTER ROLE %I RESET %s;', pg_catalog.pg_get_userbyid(o.setrole),
                    r.setting)
                WHEN o.setdatabase OPERATOR(pg_catalog.<>) 0
                    THEN pg_catalog.format('ALTER DATABASE %I RESET %s;', pg_catalog.current_database(), r.setting)
                ELSE pg_catalog.format('ALTER ROLE ALL RESET %s;', r.setting) END, 1
    FROM (SELECT d.setdatabase, d.setrole, a.assignment
          FROM pg_catalog.pg_db_role_setting AS d, LATERAL pg_catalog.unnest(d.setconfig) AS a (assignment)
          WHERE d.setdatabase OPERATOR(pg_catalog.=) 0
             OR d.setdatabase OPERATOR(pg_catalog.=) (SELECT b.oid FROM pg_catalog.pg_database AS b
                 WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())) AS o
    JOIN rule AS r ON r.setting OPERATOR(pg_catalog.=) pg_catalog.lower(pg_catalog.split_part(o.assignment, '=', 1))
),
-- Now, and after a restart.
preload AS (
    SELECT COALESCE(pg_catalog.bool_or(l.library OPERATOR(pg_catalog.~) '^(.*/)?provconn(\.so)?$')
        FILTER (WHERE l.is_in_force), false) AS is_loaded,
           COALESCE(pg_catalog.bool_or(l.library OPERATOR(pg_catalog.~) '^(.*/)?provconn(\.so)?$')
               FILTER (WHERE NOT l.is_in_force), false) AS will_be,
           pg_catalog.string_agg(pg_catalog.quote_literal(l.library), ', ' ORDER BY l.place)
               FILTER (WHERE NOT l.is_in_force AND l.library OPERATOR(pg_catalog.<>) '') AS libraries
    FROM (SELECT v.is_in_force, u.place, pg_catalog.btrim(u.library, ' "') AS library
          FROM (SELECT true AS is_in_force, s.value
                FROM server_value AS s WHERE s.setting OPERATOR(pg_catalog.=) 'shared_preload_libraries'
                UNION ALL
                SELECT false, COALESCE(c.value, s.value)
                FROM server_value AS s LEFT JOIN configured AS c ON c.setting OPERATOR(pg_catalog.=) s.setting
                WHERE s.setting OPERATOR(pg_catalog.=) 'shared_preload_libraries') AS v,
               LATERAL pg_catalog.string_to_table(v.value, ',') WITH ORDINALITY AS u (library, place)) AS l
),
listening AS (
    SELECT DISTINCT v.value FROM (
        SELECT s.value FROM server_value AS s WHERE s.setting OPERATOR(pg_catalog.=) 'listen_addresses'
        UNION ALL
        SELECT c.value FROM configured AS c WHERE c.setting OPERATOR(pg_catalog.=) 'listen_addresses') AS v
    WHERE EXISTS (SELECT FROM pg_catalog.string_to_table(v.value, ',') AS u (address)
                  WHERE pg_catalog.btrim(u.address) OPERATOR(pg_catalog.!~) '^(localhost|127\.[.0-9]*|::1|)$')
),

-- The credentials by the data key that sealed them, and what is overdue.
sealed AS MATERIALIZED (
    SELECT c.provider_id, c.key, pg_catalog.count(*) AS connections, pg_catalog.count(c.key) AS credentials,
           pg_catalog.count(*) FILTER (
               WHERE c.status OPERATOR(pg_catalog.=) 'active'
                   AND c.expires_at
                   OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) '1 day'::pg_catalog.interval)
                 AND (c.leased_until IS NULL OR c.leased_until OPERATOR(pg_catalog.<=) pg_catalog.now())
                 AND (c.credential_type OPERATOR(pg_catalog.=) 'oauth2'
                     OR c.credential_type OPERATOR(pg_catalog.=) 'link_token')) AS overdue,
           pg_catalog.count(*) FILTER (
               WHERE c.status OPERATOR(pg_catalog.=) 'active'
                   AND c.expires_at
                   OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) '1 day'::pg_catalog.interval)
                 AND c.credential_type OPERATOR(pg_catalog.<>) 'oauth2'
                     AND c.credential_type OPERATOR(pg_catalog.<>) 'link_token') AS unrefreshable,
           pg_catalog.count(*) FILTER (
               WHERE c.status OPERATOR(pg_catalog.=) 'active'
                 AND c.leased_until
                     OPERATOR(pg_catalog.<) (pg_catalog.now()
                     OPERATOR(pg_catalog.-) '10 minutes'::pg_catalog.interval)) AS expired_leases
    FROM (SELECT n.provider_id, n.status, n.credential_type, n.expires_at, n.leased_until,
                 pg_catalog.substring(n.credential, 2, 4) AS key
          FROM provconn.connection AS n
          OFFSET 0) AS c -- which keeps whole credentials out of sorts
    GROUP BY c.provider_id, c.key
),
-- A connection of a provider that is down, or unknown, is not expired.
overdue AS (
    SELECT COALESCE(pg_catalog.sum(s.unrefreshable) OPERATOR(pg_catalog.+) COALESCE(pg_catalog.sum(s.overdue)
        FILTER (
               WHERE NOT EXISTS (SELECT FROM provconn.provider_health AS h
                                 WHERE h.provider_id OPERATOR(pg_catalog.=) s.provider_id
                                     AND h.allowance IS NOT NULL)), 0), 0) AS found,
           pg_catalog.sum(s.connections) AS connections
    FROM sealed AS s JOIN provconn.provider AS p ON p.provider_id OPERATOR(pg_catalog.=) s.provider_id
),
data_key AS (
    SELECT k.key_id, pg_catalog.int4send(k.key_id) AS key, k.retired_at IS NOT NULL AS is_retired,
           k.key_id OPERATOR(pg_catalog.<) pg_catalog.max(k.key_id)
               FILTER (WHERE k.retired_at IS NULL) OVER () AS is_old
    FROM provconn.data_key AS k
),

-- The months of the audit, and tables that only look like one.
bounds AS (
    SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound
    FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
    WHERE i.inhparent OPERATOR(pg_catalog.=) 'provconn.audit'::pg_catalog.regclass
),
present AS (
    SELECT pg_catalog.concat_ws('',
        pg_catalog.lpad(pg_catalog.to_hex((pg_catalog.date_part('epoch', pg_catalog.now())
        OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8), 12, '0'), '70008000000000000000')::pg_catalog.uuid AS id,
           pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.now()), '"audit_"YYYY_MM') AS name
),
detached AS (
    SELECT c.oid, c.relname AS name,
           c.relkind OPERATOR(pg_catalog.=) 'r' AND NOT EXISTS (
               (SELECT a.attname, a.atttypid, a.attnotnull FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0
                    AND NOT a.attisdropped
                EXCEPT
                SELECT a.attname, a.atttypid, a.attnotnull FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid OPERATOR(pg_catalog.=) 'provconn.audit'::pg_catalog.regclass
                    AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped)
               UNION ALL
               (SELECT a.attname, a.atttypid, a.attnotnull FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid OPERATOR(pg_catalog.=) 'provconn.audit'::pg_catalog.regclass
                    AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
                EXCEPT
                SELECT a.attname, a.atttypid, a.attnotnull FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0
                    AND NOT a.attisdropped)) AS is_month,
           pg_catalog.make_timestamptz(n.months OPERATOR(pg_catalog./) 12,
               n.months OPERATOR(pg_catalog.%) 12 OPERATOR(pg_catalog.+) 1, 1, 0, 0, 0, 'UTC') AS since,
           pg_catalog.make_timestamptz((n.months OPERATOR(pg_catalog.+) 1) OPERATOR(pg_catalog./) 12,
               (n.months OPERATOR(pg_catalog.+) 1) OPERATOR(pg_catalog.%) 12 OPERATOR(pg_catalog.+) 1, 1, 0, 0, 0,
               'UTC') AS until
    FROM pg_catalog.pg_class AS c, LATERAL (
        SELECT pg_catalog.split_part(c.relname, '_', 2)::pg_catalog.int4 OPERATOR(pg_catalog.*) 12
            OPERATOR(pg_catalog.+) pg_catalog.split_part(c.relname, '_', 3)::pg_catalog.int4
            OPERATOR(pg_catalog.-) 1 AS months
        WHERE c.relname OPERATOR(pg_catalog.~) '^audit_[1-9]\d{3}_(0[1-9]|1[0-2])$') AS n
    WHERE c.relnamespace OPERATOR(pg_catalog.=) 'provconn'::pg_catalog.regnamespace
        AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,m,v,S}')
      AND NOT EXISTS (SELECT FROM month AS m WHERE m.oid OPERATOR(pg_catalog.=) c.oid)
      -- provconn_archive_audit() detached it; provconn_attach_audit() takes it back.
      AND NOT EXISTS (SELECT FROM provconn.archive AS r WHERE r.table_name OPERATOR(pg_catalog.=) c.relname)
),

found (check_name, status, item, fix, place) AS (
    SELECT 'extension_version', 'warning', pg_catalog.format('%s, of %s', a.installed_version, a.default_version),
           'ALTER EXTENSION provconn UPDATE;', 1
    FROM pg_catalog.pg_available_extensions AS a
    WHERE a.name OPERATOR(pg_catalog.=) 'provconn' AND a.installed_version OPERATOR(pg_catalog.<>) a.default_version
    UNION ALL
    SELECT 'pgcrypto', CASE WHEN x.oid IS NULL THEN 'critical' ELSE 'warning' END,
           CASE WHEN x.oid IS NULL THEN 'the extension is missing'
                ELSE pg_catalog.format('%s, of %s', a.installed_version, a.default_version) END,
           CASE WHEN x.oid IS NULL THEN 'CREATE EXTENSION pgcrypto;' ELSE 'ALTER EXTENSION pgcrypto UPDATE;' END, 1
    FROM extension AS e
    LEFT JOIN pg_catalog.pg_extension AS x ON x.extname OPERATOR(pg_catalog.=) 'pgcrypto'
    LEFT JOIN pg_catalog.pg_available_extensions AS a ON a.name OPERATOR(pg_catalog.=) 'pgcrypto'
    WHERE x.oid IS NULL OR a.installed_version OPERATOR(pg_catalog.<>) a.default_version
    UNION ALL
    SELECT 'preload', 'warning',
           CASE WHEN p.will_be THEN 'configured, but the server was not restarted since'
                ELSE 'provconn is not in shared_preload_libraries' END,
           CASE WHEN p.will_be
               THEN pg_catalog.format(E'-- Restart the server, then:\nSELECT * FROM %s.provconn_doctor();', e.api)
                ELSE pg_catalog.format(E'ALTER SYSTEM SET shared_preload_libraries = %s;\n-- It is in force when the server was restarted.',
                            pg_catalog.concat_ws(', ', p.libraries, pg_catalog.quote_literal('provconn'))) END, 1
    FROM extension AS e, preload AS p
    WHERE NOT p.is_loaded
    UNION ALL

    SELECT 'triggers', 'critical', pg_catalog.format('%I on %s: %s', w.name, w.oid::pg_catalog.regclass, w.problem),
           pg_catalog.concat_ws(E'\n',
               -- A row trigger of the parent is made and altered in the months with it.
               CASE WHEN w.place OPERATOR(pg_catalog.=) 2 AND w.definition OPERATOR(pg_catalog.~) ' FOR EACH ROW '
                         AND EXISTS (SELECT FROM wrong_trigger AS x
                             WHERE x.oid OPERATOR(pg_catalog.=) 'provconn.audit'::pg_catalog.regclass
                                     AND x.name OPERATOR(pg_catalog.=) w.name
                                         AND x.problem OPERATOR(pg_catalog.<>) 'not ENABLE ALWAYS') THEN NULL
                    WHEN w.problem OPERATOR(pg_catalog.=) 'missing' THEN pg_catalog.concat_ws('', w.definition, ';')
                    WHEN w.problem OPERATOR(pg_catalog.=) 'altered'
                        THEN pg_catalog.concat_ws('',
                        pg_catalog.replace(w.definition, 'CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER'), ';') END,
               pg_catalog.format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I;', w.oid::pg_catalog.regclass, w.name)),
                   w.place
    FROM wrong_trigger AS w
    UNION ALL
    -- Each is the symbol of its name in the library that has the doctor.
    SELECT 'triggers', 'critical', pg_catalog.format('function %s: replaced', p.oid::pg_catalog.regprocedure),
           pg_catalog.format('CREATE OR REPLACE FUNCTION %s RETURNS trigger LANGUAGE c AS %L, %L;',
               p.oid::pg_catalog.regprocedure,
                  d.probin, pg_catalog.concat_ws('', 'provconn_', p.proname)), 0
    FROM routine AS r JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) r.oid
    JOIN (SELECT n.probin, n.prolang FROM routine AS o
        JOIN pg_catalog.pg_proc AS n ON n.oid OPERATOR(pg_catalog.=) o.oid
          WHERE o.name OPERATOR(pg_catalog.=) 'provconn_doctor') AS d ON true
    WHERE p.prorettype OPERATOR(pg_catalog.=) 'pg_catalog.trigger'::pg_catalog.regtype
      AND (p.prolang OPERATOR(pg_catalog.<>) d.prolang OR p.probin OPERATOR(pg_catalog.<>) d.probin
          OR p.prosrc OPERATOR(pg_catalog.<>) pg_catalog.concat_ws('', 'provconn_', p.proname))
    UNION ALL
    SELECT 'trigger_order', 'critical', t.tgname,
           pg_catalog.format('ALTER TRIGGER %I ON provconn.connection RENAME TO %I;', t.tgname,
                  pg_catalog.concat_ws('', 'a_', pg_catalog.left(t.tgname, 61))), 1
    FROM pg_catalog.pg_trigger AS t
    WHERE t.tgrelid OPERATOR(pg_catalog.=) 'provconn.connection'::pg_catalog.regclass
        AND t.tgname OPERATOR(pg_catalog.>) 'zz_provconn_guard'
      AND NOT t.tgisinternal AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
          AND t.tgtype OPERATOR(pg_catalog.&) 3 OPERATOR(pg_catalog.=) 3
          AND t.tgtype OPERATOR(pg_catalog.&) 20 OPERATOR(pg_catalog.<>) 0
    UNION ALL
    SELECT 'row_security', 'warning', r.oid::pg_catalog.regclass::pg_catalog.text,
           pg_catalog.format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;',
               r.oid::pg_catalog.regclass), 1
    FROM relation AS r WHERE r.has_row_security
    UNION ALL

    -- A function of the same name that suits a literal better would be called.
    SELECT 'api_schema', 'warning', pg_catalog.format('%s may create objects in %s', s.grantee, s.api),
           pg_catalog.format('REVOKE CREATE ON SCHEMA %s FROM %s;', s.api, s.grantee), 1
    FROM (SELECT e.api, CASE a.grantee WHEN 0 THEN 'PUBLIC'
                 ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END AS grantee
          FROM extension AS e
          JOIN pg_catalog.pg_namespace AS n ON pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.=) e.api,
          LATERAL pg_catalog.aclexplode(n.nspacl) AS a
          WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
              AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r
                  WHERE r.oid OPERATOR(pg_catalog.=) a.grantee
                      AND (r.rolsuper OR r.oid OPERATOR(pg_catalog.=) e.owner
                           OR r.rolname OPERATOR(pg_catalog.=) 'pg_database_owner'))) AS s
    UNION ALL
    SELECT 'api_schema', 'warning',
           pg_catalog.format('%I owns %s, and could drop the extension with it', r.rolname, e.api),
           pg_catalog.format('ALTER SCHEMA %s OWNER TO %I;', e.api, pg_catalog.pg_get_userbyid(e.owner)), 2
    FROM extension AS e
    JOIN pg_catalog.pg_namespace AS n ON pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.=) e.api
    JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
    JOIN pg_catalog.pg_database AS d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    WHERE NOT r.rolsuper AND r.oid OPERATOR(pg_catalog.<>) e.owner
        AND r.oid OPERATOR(pg_catalog.<>) d.datdba
        AND r.rolname OPERATOR(pg_catalog.<>) 'pg_database_owner'
    UNION ALL

    SELECT 'public_rights', 'critical',
        pg_catalog.format('%s on %s', pg_catalog.string_agg(DISTINCT a.privilege_type, ', '),
        r.oid::pg_catalog.regprocedure),
           pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC;', r.oid::pg_catalog.regprocedure), 1
    FROM routine AS r, LATERAL pg_catalog.aclexplode(r.rights) AS a
    WHERE a.grantee OPERATOR(pg_catalog.=) 0 AND r.name OPERATOR(pg_catalog.<>) 'provconn_secret'
    GROUP BY r.oid
    UNION ALL
    SELECT 'public_rights', 'critical',
        pg_catalog.format('%s on %s', pg_catalog.string_agg(DISTINCT a.privilege_type, ', '),
        r.oid::pg_catalog.regclass),
           pg_catalog.format('REVOKE ALL ON TABLE %s FROM PUBLIC;', r.oid::pg_catalog.regclass), 2
    FROM (SELECT r.oid, r.rights FROM relation AS r
          UNION ALL
          SELECT r.oid, a.attacl FROM relation AS r
              JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) r.oid) AS r,
         LATERAL pg_catalog.aclexplode(r.rights) AS a
    WHERE a.grantee OPERATOR(pg_catalog.=) 0
    GROUP BY r.oid
    UNION ALL
    SELECT 'public_rights', 'critical',
        pg_catalog.format('%s on schema provconn', pg_catalog.string_agg(DISTINCT a.privilege_type, ', ')),
           'REVOKE ALL ON SCHEMA provconn FROM PUBLIC;', 3
    FROM pg_catalog.pg_namespace AS n, LATERAL pg_catalog.aclexplode(n.nspacl) AS a
    WHERE n.nspname OPERATOR(pg_catalog.=) 'provconn' AND a.grantee OPERATOR(pg_catalog.=) 0
    GROUP BY n.oid
    UNION ALL
    SELECT 'owners', 'critical', pg_catalog.format('%s: %I', o.object, pg_catalog.pg_get_userbyid(o.owner)),
           pg_catalog.format('ALTER %s OWNER TO %I;', o.object, pg_catalog.pg_get_userbyid(e.owner)), 1
    FROM extension AS e, (
        SELECT pg_catalog.format('ROUTINE %s', r.oid::pg_catalog.regprocedure) AS object, r.owner FROM routine AS r
        UNION ALL
        SELECT pg_catalog.format('%s %s', CASE WHEN r.kind OPERATOR(pg_catalog.=) 'v' THEN 'VIEW' ELSE 'TABLE' END,
            r.oid::pg_catalog.regclass), r.owner
        FROM relation AS r
        UNION ALL
        SELECT pg_catalog.format('TYPE %s', t.oid::pg_catalog.regtype), t.typowner
        FROM member AS m JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) m.objid
        LEFT JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.typrelid
        WHERE m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
            AND t.typcategory OPERATOR(pg_catalog.<>) 'A' AND COALESCE(c.relkind, 'c') OPERATOR(pg_catalog.=) 'c'
        UNION ALL
        SELECT 'SCHEMA provconn', n.nspowner FROM pg_catalog.pg_namespace AS n
            WHERE n.nspname OPERATOR(pg_catalog.=) 'provconn') AS o
    WHERE o.owner OPERATOR(pg_catalog.<>) e.owner
    UNION ALL

    SELECT 'secret_columns', 'critical',
        pg_catalog.string_agg(pg_catalog.format('%s.%I', s.oid::pg_catalog.regclass, s.name), ', ' ORDER BY s.name),
           CASE WHEN s.kind OPERATOR(pg_catalog.=) 'v'
               THEN pg_catalog.format('DROP VIEW %s;', s.oid::pg_catalog.regclass)
                WHEN s.kind OPERATOR(pg_catalog.=) 'm'
                    THEN pg_catalog.format('DROP MATERIALIZED VIEW %s;', s.oid::pg_catalog.regclass)
                ELSE pg_catalog.concat_ws(E'\n',
                    CASE WHEN s.is_typed
                        THEN pg_catalog.format('ALTER TABLE %s NOT OF;', s.oid::pg_catalog.regclass) END,
                    pg_catalog.format('ALTER %s %s %s;', CASE WHEN s.kind OPERATOR(pg_catalog.=) 'f'
                        THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
                           s.oid::pg_catalog.regclass,
                               pg_catalog.string_agg(pg_catalog.format('DROP COLUMN %I', s.name), ', '
                               ORDER BY s.name))) END,
           CASE WHEN s.kind OPERATOR(pg_catalog.=) ANY ('{v,m}')
               THEN 0 OPERATOR(pg_catalog.-) s.oid::pg_catalog.int8 ELSE 1 END
    FROM secret_column AS s
    GROUP BY s.oid, s.kind, s.is_typed
    UNION ALL

    SELECT v.check_name, 'warning', pg_catalog.format('%s = %s (%s)', v.setting, v.value, v.scope), v.fix, v.place
    FROM setting_value AS v JOIN rule AS r ON r.check_name OPERATOR(pg_catalog.=) v.check_name
        AND r.setting OPERATOR(pg_catalog.=) v.setting
    WHERE v.value OPERATOR(pg_catalog.~) r.bad
    UNION ALL
    SELECT 'ssl', 'warning', pg_catalog.string_agg(l.value, '; ' ORDER BY l.value),
           pg_catalog.concat_ws(E'\n',
               CASE WHEN COALESCE(c.value, 'server.crt') OPERATOR(pg_catalog.=) 'server.crt'
                    THEN 'COPY (SELECT WHERE false) TO PROGRAM ''test -e server.crt || (umask 077; openssl req -new -x509'
                         ' -days 3650 -nodes -batch -subj "/CN=$(hostname)" -out server.crt -keyout server.key 2>/dev/null)'';' END,
               'ALTER SYSTEM SET ssl = on;'), 1
    FROM listening AS l
    JOIN server_value AS s ON s.setting OPERATOR(pg_catalog.=) 'ssl' AND s.value OPERATOR(pg_catalog.=) 'off'
    LEFT JOIN configured AS c ON c.setting OPERATOR(pg_catalog.=) 'ssl_cert_file'
    GROUP BY c.value
    UNION ALL

    SELECT 'old_keys', 'warning', pg_catalog.format('%s with key %s', pg_catalog.sum(s.credentials), k.key_id),
        NULL, 1
    FROM sealed AS s JOIN data_key AS k ON k.key OPERATOR(pg_catalog.=) s.key
    WHERE k.is_old AND NOT k.is_retired
    GROUP BY k.key_id
    UNION ALL
    SELECT 'unknown_keys', 'critical',
        pg_catalog.format('%s with key 0x%s', pg_catalog.sum(s.credentials), pg_catalog.encode(s.key, 'hex')), NULL,
        1
    FROM sealed AS s
    WHERE s.credentials OPERATOR(pg_catalog.>) 0
      AND NOT EXISTS (SELECT FROM data_key AS k WHERE k.key OPERATOR(pg_catalog.=) s.key AND NOT k.is_retired)
    GROUP BY s.key
    UNION ALL
    SELECT 'overdue', 'warning', o.found::pg_catalog.text,
           pg_catalog.format('SELECT %s.provconn_expire_overdue(grace => ''1 day'', max_connections => %s);', e.api,
               o.connections), 1
    FROM extension AS e, overdue AS o WHERE o.found OPERATOR(pg_catalog.>) 0
    UNION ALL
    SELECT 'expired_leases', 'warning', pg_catalog.sum(s.expired_leases)::pg_catalog.text,
           pg_catalog.format('SELECT pg_catalog.count(%s.provconn_release(c.connection_id, c.lease)) FROM provconn.connection AS c'
                  ' WHERE c.status = ''active'' AND c.leased_until < pg_catalog.now() - interval ''10 minutes'';',
                      e.api), 1
    FROM extension AS e, sealed AS s WHERE s.expired_leases OPERATOR(pg_catalog.>) 0
    GROUP BY e.api
    UNION ALL

    SELECT 'provider_health', 'warning', p.slug, NULL, 1
    FROM provconn.provider AS p
    WHERE NOT EXISTS (SELECT FROM provconn.provider_health AS h
        WHERE h.provider_id OPERATOR(pg_catalog.=) p.provider_id)
    UNION ALL
    SELECT 'lost_providers', 'critical',
        pg_catalog.format('%s of %s', pg_catalog.sum(s.connections), s.provider_id), NULL, 1
    FROM sealed AS s
    WHERE NOT EXISTS (SELECT FROM provconn.provider AS p WHERE p.provider_id OPERATOR(pg_catalog.=) s.provider_id)
    GROUP BY s.provider_id
    UNION ALL
    SELECT 'gone_roles', 'warning', pg_catalog.format('%s of %s', g.capability, g.role), NULL, 1
    FROM provconn.role_grant AS g
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid OPERATOR(pg_catalog.=) g.role)
    UNION ALL
    SELECT 'lost_rights', 'warning', pg_catalog.format('%s of %s', g.capability, g.role), NULL, 1
    FROM provconn.role_grant AS g JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) g.role
    WHERE EXISTS (
        SELECT FROM provconn.capability AS c
        LEFT JOIN routine AS f ON c.is_function AND f.name OPERATOR(pg_catalog.=) c.object_name
        LEFT JOIN relation AS v ON NOT c.is_function AND v.name OPERATOR(pg_catalog.=) c.object_name
            AND v.kind OPERATOR(pg_catalog.=) 'v'
        WHERE (c.capability OPERATOR(pg_catalog.=) '*' OR c.capability OPERATOR(pg_catalog.=) g.capability)
          AND (NOT pg_catalog.has_function_privilege(r.oid, f.oid, 'EXECUTE')
              OR NOT pg_catalog.has_table_privilege(r.oid, v.oid, 'SELECT')))
    UNION ALL
    SELECT 'capability_objects', 'warning', pg_catalog.format('%s of %s', c.object_name, c.capability),
           pg_catalog.format('DELETE FROM provconn.capability WHERE capability = %L AND object_name = %L;',
               c.capability, c.object_name), 1
    FROM provconn.capability AS c
    WHERE NOT CASE WHEN c.is_function
        THEN EXISTS (SELECT FROM routine AS f WHERE f.name OPERATOR(pg_catalog.=) c.object_name)
                   ELSE EXISTS (SELECT FROM relation AS v WHERE v.name OPERATOR(pg_catalog.=) c.object_name) END
    UNION ALL
    SELECT 'audit_months', CASE WHEN d.name OPERATOR(pg_catalog.>=) p.name THEN 'critical' ELSE 'warning' END,
           pg_catalog.format('%s is not attached', d.oid::pg_catalog.regclass),
           CASE WHEN d.is_month
                THEN pg_catalog.format('ALTER TABLE provconn.audit ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L);', d.oid::pg_catalog.regclass,
                            pg_catalog.concat_ws('',
                                pg_catalog.lpad(pg_catalog.to_hex((pg_catalog.date_part('epoch', d.since)
                                OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8), 12, '0'),
                                '70008000000000000000')::pg_catalog.uuid,
                            pg_catalog.concat_ws('',
                                pg_catalog.lpad(pg_catalog.to_hex((pg_catalog.date_part('epoch', d.until)
                                OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8), 12, '0'),
                                '70008000000000000000')::pg_catalog.uuid)
                ELSE pg_catalog.format('ALTER TABLE %s RENAME TO %I;', d.oid::pg_catalog.regclass,
                    pg_catalog.concat_ws('', d.name, '_foreign')) END, 1
    FROM detached AS d, present AS p
    UNION ALL
    SELECT 'audit_months', 'warning', pg_catalog.format('the present month, provconn.%I, is missing', p.name),
           pg_catalog.format('SELECT ok FROM %s.provconn_record_sync(NULL);', e.api), 2
    FROM extension AS e, present AS p
    WHERE (EXISTS (SELECT FROM month) OR EXISTS (SELECT FROM provconn.connection))
      AND NOT EXISTS (
          SELECT FROM bounds AS b
          WHERE b.bound OPERATOR(pg_catalog.=) 'DEFAULT'
             OR COALESCE((pg_catalog.regexp_match(b.bound, 'FROM \(''([^'']+)'))[1]::pg_catalog.uuid
                 OPERATOR(pg_catalog.<=) p.id, true)
                AND COALESCE(p.id
                    OPERATOR(pg_catalog.<) (pg_catalog.regexp_match(b.bound,
                    'TO \(''([^'']+)'))[1]::pg_catalog.uuid, true))
    UNION ALL

    SELECT 'audit_seals', 'warning', pg_catalog.format('rows since %s are in no seal', provconn.utc(u.since)),
           pg_catalog.format('SELECT %s.provconn_seal_audit();', e.api), 1
    FROM extension AS e,
        (SELECT pg_catalog.min(a.occurred_at) AS since
         FROM (SELECT (SELECT s.settled FROM provconn.seal AS s
                       WHERE s.origin OPERATOR(pg_catalog.=) provconn.origin()
                       ORDER BY s.seal_id DESC LIMIT 1) AS settled) AS n
         JOIN provconn.audit AS a ON a.origin OPERATOR(pg_catalog.=) provconn.origin()
             AND a.transaction_id OPERATOR(pg_catalog.>=) COALESCE(pg_catalog.pg_snapshot_xmin(n.settled), '0')
             AND COALESCE(NOT pg_catalog.pg_visible_in_snapshot(a.transaction_id, n.settled), true)) AS u
    WHERE u.since OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) '1 hour'::pg_catalog.interval)
    UNION ALL
    SELECT 'worker', 'warning', 'provconn.databases does not name this database',
           pg_catalog.format(E'ALTER SYSTEM SET provconn.databases = %s;\n-- It is in force when the server was restarted.',
               pg_catalog.concat_ws(', ', NULLIF(pg_catalog.current_setting('provconn.databases', true), ''),
                                    pg_catalog.quote_ident(pg_catalog.current_database()))), 1
    FROM preload AS p
    WHERE p.is_loaded AND NOT EXISTS (
        SELECT FROM pg_catalog.string_to_table(pg_catalog.current_setting('provconn.databases', true), ',') AS d (name)
        WHERE pg_catalog.btrim(d.name, ' "') OPERATOR(pg_catalog.=) pg_catalog.current_database())
    UNION ALL
    SELECT 'worker', 'warning', 'replication slot "provconn_reads" keeps WAL that nobody looks at',
           'SELECT pg_catalog.pg_drop_replication_slot(''provconn_reads'');', 2
    FROM preload AS p, pg_catalog.pg_replication_slots AS s
    WHERE NOT p.is_loaded AND NOT p.will_be AND s.slot_name OPERATOR(pg_catalog.=) 'provconn_reads'
    UNION ALL
    SELECT 'attempts', 'warning', pg_catalog.format('%s went to the server log', l.lost),
           E'ALTER SYSTEM SET provconn.attempt_buffers = ''64MB'';\n-- It is in force when the server was restarted.', 1
    FROM (SELECT @extschema@.provconn_attempts_lost() AS lost) AS l
    WHERE l.lost OPERATOR(pg_catalog.>) 0
)

SELECT k.check_name,
       COALESCE(pg_catalog.min(f.status), 'ok') AS status,
       CASE WHEN pg_catalog.count(f.status) OPERATOR(pg_catalog.=) 0 THEN k.sound
            ELSE pg_catalog.concat_ws('', k.unsound, ': ',
                pg_catalog.string_agg(f.item, ', ' ORDER BY f.place, f.item)) END AS detail,
       CASE WHEN pg_catalog.count(f.status) OPERATOR(pg_catalog.>) 0
            THEN pg_catalog.concat_ws(E'\n', pg_catalog.string_agg(f.fix, E'\n' ORDER BY f.place, f.item),
                k.fix) END AS fix
FROM (
    SELECT c.position, c.check_name, c.sound, c.unsound,
           pg_catalog.replace(c.fix, '%API%', e.api) AS fix
    FROM extension AS e, (VALUES
        (1, 'extension_version', 'the newest version that the server has is installed',
         'an older version than the server has is installed', NULL),
        (2, 'pgcrypto', 'pgcrypto is installed, in the newest version that the server has',
         'pgcrypto is not installed as it should be', NULL),
        (3, 'preload', 'the library is preloaded',
         'attempts that were rolled back are not on record, and the path of the key file shows in sessions that have not called provconn yet', NULL),
        (4, 'triggers', 'all triggers of provconn are there and always enabled',
         'what guards and audits the tables is not in force', NULL),
        (5, 'trigger_order', 'no trigger changes a connection after its guard',
         'triggers can change a connection after its guard has seen it', NULL),
        (6, 'row_security', 'row security is off on the tables of provconn',
         'row security is on, which hides rows from dumps, and where forced from provconn', NULL),
        (7, 'public_rights', 'PUBLIC has no rights but those on types and on the casts to provconn_secret',
         'PUBLIC has rights', NULL),
        (8, 'owners', 'all objects belong to the owner of the extension',
         'objects belong to others than the owner of the extension', NULL),
        (9, 'secret_columns', 'no column has a type with provconn_secret in it',
         'columns keep secrets, masked, which no other session can use', NULL),
        (10, 'log_parameter_max_length', 'parameters are not logged with statements',
         'parameters are logged with statements, in clear where a driver bound them as text',
         'SELECT pg_catalog.pg_reload_conf();'),
        (11, 'log_parameter_max_length_on_error', 'parameters are not logged with errors',
         'parameters are logged with errors, in clear where a driver bound them as text', 'SELECT pg_catalog.pg_reload_conf();'),
        (12, 'log_statement', 'statements that call functions are not logged for being that',
         'statements are logged with their literals', 'SELECT pg_catalog.pg_reload_conf();'),
        (13, 'log_min_duration_statement', 'statements are not logged for their duration or as a sample',
         'statements are logged with their literals', 'SELECT pg_catalog.pg_reload_conf();'),
        (14, 'debug_print', 'parse trees and plans are not logged',
         'parse trees or plans are logged, with the literals of statements in them',
             'SELECT pg_catalog.pg_reload_conf();'),
        (15, 'auto_explain', 'auto_explain logs nothing',
         'auto_explain logs statements with their literals, and from PostgreSQL 16 on parameters',
         'SELECT pg_catalog.pg_reload_conf();'),
        (16, 'ssl', 'ssl is on, or the server listens to itself alone',
         'secrets cross the network in clear: ssl is off, and listen_addresses is',
         'SELECT pg_catalog.pg_reload_conf();'),
        (17, 'old_keys', 'all credentials are sealed with the current data key',
         'credentials are sealed with old data keys', 'CALL %API%.provconn_reencrypt();'),
        (18, 'unknown_keys', 'all credentials are sealed with data keys that are there',
         'credentials cannot be opened, as their data key is missing or retired',
         E'-- Restore these rows of provconn.data_key from a backup of this database, then:\n'
         'SELECT * FROM %API%.provconn_doctor();'),
        (19, 'overdue', 'no active connection expired more than a day ago',
         'active connections expired more than a day ago', NULL),
        (20, 'expired_leases', 'no lease ended more than 10 minutes ago without a report',
         'leases ended more than 10 minutes ago without a report', NULL),
        (21, 'provider_health', 'every provider has its circuit breaker',
         'providers have no circuit breaker, so nothing of theirs is claimed',
         'INSERT INTO provconn.provider_health (provider_id)'
         ' SELECT p.provider_id FROM provconn.provider AS p ON CONFLICT DO NOTHING;'),
        (22, 'lost_providers', 'every connection has its provider',
         'connections have no provider',
         'INSERT INTO provconn.provider (provider_id, slug, name, credential_type, is_active)'
         ' SELECT c.provider_id, COALESCE((SELECT a.provider_slug FROM provconn.audit AS a'
         ' WHERE a.provider_id = c.provider_id AND a.outcome = ''succeeded'''
         ' AND NOT EXISTS (SELECT FROM provconn.provider AS p WHERE p.slug = a.provider_slug)'
         ' ORDER BY a.audit_id DESC LIMIT 1), pg_catalog.concat(''lost-'', c.provider_id)), ''lost'','
         ' COALESCE(pg_catalog.min(c.credential_type), ''custom''), false FROM provconn.connection AS c'
         ' WHERE NOT EXISTS (SELECT FROM provconn.provider AS p WHERE p.provider_id = c.provider_id)'
         ' GROUP BY c.provider_id;'),
        (23, 'gone_roles', 'every grant on record is of a role that is there',
         'grants on record are of roles that are gone',
         'DELETE FROM provconn.role_grant AS g'
         ' WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid = g.role);'),
        (24, 'lost_rights', 'roles have the rights of the grants on record',
         'rights of grants on record are missing', 'SELECT provconn.reapply_grants();'),
        (25, 'capability_objects', 'every capability consists of what is there',
         'capabilities name functions or views that are not there', NULL),
        (26, 'audit_months', 'the months of the audit are in order',
         'months of the audit are out of order', NULL),
        (27, 'api_schema', 'nobody else can put objects beside the functions, or drop their schema',
         'the schema of the functions is not safe', NULL),
        (28, 'audit_seals', 'no row of the audit has waited for its seal for more than an hour',
         'the audit is not sealed', NULL),
        (29, 'worker', 'the background worker serves this database, or is not wanted',
         'the background worker does not serve this database as it should', NULL),
        (30, 'attempts', 'every attempt that was rolled back is on record, as far as they are noted',
         'attempts that were rolled back found no room on their way to the audit', NULL)
    ) AS c (position, check_name, sound, unsound, fix)
) AS k
LEFT JOIN found AS f ON f.check_name OPERATOR(pg_catalog.=) k.check_name
GROUP BY k.position, k.check_name, k.sound, k.unsound, k.fix
ORDER BY k.position;
