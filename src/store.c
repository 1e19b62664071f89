/*
 * store.c (layer 3): the only code that touches tables, and the only one that
 * acts as another user.
 *
 * Single rows go through the executor's simple API (writer.c): triggers, indexes
 * and constraints are kept, the planner is not asked.  That API checks no
 * privilege: whoever may call a function of ours may do what the function does,
 * and nothing else.  What is no single row goes through SPI.
 *
 * Rows are read as of now under READ COMMITTED, not as of the calling
 * statement's snapshot, so that a command judges what is committed.
 *
 * What a ProvconnTable has learnt from the catalog is dropped by relcache
 * invalidation and learnt again at the next use.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "fault.h"
#include "news.h"
#include "store.h"
#include "writer.h"

#define SAFE_SEARCH_PATH "pg_catalog, pg_temp"
#define QUERY_BATCH 1000

/* Of each table: the columns of its primary key come first. */
static const int primary[PROVCONN_MAX_KEYS] = {0, 1, 2};

static ProvconnTable *known_tables = NULL;

static void enter(ProvconnTable *table, ProvconnIdentity *saved, bool runs_others);
static void resolve_table(ProvconnTable *table);
static Oid	find_relid(ProvconnTable *table);
static Oid	find_primary_key(ProvconnTable *table, Relation rel);
static void set_own_tag(LOCKTAG *tag, ProvconnTable *table, int which);
static bool match_columns(ProvconnTable *table, Relation rel, AttrNumber *attnums);
static void fill_defaults(EState *estate, Relation rel, Datum *values, bool *nulls, void *arg);
static bool find_tid(Relation rel, ProvconnTable *table, const Datum *keys,
					 Snapshot snapshot, ItemPointer tid);
static bool lock_row(Relation rel, ItemPointer tid, Snapshot snapshot, bool skip,
					 TupleTableSlot *slot);
static void prepare_statement(ProvconnStatement *statement);
static bool has_generic_plan(SPIPlanPtr plan);
static void keep_from_compiling(ProvconnIdentity *saved);
static void override_setting(const char *name, const char *value);
static Oid	find_group_index(ProvconnTable *table, Relation rel);
static bool begins_with(Form_pg_index index, const ProvconnTable *table, const int *which, int count);
static Snapshot reading_snapshot(void);
static void make_scan_keys(const ProvconnTable *table, const int *which, int count,
						   const Datum *keys, ScanKey scan_keys);
static RegProcedure equality_of(Oid type);
static void forget_relation(Oid relid);

void
provconn_store_init(void)
{
	provconn_news_listen(forget_relation);
}

Oid
provconn_store_relid(ProvconnTable *table)
{
	resolve_table(table);
	return table->relid;
}

Relation
provconn_store_open(ProvconnTable *table, LOCKMODE mode)
{
	for (;;)
	{
		Relation	rel;

		resolve_table(table);
		rel = try_table_open(table->relid, mode);
		/* The lock may have brought news of an ALTER TABLE. */
		resolve_table(table);
		if (rel != NULL && RelationGetRelid(rel) == table->relid)
			return rel;
		if (rel != NULL)
			table_close(rel, mode);
	}
}

AttrNumber
provconn_store_attnum(ProvconnTable *table, int column)
{
	resolve_table(table);
	return table->attnums[column];
}

void
provconn_store_enter(ProvconnTable *table, ProvconnIdentity *saved)
{
	enter(table, saved, true);
}

void
provconn_store_leave(const ProvconnIdentity *saved)
{
	if (saved->settings > 0)
		AtEOXact_GUC(true, saved->settings);
	SetUserIdAndSecContext(saved->user, saved->context);
}

