/*
 * rights.c (layer 6): capabilities of roles.
 *
 * provconn.capability says which functions and views a capability consists of
 * ('*': every one has it), provconn.role_grant who was given which.  The rights
 * themselves are PostgreSQL's own, given by GRANT as the tables' owner.
 */
#include "postgres.h"

#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "catalog.h"
#include "compat.h"
#include "fault.h"
#include "rights.h"
#include "store.h"

static const ProvconnColumn columns[] = {
	{"role", REGROLEOID},
	{"capability", TEXTOID},
};

static ProvconnTable role_grant = {
	.name = "role_grant", .key_columns = 2, .column_count = 2, .columns = columns
};

/* The functions and views of capability $1, members of our extension alone. */
#define OBJECTS_OF_CAPABILITY \
	" FROM provconn.capability AS c" \
	" JOIN pg_catalog.pg_extension AS e ON e.extname OPERATOR(pg_catalog.=) 'provconn'" \
	" JOIN pg_catalog.pg_depend AS d ON d.deptype OPERATOR(pg_catalog.=) 'e'" \
	" AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass" \
	" AND d.refobjid OPERATOR(pg_catalog.=) e.oid" \
	" LEFT JOIN pg_catalog.pg_proc AS p ON c.is_function AND p.oid OPERATOR(pg_catalog.=) d.objid" \
	" AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass" \
	" AND p.proname OPERATOR(pg_catalog.=) c.object_name" \
	" LEFT JOIN pg_catalog.pg_class AS v ON NOT c.is_function AND v.oid OPERATOR(pg_catalog.=) d.objid" \
	" AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass" \
	" AND v.relname OPERATOR(pg_catalog.=) c.object_name" \
	" WHERE c.capability OPERATOR(pg_catalog.=) ANY (ARRAY[$1, '*'])" \
	" AND (p.oid IS NOT NULL OR v.oid IS NOT NULL)"

#define STATEMENTS(verb, preposition) \
	"SELECT pg_catalog.string_agg(CASE WHEN c.is_function" \
	" THEN pg_catalog.format('" verb " EXECUTE ON ROUTINE %s " preposition " %I'," \
	" p.oid::pg_catalog.regprocedure, pg_catalog.pg_get_userbyid($2))" \
	" ELSE pg_catalog.format('" verb " SELECT ON TABLE %s " preposition " %I'," \
	" v.oid::pg_catalog.regclass, pg_catalog.pg_get_userbyid($2)) END, '; ')" OBJECTS_OF_CAPABILITY

static ProvconnStatement is_capability = {
	.sql = "SELECT FROM provconn.capability"
	" WHERE capability OPERATOR(pg_catalog.=) $1 AND $1 OPERATOR(pg_catalog.<>) '*'",
	.nargs = 1,
	.types = {TEXTOID}
};

static ProvconnStatement grant_statements = {
	.sql = STATEMENTS("GRANT", "TO"),
	.nargs = 2,
	.types = {TEXTOID, OIDOID}
};

/* What another capability of the role brings, stays. */
static ProvconnStatement revoke_statements = {
	.sql = STATEMENTS("REVOKE", "FROM") " AND NOT EXISTS (SELECT FROM provconn.role_grant AS g JOIN provconn.capability AS o"
	" ON o.capability OPERATOR(pg_catalog.=) ANY (ARRAY[g.capability, '*'])"
	" WHERE g.role OPERATOR(pg_catalog.=) $2"
	" AND o.object_name OPERATOR(pg_catalog.=) c.object_name)",
	.nargs = 2,
	.types = {TEXTOID, OIDOID}
};

static ProvconnStatement record_grant = {
	.sql = "INSERT INTO provconn.role_grant (role, capability, granted_by)"
	" VALUES ($2, $1, $3) ON CONFLICT DO NOTHING",
	.nargs = 3,
	.types = {TEXTOID, OIDOID, NAMEOID}
};

static ProvconnStatement forget_grant = {
	.sql = "DELETE FROM provconn.role_grant"
	" WHERE role OPERATOR(pg_catalog.=) $2 AND capability OPERATOR(pg_catalog.=) $1",
	.nargs = 2,
	.types = {TEXTOID, OIDOID}
};

static ProvconnStatement has_usage = {
	.sql = "SELECT pg_catalog.has_schema_privilege($1::pg_catalog.oid, $2::pg_catalog.oid, 'USAGE'),"
	" $2::pg_catalog.regnamespace::pg_catalog.text",
	.nargs = 2,
	.types = {OIDOID, OIDOID}
};

/* The grants on record, of roles that are still there. */
static ProvconnStatement next_grant = {
	.sql = "SELECT g.role::pg_catalog.oid, g.capability"
	" FROM provconn.role_grant AS g JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) g.role"
	" ORDER BY 1, 2 OFFSET $1 LIMIT 1",
	.nargs = 1,
	.types = {INT8OID}
};

