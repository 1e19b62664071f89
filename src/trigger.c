/*
 * trigger.c (layer 8): the guards of the tables and the writer of the audit.
 *
 * All of them are ENABLE ALWAYS and fire for everybody, superusers and replica
 * roles included.  They stand aside where the rows are a copy of what was
 * guarded and audited before: in a logical replication worker, and for COPY by
 * a superuser's session with row_security off, which is how pg_dump and
 * pg_restore load data.
 *
 * The guard of a connection runs BEFORE the row is written and fixes the id,
 * time, number and hash of its audit row into it; the AFTER trigger writes
 * exactly that row.  What to say beside it the command's frame tells.  It also keeps
 * the row's place in the refresh queue.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/portal.h"
#include "utils/rls.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "archive.h"
#include "audit.h"
#include "catalog.h"
#include "compat.h"
#include "connection.h"
#include "entry.h"
#include "fault.h"
#include "health.h"
#include "import.h"
#include "keyring.h"
#include "lifecycle.h"
#include "provider.h"
#include "shard.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(provconn_guard_connection);
PG_FUNCTION_INFO_V1(provconn_audit_connection);
PG_FUNCTION_INFO_V1(provconn_guard_provider);
PG_FUNCTION_INFO_V1(provconn_open_provider);
PG_FUNCTION_INFO_V1(provconn_guard_data_key);
PG_FUNCTION_INFO_V1(provconn_notice_change);
PG_FUNCTION_INFO_V1(provconn_guard_audit);
PG_FUNCTION_INFO_V1(provconn_guard_seal);
PG_FUNCTION_INFO_V1(provconn_guard_import);

/* A row in a trigger, taken apart; without a tuple there is none. */
typedef struct Version
{
	HeapTuple	tuple;
	TupleDesc	tupdesc;
	Datum	   *values;
	bool	   *nulls;
} Version;

static TriggerData *trigger_data(FunctionCallInfo fcinfo);
static void require_connection(TriggerData *data, bool fired_right);
static _Noreturn void raise_misplaced(const char *table);
static Datum let_pass(TriggerData *data, ProvconnFault fault, const char *what);
static bool stands_aside(TriggerData *data);
static Version read_version(TriggerData *data, HeapTuple tuple);
static Datum get_value(const Version *version, int column, bool *isnull);
static void set_value(const Version *version, int column, Datum value, bool isnull);
static bool is_null(const Version *version, int column);
static ProvconnUuid get_uuid(const Version *version, int column);
static ProvconnStatus get_status(const Version *version);
static void guard_insert(const Version *fresh, bool direct);
static void guard_update(const Version *old, const Version *fresh);
static void guard_credential(const Version *old, const Version *fresh);
static bool same_value(const Version *old, const Version *fresh, int column);
static bool same_attribute(const Version *old, const Version *fresh, AttrNumber attnum);
static HeapTuple stamp_tuple(const Version *old, const Version *fresh,
							 ProvconnAuditFrame *frame);
static void keep_order(const Version *old, ProvconnAuditStamp *stamp);
static void get_head(const Version *old, unsigned char head[PROVCONN_DIGEST_LENGTH]);
static void compose_row(const Version *old, const Version *fresh, const ProvconnAuditFrame *frame,
						const ProvconnAuditStamp *stamp, ProvconnAuditRow *row);
static void require_same_row(const Version *fresh, const ProvconnAuditRow *row);
static bool is_same_but(const Version *old, const Version *fresh, AttrNumber first,
						AttrNumber second);
static bool is_same_but_place(const Version *old, const Version *fresh);
static bool is_resealed(const ProvconnAuditFrame *frame, const Version *old, const Version *fresh);
static bool is_erased(TriggerData *data);
static bool is_same_place(const Version *old, const Version *fresh);
static HeapTuple place_tuple(const Version *old, const Version *fresh);
static void find_place(const Version *old, const Version *fresh, Datum *values, bool *nulls);
static bool get_time(const Version *version, int column, TimestampTz *time);