bool
provconn_store_find(ProvconnTable *table, const Datum *keys, ProvconnLock lock,
					ProvconnRow *row)
{
	Relation	rel;
	TupleTableSlot *slot;
	Snapshot	snapshot;
	ItemPointerData tid;
	bool		found;

	rel = provconn_store_open(table,
							  lock != PROVCONN_LOCK_NONE ? RowExclusiveLock : AccessShareLock);
	snapshot = RegisterSnapshot(reading_snapshot());
	slot = table_slot_create(rel, NULL);
	found = find_tid(rel, table, keys, snapshot, &tid);
	if (found)
		found = lock != PROVCONN_LOCK_NONE ?
			lock_row(rel, &tid, snapshot, lock == PROVCONN_LOCK_SKIP, slot) :
			table_tuple_fetch_row_version(rel, &tid, snapshot, slot);
	UnregisterSnapshot(snapshot);

	row->table = table;
	row->rel = rel;
	row->slot = slot;
	if (!found)
		provconn_store_close(row);
	return found;
}

Datum
provconn_store_get(ProvconnRow *row, int column, bool *isnull)
{
	return slot_getattr(row->slot, row->table->attnums[column], isnull);
}

void
provconn_store_close(ProvconnRow *row)
{
	ExecDropSingleTupleTableSlot(row->slot);
	/* The lock, where there is one, stays until the transaction ends. */
	table_close(row->rel, NoLock);
	row->slot = NULL;
	row->rel = NULL;
}

void
provconn_store_each(ProvconnTable *table, ProvconnVisit visit, void *arg)
{
	ProvconnRow row;
	Snapshot	snapshot;
	TableScanDesc scan;

	row.table = table;
	row.rel = provconn_store_open(table, AccessShareLock);
	row.slot = table_slot_create(row.rel, NULL);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(row.rel, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, row.slot))
		if (!visit(&row, arg))
			break;
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	provconn_store_close(&row);
}

