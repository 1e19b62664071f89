/*
 * archive.c (layer 7): months of the audit, put away and taken back.
 *
 * A month is a table, which is detached as it is.  Seals stay, but the leaves of
 * those that are over this month alone go with it, into a table beside it named
 * for it with _seal.  A seal's hash is over the root, not over the leaves: the
 * chain of seals verifies without them.  That a month was detached is on record
 * in provconn.archive, so that verification knows what is put away from what is
 * gone; and the audit has a row of it with a hash of all of provconn.archive.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "archive.h"
#include "call.h"
#include "compat.h"
#include "entry.h"
#include "fault.h"
#include "partition.h"
#include "seal.h"
#include "store.h"

/* How many problems a month has: $1 and $2 are the bounds of its ids. */
static ProvconnStatement problems = {
	.sql = "SELECT pg_catalog.count(*) FROM (SELECT FROM provconn.verify_rows($1, $2)"
	" UNION ALL SELECT FROM provconn.verify_chains($1, $2)) AS p",
	.nargs = 2,
	.types = {UUIDOID, UUIDOID},
	.custom = true
};

/* Rows that no seal has. */
static ProvconnStatement unsealed = {
	.sql = "SELECT pg_catalog.count(*) FROM provconn.audit AS a"
	" WHERE a.audit_id OPERATOR(pg_catalog.>=) $1 AND a.audit_id OPERATOR(pg_catalog.<) $2"
	" AND NOT EXISTS (SELECT FROM (SELECT l.audit_id FROM provconn.seal AS s, provconn.seal_leaves(s.leaves) AS l"
	" WHERE s.last_id OPERATOR(pg_catalog.>=) $1 AND s.first_id OPERATOR(pg_catalog.<) $2) AS l"
	" WHERE l.audit_id OPERATOR(pg_catalog.=) a.audit_id)",
	.nargs = 2,
	.types = {UUIDOID, UUIDOID},
	.custom = true
};

static ProvconnStatement record = {
	.sql = "SELECT r.from_id, r.to_id FROM provconn.archive AS r WHERE r.table_name OPERATOR(pg_catalog.=) $1",
	.nargs = 1,
	.types = {NAMEOID}
};

static ProvconnStatement all_archives = {.sql = "SELECT provconn.archive_hash()"};

static bool moving = false;

static void put_on_record(ProvconnCall *call, const char *name);
static void require_sealed(const char *name, const ProvconnUuid *from, const ProvconnUuid *to);
static void run(const char *sql);
static char *id_text(const ProvconnUuid *id);

Oid
provconn_archive_detach(Oid caller, TimestampTz month)
{
	ProvconnUuid from;
	ProvconnUuid to;
	Oid			table = provconn_partition_of_month(month, &from, &to);
	char	   *name;
	char	   *seals;
	char	   *first = id_text(&from);
	char	   *next = id_text(&to);
	char	   *role = GetUserNameFromId(GetSessionUserId(), true);
	ProvconnCall call;

	provconn_call_begin(&call, "archive_audit", caller);
	if (!OidIsValid(table))
		provconn_fault_raise(PROVCONN_FAULT_NO_MONTH, "the audit has no partition for exactly that month");
	name = get_rel_name(table);
	if (name == NULL || strlen(name) + strlen("_seal") >= NAMEDATALEN)
		provconn_fault_raise(PROVCONN_FAULT_NO_MONTH, "the partition's name is too long");
	if (!provconn_partition_is_past(month, GetCurrentTimestamp()))
		provconn_fault_raise(PROVCONN_FAULT_NO_MONTH, "that month is not over");

	/* Whoever still writes there is waited for, and nobody begins to. */
	run(psprintf("LOCK TABLE provconn.%s IN SHARE MODE", quote_identifier(name)));
	(void) provconn_seal_make(false);
	require_sealed(name, &from, &to);
	seals = psprintf("%s_seal", name);
	run(psprintf("CREATE TABLE provconn.%s (LIKE provconn.seal INCLUDING STORAGE, PRIMARY KEY (seal_id))",
				 quote_identifier(seals)));
	provconn_partition_withdraw_defaults(seals);
	run(psprintf("INSERT INTO provconn.%s SELECT s.* FROM provconn.seal AS s"
				 " WHERE s.last_id OPERATOR(pg_catalog.>=) '%s' AND s.first_id OPERATOR(pg_catalog.<) '%s'",
				 quote_identifier(seals), first, next));
	run(psprintf("COMMENT ON TABLE provconn.%s IS 'provconn: seals of provconn.%s'",
				 quote_identifier(seals), quote_identifier(name)));
	run(psprintf("INSERT INTO provconn.archive (table_name, from_id, to_id, row_count, detached_at, session_role)"
				 " SELECT %s, '%s', '%s', pg_catalog.count(*), pg_catalog.clock_timestamp(), %s FROM provconn.%s",
				 quote_literal_cstr(name), first, next,
				 role != NULL ? quote_literal_cstr(role) : "NULL", quote_identifier(name)));
	run(psprintf("UPDATE provconn.seal SET leaves = '', heads = ''"
				 " WHERE first_id OPERATOR(pg_catalog.>=) '%s' AND last_id OPERATOR(pg_catalog.<) '%s'"
				 " AND row_count OPERATOR(pg_catalog.>) 0", first, next));
	run(psprintf("ALTER TABLE provconn.audit DETACH PARTITION provconn.%s", quote_identifier(name)));
	put_on_record(&call, name);
	return table;
}

