/*
 * partition.c (layer 4): the months of provconn.audit.
 *
 * The audit is partitioned by range over its UUIDv7 audit_id, so by time; a
 * partition is found by its bounds, whatever its name.  A month is made by
 * CREATE TABLE and ATTACH PARTITION, which lets readers and writers of the other
 * months go on; the maker holds a lock on the parent that only other makers
 * wait for.  Months are made well ahead by whichever write finds the horizon
 * short, and only if it gets that lock at once; a write waits for it only where
 * its own month is missing, which needs a server that wrote nothing for months.
 *
 * Partitions are no members of the extension, so pg_dump keeps them and their
 * rows; DROP EXTENSION drops them with their parent.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "lib/stringinfo.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "pgtime.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "fault.h"
#include "news.h"
#include "partition.h"
#include "store.h"
#include "uuid7.h"

/* How many months after the current one are kept ready. */
#define MONTHS_AHEAD 3

typedef struct Month
{
	int			year;
	int			month;			/* 1 to 12 */
} Month;

static const ProvconnColumn columns[] = {
	{"shard_key", INT4OID},
	{"audit_id", UUIDOID},
};

static ProvconnTable audit = {
	.name = "audit", .is_partitioned = true, .key_columns = 2, .column_count = 2, .columns = columns
};

/* What default privileges gave on a new month. */
static ProvconnStatement default_grants = {
	.sql = "SELECT pg_catalog.string_agg(pg_catalog.format('REVOKE ALL ON TABLE provconn.%I FROM %s',"
	" c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC'"
	" ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END), '; ')"
	" FROM pg_catalog.pg_class AS c, LATERAL pg_catalog.aclexplode(c.relacl) AS a"
	" WHERE c.relname OPERATOR(pg_catalog.=) $1"
	" AND c.relnamespace OPERATOR(pg_catalog.=) 'provconn'::pg_catalog.regnamespace"
	" AND a.grantee OPERATOR(pg_catalog.<>) c.relowner",
	.nargs = 1,
	.types = {NAMEOID}
};

/* Whether a partition is from $2 to $3. */
static ProvconnStatement has_bounds = {
	.sql = "SELECT COALESCE((SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid) OPERATOR(pg_catalog.=)"
	" pg_catalog.format('FOR VALUES FROM (%L) TO (%L)', $2, $3)"
	" FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) $1), false)",
	.nargs = 3,
	.types = {OIDOID, UUIDOID, UUIDOID}
};

/* The partition that was found last, and how long the months ahead last. */
typedef struct Known
{
	Oid			partition;
	ProvconnUuid from;
	ProvconnUuid to;
	TimestampTz extended_until;
} Known;

static Known known;

static Oid	find_partition(const ProvconnUuid *audit_id, bool *in_use);
static Oid	find_bounds(const ProvconnUuid *audit_id, bool *in_use, int *offset);
static void remember_partition(Oid partition, PartitionBoundInfo bounds, int offset);
static void forget_partitions(Oid relid);
static bool name_is_taken(Month month);
static bool is_partly_covered(Month month);
static void make_month(Month month);
static void run_month_ddl(Month month);
static void run_ddl(const char *format,...) pg_attribute_printf(1, 2);
static Month month_of(TimestampTz when);
static Month month_after(Month month, int months);
static ProvconnUuid month_floor(Month month);
static TimestampTz month_begin(Month month);
static char *uuid_text(ProvconnUuid uuid);

void
provconn_partition_init(void)
{
	provconn_news_listen(forget_partitions);
}