/* What default privileges, or PUBLIC's own, gave on the extension's members. */
static ProvconnStatement withdraw_statements = {
	.sql = "SELECT pg_catalog.string_agg(pg_catalog.format('REVOKE ALL ON %s FROM %s', o.object,"
	" CASE a.grantee WHEN 0 THEN 'PUBLIC'"
	" ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END), '; ')"
	" FROM (SELECT 'TABLE ' OPERATOR(pg_catalog.||) c.oid::pg_catalog.regclass::pg_catalog.text AS object,"
	" c.relowner AS owner, c.relacl AS acl, 'pg_catalog.pg_class'::pg_catalog.regclass AS class, c.oid AS oid"
	" FROM pg_catalog.pg_class AS c"
	" UNION ALL SELECT 'ROUTINE ' OPERATOR(pg_catalog.||) p.oid::pg_catalog.regprocedure::pg_catalog.text,"
	" p.proowner, COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner)),"
	" 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid FROM pg_catalog.pg_proc AS p"
	" UNION ALL SELECT 'SCHEMA ' OPERATOR(pg_catalog.||) n.oid::pg_catalog.regnamespace::pg_catalog.text,"
	" n.nspowner, n.nspacl, 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid"
	" FROM pg_catalog.pg_namespace AS n) AS o"
	" JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) o.class"
	" AND d.objid OPERATOR(pg_catalog.=) o.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'"
	" AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass"
	" AND d.refobjid OPERATOR(pg_catalog.=) $1,"
	" LATERAL pg_catalog.aclexplode(o.acl) AS a"
	" WHERE a.grantee OPERATOR(pg_catalog.<>) o.owner",
	.nargs = 1,
	.types = {OIDOID}
};

static void require_owner(void);
static void require_capability(const char *capability);
static void run_statements(ProvconnStatement *statements, Oid role, const char *capability);
static void warn_without_usage(Oid role);

void
provconn_rights_grant(Oid role, const char *capability)
{
	Datum		values[3];

	require_owner();
	require_capability(capability);
	run_statements(&grant_statements, role, capability);

	values[0] = CStringGetTextDatum(capability);
	values[1] = ObjectIdGetDatum(role);
	values[2] = DirectFunctionCall1(namein,
									CStringGetDatum(GetUserNameFromId(GetUserId(), false)));
	(void) provconn_store_run(&role_grant, &record_grant, values, NULL, 0, NULL, NULL);
	warn_without_usage(role);
}

void
provconn_rights_revoke(Oid role, const char *capability)
{
	Datum		values[2];

	require_owner();
	require_capability(capability);
	values[0] = CStringGetTextDatum(capability);
	values[1] = ObjectIdGetDatum(role);
	(void) provconn_store_run(&role_grant, &forget_grant, values, NULL, 0, NULL, NULL);
	run_statements(&revoke_statements, role, capability);
}

void
provconn_rights_reapply(void)
{
	require_owner();
	for (int64 i = 0;; i++)
	{
		Datum		offset = Int64GetDatum(i);
		Datum		grant[2];
		bool		nulls[2];

		if (provconn_store_run(&role_grant, &next_grant, &offset, NULL, 2, grant, nulls) == 0)
			break;
		run_statements(&grant_statements, DatumGetObjectId(grant[0]),
					   TextDatumGetCString(grant[1]));
	}
}

void
provconn_rights_withdraw_defaults(void)
{
	Datum		extension = ObjectIdGetDatum(get_extension_oid("provconn", false));
	Datum		sql;
	bool		isnull;

	require_owner();
	(void) provconn_store_run(&role_grant, &withdraw_statements, &extension, NULL,
							  1, &sql, &isnull);
	if (!isnull)
		provconn_store_execute(&role_grant, TextDatumGetCString(sql));
}

static void
require_owner(void)
{
	if (!object_ownercheck(ExtensionRelationId, get_extension_oid("provconn", false), GetUserId()))
		provconn_fault_raise(PROVCONN_FAULT_NOT_OWNER);
}

static void
require_capability(const char *capability)
{
	Datum		value = CStringGetTextDatum(capability);

	if (provconn_store_run(&role_grant, &is_capability, &value, NULL, 0, NULL, NULL) == 0)
		provconn_fault_raise(PROVCONN_FAULT_UNKNOWN_CAPABILITY);
}

static void
run_statements(ProvconnStatement *statements, Oid role, const char *capability)
{
	Datum		values[2];
	Datum		sql;
	bool		isnull;

	(void) GetUserNameFromId(role, false);	/* or an error */
	values[0] = CStringGetTextDatum(capability);
	values[1] = ObjectIdGetDatum(role);
	(void) provconn_store_run(&role_grant, statements, values, NULL, 1, &sql, &isnull);
	if (!isnull)
		provconn_store_execute(&role_grant, TextDatumGetCString(sql));
}

/* With the functions in a schema of their own, EXECUTE alone does not reach them. */
static void
warn_without_usage(Oid role)
{
	Datum		values[2];
	Datum		out[2];
	bool		nulls[2];

	values[0] = ObjectIdGetDatum(role);
	values[1] = ObjectIdGetDatum(provconn_catalog_api_schema());
	(void) provconn_store_run(&role_grant, &has_usage, values, NULL, 2, out, nulls);
	if (!DatumGetBool(out[0]))
		ereport(WARNING,
				(errmsg("role \"%s\" has no USAGE on schema %s",
						GetUserNameFromId(role, false), TextDatumGetCString(out[1])),
				 errhint("GRANT USAGE ON SCHEMA %s TO %s;", TextDatumGetCString(out[1]),
						 quote_identifier(GetUserNameFromId(role, false)))));
}