Datum
provconn_guard_connection(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);
	Version		old = {0};
	Version		fresh;
	ProvconnAuditFrame *frame;
	ProvconnUuid id;

	require_connection(data, TRIGGER_FIRED_BEFORE(data->tg_event));
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event) || TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		return let_pass(data, PROVCONN_FAULT_UNDELETABLE, "connection");

	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		old = read_version(data, data->tg_trigtuple);
	fresh = read_version(data, old.tuple != NULL ? data->tg_newtuple : data->tg_trigtuple);
	id = get_uuid(&fresh, CONNECTION_ID);
	frame = provconn_audit_frame(&id);
	if (frame == NULL && stands_aside(data))
	{
		/* A restore's trace is its statement's; this one applies single rows. */
		if (IsLogicalWorker())
			provconn_import_record("connection");
		return PointerGetDatum(fresh.tuple);
	}

	if (frame == NULL && old.tuple != NULL && is_same_but_place(&old, &fresh) &&
		!is_same_place(&old, &fresh))
		return PointerGetDatum(place_tuple(NULL, &fresh));
	if (is_null(&fresh, CONNECTION_ID))
		provconn_fault_raise(PROVCONN_FAULT_FORBIDDEN_CHANGE, "connection_id is null");
	if (old.tuple != NULL && is_resealed(frame, &old, &fresh))
		return PointerGetDatum(fresh.tuple);
	if (old.tuple != NULL)
		guard_update(&old, &fresh);
	else
		guard_insert(&fresh, frame == NULL);
	if (frame == NULL || !frame->resealing)
		guard_credential(old.tuple != NULL ? &old : NULL, &fresh);
	return PointerGetDatum(stamp_tuple(old.tuple != NULL ? &old : NULL, &fresh, frame));
}

Datum
provconn_audit_connection(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);
	bool		update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	Version		old;
	Version		fresh;
	ProvconnAuditFrame *frame;
	ProvconnAuditRow direct;
	ProvconnAuditRow *row = &direct;
	ProvconnUuid id;
	bool		isnull;

	require_connection(data, TRIGGER_FIRED_AFTER(data->tg_event) &&
					   !TRIGGER_FIRED_BY_DELETE(data->tg_event) &&
					   TRIGGER_FIRED_FOR_ROW(data->tg_event));
	old = read_version(data, data->tg_trigtuple);
	fresh = update ? read_version(data, data->tg_newtuple) : old;
	id = get_uuid(&fresh, CONNECTION_ID);
	frame = provconn_audit_frame(&id);
	if (frame == NULL && (stands_aside(data) || (update && is_same_but_place(&old, &fresh))))
		return PointerGetDatum(NULL);
	if (update && is_resealed(frame, &old, &fresh))
	{
		frame->recorded = true;
		return PointerGetDatum(NULL);
	}
	/* The guard did not see this change: it is disabled, or not the last trigger. */
	if (update && same_value(&old, &fresh, CONNECTION_AUDIT_ID))
		provconn_fault_raise(PROVCONN_FAULT_AUDIT_NOT_WRITTEN);

	if (frame != NULL && frame->composed)
		row = &frame->row;
	else
	{
		ProvconnAuditStamp stamp;

		stamp.audit_id = get_uuid(&fresh, CONNECTION_AUDIT_ID);
		stamp.seq = DatumGetInt64(get_value(&fresh, CONNECTION_AUDIT_SEQ, &isnull));
		stamp.occurred_at = DatumGetTimestampTz(get_value(&fresh, CONNECTION_AUDIT_AT, &isnull));
		get_head(update ? &old : NULL, stamp.previous);
		compose_row(update ? &old : NULL, &fresh, frame, &stamp, row);
	}
	require_same_row(&fresh, row);
	provconn_audit_insert(row);
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