Oid
provconn_partition_for(const ProvconnUuid *audit_id, TimestampTz when)
{
	bool		in_use;
	Oid			partition;
	Month		month;

	/* The lock brings news of partitions that came or went, and is owed to who waits for writers. */
	LockRelationOid(provconn_store_relid(&audit), RowExclusiveLock);
	if (OidIsValid(known.partition) &&
		memcmp(audit_id, &known.from, sizeof(ProvconnUuid)) >= 0 &&
		memcmp(audit_id, &known.to, sizeof(ProvconnUuid)) < 0)
		return known.partition;

	partition = find_partition(audit_id, &in_use);
	if (OidIsValid(partition))
		return partition;

	month = month_of(when);
	if (in_use)
		provconn_fault_raise(PROVCONN_FAULT_PARTITION_MISSING,
							 psprintf("%04d-%02d", month.year, month.month),
							 "the statement that calls this function reads the audit");
	LockRelationOid(provconn_store_relid(&audit), ShareUpdateExclusiveLock);
	partition = find_partition(audit_id, &in_use);
	if (OidIsValid(partition))
		return partition;
	make_month(month);
	partition = find_partition(audit_id, &in_use);
	if (!OidIsValid(partition))
		provconn_fault_raise(PROVCONN_FAULT_PARTITION_MISSING,
							 psprintf("%04d-%02d", month.year, month.month),
							 "the clock was set back");
	return partition;
}

void
provconn_partition_extend(TimestampTz when)
{
	uint64		before;
	Month		now;
	ProvconnUuid horizon;
	bool		in_use;

	if (when < known.extended_until)
		return;
	before = provconn_news_count();
	now = month_of(when);
	horizon = month_floor(month_after(now, MONTHS_AHEAD));
	if (OidIsValid(find_partition(&horizon, &in_use)))
	{
		if (before == provconn_news_count())
			known.extended_until = month_begin(month_after(now, 1));
		return;
	}
	if (in_use)
		return;
	if (!ConditionalLockRelationOid(provconn_store_relid(&audit), ShareUpdateExclusiveLock))
		return;
	for (int i = 0; i <= MONTHS_AHEAD; i++)
	{
		Month		month = month_after(now, i);
		ProvconnUuid floor = month_floor(month);

		if (OidIsValid(find_partition(&floor, &in_use)))
			continue;
		/* What stands in the way of a later month is no reason to stop now. */
		if (name_is_taken(month))
			ereport(WARNING,
					(errmsg("provconn.audit has no partition for %04d-%02d: another table has its name",
							month.year, month.month),
					 errhint("Attach it, or rename it, before that month begins."),
					 errhidestmt(true), errhidecontext(true)));
		else if (i > 0 && is_partly_covered(month))
			ereport(WARNING,
					(errmsg("provconn.audit has partitions for parts of %04d-%02d only",
							month.year, month.month),
					 errhint("Make one for the rest before that month begins."),
					 errhidestmt(true), errhidecontext(true)));
		else
			make_month(month);
	}
}

Oid
provconn_partition_of_month(TimestampTz when, ProvconnUuid *from, ProvconnUuid *to)
{
	Month		month = month_of(when);
	Datum		values[3];
	Datum		found;
	bool		isnull;
	bool		in_use;

	*from = month_floor(month);
	*to = month_floor(month_after(month, 1));
	values[0] = ObjectIdGetDatum(find_partition(from, &in_use));
	values[1] = UUIDPGetDatum((const pg_uuid_t *) from);
	values[2] = UUIDPGetDatum((const pg_uuid_t *) to);
	if (!OidIsValid(DatumGetObjectId(values[0])))
		return InvalidOid;
	(void) provconn_store_run(&audit, &has_bounds, values, NULL, 1, &found, &isnull);
	return DatumGetBool(found) ? DatumGetObjectId(values[0]) : InvalidOid;
}

void
provconn_partition_withdraw_defaults(const char *name)
{
	Datum		value = DirectFunctionCall1(namein, CStringGetDatum(name));
	Datum		sql;
	bool		isnull;

	(void) provconn_store_run(&audit, &default_grants, &value, NULL, 1, &sql, &isnull);
	if (!isnull)
		provconn_store_execute(&audit, TextDatumGetCString(sql));
}

bool
provconn_partition_is_past(TimestampTz when, TimestampTz now)
{
	Month		month = month_of(when);
	Month		present = month_of(now);

	return month.year * 12 + month.month < present.year * 12 + present.month;
}

