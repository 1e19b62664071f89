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
#include "commands/async.h"
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
#include "settings.h"
#include "shard.h"
#include "store.h"
#include "uuid7.h"

#define ID_PREFIX 8				/* time and shard of an id */

/*
 * Rows on the user's connections, and those of no connection, are in the user's
 * shard; rows in which the user claimed another's connection, or one that never
 * was, are not.  Each month has a partial index for the latter.
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
	.sql = ERASE PROVCONN_PARTITION_CLAIMS " AND user_id OPERATOR(pg_catalog.=) $2"
	" AND shard_key OPERATOR(pg_catalog.<>) $1",
	.nargs = 2,
	.types = {INT4OID, UUIDOID},
	.by_index = true
};

static ProvconnStatement find_row = {
	.sql = "SELECT FROM provconn.audit WHERE shard_key OPERATOR(pg_catalog.=) $1"
	" AND audit_id OPERATOR(pg_catalog.=) $2",
	.nargs = 2,
	.types = {INT4OID, UUIDOID}
};

static ProvconnAuditFrame *current_frame = NULL;
static bool erasing = false;
static ProvconnUuid last_id;

static void describe_roles(ProvconnAttempt *attempt, Oid caller);
static void fill_row(ProvconnAuditRow *row, const ProvconnAuditStamp *stamp,
					 const ProvconnAttempt *facts, const char *outcome);
static void set_uuid(ProvconnValues *row, int column, const ProvconnUuid *uuid);
static void set_span(ProvconnValues *row, int column, ProvconnSpan span);
static void set_status(ProvconnValues *row, int column, ProvconnStatus status);
static void set_client_address(ProvconnValues *row);
static Datum client_address(bool *isnull);
static ProvconnSpan span_of(const char *string);
static void insert_row(const ProvconnAuditRow *row);
static void note_attempt(const ProvconnAuditRow *row);
static void notify_listeners(const ProvconnAuditRow *row);
static const ProvconnUuid *get_uuid(const ProvconnValues *row, int column);
static ProvconnStatus get_status(const ProvconnValues *row, int column);
static ProvconnSpan get_text(const ProvconnValues *row, int column);
static bool is_text(ProvconnSpan span, const char *string);
static void seal_row(ProvconnAuditRow *row, bool is_repeated);

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
	/* What one session does within a millisecond stays in order, for each shard. */
	if (memcmp(&stamp.audit_id, &last_id, ID_PREFIX) == 0 &&
		memcmp(&stamp.audit_id, &last_id, sizeof(last_id)) < 0)
		stamp.audit_id = provconn_uuid7_after(&last_id, &stamp.audit_id);
	last_id = stamp.audit_id;
	stamp.occurred_at = now;
	stamp.seq = 0;
	memset(stamp.previous, 0, sizeof(stamp.previous));
	return stamp;
}

int
provconn_audit_shard(const ProvconnUuid *connection_id, const ProvconnUuid *user_id)
{
	if (connection_id != NULL)
		return provconn_uuid7_shard(connection_id);
	if (user_id != NULL)
		return provconn_shard_of_user(user_id);
	return 0;
}

void
provconn_audit_compose(const ProvconnAuditEntry *entry, const ProvconnAuditStamp *stamp,
					   ProvconnAuditRow *row)
{
	ProvconnValues *values = &row->values;
	ProvconnAttempt facts = {0};

	facts.connection_id = entry->connection_id;
	facts.user_id = entry->user_id;
	facts.owner_id = entry->owner_id;
	facts.provider_id = entry->provider_id;
	facts.old_status = entry->old_status;
	facts.new_status = entry->new_status;
	facts.has_version = entry->has_version;
	facts.version = entry->version;
	facts.action = span_of(entry->action);
	facts.error_code = span_of(entry->error_code);
	facts.provider_slug = entry->provider_slug;
	facts.reason = entry->reason;
	if (facts.reason.data != NULL)
		facts.reason.len = pg_mbcharcliplen(facts.reason.data, facts.reason.len, PROVCONN_REASON_MAX);
	describe_roles(&facts, entry->caller);

	fill_row(row, stamp, &facts, entry->outcome);
	if (stamp->seq > 0)
		provconn_values_set(values, ENTRY_SEQ, Int64GetDatum(stamp->seq));
	if (stamp->seq > 1)
		provconn_values_set(values, ENTRY_PREVIOUS_HASH, provconn_digest_datum(stamp->previous));
	set_client_address(values);
	seal_row(row, entry->is_repeated);
}

void
provconn_audit_insert(const ProvconnAuditRow *row)
{
	insert_row(row);
	note_attempt(row);
}

void
provconn_audit_write(const ProvconnAuditEntry *entry, const ProvconnAuditStamp *stamp)
{
	ProvconnAuditRow row;

	provconn_audit_compose(entry, stamp, &row);
	provconn_audit_insert(&row);
}