void
provconn_store_each_of(ProvconnTable *table, const Datum *keys, ProvconnVisit visit, void *arg)
{
	ScanKeyData scan_keys[PROVCONN_MAX_KEYS];
	SysScanDesc scan;
	Snapshot	snapshot;
	ProvconnRow row;

	row.table = table;
	row.rel = provconn_store_open(table, AccessShareLock);
	make_scan_keys(table, table->group, table->group_columns, keys, scan_keys);
	snapshot = RegisterSnapshot(reading_snapshot());
	/* Without that index the table is read through: slow, but right. */
	scan = systable_beginscan(row.rel, table->group_index, OidIsValid(table->group_index),
							  snapshot, table->group_columns, scan_keys);
	row.slot = scan->slot;
	while (HeapTupleIsValid(systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (!visit(&row, arg))
			break;
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(row.rel, NoLock);
}

TransactionId
provconn_store_writer(ProvconnRow *row)
{
	bool		isnull;

	return DatumGetTransactionId(slot_getsysattr(row->slot, MinTransactionIdAttributeNumber,
												 &isnull));
}

void
provconn_store_update(ProvconnRow *row, const ProvconnValues *changes)
{
	ProvconnTable *table = row->table;
	int			natts = RelationGetDescr(row->rel)->natts;
	Datum	   *values = palloc(sizeof(Datum) * natts);
	bool	   *nulls = palloc(sizeof(bool) * natts);
	Bitmapset  *updated = NULL;
	ProvconnIdentity saved;

	slot_getallattrs(row->slot);
	memcpy(values, row->slot->tts_values, sizeof(Datum) * natts);
	memcpy(nulls, row->slot->tts_isnull, sizeof(bool) * natts);
	for (int i = 0; i < table->column_count; i++)
	{
		if (!changes->set[i])
			continue;
		values[table->attnums[i] - 1] = changes->values[i];
		nulls[table->attnums[i] - 1] = changes->nulls[i];
		updated = bms_add_member(updated, table->attnums[i] - FirstLowInvalidHeapAttributeNumber);
	}

	enter(table, &saved, provconn_writer_runs_others(row->rel));
	provconn_writer_update(row->rel, updated, row->slot, values, nulls);
	provconn_store_leave(&saved);
	CommandCounterIncrement();
	bms_free(updated);
	pfree(values);
	pfree(nulls);
}

void
provconn_store_insert(ProvconnTable *table, Oid leaf, const ProvconnValues *row)
{
	const AttrNumber *attnums = table->attnums;
	ProvconnIdentity saved;
	Relation	rel;
	Datum	   *values;
	bool	   *nulls;
	bool		has_strangers;
	int			natts;

	/* Who has found the leaf has its parent locked. */
	rel = OidIsValid(leaf) ? table_open(leaf, RowExclusiveLock) :
		provconn_store_open(table, RowExclusiveLock);
	resolve_table(table);
	has_strangers = table->has_strangers;
	if (OidIsValid(leaf))
	{
		if (table->leaf != leaf)
		{
			if (rel->rd_rel->relkind != RELKIND_RELATION)
				provconn_fault_raise(PROVCONN_FAULT_NOT_A_TABLE, RelationGetRelationName(rel));
			table->leaf_has_strangers = match_columns(table, rel, table->leaf_attnums);
			table->leaf = leaf;
		}
		attnums = table->leaf_attnums;
		has_strangers = table->leaf_has_strangers;
	}

	natts = RelationGetDescr(rel)->natts;
	values = palloc0(sizeof(Datum) * natts);
	nulls = palloc(sizeof(bool) * natts);
	memset(nulls, true, sizeof(bool) * natts);
	for (int i = 0; i < table->column_count; i++)
	{
		values[attnums[i] - 1] = row->values[i];
		nulls[attnums[i] - 1] = !row->set[i] || row->nulls[i];
	}

	enter(table, &saved, has_strangers || provconn_writer_runs_others(rel));
	provconn_writer_insert(rel, values, nulls, has_strangers ? fill_defaults : NULL, table);
	provconn_store_leave(&saved);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	pfree(values);
	pfree(nulls);
}

uint64
provconn_store_run(ProvconnTable *table, ProvconnStatement *statement,
				   const Datum *values, const char *nulls,
				   int out_count, Datum *out, bool *out_nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	ProvconnIdentity saved;
	bool		is_planned;
	uint64		processed;

	provconn_store_enter(table, &saved);
	SPI_connect();
	prepare_statement(statement);
	is_planned = statement->by_index && has_generic_plan(statement->plan);
	if (!is_planned)
		keep_from_compiling(&saved);
	if (statement->by_index && !is_planned)
	{
		/* Statistics come late to a queue; its index is always right. */
		override_setting("enable_bitmapscan", "off");
		override_setting("enable_indexscan", "on");
		override_setting("enable_seqscan", "off");
	}

	statement->running++;
	PG_TRY();
	{
		if (SPI_execute_plan(statement->plan, unconstify(Datum *, values), nulls, false, 0) < 0)
			elog(ERROR, "could not run a statement: %s", SPI_result_code_string(SPI_result));
	}
	PG_FINALLY();
	{
		statement->running--;
	}
	PG_END_TRY();
	processed = SPI_processed;

	if (out != NULL && processed > 0 && SPI_tuptable != NULL)
	{
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;

		for (int i = 0; i < out_count; i++)
		{
			Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
			MemoryContext spi = MemoryContextSwitchTo(caller);

			out[i] = SPI_getbinval(SPI_tuptable->vals[0], tupdesc, i + 1, &out_nulls[i]);
			if (!out_nulls[i])
				out[i] = datumCopy(out[i], attribute->attbyval, attribute->attlen);
			MemoryContextSwitchTo(spi);
		}
	}
	SPI_finish();
	provconn_store_leave(&saved);
	return processed;
}

void
provconn_store_query(ProvconnTable *table, ProvconnStatement *statement,
					 const Datum *values, const char *nulls, bool frozen,
					 ProvconnVisitTuple visit, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	ProvconnIdentity saved;
	Portal		portal;
	bool		more = true;

	provconn_store_enter(table, &saved);
	keep_from_compiling(&saved);
	SPI_connect();
	prepare_statement(statement);
	portal = SPI_cursor_open(NULL, statement->plan, unconstify(Datum *, values), nulls, frozen);
	while (more)
	{
		SPITupleTable *fetched;

		SPI_cursor_fetch(portal, true, QUERY_BATCH);
		fetched = SPI_tuptable;
		more = SPI_processed > 0;
		for (uint64 i = 0, count = SPI_processed; i < count && more; i++)
		{
			MemoryContext spi = MemoryContextSwitchTo(caller);

			more = visit(fetched->vals[i], fetched->tupdesc, arg);
			MemoryContextSwitchTo(spi);
		}
		SPI_freetuptable(fetched);
	}
	SPI_cursor_close(portal);
	SPI_finish();
	provconn_store_leave(&saved);
}

void
provconn_store_execute(ProvconnTable *table, const char *sql)
{
	ProvconnIdentity saved;

	provconn_store_enter(table, &saved);
	/* A table made here is not for the caller to place. */
	if (saved.settings == 0)
		saved.settings = NewGUCNestLevel();
	override_setting("default_tablespace", "");
	override_setting("default_table_access_method", "heap");
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not run a statement: %s", SPI_result_code_string(SPI_result));
	SPI_finish();
	provconn_store_leave(&saved);
}

bool
provconn_store_lock(ProvconnTable *table, int which, LOCKMODE mode, bool session, bool dont_wait)
{
	LOCKTAG		tag;

	set_own_tag(&tag, table, which);
	return LockAcquire(&tag, mode, session, dont_wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
provconn_store_unlock_session(ProvconnTable *table, int which, LOCKMODE mode)
{
	LOCKTAG		tag;

	set_own_tag(&tag, table, which);
	(void) LockRelease(&tag, mode, true);
}

void
provconn_store_wait_for_lockers(ProvconnTable *table, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, provconn_store_relid(table));
	WaitForLockers(tag, mode, false);
}

void
provconn_store_commit_lazily(void)
{
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

void
provconn_store_commit_durably(void)
{
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

/* The search path matters to code that others have made alone. */
static void
enter(ProvconnTable *table, ProvconnIdentity *saved, bool runs_others)
{
	resolve_table(table);
	GetUserIdAndSecContext(&saved->user, &saved->context);
	SetUserIdAndSecContext(table->owner,
						   saved->context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);

	saved->settings = 0;
	if (runs_others && strcmp(namespace_search_path, SAFE_SEARCH_PATH) != 0)
	{
		saved->settings = NewGUCNestLevel();
		override_setting("search_path", SAFE_SEARCH_PATH);
	}
}

static void
resolve_table(ProvconnTable *table)
{
	Relation	rel;
	uint64		before;

	if (table->valid)
		return;

	table->relid = find_relid(table);
	while ((rel = try_relation_open(table->relid, AccessShareLock)) == NULL ||
		   table->relid != find_relid(table))
	{
		/* Another took its place while the lock was waited for. */
		CHECK_FOR_INTERRUPTS();
		if (rel != NULL)
			relation_close(rel, AccessShareLock);
		table->relid = find_relid(table);
	}

	before = provconn_news_count();
	if (rel->rd_rel->relkind !=
		(table->is_partitioned ? RELKIND_PARTITIONED_TABLE : RELKIND_RELATION))
		provconn_fault_raise(PROVCONN_FAULT_NOT_A_TABLE, table->name);

	table->owner = rel->rd_rel->relowner;
	table->has_strangers = match_columns(table, rel, table->attnums);
	table->primary_key = table->is_partitioned ? InvalidOid : find_primary_key(table, rel);
	table->group_index = find_group_index(table, rel);
	table->leaf = InvalidOid;
	relation_close(rel, NoLock);

	if (!table->known)
	{
		table->known = true;
		table->next = known_tables;
		known_tables = table;
	}
	table->valid = before == provconn_news_count();
}

static Oid
find_relid(ProvconnTable *table)
{
	Oid			schema = get_namespace_oid("provconn", true);
	Oid			relid = OidIsValid(schema) ? get_relname_relid(table->name, schema) : InvalidOid;

	if (!OidIsValid(relid))
	{
		table->relid = InvalidOid;
		provconn_fault_raise(PROVCONN_FAULT_NOT_INSTALLED, table->name);
	}
	return relid;
}

/* The primary key's index, where it is on our key columns first, in their order. */
static Oid
find_primary_key(ProvconnTable *table, Relation rel)
{
	Oid			found = provconn_compat_primary_key(rel);
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(found));

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	if (!begins_with((Form_pg_index) GETSTRUCT(tuple), table, primary, table->key_columns))
		found = InvalidOid;
	ReleaseSysCache(tuple);
	return found;
}

/* A btree that is whole and valid and begins with the group's columns. */
static Oid
find_group_index(ProvconnTable *table, Relation rel)
{
	List	   *indexes = table->group_columns > 0 ? RelationGetIndexList(rel) : NIL;
	Oid			found = InvalidOid;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid &&
			RelationGetIndexPredicate(index) == NIL &&
			begins_with(index->rd_index, table, table->group, table->group_columns))
			found = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

static bool
begins_with(Form_pg_index index, const ProvconnTable *table, const int *which, int count)
{
	for (int i = 0; i < count; i++)
		if (i >= index->indnkeyatts || index->indkey.values[i] != table->attnums[which[i]])
			return false;
	return true;
}

/* PostgreSQL locks relations by another kind of tag, so this one is ours. */
static void
set_own_tag(LOCKTAG *tag, ProvconnTable *table, int which)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, RelationRelationId, provconn_store_relid(table), which);
}

/* Fills attnums and returns whether the relation has columns beside ours. */
static bool
match_columns(ProvconnTable *table, Relation rel, AttrNumber *attnums)
{
	TupleDesc	tupdesc = RelationGetDescr(rel);
	int			live = 0;

	for (int at = 0; at < tupdesc->natts; at++)
		live += !TupleDescAttr(tupdesc, at)->attisdropped;

	for (int i = 0; i < table->column_count; i++)
	{
		const ProvconnColumn *column = &table->columns[i];

		attnums[i] = InvalidAttrNumber;
		for (int at = 0; at < tupdesc->natts; at++)
		{
			Form_pg_attribute attribute = TupleDescAttr(tupdesc, at);

			if (attribute->attisdropped ||
				strcmp(NameStr(attribute->attname), column->name) != 0)
				continue;
			if (OidIsValid(column->type) ? attribute->atttypid == column->type :
				get_typtype(attribute->atttypid) == TYPTYPE_ENUM)
				attnums[i] = attribute->attnum;
		}
		if (attnums[i] == InvalidAttrNumber)
			provconn_fault_raise(PROVCONN_FAULT_TABLE_CHANGED,
								 RelationGetRelationName(rel), column->name);
	}
	return live > table->column_count;
}

/* Columns that a DBA added get their defaults, as they would from INSERT. */
static void
fill_defaults(EState *estate, Relation rel, Datum *values, bool *nulls, void *arg)
{
	const ProvconnTable *table = arg;
	const AttrNumber *attnums = RelationGetRelid(rel) == table->relid ? table->attnums : table->leaf_attnums;
	TupleDesc	tupdesc = RelationGetDescr(rel);
	Bitmapset  *ours = NULL;

	for (int i = 0; i < table->column_count; i++)
		ours = bms_add_member(ours, attnums[i]);
	for (int at = 0; at < tupdesc->natts; at++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, at);
		Expr	   *expression;

		if (attribute->attisdropped || attribute->attgenerated != '\0' ||
			bms_is_member(attribute->attnum, ours))
			continue;
		expression = (Expr *) build_column_default(rel, attribute->attnum);
		if (expression == NULL)
		{
			/* Null, unless the column's domain says otherwise. */
			if (get_typtype(attribute->atttypid) == TYPTYPE_DOMAIN)
				domain_check((Datum) 0, true, attribute->atttypid, NULL, NULL);
			continue;
		}
		values[at] = ExecEvalExpr(ExecInitExpr(expression_planner(expression), NULL),
								  GetPerTupleExprContext(estate), &nulls[at]);
	}
}

static bool
find_tid(Relation rel, ProvconnTable *table, const Datum *keys, Snapshot snapshot,
		 ItemPointer tid)
{
	ScanKeyData scan_keys[PROVCONN_MAX_KEYS];
	SysScanDesc scan;
	HeapTuple	tuple;

	make_scan_keys(table, primary, table->key_columns, keys, scan_keys);
	/* Without its primary key the table is read through: slow, but right. */
	scan = systable_beginscan(rel, table->primary_key, OidIsValid(table->primary_key),
							  snapshot, table->key_columns, scan_keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		*tid = tuple->t_self;
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

static bool
lock_row(Relation rel, ItemPointer tid, Snapshot snapshot, bool skip, TupleTableSlot *slot)
{
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(rel, tid, snapshot, slot, GetCurrentCommandId(true),
							  LockTupleNoKeyExclusive, skip ? LockWaitSkip : LockWaitBlock,
							  IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
							  &failure);
	switch (result)
	{
		case TM_Ok:
			return true;
		case TM_SelfModified:
			provconn_fault_raise(PROVCONN_FAULT_MODIFIED_BY_OWN_COMMAND);
		case TM_Deleted:
			if (skip || !IsolationUsesXactSnapshot())
				return false;
			provconn_fault_raise(PROVCONN_FAULT_CONCURRENT_UPDATE);
		case TM_WouldBlock:
			return false;
		case TM_Updated:
			if (skip)
				return false;
			provconn_fault_raise(PROVCONN_FAULT_CONCURRENT_UPDATE);
		default:
			elog(ERROR, "unexpected result %d of locking a row", (int) result);
	}
	return false;
}

/* Makes the plan anew where there is none, or it no longer holds. */
static void
prepare_statement(ProvconnStatement *statement)
{
	SPIPlanPtr	plan;
	int			options = statement->by_index ? CURSOR_OPT_GENERIC_PLAN :
		statement->custom ? CURSOR_OPT_CUSTOM_PLAN | CURSOR_OPT_PARALLEL_OK : 0;

	if (statement->plan != NULL && !SPI_plan_is_valid(statement->plan))
	{
		/* A call further out, through somebody's trigger, may be in it. */
		if (statement->running == 0)
			SPI_freeplan(statement->plan);
		statement->plan = NULL;
	}
	if (statement->plan != NULL)
		return;
	plan = SPI_prepare_cursor(statement->sql, statement->nargs, statement->types, options);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare a statement: %s", SPI_result_code_string(SPI_result));
	statement->plan = plan;
}

/* Whether the plan stands, as far as is known; if not, running it makes one. */
static bool
has_generic_plan(SPIPlanPtr plan)
{
	CachedPlanSource *source;

	AcceptInvalidationMessages();
	source = linitial(SPI_plan_get_plan_sources(plan));
	return source->is_valid && source->gplan != NULL && source->gplan->is_valid;
}

/*
 * JIT compiles what has hundreds of expressions for seconds, to save milliseconds,
 * and what a planner takes for much, where a LIMIT makes it little.
 */
static void
keep_from_compiling(ProvconnIdentity *saved)
{
	if (saved->settings == 0)
		saved->settings = NewGUCNestLevel();
	override_setting("jit", "off");
}

static void
override_setting(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/* As of now or, above READ COMMITTED, as the transaction sees it. */
static Snapshot
reading_snapshot(void)
{
	return IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : GetLatestSnapshot();
}

static void
make_scan_keys(const ProvconnTable *table, const int *which, int count, const Datum *keys,
			   ScanKey scan_keys)
{
	for (int i = 0; i < count; i++)
		ScanKeyInit(&scan_keys[i], table->attnums[which[i]], BTEqualStrategyNumber,
					equality_of(table->columns[which[i]].type), keys[i]);
}

static RegProcedure
equality_of(Oid type)
{
	switch (type)
	{
		case INT4OID:
			return F_INT4EQ;
		case UUIDOID:
			return F_UUID_EQ;
		case InvalidOid:
			return F_ENUM_EQ;	/* see ProvconnColumn */
		default:
			elog(ERROR, "type %u is no key type", type);
	}
}

static void
forget_relation(Oid relid)
{
	for (ProvconnTable *table = known_tables; table != NULL; table = table->next)
	{
		if (relid == InvalidOid || relid == table->relid)
			table->valid = false;
		if (relid == InvalidOid || relid == table->leaf)
			table->leaf = InvalidOid;
	}
}
