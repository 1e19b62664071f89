/*
 * trigger.c (layer 7): the guards of the tables and the writer of the audit.
 *
 * All of them are ENABLE ALWAYS and fire for everybody, superusers and replica
 * roles included.  They stand aside where the rows are a copy of what was
 * guarded and audited before: in a logical replication worker, and for COPY by
 * a superuser's session with row_security off, which is how pg_dump and
 * pg_restore load data.
 *
 * The guard of a connection runs BEFORE the row is written and fixes the id,
 * time and number of its audit row into it; the AFTER trigger writes exactly
 * that row, told by the command's frame what to say beside it.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/rls.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit.h"
#include "catalog.h"
#include "compat.h"
#include "connection.h"
#include "fault.h"
#include "lifecycle.h"
#include "provider.h"
#include "shard.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(provconn_guard_connection);
PG_FUNCTION_INFO_V1(provconn_audit_connection);
PG_FUNCTION_INFO_V1(provconn_guard_provider);
PG_FUNCTION_INFO_V1(provconn_guard_data_key);
PG_FUNCTION_INFO_V1(provconn_guard_audit);

/* A connection's tuple in a trigger. */
typedef struct Version
{
	HeapTuple	tuple;
	TupleDesc	tupdesc;
} Version;

static TriggerData *trigger_data(FunctionCallInfo fcinfo);
static void require_connection(TriggerData *data, bool fired_right);
static Datum let_pass(TriggerData *data, ProvconnFault fault, const char *what);
static bool stands_aside(TriggerData *data);
static Datum get_value(const Version *version, int column, bool *isnull);
static bool is_null(const Version *version, int column);
static ProvconnUuid get_uuid(const Version *version, int column);
static ProvconnStatus get_status(const Version *version);
static void guard_insert(const Version *fresh, bool direct);
static void guard_update(const Version *old, const Version *fresh);
static void guard_credential(const Version *old, const Version *fresh);
static bool same_value(const Version *old, const Version *fresh, int column);
static HeapTuple stamp_tuple(const Version *old, const Version *fresh,
							 const ProvconnAuditFrame *frame);

Datum
provconn_guard_connection(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);
	Version		old = {NULL, RelationGetDescr(data->tg_relation)};
	Version		fresh = {NULL, RelationGetDescr(data->tg_relation)};
	ProvconnAuditFrame *frame;
	ProvconnUuid id;

	require_connection(data, TRIGGER_FIRED_BEFORE(data->tg_event));
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event) || TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		return let_pass(data, PROVCONN_FAULT_UNDELETABLE, "connection");

	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		old.tuple = data->tg_trigtuple;
	fresh.tuple = old.tuple != NULL ? data->tg_newtuple : data->tg_trigtuple;
	id = get_uuid(&fresh, CONNECTION_ID);
	frame = provconn_audit_frame(&id);
	if (frame == NULL && stands_aside(data))
		return PointerGetDatum(fresh.tuple);

	if (is_null(&fresh, CONNECTION_ID))
		provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE, "connection_id is null");
	if (old.tuple != NULL)
		guard_update(&old, &fresh);
	else
		guard_insert(&fresh, frame == NULL);
	guard_credential(old.tuple != NULL ? &old : NULL, &fresh);
	return PointerGetDatum(stamp_tuple(old.tuple != NULL ? &old : NULL, &fresh, frame));
}

Datum
provconn_audit_connection(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);
	bool		update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	Version		old = {data->tg_trigtuple, RelationGetDescr(data->tg_relation)};
	Version		fresh = {update ? data->tg_newtuple : data->tg_trigtuple,
	RelationGetDescr(data->tg_relation)};
	ProvconnAuditEntry entry = {0};
	ProvconnAuditStamp stamp;
	ProvconnAuditFrame *frame;
	ProvconnProvider provider;
	ProvconnUuid id;
	ProvconnUuid user_id;
	ProvconnUuid provider_id;
	bool		isnull;

	require_connection(data, TRIGGER_FIRED_AFTER(data->tg_event) &&
					   !TRIGGER_FIRED_BY_DELETE(data->tg_event) &&
					   TRIGGER_FIRED_FOR_ROW(data->tg_event));
	id = get_uuid(&fresh, CONNECTION_ID);
	frame = provconn_audit_frame(&id);
	if (frame == NULL && stands_aside(data))
		return PointerGetDatum(NULL);

	user_id = get_uuid(&fresh, CONNECTION_USER_ID);
	provider_id = get_uuid(&fresh, CONNECTION_PROVIDER_ID);

	entry.action = frame != NULL ? frame->action : "direct";
	entry.outcome = "succeeded";
	entry.connection_id = &id;
	entry.user_id = &user_id;
	entry.provider_id = &provider_id;
	if (frame != NULL && frame->provider_slug.data != NULL)
		entry.provider_slug = frame->provider_slug;
	else if (provconn_provider_find(&provider_id, &provider))
		entry.provider_slug = provider.slug;
	if (frame != NULL)
		entry.reason = frame->reason;
	entry.old_status = update ? get_status(&old) : PROVCONN_STATUS_NONE;
	entry.new_status = get_status(&fresh);
	entry.has_version = true;
	entry.version = DatumGetInt32(get_value(&fresh, CONNECTION_VERSION, &isnull));
	entry.caller = frame != NULL ? frame->caller : GetUserId();

	stamp.audit_id = get_uuid(&fresh, CONNECTION_AUDIT_ID);
	stamp.seq = DatumGetInt64(get_value(&fresh, CONNECTION_AUDIT_SEQ, &isnull));
	stamp.occurred_at = DatumGetTimestampTz(get_value(&fresh, CONNECTION_AUDIT_AT, &isnull));
	provconn_audit_write(&entry, &stamp);
	if (frame != NULL)
		frame->recorded = true;
	return PointerGetDatum(NULL);
}

