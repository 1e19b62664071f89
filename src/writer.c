/*
 * writer.c (layer 2): single rows, written through the executor.
 *
 * The executor's simple API, as logical replication uses it, keeps triggers,
 * indexes and constraints.  What it needs for a relation is costly to make: the
 * expressions of constraints are read and compiled, triggers looked up, indexes
 * described.  So that is kept from one row to the next, as a plan would be: until
 * the relation, one of its indexes, or anything that such expressions are made
 * of changes.  What holds locks or pins (relations, slots) is never kept.
 *
 * A writer that is in use, where a trigger writes into the same relation again,
 * is left alone: the inner one has another, for once.  So it is with relations
 * that have generated columns.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "news.h"
#include "writer.h"

typedef struct ProvconnWriter
{
	Oid			relid;
	MemoryContext context;		/* of all that is kept */
	EState	   *estate;
	ResultRelInfo *target;
	EPQState	recheck;
	int			index_count;
	Oid		   *indexes;
	bool		kept;			/* on the list */
	bool		valid;
	bool		busy;
	bool		indexes_open;
	bool		can_wait;		/* an update may find out first whether it needs the indexes */
	bool		runs_others;	/* code that is not ours, nor the server's */
	bool		has_generated;	/* columns */
	struct ProvconnWriter *next;
} ProvconnWriter;

static ProvconnWriter *kept_writers = NULL;
static uint64 changes = 0;		/* of anything that a writer may depend on */

static void write_row(ProvconnWriter *writer, TupleTableSlot *old, Datum *values, bool *nulls,
					  ProvconnWriterFill fill, void *arg);
static ProvconnWriter *begin_write(Relation rel, Bitmapset *updated);
static ProvconnWriter *find_writer(Oid relid, bool *busy);
static ProvconnWriter *make_writer(Relation rel);
static bool has_generated_columns(Relation rel);
static bool can_update_first(const ResultRelInfo *target);
static bool runs_others(Relation rel, const ResultRelInfo *target);
static bool calls_others(Node *node, void *context);
static bool may_look_up(Oid function, void *context);
static bool is_ours(Oid function);
static void open_indexes(ProvconnWriter *writer, TupleTableSlot *fresh);
static bool is_left_out(ProvconnWriter *writer, IndexInfo *info, TupleTableSlot *fresh);
static void insert_row(ProvconnWriter *writer, TupleTableSlot *fresh);
static void update_row(ProvconnWriter *writer, TupleTableSlot *old, TupleTableSlot *fresh);
static bool needs_index_entries(ProvconnWriter *writer, TupleTableSlot *old, TupleTableSlot *fresh);
static void end_write(ProvconnWriter *writer);
static void close_indexes(ProvconnWriter *writer);
static void close_others(ProvconnWriter *writer);
static void keep_writer(ProvconnWriter *writer);
static void drop_writer(ProvconnWriter *writer);
static void forget_relation(Oid relid);
static void forget_all(Datum arg, int cache_id, uint32 hash_value);

void
provconn_writer_init(void)
{
	provconn_news_listen(forget_relation);
	/* What a compiled expression or a trigger's function may be made of. */
	CacheRegisterSyscacheCallback(PROCOID, forget_all, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, forget_all, (Datum) 0);
	CacheRegisterSyscacheCallback(OPEROID, forget_all, (Datum) 0);
	CacheRegisterSyscacheCallback(AMOPOPID, forget_all, (Datum) 0);
}

/* Where there is none yet, making it may run what nobody has looked at. */
bool
provconn_writer_runs_others(Relation rel)
{
	bool		busy;
	const ProvconnWriter *writer = find_writer(RelationGetRelid(rel), &busy);

	return writer == NULL || writer->runs_others;
}

void
provconn_writer_update(Relation rel, Bitmapset *updated, TupleTableSlot *old,
					   const Datum *values, const bool *nulls)
{
	write_row(begin_write(rel, updated), old, unconstify(Datum *, values),
			  unconstify(bool *, nulls), NULL, NULL);
}

void
provconn_writer_insert(Relation rel, Datum *values, bool *nulls, ProvconnWriterFill fill, void *arg)
{
	write_row(begin_write(rel, NULL), NULL, values, nulls, fill, arg);
}

