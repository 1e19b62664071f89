/*
 * audit.c (layer 5): one row for each command, accepted or refused.
 *
 * Personal values (user, owner, reason, application name, client address)
 * stand beside one salted SHA-256 commitment of them all: erasing the values and
 * the salt leaves a row that still verifies but tells nothing.  The commitment
 * is SHA-256(salt, then for each value, in the order of the columns, a byte 0
 * for null, or a byte 1, its length as four bytes big-endian, and its bytes).
 *
 * Rows go straight into the leaf partition.  The current frame is a static
 * pointer into the stack of the command that set it; the command restores it
 * on every way out.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
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
#include "fault.h"
#include "partition.h"
#include "shard.h"
#include "store.h"
#include "uuid7.h"

#define SALT_LENGTH 16

enum
{
	COLUMN_SHARD_KEY,
	COLUMN_AUDIT_ID,
	COLUMN_OCCURRED_AT,
	COLUMN_CONNECTION_ID,
	COLUMN_SEQ,
	COLUMN_PROVIDER_ID,
	COLUMN_PROVIDER_SLUG,
	COLUMN_ACTION,
	COLUMN_OUTCOME,
	COLUMN_OLD_STATUS,
	COLUMN_NEW_STATUS,
	COLUMN_ERROR_CODE,
	COLUMN_VERSION,
	COLUMN_SESSION_ROLE,
	COLUMN_CALLER_ROLE,
	COLUMN_TRANSACTION_ID,
	COLUMN_USER_ID,
	COLUMN_OWNER_ID,
	COLUMN_REASON,
	COLUMN_APPLICATION_NAME,
	COLUMN_CLIENT_ADDRESS,
	COLUMN_PERSONAL_SALT,
	COLUMN_PERSONAL_HASH,
	COLUMN_COUNT
};

static const ProvconnColumn columns[COLUMN_COUNT] = {
	[COLUMN_SHARD_KEY] = {"shard_key", INT4OID},
	[COLUMN_AUDIT_ID] = {"audit_id", UUIDOID},
	[COLUMN_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID},
	[COLUMN_CONNECTION_ID] = {"connection_id", UUIDOID},
	[COLUMN_SEQ] = {"seq", INT8OID},
	[COLUMN_PROVIDER_ID] = {"provider_id", UUIDOID},
	[COLUMN_PROVIDER_SLUG] = {"provider_slug", TEXTOID},
	[COLUMN_ACTION] = {"action", TEXTOID},
	[COLUMN_OUTCOME] = {"outcome", TEXTOID},
	[COLUMN_OLD_STATUS] = {"old_status", InvalidOid},
	[COLUMN_NEW_STATUS] = {"new_status", InvalidOid},
	[COLUMN_ERROR_CODE] = {"error_code", TEXTOID},
	[COLUMN_VERSION] = {"version", INT4OID},
	[COLUMN_SESSION_ROLE] = {"session_role", TEXTOID},
	[COLUMN_CALLER_ROLE] = {"caller_role", TEXTOID},
	[COLUMN_TRANSACTION_ID] = {"transaction_id", XID8OID},
	[COLUMN_USER_ID] = {"user_id", UUIDOID},
	[COLUMN_OWNER_ID] = {"owner_id", UUIDOID},
	[COLUMN_REASON] = {"reason", TEXTOID},
	[COLUMN_APPLICATION_NAME] = {"application_name", TEXTOID},
	[COLUMN_CLIENT_ADDRESS] = {"client_address", INETOID},
	[COLUMN_PERSONAL_SALT] = {"personal_salt", BYTEAOID},
	[COLUMN_PERSONAL_HASH] = {"personal_hash", BYTEAOID},
};

static ProvconnTable audit = {
	.name = "audit", .is_partitioned = true, .key_columns = 2, .column_count = COLUMN_COUNT, .columns = columns
};

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
static void commit_personal_values(ProvconnValues *row);
static void hash_bytes(pg_cryptohash_ctx *context, const void *bytes, size_t len);

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
provconn_audit_write(const ProvconnAuditEntry *entry, const ProvconnAuditStamp *stamp)
{
	ProvconnValues row = {0};
	ProvconnSpan reason = entry->reason;
	Oid			leaf = provconn_partition_for(&stamp->audit_id, stamp->occurred_at);

	provconn_values_set(&row, COLUMN_SHARD_KEY,
						Int32GetDatum(provconn_uuid7_shard(&stamp->audit_id)));
	set_uuid(&row, COLUMN_AUDIT_ID, &stamp->audit_id);
	provconn_values_set(&row, COLUMN_OCCURRED_AT, TimestampTzGetDatum(stamp->occurred_at));
	set_uuid(&row, COLUMN_CONNECTION_ID, entry->connection_id);
	if (stamp->seq > 0)
		provconn_values_set(&row, COLUMN_SEQ, Int64GetDatum(stamp->seq));
	set_uuid(&row, COLUMN_PROVIDER_ID, entry->provider_id);
	set_span(&row, COLUMN_PROVIDER_SLUG, entry->provider_slug);
	set_cstring(&row, COLUMN_ACTION, entry->action);
	set_cstring(&row, COLUMN_OUTCOME, entry->outcome);
	set_status(&row, COLUMN_OLD_STATUS, entry->old_status);
	set_status(&row, COLUMN_NEW_STATUS, entry->new_status);
	set_cstring(&row, COLUMN_ERROR_CODE, entry->error_code);
	if (entry->has_version)
		provconn_values_set(&row, COLUMN_VERSION, Int32GetDatum(entry->version));
	set_cstring(&row, COLUMN_SESSION_ROLE, GetUserNameFromId(GetSessionUserId(), true));
	set_cstring(&row, COLUMN_CALLER_ROLE, GetUserNameFromId(entry->caller, true));
	provconn_values_set(&row, COLUMN_TRANSACTION_ID,
						FullTransactionIdGetDatum(GetTopFullTransactionId()));

	set_uuid(&row, COLUMN_USER_ID, entry->user_id);
	set_uuid(&row, COLUMN_OWNER_ID, entry->owner_id);
	if (reason.data != NULL)
		reason.len = pg_mbcharcliplen(reason.data, reason.len, PROVCONN_REASON_MAX);
	set_span(&row, COLUMN_REASON, reason);
	set_cstring(&row, COLUMN_APPLICATION_NAME, application_name);
	set_client_address(&row);
	commit_personal_values(&row);

	provconn_store_insert(&audit, leaf, &row);
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
		erased = provconn_store_run(&audit, &erase_own, values, NULL, 0, NULL, NULL);
		erased += provconn_store_run(&audit, &erase_claims, values, NULL, 0, NULL, NULL);
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
	provconn_store_wait_for_lockers(&audit, ShareLock);
}

bool
provconn_audit_is_erasing(void)
{
	return erasing;
}

const char *
provconn_audit_personal_column(int i)
{
	int			column = COLUMN_USER_ID + i;

	return column <= COLUMN_PERSONAL_SALT ? columns[column].name : NULL;
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
	if (uuid != NULL)
		provconn_values_set(row, column, UUIDPGetDatum((const pg_uuid_t *) uuid));
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
		provconn_values_set(row, COLUMN_CLIENT_ADDRESS, address);
}

static void
commit_personal_values(ProvconnValues *row)
{
	bytea	   *salt = palloc(VARHDRSZ + SALT_LENGTH);
	bytea	   *hash = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	SET_VARSIZE(salt, VARHDRSZ + SALT_LENGTH);
	SET_VARSIZE(hash, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		!pg_strong_random(VARDATA(salt), SALT_LENGTH))
		elog(ERROR, "could not commit to the personal values");

	hash_bytes(context, VARDATA(salt), SALT_LENGTH);
	for (int column = COLUMN_USER_ID; column <= COLUMN_CLIENT_ADDRESS; column++)
	{
		unsigned char head[5] = {0};
		const char *bytes;
		size_t		len;

		if (!row->set[column])
		{
			hash_bytes(context, head, 1);
			continue;
		}
		if (columns[column].type == UUIDOID)
		{
			bytes = DatumGetPointer(row->values[column]);
			len = sizeof(ProvconnUuid);
		}
		else if (columns[column].type == INETOID)
		{
			bytes = DatumGetCString(DirectFunctionCall1(inet_out, row->values[column]));
			len = strlen(bytes);
		}
		else
		{
			bytes = VARDATA_ANY(DatumGetPointer(row->values[column]));
			len = VARSIZE_ANY_EXHDR(DatumGetPointer(row->values[column]));
		}
		head[0] = 1;
		head[1] = len >> 24;
		head[2] = len >> 16;
		head[3] = len >> 8;
		head[4] = len;
		hash_bytes(context, head, sizeof(head));
		hash_bytes(context, bytes, len);
	}
	if (pg_cryptohash_final(context, (uint8 *) VARDATA(hash), PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute a SHA-256 hash");
	pg_cryptohash_free(context);

	provconn_values_set(row, COLUMN_PERSONAL_SALT, PointerGetDatum(salt));
	provconn_values_set(row, COLUMN_PERSONAL_HASH, PointerGetDatum(hash));
}

static void
hash_bytes(pg_cryptohash_ctx *context, const void *bytes, size_t len)
{
	if (pg_cryptohash_update(context, bytes, len) < 0)
		elog(ERROR, "could not compute a SHA-256 hash");
}
