/*
 * compat.h (layer 0): what differs between PostgreSQL 15, 16, 17 and 18.
 *
 * The only file of the tree that looks at PG_VERSION_NUM.
 */
#ifndef PROVCONN_COMPAT_H
#define PROVCONN_COMPAT_H

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "provconn needs PostgreSQL 15, 16, 17 or 18"
#endif

#include "access/genam.h"
#include "catalog/pg_extension.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "replication/message.h"
#include "replication/slot.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/guc_tables.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#if PG_VERSION_NUM >= 160000
#include "parser/parse_relation.h"
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 160000
static inline bool
object_ownercheck(Oid class_id, Oid object_id, Oid role_id)
{
	Assert(class_id == ExtensionRelationId);
	(void) class_id;
	return pg_extension_ownercheck(object_id, role_id);
}
#endif

/* A range table of one entry, for rows written through the executor. */
static inline void
provconn_compat_init_range_table(EState *estate, Relation rel)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(rel);
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
#if PG_VERSION_NUM >= 160000
	{
		List	   *permissions = NIL;

		(void) addRTEPermissionInfo(&permissions, rte);
#if PG_VERSION_NUM >= 180000
		ExecInitRangeTable(estate, list_make1(rte), permissions, bms_make_singleton(1));
#else
		ExecInitRangeTable(estate, list_make1(rte), permissions);
#endif
	}
#else
	ExecInitRangeTable(estate, list_make1(rte));
#endif
}

/* The columns that an update sets, in that entry. */
static inline void
provconn_compat_set_updated(EState *estate, Bitmapset *updated)
{
#if PG_VERSION_NUM >= 160000
	linitial_node(RTEPermissionInfo, estate->es_rteperminfos)->updatedCols = updated;
#else
	linitial_node(RangeTblEntry, estate->es_range_table)->updatedCols = updated;
#endif
}

/* Entries for a row that was updated, in all indexes; none of them has a deferrable constraint. */
static inline void
provconn_compat_insert_index_entries(ResultRelInfo *target, EState *estate, TupleTableSlot *slot)
{
#if PG_VERSION_NUM >= 160000
	(void) ExecInsertIndexTuples(target, slot, estate, true, false, NULL, NIL, false);
#else
	(void) ExecInsertIndexTuples(target, slot, estate, true, false, NULL, NIL);
#endif
}

/* What an access method does when a statement is through with an index. */
static inline void
provconn_compat_end_index_insert(Relation index, IndexInfo *info)
{
#if PG_VERSION_NUM >= 170000
	index_insert_cleanup(index, info);
#else
	(void) index;
	(void) info;
#endif
}

static inline void
provconn_compat_init_recheck(EPQState *recheck, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	EvalPlanQualInit(recheck, estate, NULL, NIL, -1, NIL);
#else
	EvalPlanQualInit(recheck, estate, NULL, NIL, -1);
#endif
}

/* What stands for a setting that may not be defined yet; NULL: nothing does. */
static inline struct config_generic *
provconn_compat_find_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, 0);
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (pg_strcasecmp(settings[i]->name, name) == 0)
			return settings[i];
	return NULL;
#endif
}

/* Another text for the running query, which stays the same otherwise. */
static inline void
provconn_compat_report_query(const char *text)
{
	uint64		query_id = (uint64) pgstat_get_my_query_id();
#if PG_VERSION_NUM >= 180000
	int64		plan_id = pgstat_get_my_plan_id();
#endif

	pgstat_report_activity(STATE_RUNNING, text);
	pgstat_report_query_id(query_id, true);
#if PG_VERSION_NUM >= 180000
	pgstat_report_plan_id(plan_id, true);
#endif
}

/* A logical message that no transaction's end takes back; returns where it ends in the WAL. */
static inline XLogRecPtr
provconn_compat_log_message(const char *prefix, const char *message, size_t size)
{
#if PG_VERSION_NUM >= 170000
	return LogLogicalMessage(prefix, message, size, false, false);
#else
	return LogLogicalMessage(prefix, message, size, false);
#endif
}

static inline void
provconn_compat_create_slot(const char *name)
{
#if PG_VERSION_NUM >= 170000
	ReplicationSlotCreate(name, false, RS_PERSISTENT, false, false, false);
#else
	ReplicationSlotCreate(name, false, RS_PERSISTENT, false);
#endif
}

static inline void
provconn_compat_acquire_slot(const char *name)
{
#if PG_VERSION_NUM >= 180000
	ReplicationSlotAcquire(name, true, false);
#else
	ReplicationSlotAcquire(name, true);
#endif
}

/* Whether the server no longer keeps WAL for the slot; from 16 on that is for good. */
static inline bool
provconn_compat_slot_is_lost(const ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 160000
	return slot->data.invalidated != RS_INVAL_NONE;
#else
	return slot->data.restart_lsn == InvalidXLogRecPtr;
#endif
}

static inline const char *
provconn_compat_lost_slot_hint(const ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 180000
	if (slot->data.invalidated == RS_INVAL_IDLE_TIMEOUT)
		return "Raise idle_replication_slot_timeout.";
#endif
	return "Raise max_slot_wal_keep_size.";
}

static inline Oid
provconn_compat_primary_key(Relation rel)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(rel, false);
#else
	return RelationGetPrimaryKeyIndex(rel);
#endif
}

#endif							/* PROVCONN_COMPAT_H */