/* old: what an update replaces; NULL for an insert. */
static void
write_row(ProvconnWriter *writer, TupleTableSlot *old, Datum *values, bool *nulls,
		  ProvconnWriterFill fill, void *arg)
{
	PG_TRY();
	{
		Relation	rel = writer->target->ri_RelationDesc;
		TupleTableSlot *fresh = ExecInitExtraTupleSlot(writer->estate, RelationGetDescr(rel),
													   &TTSOpsHeapTuple);

		if (fill != NULL)
			fill(writer->estate, rel, values, nulls, arg);
		ExecStoreHeapTuple(heap_form_tuple(RelationGetDescr(rel), values, nulls), fresh, true);
		if (old != NULL)
			update_row(writer, old, fresh);
		else
			insert_row(writer, fresh);
		AfterTriggerEndQuery(writer->estate);
	}
	PG_CATCH();
	{
		drop_writer(writer);
		PG_RE_THROW();
	}
	PG_END_TRY();
	end_write(writer);
}

static ProvconnWriter *
begin_write(Relation rel, Bitmapset *updated)
{
	bool		busy;
	ProvconnWriter *writer = find_writer(RelationGetRelid(rel), &busy);

	if (writer == NULL)
	{
		writer = make_writer(rel);
		if (!busy && !writer->has_generated)
			keep_writer(writer);
	}
	writer->target->ri_RelationDesc = rel;
	writer->estate->es_output_cid = GetCurrentCommandId(true);
	writer->estate->es_snapshot = InvalidSnapshot;
	provconn_compat_set_updated(writer->estate, updated);
	AfterTriggerBeginQuery();
	writer->busy = true;
	return writer;
}

/* One that holds and is free; busy: there is one, but in use. */
static ProvconnWriter *
find_writer(Oid relid, bool *busy)
{
	ProvconnWriter *writer = kept_writers;

	*busy = false;
	while (writer != NULL && writer->relid != relid)
		writer = writer->next;
	if (writer == NULL)
		return NULL;
	if (writer->busy)
	{
		*busy = true;
		return NULL;
	}
	return writer->valid ? writer : NULL;
}

static ProvconnWriter *
make_writer(Relation rel)
{
	uint64		changes_before = changes;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "provconn writer",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	ProvconnWriter *writer = palloc0(sizeof(ProvconnWriter));
	ResultRelInfo *target = makeNode(ResultRelInfo);
	TriggerDesc *triggers;

	writer->relid = RelationGetRelid(rel);
	writer->context = context;
	writer->target = target;
	writer->estate = CreateExecutorState();
	provconn_compat_init_range_table(writer->estate, rel);
	InitResultRelInfo(target, rel, 1, NULL, 0);
	writer->estate->es_opened_result_relations = list_make1(target);

	/* The executor would do this in whatever context its first call is made. */
	triggers = target->ri_TrigDesc;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		fmgr_info_cxt(triggers->triggers[i].tgfoid, &target->ri_TrigFunctions[i], context);

	ExecOpenIndices(target, false);
	writer->index_count = target->ri_NumIndices;
	writer->indexes = palloc(sizeof(Oid) * Max(writer->index_count, 1));
	for (int i = 0; i < writer->index_count; i++)
		writer->indexes[i] = RelationGetRelid(target->ri_IndexRelationDescs[i]);
	writer->can_wait = can_update_first(target);
	writer->has_generated = has_generated_columns(rel);
	writer->runs_others = writer->has_generated || runs_others(rel, target);
	ExecCloseIndices(target);
	provconn_compat_init_recheck(&writer->recheck, writer->estate);
	/* What was learnt meanwhile may concern what was read before. */
	writer->valid = changes == changes_before;
	MemoryContextSwitchTo(caller);
	return writer;
}

/* They are prepared for the columns that one update sets, and come after the row's values. */
static bool
has_generated_columns(Relation rel)
{
	TupleDesc	tupdesc = RelationGetDescr(rel);

	for (int i = 0; i < tupdesc->natts; i++)
		if (TupleDescAttr(tupdesc, i)->attgenerated != '\0')
			return true;
	return false;
}

/* An update of a heap that all indexes may take, or leave, when it is done. */
static bool
can_update_first(const ResultRelInfo *target)
{
	if (target->ri_RelationDesc->rd_rel->relam != HEAP_TABLE_AM_OID)
		return false;
	for (int i = 0; i < target->ri_NumIndices; i++)
	{
		Relation	index = target->ri_IndexRelationDescs[i];

		if (index->rd_rel->relam != BTREE_AM_OID || !index->rd_index->indimmediate)
			return false;
	}
	return true;
}

