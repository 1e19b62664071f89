/*
 * audit.c (layer 5): one row for each command, accepted or refused.
 *
 * The rows that changed a connection are its chain: each has the hash of the one
 * before it, and the connection's row has the hash of the last one.  So a row is
 * composed, hash and all, before the connection's row is written, and inserted
 * afterwards.
 *
 * Rows go straight into the leaf partition.  The current frame is a static
 * pointer into the stack of the command that set it; the command restores it
 * on every way out.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inet.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "audit.h"
#include "catalog.h"
#include "compat.h"
#include "entry.h"
#include "fault.h"
#include "partition.h"
#include "shard.h"
#include "store.h"
#include "uuid7.h"

/*
 * Rows on the user's connections, and those of no connection, are in the user's
 * shard; rows in which the user claimed another's connection are not.  Each
 * month has a partial index for the latter.
 */
#define ERASE \
	"UPDATE provconn.audit SET user_id = NULL, owner_id = NULL, reason = NULL," \
	" application_name = NULL, client_address = NULL, personal_salt = NULL" \
	" WHERE personal_salt IS NOT NULL" \
	" AND (action OPERATOR(pg_catalog.<>) 'erase_user' OR connection_id IS NOT NULL) AND "

static ProvconnStatement erase_own = {
	.sql = ERASE "shard_key OPERATOR(pg_catalog.=) $1"
	" AND (user_id OPERATOR(pg_catalog.=) $2 OR owner_id OPERATOR(pg_catalog.=) $2)",
	.nargs = 2,
	.types = {INT4OID, UUIDOID},
	.by_index = true
};

static ProvconnStatement erase_claims = {
	.sql = ERASE "owner_id IS NOT NULL AND user_id OPERATOR(pg_catalog.=) $2"
	" AND shard_key OPERATOR(pg_catalog.<>) $1",
	.nargs = 2,
	.types = {INT4OID, UUIDOID},
	.by_index = true
};

static ProvconnAuditFrame *current_frame = NULL;
static bool erasing = false;

static void set_uuid(ProvconnValues *row, int column, const ProvconnUuid *uuid);
static void set_span(ProvconnValues *row, int column, ProvconnSpan span);
static void set_cstring(ProvconnValues *row, int column, const char *string);
static void set_status(ProvconnValues *row, int column, ProvconnStatus status);
static void set_client_address(ProvconnValues *row);
static void seal_row(ProvconnAuditRow *row);

void
provconn_audit_prepare(TimestampTz now)
{
	ProvconnUuid probe = provconn_shard_new_id(0, now);

	(void) provconn_partition_for(&probe, now);
	provconn_partition_extend(now);
}

ProvconnAuditStamp
provconn_audit_stamp(int shard, TimestampTz now)
{
	ProvconnAuditStamp stamp;

	stamp.audit_id = provconn_shard_new_id(shard, now);
	stamp.occurred_at = now;
	stamp.seq = 0;
	memset(stamp.previous, 0, sizeof(stamp.previous));
	return stamp;
}

int
provconn_audit_shard(const ProvconnAuditEntry *entry)
{
	if (entry->connection_id != NULL)
		return provconn_uuid7_shard(entry->connection_id);
	if (entry->user_id != NULL)
		return provconn_shard_of_user(entry->user_id);
	return 0;
}

void
provconn_audit_compose(const ProvconnAuditEntry *entry, const ProvconnAuditStamp *stamp,
					   ProvconnAuditRow *row)
{
	ProvconnValues *values = &row->values;
	ProvconnSpan reason = entry->reason;

	memset(row, 0, sizeof(*row));
	row->stamp = *stamp;
	provconn_values_set(values, ENTRY_SHARD_KEY,
						Int32GetDatum(provconn_uuid7_shard(&stamp->audit_id)));
	set_uuid(values, ENTRY_AUDIT_ID, &stamp->audit_id);
	provconn_values_set(values, ENTRY_OCCURRED_AT, TimestampTzGetDatum(stamp->occurred_at));
	set_uuid(values, ENTRY_CONNECTION_ID, entry->connection_id);
	if (stamp->seq > 0)
		provconn_values_set(values, ENTRY_SEQ, Int64GetDatum(stamp->seq));
	if (stamp->seq > 1)
		provconn_values_set(values, ENTRY_PREVIOUS_HASH, provconn_digest_datum(stamp->previous));
	set_uuid(values, ENTRY_PROVIDER_ID, entry->provider_id);
	set_span(values, ENTRY_PROVIDER_SLUG, entry->provider_slug);
	set_cstring(values, ENTRY_ACTION, entry->action);
	set_cstring(values, ENTRY_OUTCOME, entry->outcome);
	set_status(values, ENTRY_OLD_STATUS, entry->old_status);
	set_status(values, ENTRY_NEW_STATUS, entry->new_status);
	set_cstring(values, ENTRY_ERROR_CODE, entry->error_code);
	if (entry->has_version)
		provconn_values_set(values, ENTRY_VERSION, Int32GetDatum(entry->version));
	set_cstring(values, ENTRY_SESSION_ROLE, GetUserNameFromId(GetSessionUserId(), true));
	set_cstring(values, ENTRY_CALLER_ROLE, GetUserNameFromId(entry->caller, true));
	provconn_values_set(values, ENTRY_ORIGIN, Int32GetDatum(provconn_entry_origin()));
	provconn_values_set(values, ENTRY_TRANSACTION_ID,
						FullTransactionIdGetDatum(GetTopFullTransactionId()));

	set_uuid(values, ENTRY_USER_ID, entry->user_id);
	set_uuid(values, ENTRY_OWNER_ID, entry->owner_id);
	if (reason.data != NULL)
		reason.len = pg_mbcharcliplen(reason.data, reason.len, PROVCONN_REASON_MAX);
	set_span(values, ENTRY_REASON, reason);
	set_cstring(values, ENTRY_APPLICATION_NAME, application_name);
	set_client_address(values);
	seal_row(row);
}