/* AFTER INSERT: a provider gets its circuit breaker, however it came here. */
Datum
provconn_open_provider(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);
	TupleDesc	tupdesc = RelationGetDescr(data->tg_relation);
	int			attnum = SPI_fnumber(tupdesc, "provider_id");
	ProvconnUuid id;
	bool		isnull;
	Datum		value;

	if (!TRIGGER_FIRED_AFTER(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(data->tg_event) ||
		attnum <= 0 || SPI_gettypeid(tupdesc, attnum) != UUIDOID)
		raise_misplaced("provconn.provider");
	value = heap_getattr(data->tg_trigtuple, attnum, tupdesc, &isnull);
	if (!isnull)
	{
		memcpy(&id, DatumGetUUIDP(value), sizeof(id));
		provconn_health_begin(&id);
	}
	return PointerGetDatum(NULL);
}

/* BEFORE UPDATE, DELETE and TRUNCATE of data keys: what they sealed would be lost. */
Datum
provconn_guard_data_key(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event) && provconn_keyring_is_changing())
		return PointerGetDatum(data->tg_newtuple);
	return let_pass(data, PROVCONN_FAULT_DATA_KEY_FIXED, NULL);
}

/* AFTER INSERT, UPDATE and DELETE of what sessions keep, by whomever: they read it anew. */
Datum
provconn_notice_change(PG_FUNCTION_ARGS)
{
	CacheInvalidateRelcache(trigger_data(fcinfo)->tg_relation);
	return PointerGetDatum(NULL);
}

/* BEFORE UPDATE, DELETE and TRUNCATE of the audit and each of its partitions. */
Datum
provconn_guard_audit(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event) && provconn_audit_is_erasing() && is_erased(data))
		return PointerGetDatum(data->tg_newtuple);
	return let_pass(data, PROVCONN_FAULT_AUDIT_APPEND_ONLY, NULL);
}

/* BEFORE UPDATE, DELETE and TRUNCATE of seals, and of what is known of imports. */
Datum
provconn_guard_seal(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	if (provconn_archive_is_moving() && !TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ?
							   data->tg_newtuple : data->tg_trigtuple);
	return let_pass(data, PROVCONN_FAULT_SEAL_FIXED, RelationGetRelationName(data->tg_relation));
}

/*
 * BEFORE INSERT, for statements: what the library inserts fires none.  A copy
 * leaves its trace; nobody else inserts into the audit or the seals.
 */
Datum
provconn_guard_import(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);
	const char *table = RelationGetRelationName(data->tg_relation);

	if (!TRIGGER_FIRED_BEFORE(data->tg_event) || TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(data->tg_event))
		raise_misplaced("provconn.audit");
	if (stands_aside(data))
		provconn_import_record(table);
	else if (RelationGetRelid(data->tg_relation) != provconn_store_relid(&provconn_connection_table) &&
			 !provconn_archive_is_moving())
		provconn_fault_raise(PROVCONN_FAULT_AUDIT_OWN_WRITES, table);
	return PointerGetDatum(NULL);
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
		raise_misplaced("provconn.connection");
}