static bool
runs_others(Relation rel, const ResultRelInfo *target)
{
	TupleConstr *constraints = RelationGetDescr(rel)->constr;
	TriggerDesc *triggers = target->ri_TrigDesc;

	for (int i = 0; constraints != NULL && i < constraints->num_check; i++)
		if (calls_others(stringToNode(constraints->check[i].ccbin), NULL))
			return true;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (triggers->triggers[i].tgqual != NULL ||
			!(is_ours(triggers->triggers[i].tgfoid) ||
			  RI_FKey_trigger_type(triggers->triggers[i].tgfoid) == RI_TRIGGER_FK))
			return true;
	for (int i = 0; i < target->ri_NumIndices; i++)
	{
		Relation	index = target->ri_IndexRelationDescs[i];
		const IndexInfo *info = target->ri_IndexRelationInfo[i];
		int			supports = index->rd_indam->amsupport * info->ii_NumIndexKeyAttrs;

		if (info->ii_ExclusionOps != NULL ||
			calls_others((Node *) info->ii_Expressions, NULL) ||
			calls_others((Node *) info->ii_Predicate, NULL))
			return true;
		for (int at = 0; at < supports; at++)
			if (may_look_up(index->rd_support[at], NULL))
				return true;
	}
	return false;
}

static bool
calls_others(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return IsA(node, CoerceToDomain) || check_functions_in_node(node, may_look_up, context) ||
		expression_tree_walker(node, calls_others, context);
}

/* What is immutable by the server's own word, or ours, looks nothing up by a name. */
static bool
may_look_up(Oid function, void *context)
{
	if (!OidIsValid(function))
		return false;
	return function < FirstNormalObjectId ?
		func_volatile(function) != PROVOLATILE_IMMUTABLE : !is_ours(function);
}

/* A C function of this library. */
static bool
is_ours(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Datum		library;
	bool		isnull;
	bool		ours = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	library = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &isnull);
	if (!isnull && ((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
		ours = strcmp(TextDatumGetCString(library), "$libdir/provconn") == 0;
	ReleaseSysCache(tuple);
	return ours;
}

/* Those that a fresh row does not concern stay closed, where it is known already. */
static void
open_indexes(ProvconnWriter *writer, TupleTableSlot *fresh)
{
	ResultRelInfo *target = writer->target;

	if (writer->indexes_open)
		return;
	writer->indexes_open = true;
	for (int i = 0; i < writer->index_count; i++)
		target->ri_IndexRelationDescs[i] = NULL;
	for (int i = 0; i < writer->index_count; i++)
	{
		IndexInfo  *info = target->ri_IndexRelationInfo[i];

		if (fresh != NULL && is_left_out(writer, info, fresh))
			continue;
		target->ri_IndexRelationDescs[i] = index_open(writer->indexes[i], RowExclusiveLock);
		/* What the access method keeps points into the index as it is open now. */
		info->ii_AmCache = NULL;
		info->ii_Context = GetPerTupleMemoryContext(writer->estate);
		info->ii_CheckedUnchanged = false;
	}
}

/* Whether the predicate of a partial index leaves the row out, which nothing changes any more. */
static bool
is_left_out(ProvconnWriter *writer, IndexInfo *info, TupleTableSlot *fresh)
{
	const TriggerDesc *triggers = writer->target->ri_TrigDesc;
	ExprContext *context;

	if (info->ii_Predicate == NIL || writer->has_generated ||
		(triggers != NULL && triggers->trig_insert_before_row))
		return false;
	if (info->ii_PredicateState == NULL)
		info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, writer->estate);
	context = GetPerTupleExprContext(writer->estate);
	context->ecxt_scantuple = fresh;
	return !ExecQual(info->ii_PredicateState, context);
}

static void
insert_row(ProvconnWriter *writer, TupleTableSlot *fresh)
{
	open_indexes(writer, fresh);
	ExecSimpleRelationInsert(writer->target, writer->estate, fresh);
}

/* Most updates change no indexed column and stay on their page: no index is asked. */
static void
update_row(ProvconnWriter *writer, TupleTableSlot *old, TupleTableSlot *fresh)
{
	ResultRelInfo *target = writer->target;

	if (writer->can_wait)
		target->ri_NumIndices = 0;
	else
		open_indexes(writer, NULL);
	ExecSimpleRelationUpdate(target, writer->estate, &writer->recheck, old, fresh);
	EvalPlanQualEnd(&writer->recheck);
	target->ri_NumIndices = writer->index_count;
	if (writer->can_wait && needs_index_entries(writer, old, fresh))
	{
		open_indexes(writer, NULL);
		provconn_compat_insert_index_entries(target, writer->estate, fresh);
	}
}

/* Whether a row was written, no trigger having suppressed it, and not as a heap-only tuple. */
static bool
needs_index_entries(ProvconnWriter *writer, TupleTableSlot *old, TupleTableSlot *fresh)
{
	Relation	rel = writer->target->ri_RelationDesc;
	TupleTableSlot *written;
	HeapTuple	tuple;
	bool		is_copy;
	bool		needs;

	/* An update marks its caller's tuple, too. */
	tuple = ExecFetchSlotHeapTuple(fresh, false, &is_copy);
	if (HeapTupleIsHeapOnly(tuple) || !ItemPointerIsValid(&fresh->tts_tid) ||
		ItemPointerEquals(&fresh->tts_tid, &old->tts_tid))
		return false;
	written = ExecInitExtraTupleSlot(writer->estate, RelationGetDescr(rel), &TTSOpsBufferHeapTuple);
	if (!table_tuple_fetch_row_version(rel, &fresh->tts_tid, SnapshotAny, written))
		elog(ERROR, "could not find the row that was written");
	tuple = ExecFetchSlotHeapTuple(written, false, &is_copy);
	needs = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data)) &&
		!HeapTupleIsHeapOnly(tuple);
	ExecClearTuple(written);
	return needs;
}