/* The partition whose bounds hold the id; *in_use: this session has the parent open. */
static Oid
find_partition(const ProvconnUuid *audit_id, bool *in_use)
{
	int			offset;

	return find_bounds(audit_id, in_use, &offset);
}

/* The same, and which bound is the last one not above the id; -1: none is. */
static Oid
find_bounds(const ProvconnUuid *audit_id, bool *in_use, int *offset)
{
	Relation	parent = provconn_store_open(&audit, RowExclusiveLock);
	uint64		before = provconn_news_count();
	PartitionKey key = RelationGetPartitionKey(parent);
	PartitionDesc partitions = RelationGetPartitionDesc(parent, true);
	PartitionBoundInfo bounds = partitions->boundinfo;
	Datum		value = UUIDPGetDatum((const pg_uuid_t *) audit_id);
	Oid			found = InvalidOid;

	if (key == NULL || key->strategy != PARTITION_STRATEGY_RANGE || key->partnatts != 1)
		provconn_fault_raise(PROVCONN_FAULT_TABLE_CHANGED, "audit", "audit_id");

	*in_use = parent->rd_refcnt > 1;
	*offset = -1;
	if (partitions->nparts > 0)
	{
		bool		equal;
		int			index;

		*offset = partition_range_datum_bsearch(key->partsupfunc, key->partcollation,
												bounds, 1, &value, &equal);
		index = bounds->indexes[*offset + 1];
		if (index < 0)
			index = bounds->default_index;
		if (index >= 0)
			found = partitions->oids[index];
		if (OidIsValid(found) && index != bounds->default_index &&
			before == provconn_news_count())
			remember_partition(found, bounds, *offset);
	}
	table_close(parent, NoLock);
	return found;
}

/* Forgotten again when one of the two tables changes. */
static void
remember_partition(Oid partition, PartitionBoundInfo bounds, int offset)
{
	for (int i = offset; i <= offset + 1; i++)
		if (i < 0 || i >= bounds->ndatums || bounds->kind[i][0] != PARTITION_RANGE_DATUM_VALUE)
			return;
	memcpy(&known.from, DatumGetUUIDP(bounds->datums[offset][0]), sizeof(ProvconnUuid));
	memcpy(&known.to, DatumGetUUIDP(bounds->datums[offset + 1][0]), sizeof(ProvconnUuid));
	known.partition = partition;
}

static void
forget_partitions(Oid relid)
{
	if (!OidIsValid(relid) || relid == audit.relid || relid == known.partition)
		memset(&known, 0, sizeof(known));
}

static bool
name_is_taken(Month month)
{
	Oid			schema = get_rel_namespace(provconn_store_relid(&audit));

	return OidIsValid(get_relname_relid(psprintf("audit_%04d_%02d", month.year, month.month),
										schema));
}

/* Whether a month whose beginning is free has a bound further on. */
static bool
is_partly_covered(Month month)
{
	ProvconnUuid first = month_floor(month);
	ProvconnUuid last = month_floor(month_after(month, 1));
	bool		in_use;
	int			first_offset;
	int			last_offset;

	/* The greatest id below the next month's. */
	for (int i = lengthof(last.bytes) - 1; i >= 0 && last.bytes[i]-- == 0; i--)
		;
	(void) find_bounds(&first, &in_use, &first_offset);
	(void) find_bounds(&last, &in_use, &last_offset);
	return first_offset != last_offset;
}

/*
 * A month that is made while some extension's script runs must not become a
 * member of that extension: it would not be dumped, and be dropped with it.
 */
static void
make_month(Month month)
{
	bool		saved = creating_extension;

	if (name_is_taken(month))
		provconn_fault_raise(PROVCONN_FAULT_PARTITION_MISSING,
							 psprintf("%04d-%02d", month.year, month.month),
							 "another table has its name");
	creating_extension = false;
	PG_TRY();
	{
		run_month_ddl(month);
	}
	PG_FINALLY();
	{
		creating_extension = saved;
	}
	PG_END_TRY();
}