void
provconn_audit_describe_session(ProvconnAttempt *attempt, Oid caller)
{
	bool		isnull;
	Datum		address = client_address(&isnull);

	describe_roles(attempt, caller);
	/* It is kept, and a trigger may SET another one meanwhile. */
	if (application_name != NULL)
		attempt->application_name = span_of(pstrdup(application_name));
	attempt->client_address = span_of(isnull ? NULL :
									  DatumGetCString(DirectFunctionCall1(inet_out, address)));
}

void
provconn_audit_record_attempt(const ProvconnAttempt *attempt)
{
	ProvconnAuditRow row;
	ProvconnAuditStamp stamp;
	Datum		keys[2];

	stamp = provconn_audit_stamp(provconn_audit_shard(attempt->connection_id, attempt->user_id),
								 attempt->occurred_at);
	if (attempt->audit_id != NULL)
		stamp.audit_id = *attempt->audit_id;
	keys[0] = Int32GetDatum(provconn_uuid7_shard(&stamp.audit_id));
	keys[1] = UUIDPGetDatum((const pg_uuid_t *) &stamp.audit_id);
	if (provconn_store_run(&provconn_entry_table, &find_row, keys, NULL, 0, NULL, NULL) > 0)
		return;

	fill_row(&row, &stamp, attempt, "rolled_back");
	if (attempt->transaction_id != 0)
		provconn_values_set(&row.values, ENTRY_ATTEMPT_ID,
							FullTransactionIdGetDatum(FullTransactionIdFromU64(attempt->transaction_id)));
	if (attempt->client_address.data != NULL)
		provconn_values_set(&row.values, ENTRY_CLIENT_ADDRESS,
							DirectFunctionCall1(inet_in, CStringGetDatum(pnstrdup(attempt->client_address.data,
																				  attempt->client_address.len))));
	seal_row(&row, false);
	/* Not an attempt of this session: it stays in the ring until it is committed. */
	insert_row(&row);
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
describe_roles(ProvconnAttempt *attempt, Oid caller)
{
	attempt->session_role = span_of(GetUserNameFromId(GetSessionUserId(), true));
	attempt->caller_role = span_of(GetUserNameFromId(caller, true));
	attempt->application_name = span_of(application_name);
}

/* What all rows have; the stamp decides over id and time. */
static void
fill_row(ProvconnAuditRow *row, const ProvconnAuditStamp *stamp, const ProvconnAttempt *facts,
		 const char *outcome)
{
	ProvconnValues *values = &row->values;

	memset(row, 0, sizeof(*row));
	row->stamp = *stamp;
	provconn_values_set(values, ENTRY_SHARD_KEY,
						Int32GetDatum(provconn_uuid7_shard(&stamp->audit_id)));
	set_uuid(values, ENTRY_AUDIT_ID, &stamp->audit_id);
	provconn_values_set(values, ENTRY_OCCURRED_AT, TimestampTzGetDatum(stamp->occurred_at));
	set_uuid(values, ENTRY_CONNECTION_ID, facts->connection_id);
	set_uuid(values, ENTRY_PROVIDER_ID, facts->provider_id);
	set_span(values, ENTRY_PROVIDER_SLUG, facts->provider_slug);
	set_span(values, ENTRY_ACTION, facts->action);
	set_span(values, ENTRY_OUTCOME, span_of(outcome));
	set_status(values, ENTRY_OLD_STATUS, facts->old_status);
	set_status(values, ENTRY_NEW_STATUS, facts->new_status);
	set_span(values, ENTRY_ERROR_CODE, facts->error_code);
	if (facts->has_version)
		provconn_values_set(values, ENTRY_VERSION, Int32GetDatum(facts->version));
	set_span(values, ENTRY_SESSION_ROLE, facts->session_role);
	set_span(values, ENTRY_CALLER_ROLE, facts->caller_role);
	provconn_values_set(values, ENTRY_ORIGIN, Int32GetDatum(provconn_entry_origin()));
	provconn_values_set(values, ENTRY_TRANSACTION_ID,
						FullTransactionIdGetDatum(GetTopFullTransactionId()));
	set_uuid(values, ENTRY_USER_ID, facts->user_id);
	set_uuid(values, ENTRY_OWNER_ID, facts->owner_id);
	set_span(values, ENTRY_REASON, facts->reason);
	set_span(values, ENTRY_APPLICATION_NAME, facts->application_name);
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
set_status(ProvconnValues *row, int column, ProvconnStatus status)
{
	if (status != PROVCONN_STATUS_NONE)
		provconn_values_set(row, column, provconn_catalog_status_datum(status));
}

static void
set_client_address(ProvconnValues *row)
{
	bool		isnull;
	Datum		address = client_address(&isnull);

	if (!isnull)
		provconn_values_set(row, ENTRY_CLIENT_ADDRESS, address);
}

/* As inet_client_addr() has it: null for a Unix socket or a background process. */
static Datum
client_address(bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 0);
	Datum		address;

	*isnull = true;
	if (MyProcPort == NULL)
		return (Datum) 0;
	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(fcinfo);
	*isnull = fcinfo->isnull;
	return address;
}

static ProvconnSpan
span_of(const char *string)
{
	ProvconnSpan span = {string, string != NULL ? strlen(string) : 0};

	return span;
}

static void
insert_row(const ProvconnAuditRow *row)
{
	Oid			leaf = provconn_partition_for(&row->stamp.audit_id, row->stamp.occurred_at);

	provconn_store_insert(&provconn_entry_table, leaf, &row->values);
	if (provconn_settings_notify())
		notify_listeners(row);
}

/* What was written is an attempt until its transaction commits. */
static void
note_attempt(const ProvconnAuditRow *row)
{
	const ProvconnValues *values = &row->values;
	ProvconnAttempt attempt = {0};
	bool		succeeded;

	if (!provconn_attempt_is_noted())
		return;
	attempt.audit_id = get_uuid(values, ENTRY_AUDIT_ID);
	attempt.occurred_at = row->stamp.occurred_at;
	attempt.transaction_id = U64FromFullTransactionId(GetTopFullTransactionId());
	attempt.connection_id = get_uuid(values, ENTRY_CONNECTION_ID);
	attempt.user_id = get_uuid(values, ENTRY_USER_ID);
	attempt.owner_id = get_uuid(values, ENTRY_OWNER_ID);
	attempt.provider_id = get_uuid(values, ENTRY_PROVIDER_ID);
	attempt.old_status = get_status(values, ENTRY_OLD_STATUS);
	attempt.new_status = get_status(values, ENTRY_NEW_STATUS);
	attempt.has_version = values->set[ENTRY_VERSION];
	if (attempt.has_version)
		attempt.version = DatumGetInt32(values->values[ENTRY_VERSION]);
	attempt.action = get_text(values, ENTRY_ACTION);
	attempt.error_code = get_text(values, ENTRY_ERROR_CODE);
	attempt.provider_slug = get_text(values, ENTRY_PROVIDER_SLUG);
	attempt.reason = get_text(values, ENTRY_REASON);
	attempt.session_role = get_text(values, ENTRY_SESSION_ROLE);
	attempt.caller_role = get_text(values, ENTRY_CALLER_ROLE);
	attempt.application_name = get_text(values, ENTRY_APPLICATION_NAME);
	if (values->set[ENTRY_CLIENT_ADDRESS])
		attempt.client_address =
			span_of(DatumGetCString(DirectFunctionCall1(inet_out, values->values[ENTRY_CLIENT_ADDRESS])));
	succeeded = is_text(get_text(values, ENTRY_OUTCOME), "succeeded");
	attempt.is_read = succeeded && (is_text(attempt.action, "reveal") || is_text(attempt.action, "claim_due"));
	provconn_attempt_add(&attempt);
}

/* Ids alone: who listens need not be an auditor. */
static void
notify_listeners(const ProvconnAuditRow *row)
{
	const ProvconnUuid *connection_id = get_uuid(&row->values, ENTRY_CONNECTION_ID);
	char	   *id = DatumGetCString(DirectFunctionCall1(uuid_out, row->values.values[ENTRY_AUDIT_ID]));

	Async_Notify("provconn", connection_id == NULL ?
				 psprintf("{\"audit_id\": \"%s\"}", id) :
				 psprintf("{\"audit_id\": \"%s\", \"connection_id\": \"%s\"}", id,
						  DatumGetCString(DirectFunctionCall1(uuid_out, row->values.values[ENTRY_CONNECTION_ID]))));
}

static const ProvconnUuid *
get_uuid(const ProvconnValues *row, int column)
{
	return row->set[column] ? (const ProvconnUuid *) DatumGetUUIDP(row->values[column]) : NULL;
}

static ProvconnStatus
get_status(const ProvconnValues *row, int column)
{
	return row->set[column] ? provconn_catalog_status(row->values[column]) : PROVCONN_STATUS_NONE;
}

static ProvconnSpan
get_text(const ProvconnValues *row, int column)
{
	ProvconnSpan span = {NULL, 0};

	if (row->set[column])
	{
		span.data = VARDATA_ANY(DatumGetPointer(row->values[column]));
		span.len = VARSIZE_ANY_EXHDR(DatumGetPointer(row->values[column]));
	}
	return span;
}

static bool
is_text(ProvconnSpan span, const char *string)
{
	return span.data != NULL && span.len == strlen(string) && memcmp(span.data, string, span.len) == 0;
}

/* Commitment and hash: nothing of the row changes after that. */
static void
seal_row(ProvconnAuditRow *row, bool is_repeated)
{
	provconn_entry_commit(&row->values, is_repeated);
	provconn_entry_hash(&row->values, row->hash);
	provconn_values_set(&row->values, ENTRY_ENTRY_HASH, provconn_digest_datum(row->hash));
}