static void
end_write(ProvconnWriter *writer)
{
	EState	   *estate = writer->estate;
	ResultRelInfo *target = writer->target;

	close_indexes(writer);
	close_others(writer);
	ExecResetTupleTable(estate->es_tupleTable, writer->kept);
	estate->es_tupleTable = NIL;
	target->ri_TrigOldSlot = NULL;
	target->ri_TrigNewSlot = NULL;
	ResetPerTupleExprContext(estate);
	writer->busy = false;
	if (!writer->kept || !writer->valid)
	{
		FreeExecutorState(estate);
		drop_writer(writer);
	}
}

/* As ExecCloseIndices() does it, but for those that stayed closed. */
static void
close_indexes(ProvconnWriter *writer)
{
	ResultRelInfo *target = writer->target;

	for (int i = 0; i < writer->index_count && writer->indexes_open; i++)
	{
		Relation	index = target->ri_IndexRelationDescs[i];

		if (index == NULL)
			continue;
		provconn_compat_end_index_insert(index, target->ri_IndexRelationInfo[i]);
		index_close(index, RowExclusiveLock);
		target->ri_IndexRelationDescs[i] = NULL;
	}
	writer->indexes_open = false;
}

/* A foreign key's action may have fired triggers of a table that refers to this one. */
static void
close_others(ProvconnWriter *writer)
{
	ListCell   *cell;

	foreach(cell, writer->estate->es_trig_target_relations)
	{
		ResultRelInfo *other = lfirst(cell);

		table_close(other->ri_RelationDesc, NoLock);
		writer->valid = false;
	}
}

/* Those that do not hold any more go: their relations may be gone, too. */
static void
keep_writer(ProvconnWriter *writer)
{
	for (ProvconnWriter *other = kept_writers, *next; other != NULL; other = next)
	{
		next = other->next;
		if (!other->valid && !other->busy)
			drop_writer(other);
	}
	MemoryContextSetParent(writer->context, TopMemoryContext);
	writer->kept = true;
	writer->next = kept_writers;
	kept_writers = writer;
}

/* After an error its locks and pins are not its own any more: the memory alone is freed. */
static void
drop_writer(ProvconnWriter *writer)
{
	if (writer->kept)
	{
		ProvconnWriter **link = &kept_writers;

		while (*link != writer)
			link = &(*link)->next;
		*link = writer->next;
	}
	MemoryContextDelete(writer->context);
}

static void
forget_relation(Oid relid)
{
	changes++;
	for (ProvconnWriter *writer = kept_writers; writer != NULL; writer = writer->next)
	{
		if (!OidIsValid(relid) || writer->relid == relid)
			writer->valid = false;
		for (int i = 0; i < writer->index_count && writer->valid; i++)
			writer->valid = writer->indexes[i] != relid;
	}
}

static void
forget_all(Datum arg, int cache_id, uint32 hash_value)
{
	forget_relation(InvalidOid);
}