void
provconn_archive_attach(Oid caller, Oid table)
{
	char	   *name = get_rel_name(table);
	char	   *seals;
	Datum		values[1];
	Datum		bounds[2];
	bool		nulls[2];
	ProvconnCall call;

	provconn_call_begin(&call, "attach_audit", caller);
	if (name != NULL)
		values[0] = DirectFunctionCall1(namein, CStringGetDatum(name));
	if (name == NULL || get_rel_namespace(table) != get_rel_namespace(provconn_store_relid(&provconn_seal_table)) ||
		provconn_store_run(&provconn_seal_table, &record, values, NULL, 2, bounds, nulls) == 0)
		provconn_fault_raise(PROVCONN_FAULT_NO_MONTH, "provconn_archive_audit has not detached that table");

	seals = psprintf("%s_seal", name);
	run(psprintf("UPDATE provconn.seal AS s SET leaves = a.leaves, heads = a.heads"
				 " FROM provconn.%s AS a WHERE a.seal_id OPERATOR(pg_catalog.=) s.seal_id"
				 " AND pg_catalog.octet_length(s.leaves) OPERATOR(pg_catalog.=) 0",
				 quote_identifier(seals)));
	run(psprintf("ALTER TABLE provconn.audit ATTACH PARTITION provconn.%s FOR VALUES FROM ('%s') TO ('%s')",
				 quote_identifier(name),
				 id_text((ProvconnUuid *) DatumGetUUIDP(bounds[0])),
				 id_text((ProvconnUuid *) DatumGetUUIDP(bounds[1]))));
	run(psprintf("DELETE FROM provconn.archive WHERE table_name OPERATOR(pg_catalog.=) %s",
				 quote_literal_cstr(name)));
	run(psprintf("DROP TABLE provconn.%s", quote_identifier(seals)));
	put_on_record(&call, name);
}

bool
provconn_archive_is_moving(void)
{
	return moving;
}

/* All months that are put away now, so that provconn.archive can be told from another one. */
static void
put_on_record(ProvconnCall *call, const char *name)
{
	Datum		hash;
	bool		isnull;

	(void) provconn_store_run(&provconn_seal_table, &all_archives, NULL, NULL, 1, &hash, &isnull);
	provconn_call_note(call, "provconn.%s; the months archived now: %s", name, TextDatumGetCString(hash));
}

/* What does not verify is not put away. */
static void
require_sealed(const char *name, const ProvconnUuid *from, const ProvconnUuid *to)
{
	Datum		bounds[2];
	Datum		count;
	bool		isnull;

	bounds[0] = UUIDPGetDatum((const pg_uuid_t *) from);
	bounds[1] = UUIDPGetDatum((const pg_uuid_t *) to);
	(void) provconn_store_run(&provconn_entry_table, &unsealed, bounds, NULL, 1, &count, &isnull);
	if (DatumGetInt64(count) > 0)
		provconn_fault_raise(PROVCONN_FAULT_NOT_ARCHIVED, name, "has rows of transactions that are not settled");
	(void) provconn_store_run(&provconn_entry_table, &problems, bounds, NULL, 1, &count, &isnull);
	if (DatumGetInt64(count) > 0)
		provconn_fault_raise(PROVCONN_FAULT_NOT_ARCHIVED, name, "does not verify");
}

static void
run(const char *sql)
{
	moving = true;
	PG_TRY();
	{
		provconn_store_execute(&provconn_seal_table, sql);
	}
	PG_FINALLY();
	{
		moving = false;
	}
	PG_END_TRY();
}

static char *
id_text(const ProvconnUuid *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum((const pg_uuid_t *) id)));
}