/*
 * The indexes are each month's own, not the parent's: pg_dump restores a month
 * by CREATE TABLE, ATTACH and only then its indexes, and would meet the ones
 * that ATTACH had made.  The server names them: those of a table that once had
 * this month's name may still have theirs.  Statement triggers of a parent are
 * not cloned to its partitions; row triggers are, with their ENABLE ALWAYS.
 * Rights that default privileges gave are taken back.
 */
static void
run_month_ddl(Month month)
{
	char	   *name = psprintf("audit_%04d_%02d", month.year, month.month);

	/* VACUUM keeps the BRIN index up to date, so it comes by the row, not by the share. */
	run_ddl("CREATE TABLE provconn.%s (LIKE provconn.audit INCLUDING ALL,"
			" PRIMARY KEY (shard_key, audit_id)) WITH (autovacuum_vacuum_insert_scale_factor = 0,"
			" autovacuum_vacuum_insert_threshold = 100000)", name);
	run_ddl("CREATE INDEX ON provconn.%s (connection_id, audit_id)", name);
	/* For provconn_erase_user: the few rows whose user need not be the connection's. */
	run_ddl("CREATE INDEX ON provconn.%s (user_id) WHERE " PROVCONN_PARTITION_CLAIMS, name);
	run_ddl("COMMENT ON TABLE provconn.%s IS 'provconn: audit rows of %04d-%02d (UTC)'",
			name, month.year, month.month);
	/* For seals, which look for what is new. */
	run_ddl("CREATE INDEX ON provconn.%s USING brin (transaction_id provconn.xid8_minmax_ops)"
			" WITH (pages_per_range = 16)", name);
	run_ddl("CREATE TRIGGER provconn_audit_no_truncate BEFORE TRUNCATE ON provconn.%s"
			" FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_audit()", name);
	run_ddl("ALTER TABLE provconn.%s ENABLE ALWAYS TRIGGER provconn_audit_no_truncate", name);
	run_ddl("CREATE TRIGGER provconn_import BEFORE INSERT ON provconn.%s"
			" FOR EACH STATEMENT EXECUTE FUNCTION provconn.guard_import()", name);
	run_ddl("ALTER TABLE provconn.%s ENABLE ALWAYS TRIGGER provconn_import", name);
	run_ddl("ALTER TABLE provconn.audit ATTACH PARTITION provconn.%s FOR VALUES FROM ('%s') TO ('%s')",
			name, uuid_text(month_floor(month)), uuid_text(month_floor(month_after(month, 1))));
	provconn_partition_withdraw_defaults(name);
}

static void
run_ddl(const char *format,...)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&sql, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&sql, needed);
	}
	provconn_store_execute(&audit, sql.data);
	pfree(sql.data);
}

static Month
month_of(TimestampTz when)
{
	pg_time_t	seconds = timestamptz_to_time_t(when);
	struct pg_tm *utc = pg_gmtime(&seconds);
	Month		month;

	month.year = utc->tm_year + 1900;
	month.month = utc->tm_mon + 1;
	return month;
}

static Month
month_after(Month month, int months)
{
	int			index = month.year * 12 + (month.month - 1) + months;
	Month		result = {index / 12, index % 12 + 1};

	return result;
}

/* The least UUIDv7 of the month. */
static ProvconnUuid
month_floor(Month month)
{
	int64		days = date2j(month.year, month.month, 1) - UNIX_EPOCH_JDATE;

	return provconn_uuid7_floor((uint64) days * SECS_PER_DAY * 1000);
}

static TimestampTz
month_begin(Month month)
{
	return (TimestampTz) (date2j(month.year, month.month, 1) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
}

static char *
uuid_text(ProvconnUuid uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out,
											   UUIDPGetDatum((const pg_uuid_t *) &uuid)));
}