/* BEFORE DELETE, TRUNCATE and UPDATE of provider_id: nothing may lose its provider. */
Datum
provconn_guard_provider(PG_FUNCTION_ARGS)
{
	return let_pass(trigger_data(fcinfo), PROVCONN_FAULT_UNDELETABLE, "provider");
}

/* BEFORE UPDATE, DELETE and TRUNCATE of data keys: what they sealed would be lost. */
Datum
provconn_guard_data_key(PG_FUNCTION_ARGS)
{
	return let_pass(trigger_data(fcinfo), PROVCONN_FAULT_DATA_KEY_FIXED, NULL);
}

/* BEFORE UPDATE, DELETE and TRUNCATE of the audit and each of its partitions. */
Datum
provconn_guard_audit(PG_FUNCTION_ARGS)
{
	return let_pass(trigger_data(fcinfo), PROVCONN_FAULT_AUDIT_APPEND_ONLY, NULL);
}

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function can only be called as a trigger"),
				 errhidestmt(true), errhidecontext(true)));
	return (TriggerData *) fcinfo->context;
}

/* A trigger of ours that somebody attached elsewhere, or otherwise, is an error. */
static void
require_connection(TriggerData *data, bool fired_right)
{
	bool		truncate = TRIGGER_FIRED_BY_TRUNCATE(data->tg_event);

	if (!fired_right || TRIGGER_FIRED_FOR_ROW(data->tg_event) == truncate ||
		RelationGetRelid(data->tg_relation) !=
		provconn_store_relid(&provconn_connection_table))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this trigger function belongs to provconn.connection alone"),
				 errhidestmt(true), errhidecontext(true)));
}

/* Raises the fault, but in a logical replication worker, which repeats a change. */
static Datum
let_pass(TriggerData *data, ProvconnFault fault, const char *what)
{
	if (!IsLogicalWorker())
		provconn_fault_raise(fault, what);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ?
						   data->tg_newtuple : data->tg_trigtuple);
}

/*
 * Whether the row is a copy: one that a logical replication worker applies, or
 * that COPY FROM loads into this table as pg_restore does.  session_user, not
 * current_user: no SECURITY DEFINER function can lend this.
 */
static bool
stands_aside(TriggerData *data)
{
	PlannedStmt *statement;
	CopyStmt   *copy;

	if (IsLogicalWorker())
		return true;
	if (!TRIGGER_FIRED_BY_INSERT(data->tg_event) || row_security ||
		ActivePortal == NULL || ActivePortal->commandTag != CMDTAG_COPY ||
		list_length(ActivePortal->stmts) != 1 || !superuser_arg(GetSessionUserId()))
		return false;

	statement = linitial_node(PlannedStmt, ActivePortal->stmts);
	if (statement->utilityStmt == NULL || !IsA(statement->utilityStmt, CopyStmt))
		return false;
	copy = (CopyStmt *) statement->utilityStmt;
	return copy->is_from && copy->relation != NULL &&
		RangeVarGetRelid(copy->relation, NoLock, true) == RelationGetRelid(data->tg_relation);
}

static Datum
get_value(const Version *version, int column, bool *isnull)
{
	return heap_getattr(version->tuple,
						provconn_store_attnum(&provconn_connection_table, column),
						version->tupdesc, isnull);
}

static bool
is_null(const Version *version, int column)
{
	bool		isnull;

	(void) get_value(version, column, &isnull);
	return isnull;
}

static ProvconnUuid
get_uuid(const Version *version, int column)
{
	ProvconnUuid uuid = {{0}};
	bool		isnull;
	Datum		value = get_value(version, column, &isnull);

	if (!isnull)
		memcpy(uuid.bytes, DatumGetUUIDP(value)->data, sizeof(uuid.bytes));
	return uuid;
}

static ProvconnStatus
get_status(const Version *version)
{
	bool		isnull;
	Datum		value = get_value(version, CONNECTION_STATUS, &isnull);

	if (isnull)
		provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE, "status is null");
	return provconn_catalog_status(value);
}