static void
raise_misplaced(const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("this trigger function belongs to %s alone", table),
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

static Version
read_version(TriggerData *data, HeapTuple tuple)
{
	TupleDesc	tupdesc = RelationGetDescr(data->tg_relation);
	Version		version;

	version.tuple = tuple;
	version.tupdesc = tupdesc;
	version.values = palloc(sizeof(Datum) * tupdesc->natts);
	version.nulls = palloc(sizeof(bool) * tupdesc->natts);
	heap_deform_tuple(tuple, tupdesc, version.values, version.nulls);
	return version;
}

static Datum
get_value(const Version *version, int column, bool *isnull)
{
	int			at = provconn_store_attnum(&provconn_connection_table, column) - 1;

	*isnull = version->nulls[at];
	return version->values[at];
}

static void
set_value(const Version *version, int column, Datum value, bool isnull)
{
	int			at = provconn_store_attnum(&provconn_connection_table, column) - 1;

	version->values[at] = value;
	version->nulls[at] = isnull;
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
	return same_attribute(old, fresh, provconn_store_attnum(&provconn_connection_table, column));
}

static bool
same_attribute(const Version *old, const Version *fresh, AttrNumber attnum)
{
	Form_pg_attribute attribute = TupleDescAttr(fresh->tupdesc, attnum - 1);
	int			at = attnum - 1;

	if (old->nulls[at] || fresh->nulls[at])
		return old->nulls[at] == fresh->nulls[at];
	return datum_image_eq(old->values[at], fresh->values[at], attribute->attbyval, attribute->attlen);
}

/* The row with id, time, number and hash of the audit row that it will have. */
static HeapTuple
stamp_tuple(const Version *old, const Version *fresh, ProvconnAuditFrame *frame)
{
	ProvconnUuid id = get_uuid(fresh, CONNECTION_ID);
	ProvconnAuditRow direct;
	ProvconnAuditRow *row = frame != NULL ? &frame->row : &direct;
	ProvconnAuditStamp stamp;
	bool		isnull = true;
	int64		seq = 0;

	if (old != NULL)
		seq = DatumGetInt64(get_value(old, CONNECTION_AUDIT_SEQ, &isnull));
	stamp = provconn_audit_stamp(provconn_uuid7_shard(&id),
								 frame != NULL ? frame->now : GetCurrentTimestamp());
	stamp.seq = isnull ? 1 : seq + 1;
	if (old != NULL)
		keep_order(old, &stamp);
	get_head(old, stamp.previous);
	compose_row(old, fresh, frame, &stamp, row);
	if (frame != NULL)
		frame->composed = true;

	set_value(fresh, CONNECTION_AUDIT_ID, UUIDPGetDatum((const pg_uuid_t *) &stamp.audit_id), false);
	set_value(fresh, CONNECTION_AUDIT_SEQ, Int64GetDatum(stamp.seq), false);
	set_value(fresh, CONNECTION_AUDIT_AT, TimestampTzGetDatum(stamp.occurred_at), false);
	set_value(fresh, CONNECTION_AUDIT_HASH, provconn_digest_datum(row->hash), false);
	return place_tuple(old, fresh);
}

/* The ids of a chain's rows are in its order, also within a millisecond and as a clock steps back. */
static void
keep_order(const Version *old, ProvconnAuditStamp *stamp)
{
	ProvconnUuid before = get_uuid(old, CONNECTION_AUDIT_ID);

	if (memcmp(&stamp->audit_id, &before, sizeof(before)) <= 0 &&
		provconn_uuid7_shard(&before) == provconn_uuid7_shard(&stamp->audit_id))
		stamp->audit_id = provconn_uuid7_after(&before, &stamp->audit_id);
}

/* The hash of the last row of a connection's chain. */
static void
get_head(const Version *old, unsigned char head[PROVCONN_DIGEST_LENGTH])
{
	bool		isnull = true;
	Datum		value = (Datum) 0;
	struct varlena *hash;

	memset(head, 0, PROVCONN_DIGEST_LENGTH);
	if (old != NULL)
		value = get_value(old, CONNECTION_AUDIT_HASH, &isnull);
	if (isnull)
		return;
	hash = PG_DETOAST_DATUM_PACKED(value);
	memcpy(head, VARDATA_ANY(hash), Min(VARSIZE_ANY_EXHDR(hash), PROVCONN_DIGEST_LENGTH));
}

/* The audit row of a change, in memory that lives until the AFTER trigger has inserted it. */
static void
compose_row(const Version *old, const Version *fresh, const ProvconnAuditFrame *frame,
			const ProvconnAuditStamp *stamp, ProvconnAuditRow *row)
{
	MemoryContext caller = CurrentMemoryContext;
	ProvconnAuditEntry entry = {0};
	ProvconnUuid id = get_uuid(fresh, CONNECTION_ID);
	ProvconnUuid user_id = get_uuid(fresh, CONNECTION_USER_ID);
	ProvconnUuid provider_id = get_uuid(fresh, CONNECTION_PROVIDER_ID);
	ProvconnProvider provider;
	bool		isnull;

	if (frame != NULL)
		MemoryContextSwitchTo(frame->context);
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
	{
		entry.reason = frame->reason;
		entry.error_code = frame->error_code;
	}
	entry.old_status = old != NULL ? get_status(old) : PROVCONN_STATUS_NONE;
	entry.new_status = get_status(fresh);
	entry.has_version = true;
	entry.version = DatumGetInt32(get_value(fresh, CONNECTION_VERSION, &isnull));
	entry.caller = frame != NULL ? frame->caller : GetUserId();
	entry.is_repeated = frame == NULL;
	provconn_audit_compose(&entry, stamp, row);
	MemoryContextSwitchTo(caller);
}

/*
 * The row that was written must be the one that the guard composed an audit row
 * for.  If not, another trigger came after the guard, or what the audit says of
 * a direct change (application_name, say) changed within its statement.
 */
static void
require_same_row(const Version *fresh, const ProvconnAuditRow *row)
{
	unsigned char head[PROVCONN_DIGEST_LENGTH];
	bool		isnull;
	Datum		version = get_value(fresh, CONNECTION_VERSION, &isnull);

	get_head(fresh, head);
	if (memcmp(head, row->hash, sizeof(head)) != 0 || isnull ||
		!row->values.set[ENTRY_VERSION] || !row->values.set[ENTRY_NEW_STATUS] ||
		DatumGetInt32(version) != DatumGetInt32(row->values.values[ENTRY_VERSION]) ||
		get_status(fresh) != provconn_catalog_status(row->values.values[ENTRY_NEW_STATUS]))
		provconn_fault_raise(PROVCONN_FAULT_AUDIT_NOT_WRITTEN);
}

/* Whether the rows differ in these two columns at most; 0: in one at most. */
static bool
is_same_but(const Version *old, const Version *fresh, AttrNumber first, AttrNumber second)
{
	for (AttrNumber attnum = 1; attnum <= fresh->tupdesc->natts; attnum++)
	{
		if (attnum != first && attnum != second &&
			!TupleDescAttr(fresh->tupdesc, attnum - 1)->attisdropped &&
			!same_attribute(old, fresh, attnum))
			return false;
	}
	return true;
}

/*
 * Whether the rows differ in their place in the queue at most.  That place
 * follows from the other columns, so it is no change of the connection.  An
 * update that the guard has stamped differs in its audit_id.
 */
static bool
is_same_but_place(const Version *old, const Version *fresh)
{
	return is_same_but(old, fresh,
					   provconn_store_attnum(&provconn_connection_table, CONNECTION_HELD_UNTIL),
					   provconn_store_attnum(&provconn_connection_table, CONNECTION_DUE_AT));
}

/*
 * Whether this is the same secret under another data key: no change of the
 * connection either.  Where a DBA's trigger changed more, it is one.
 */
static bool
is_resealed(const ProvconnAuditFrame *frame, const Version *old, const Version *fresh)
{
	return frame != NULL && frame->resealing &&
		is_same_but(old, fresh,
					provconn_store_attnum(&provconn_connection_table, CONNECTION_CREDENTIAL), 0);
}

/* Whether an update of an audit row takes its personal values and no others. */
static bool
is_erased(TriggerData *data)
{
	Version		old = read_version(data, data->tg_trigtuple);
	Version		fresh = read_version(data, data->tg_newtuple);

	for (AttrNumber attnum = 1; attnum <= fresh.tupdesc->natts; attnum++)
	{
		Form_pg_attribute attribute = TupleDescAttr(fresh.tupdesc, attnum - 1);
		const char *personal;
		int			i = 0;

		if (attribute->attisdropped)
			continue;
		while ((personal = provconn_audit_personal_column(i)) != NULL &&
			   strcmp(personal, NameStr(attribute->attname)) != 0)
			i++;
		if (personal != NULL ? !fresh.nulls[attnum - 1] :
			!same_attribute(&old, &fresh, attnum))
			return false;
	}
	return true;
}

static bool
is_same_place(const Version *old, const Version *fresh)
{
	return same_value(old, fresh, CONNECTION_HELD_UNTIL) &&
		same_value(old, fresh, CONNECTION_DUE_AT);
}

/* The row anew, at its right place in the queue. */
static HeapTuple
place_tuple(const Version *old, const Version *fresh)
{
	Datum		values[2];
	bool		nulls[2];
	HeapTuple	placed;

	find_place(old, fresh, values, nulls);
	set_value(fresh, CONNECTION_HELD_UNTIL, values[0], nulls[0]);
	set_value(fresh, CONNECTION_DUE_AT, values[1], nulls[1]);
	placed = heap_form_tuple(fresh->tupdesc, fresh->values, fresh->nulls);
	placed->t_self = fresh->tuple->t_self;
	placed->t_tableOid = fresh->tuple->t_tableOid;
	placed->t_data->t_ctid = fresh->tuple->t_data->t_ctid;
	return placed;
}

/*
 * Where in the queue a row belongs (see queue.c): held_until and due_at.  A row
 * that is free before and after, and expires later than before, keeps its
 * due_at, unless the update gives it another: the index of the queue need not
 * change with every refresh.
 */
static void
find_place(const Version *old, const Version *fresh, Datum *values, bool *nulls)
{
	ProvconnStatus status = get_status(fresh);
	TimestampTz held_until;
	TimestampTz due_at;
	TimestampTz time = 0;
	Datum		type;
	bool		isnull;

	nulls[0] = nulls[1] = false;
	if (status != PROVCONN_STATUS_ACTIVE || !get_time(fresh, CONNECTION_EXPIRES_AT, &due_at))
	{
		/* Where those stand that were given up, for who counts them. */
		nulls[0] = true;
		nulls[1] = status != PROVCONN_STATUS_EXPIRED ||
			!get_time(fresh, CONNECTION_FAILING_SINCE, &time);
		values[0] = (Datum) 0;
		values[1] = nulls[1] ? (Datum) 0 : TimestampTzGetDatum(time);
		return;
	}

	type = get_value(fresh, CONNECTION_CREDENTIAL_TYPE, &isnull);
	if (isnull || !provconn_credential_type_refreshes(provconn_catalog_credential_type(type)))
		held_until = DT_NOEND;
	else
	{
		held_until = DT_NOBEGIN;
		if (get_time(fresh, CONNECTION_NEXT_ATTEMPT_AT, &time))
			held_until = Max(held_until, time);
		if (get_time(fresh, CONNECTION_LEASED_UNTIL, &time))
			held_until = Max(held_until, time);
		/* Direct SQL can lease for ever; that still is a lease. */
		held_until = Min(held_until, DT_NOEND - 1);
	}
	if (old != NULL && is_same_place(old, fresh) &&
		get_time(old, CONNECTION_HELD_UNTIL, &time) && time == held_until &&
		get_time(old, CONNECTION_DUE_AT, &time) && time < due_at)
		due_at = time;
	values[0] = TimestampTzGetDatum(held_until);
	values[1] = TimestampTzGetDatum(due_at);
}

static bool
get_time(const Version *version, int column, TimestampTz *time)
{
	bool		isnull;
	Datum		value = get_value(version, column, &isnull);

	if (!isnull)
		*time = DatumGetTimestampTz(value);
	return !isnull;
}