void
provconn_audit_insert(const ProvconnAuditRow *row)
{
	Oid			leaf = provconn_partition_for(&row->stamp.audit_id, row->stamp.occurred_at);

	provconn_store_insert(&provconn_entry_table, leaf, &row->values);
}

void
provconn_audit_write(const ProvconnAuditEntry *entry, const ProvconnAuditStamp *stamp)
{
	ProvconnAuditRow row;

	provconn_audit_compose(entry, stamp, &row);
	provconn_audit_insert(&row);
}

uint64
provconn_audit_erase(const ProvconnUuid *user_id)
{
	Datum		values[2];
	bool		before = erasing;
	uint64		erased;

	values[0] = Int32GetDatum(provconn_shard_of_user(user_id));
	values[1] = UUIDPGetDatum((const pg_uuid_t *) user_id);
	erasing = true;
	PG_TRY();
	{
		erased = provconn_store_run(&provconn_entry_table, &erase_own, values, NULL, 0, NULL, NULL);
		erased += provconn_store_run(&provconn_entry_table, &erase_claims, values, NULL, 0, NULL, NULL);
	}
	PG_FINALLY();
	{
		erasing = before;
	}
	PG_END_TRY();
	return erased;
}

void
provconn_audit_wait_for_writers(void)
{
	provconn_store_wait_for_lockers(&provconn_entry_table, ShareLock);
}

bool
provconn_audit_is_erasing(void)
{
	return erasing;
}

const char *
provconn_audit_personal_column(int i)
{
	int			column = ENTRY_USER_ID + i;

	return column <= ENTRY_PERSONAL_SALT ? provconn_entry_table.columns[column].name : NULL;
}

ProvconnAuditFrame *
provconn_audit_set_frame(ProvconnAuditFrame *frame)
{
	ProvconnAuditFrame *before = current_frame;

	current_frame = frame;
	return before;
}

ProvconnAuditFrame *
provconn_audit_frame(const ProvconnUuid *connection_id)
{
	if (current_frame == NULL ||
		memcmp(&current_frame->connection_id, connection_id, sizeof(ProvconnUuid)) != 0)
		return NULL;
	return current_frame;
}

static void
set_uuid(ProvconnValues *row, int column, const ProvconnUuid *uuid)
{
	ProvconnUuid *copy;

	if (uuid == NULL)
		return;
	copy = palloc(sizeof(ProvconnUuid));
	*copy = *uuid;
	provconn_values_set(row, column, UUIDPGetDatum((const pg_uuid_t *) copy));
}

static void
set_span(ProvconnValues *row, int column, ProvconnSpan span)
{
	if (span.data != NULL)
		provconn_values_set(row, column,
							PointerGetDatum(cstring_to_text_with_len(span.data, span.len)));
}

static void
set_cstring(ProvconnValues *row, int column, const char *string)
{
	if (string != NULL)
		provconn_values_set(row, column, CStringGetTextDatum(string));
}

static void
set_status(ProvconnValues *row, int column, ProvconnStatus status)
{
	if (status != PROVCONN_STATUS_NONE)
		provconn_values_set(row, column, provconn_catalog_status_datum(status));
}

/* As inet_client_addr() has it: null for a Unix socket or a background process. */
static void
set_client_address(ProvconnValues *row)
{
	LOCAL_FCINFO(fcinfo, 0);
	Datum		address;

	if (MyProcPort == NULL)
		return;
	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(fcinfo);
	if (!fcinfo->isnull)
		provconn_values_set(row, ENTRY_CLIENT_ADDRESS, address);
}

/* Commitment and hash: nothing of the row changes after that. */
static void
seal_row(ProvconnAuditRow *row)
{
	provconn_entry_commit(&row->values);
	provconn_entry_hash(&row->values, row->hash);
	provconn_values_set(&row->values, ENTRY_ENTRY_HASH, provconn_digest_datum(row->hash));
}