/* A command has checked its provider; direct SQL has not. */
static void
guard_insert(const Version *fresh, bool direct)
{
	ProvconnUuid id = get_uuid(fresh, CONNECTION_ID);
	ProvconnUuid user_id = get_uuid(fresh, CONNECTION_USER_ID);
	ProvconnUuid provider_id = get_uuid(fresh, CONNECTION_PROVIDER_ID);
	ProvconnProvider provider;
	bool		isnull;
	int			shard = DatumGetInt32(get_value(fresh, CONNECTION_SHARD_KEY, &isnull));

	if (!provconn_lifecycle_reaches(PROVCONN_STATUS_NONE, get_status(fresh)))
		provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE,
							 psprintf("no connection starts as %s",
									  provconn_status_name(get_status(fresh))));
	if (isnull || shard != provconn_shard_of_user(&user_id) ||
		shard != provconn_uuid7_shard(&id))
		provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE,
							 "shard_key and connection_id must carry the shard of user_id");
	if (direct && !provconn_provider_find(&provider_id, &provider))
		provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE, "there is no such provider");
}

static void
guard_update(const Version *old, const Version *fresh)
{
	static const int fixed[] = {
		CONNECTION_SHARD_KEY, CONNECTION_ID, CONNECTION_USER_ID, CONNECTION_PROVIDER_ID,
		CONNECTION_CREATED_AT
	};
	ProvconnStatus from = get_status(old);
	ProvconnStatus to = get_status(fresh);

	for (int i = 0; i < (int) lengthof(fixed); i++)
		if (!same_value(old, fresh, fixed[i]))
			provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE,
								 "ids, shard, user, provider and created_at are fixed");
	if (from != to && !provconn_lifecycle_reaches(from, to))
		provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE,
							 psprintf("%s does not become %s", provconn_status_name(from),
									  provconn_status_name(to)));
}

/* Active means credentials, disconnected and pending mean none; else they stay as they are. */
static void
guard_credential(const Version *old, const Version *fresh)
{
	static const int of_credential[] = {
		CONNECTION_CREDENTIAL, CONNECTION_CREDENTIAL_TYPE, CONNECTION_EXPIRES_AT,
		CONNECTION_VERSION
	};
	ProvconnStatus status = get_status(fresh);

	switch (status)
	{
		case PROVCONN_STATUS_ACTIVE:
			if (is_null(fresh, CONNECTION_CREDENTIAL) ||
				is_null(fresh, CONNECTION_CREDENTIAL_TYPE))
				provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE,
									 "an active connection has credentials");
			break;
		case PROVCONN_STATUS_PENDING:
		case PROVCONN_STATUS_DISCONNECTED:
			if (!is_null(fresh, CONNECTION_CREDENTIAL) ||
				!is_null(fresh, CONNECTION_CREDENTIAL_TYPE) ||
				!is_null(fresh, CONNECTION_EXPIRES_AT))
				provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE,
									 psprintf("a %s connection has no credentials",
											  provconn_status_name(status)));
			break;
		default:
			for (int i = 0; i < (int) lengthof(of_credential); i++)
				if (old != NULL && !same_value(old, fresh, of_credential[i]))
					provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE,
										 "credentials are written by making the connection active");
			break;
	}
}

static bool
same_value(const Version *old, const Version *fresh, int column)
{
	Form_pg_attribute attribute =
		TupleDescAttr(fresh->tupdesc,
					  provconn_store_attnum(&provconn_connection_table, column) - 1);
	bool		old_null;
	bool		fresh_null;
	Datum		old_value = get_value(old, column, &old_null);
	Datum		fresh_value = get_value(fresh, column, &fresh_null);

	if (old_null || fresh_null)
		return old_null == fresh_null;
	return datum_image_eq(old_value, fresh_value, attribute->attbyval, attribute->attlen);
}

/* The row with the id, time and number of the audit row that it will have. */
static HeapTuple
stamp_tuple(const Version *old, const Version *fresh, const ProvconnAuditFrame *frame)
{
	ProvconnUuid id = get_uuid(fresh, CONNECTION_ID);
	ProvconnAuditStamp stamp;
	int			attnums[3];
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	bool		isnull = true;
	int64		seq = 0;

	if (old != NULL)
		seq = DatumGetInt64(get_value(old, CONNECTION_AUDIT_SEQ, &isnull));
	stamp = provconn_audit_stamp(provconn_uuid7_shard(&id),
								 frame != NULL ? frame->now : GetCurrentTimestamp());

	attnums[0] = provconn_store_attnum(&provconn_connection_table, CONNECTION_AUDIT_ID);
	values[0] = UUIDPGetDatum((const pg_uuid_t *) &stamp.audit_id);
	attnums[1] = provconn_store_attnum(&provconn_connection_table, CONNECTION_AUDIT_SEQ);
	values[1] = Int64GetDatum(isnull ? 1 : seq + 1);
	attnums[2] = provconn_store_attnum(&provconn_connection_table, CONNECTION_AUDIT_AT);
	values[2] = TimestampTzGetDatum(stamp.occurred_at);
	return heap_modify_tuple_by_cols(fresh->tuple, fresh->tupdesc, 3, attnums, values, nulls);
}
