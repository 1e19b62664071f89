/*
 * connection.c (layer 5): connection rows.
 *
 * Nothing here decides whether a change is allowed: the commands do, and the
 * guard trigger on provconn.connection does once more.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "compat.h"
#include "connection.h"
#include "shard.h"
#include "uuid7.h"

static const ProvconnColumn columns[CONNECTION_COLUMN_COUNT] = {
	[CONNECTION_SHARD_KEY] = {"shard_key", INT4OID},
	[CONNECTION_ID] = {"connection_id", UUIDOID},
	[CONNECTION_USER_ID] = {"user_id", UUIDOID},
	[CONNECTION_PROVIDER_ID] = {"provider_id", UUIDOID},
	[CONNECTION_STATUS] = {"status", InvalidOid},
	[CONNECTION_VERSION] = {"version", INT4OID},
	[CONNECTION_CREDENTIAL_TYPE] = {"credential_type", InvalidOid},
	[CONNECTION_EXPIRES_AT] = {"expires_at", TIMESTAMPTZOID},
	[CONNECTION_ALIAS] = {"alias", TEXTOID},
	[CONNECTION_METADATA] = {"metadata", JSONBOID},
	[CONNECTION_CONNECTED_AT] = {"connected_at", TIMESTAMPTZOID},
	[CONNECTION_LAST_SYNC_AT] = {"last_sync_at", TIMESTAMPTZOID},
	[CONNECTION_CREATED_AT] = {"created_at", TIMESTAMPTZOID},
	[CONNECTION_UPDATED_AT] = {"updated_at", TIMESTAMPTZOID},
	[CONNECTION_FAILURE_COUNT] = {"failure_count", INT4OID},
	[CONNECTION_FAILING_SINCE] = {"failing_since", TIMESTAMPTZOID},
	[CONNECTION_LAST_FAILURE] = {"last_failure", TEXTOID},
	[CONNECTION_NEXT_ATTEMPT_AT] = {"next_attempt_at", TIMESTAMPTZOID},
	[CONNECTION_LEASED_BY] = {"leased_by", TEXTOID},
	[CONNECTION_LEASE] = {"lease", UUIDOID},
	[CONNECTION_LEASED_UNTIL] = {"leased_until", TIMESTAMPTZOID},
	[CONNECTION_HELD_UNTIL] = {"held_until", TIMESTAMPTZOID},
	[CONNECTION_DUE_AT] = {"due_at", TIMESTAMPTZOID},
	[CONNECTION_AUDIT_ID] = {"audit_id", UUIDOID},
	[CONNECTION_AUDIT_SEQ] = {"audit_seq", INT8OID},
	[CONNECTION_AUDIT_AT] = {"audit_at", TIMESTAMPTZOID},
	[CONNECTION_AUDIT_HASH] = {"audit_hash", BYTEAOID},
	[CONNECTION_CREDENTIAL] = {"credential", BYTEAOID},
};

ProvconnTable provconn_connection_table = {
	.name = "connection", .key_columns = 2, .column_count = CONNECTION_COLUMN_COUNT, .columns = columns,
	.group_columns = 3, .group = {CONNECTION_USER_ID, CONNECTION_PROVIDER_ID, CONNECTION_STATUS}
};

static ProvconnStatement list_of_user = {
	.sql =
	"SELECT pg_catalog.array_agg(connection_id ORDER BY connection_id) FROM provconn.connection"
	" WHERE shard_key OPERATOR(pg_catalog.=) $1 AND user_id OPERATOR(pg_catalog.=) $2",
	.nargs = 2,
	.types = {INT4OID, UUIDOID}
};

/* The data key that a credential names. */
#define KEY_OF_CREDENTIAL \
	"('x' OPERATOR(pg_catalog.||) pg_catalog.encode(" \
	"pg_catalog.substring(c.credential, 2, 4), 'hex'))::pg_catalog.bit(32)::pg_catalog.int4"

static ProvconnStatement walk_on = {
	.sql =
	"SELECT pg_catalog.array_agg(w.connection_id), pg_catalog.array_agg(w.key_id) FROM ("
	"SELECT c.connection_id, " KEY_OF_CREDENTIAL " AS key_id FROM provconn.connection AS c"
	" WHERE ROW(c.shard_key, c.connection_id) OPERATOR(pg_catalog.>) ROW($1, $2)"
	" AND c.credential IS NOT NULL"
	" ORDER BY c.shard_key, c.connection_id LIMIT $3) AS w",
	.nargs = 3,
	.types = {INT4OID, UUIDOID, INT4OID},
	.by_index = true
};

static ProvconnStatement count_other = {
	.sql =
	"SELECT pg_catalog.count(*) FROM provconn.connection AS c"
	" WHERE c.credential IS NOT NULL AND " KEY_OF_CREDENTIAL " OPERATOR(pg_catalog.<>) $1",
	.nargs = 1,
	.types = {INT4OID}
};

/* A look for a credential that a data key has sealed. */
typedef struct KeySearch
{
	int32		key_id;
	bool		found;
	MemoryContext row_context;
} KeySearch;

/* A look for the pending connection that a connect completes. */
typedef struct PendingSearch
{
	ProvconnSpan alias;
	bool		found;
	ProvconnUuid id;
	TimestampTz created_at;
} PendingSearch;

static bool looks_for_key(ProvconnRow *row, void *arg);
static Datum *array_elements(Datum array, Oid type, int *count);
static void load_row(ProvconnConnection *connection);
static ProvconnUuid get_uuid(ProvconnRow *row, int column, bool *isnull);
static bool looks_for_pending(ProvconnRow *row, void *arg);
static bool is_completed_by(ProvconnRow *row, ProvconnSpan alias);

bool
provconn_connection_find(const ProvconnUuid *id, ProvconnLock lock,
						 ProvconnConnection *connection)
{
	Datum		keys[2];

	keys[0] = Int32GetDatum(provconn_uuid7_shard(id));
	keys[1] = UUIDPGetDatum((const pg_uuid_t *) id);
	if (!provconn_store_find(&provconn_connection_table, keys, lock, &connection->row))
		return false;
	load_row(connection);
	return true;
}

void
provconn_connection_close(ProvconnConnection *connection)
{
	provconn_store_close(&connection->row);
}

bool
provconn_connection_find_pending(const ProvconnUuid *user_id, const ProvconnUuid *provider_id,
								 ProvconnSpan alias, ProvconnConnection *connection)
{
	Datum		keys[3];

	keys[0] = UUIDPGetDatum((const pg_uuid_t *) user_id);
	keys[1] = UUIDPGetDatum((const pg_uuid_t *) provider_id);
	keys[2] = provconn_catalog_status_datum(PROVCONN_STATUS_PENDING);

	/* One that another session takes meanwhile is passed over: search again. */
	for (;;)
	{
		PendingSearch search = {.alias = alias};

		CHECK_FOR_INTERRUPTS();
		provconn_store_each_of(&provconn_connection_table, keys, looks_for_pending, &search);
		if (!search.found)
			return false;
		if (!provconn_connection_find(&search.id, PROVCONN_LOCK_WAIT, connection))
			continue;
		if (connection->status == PROVCONN_STATUS_PENDING && is_completed_by(&connection->row, alias))
			return true;
		provconn_connection_close(connection);
	}
}

bool
provconn_connection_is_null(ProvconnConnection *connection, int column)
{
	bool		isnull;

	(void) provconn_store_get(&connection->row, column, &isnull);
	return isnull;
}

bool
provconn_connection_is_leased(const ProvconnConnection *connection, const ProvconnUuid *lease)
{
	return lease != NULL && connection->has_lease &&
		memcmp(lease, &connection->lease, sizeof(ProvconnUuid)) == 0;
}

ProvconnCredentialType
provconn_connection_type(ProvconnConnection *connection)
{
	bool		isnull;
	Datum		type = provconn_store_get(&connection->row, CONNECTION_CREDENTIAL_TYPE, &isnull);

	return isnull ? PROVCONN_CREDENTIAL_NONE : provconn_catalog_credential_type(type);
}

bool
provconn_connection_time(ProvconnConnection *connection, int column, TimestampTz *time)
{
	bool		isnull;
	Datum		value = provconn_store_get(&connection->row, column, &isnull);

	*time = isnull ? 0 : DatumGetTimestampTz(value);
	return !isnull;
}

bool
provconn_connection_credential(ProvconnConnection *connection, ProvconnBinding *binding,
							   bytea **sealed)
{
	bool		isnull;
	Datum		credential = provconn_store_get(&connection->row, CONNECTION_CREDENTIAL, &isnull);
	Datum		expires_at;

	if (isnull)
		return false;
	*sealed = DatumGetByteaPP(credential);

	binding->credential_type = provconn_connection_type(connection);
	expires_at = provconn_store_get(&connection->row, CONNECTION_EXPIRES_AT, &isnull);
	binding->expires = !isnull;
	binding->expires_at = isnull ? 0 : DatumGetTimestampTz(expires_at);
	binding->connection_id = connection->id;
	binding->user_id = connection->user_id;
	binding->provider_id = connection->provider_id;
	binding->version = connection->version;
	return true;
}

void
provconn_connection_touch(ProvconnValues *changes, TimestampTz now)
{
	provconn_values_set(changes, CONNECTION_UPDATED_AT, TimestampTzGetDatum(now));
}

void
provconn_connection_set_credentials(ProvconnValues *changes, const ProvconnBinding *binding,
									bytea *sealed)
{
	provconn_values_set(changes, CONNECTION_STATUS,
						provconn_catalog_status_datum(PROVCONN_STATUS_ACTIVE));
	provconn_values_set(changes, CONNECTION_VERSION, Int32GetDatum(binding->version));
	provconn_values_set(changes, CONNECTION_CREDENTIAL_TYPE,
						provconn_catalog_credential_type_datum(binding->credential_type));
	if (binding->expires)
		provconn_values_set(changes, CONNECTION_EXPIRES_AT,
							TimestampTzGetDatum(binding->expires_at));
	else
		provconn_values_set_null(changes, CONNECTION_EXPIRES_AT);
	provconn_values_set(changes, CONNECTION_CREDENTIAL, PointerGetDatum(sealed));
}

void
provconn_connection_set_inactive(ProvconnValues *changes, ProvconnStatus status)
{
	provconn_values_set(changes, CONNECTION_STATUS, provconn_catalog_status_datum(status));
	provconn_connection_clear_lease(changes);
	provconn_values_set_null(changes, CONNECTION_NEXT_ATTEMPT_AT);
}

void
provconn_connection_set_disconnected(ProvconnValues *changes)
{
	provconn_connection_set_inactive(changes, PROVCONN_STATUS_DISCONNECTED);
	provconn_values_set_null(changes, CONNECTION_CREDENTIAL_TYPE);
	provconn_values_set_null(changes, CONNECTION_EXPIRES_AT);
	provconn_values_set_null(changes, CONNECTION_CREDENTIAL);
}

void
provconn_connection_clear_lease(ProvconnValues *changes)
{
	provconn_values_set_null(changes, CONNECTION_LEASED_BY);
	provconn_values_set_null(changes, CONNECTION_LEASE);
	provconn_values_set_null(changes, CONNECTION_LEASED_UNTIL);
}

void
provconn_connection_clear_failures(ProvconnValues *changes)
{
	provconn_values_set(changes, CONNECTION_FAILURE_COUNT, Int32GetDatum(0));
	provconn_values_set_null(changes, CONNECTION_FAILING_SINCE);
	provconn_values_set_null(changes, CONNECTION_LAST_FAILURE);
	provconn_values_set_null(changes, CONNECTION_NEXT_ATTEMPT_AT);
}

void
provconn_connection_set_lease(ProvconnValues *changes, ProvconnSpan worker,
							  const ProvconnUuid *lease, TimestampTz until)
{
	provconn_values_set(changes, CONNECTION_LEASED_BY,
						PointerGetDatum(cstring_to_text_with_len(worker.data, worker.len)));
	provconn_values_set(changes, CONNECTION_LEASE, UUIDPGetDatum((const pg_uuid_t *) lease));
	provconn_values_set(changes, CONNECTION_LEASED_UNTIL, TimestampTzGetDatum(until));
}

void
provconn_connection_set_failure(ProvconnValues *changes, ProvconnConnection *connection,
								ProvconnSpan reason, TimestampTz now)
{
	int32		failures = connection->failure_count;

	provconn_connection_clear_lease(changes);
	provconn_values_set(changes, CONNECTION_FAILURE_COUNT,
						Int32GetDatum(failures < PG_INT32_MAX ? failures + 1 : failures));
	if (provconn_connection_is_null(connection, CONNECTION_FAILING_SINCE))
		provconn_values_set(changes, CONNECTION_FAILING_SINCE, TimestampTzGetDatum(now));
	if (reason.data == NULL)
		provconn_values_set_null(changes, CONNECTION_LAST_FAILURE);
	else
	{
		int			len = pg_mbcharcliplen(reason.data, reason.len, PROVCONN_REASON_MAX);

		provconn_values_set(changes, CONNECTION_LAST_FAILURE,
							PointerGetDatum(cstring_to_text_with_len(reason.data, len)));
	}
}

void
provconn_connection_set_alias(ProvconnValues *changes, ProvconnSpan alias)
{
	if (alias.data == NULL)
		provconn_values_set_null(changes, CONNECTION_ALIAS);
	else
		provconn_values_set(changes, CONNECTION_ALIAS,
							PointerGetDatum(cstring_to_text_with_len(alias.data, alias.len)));
}

void
provconn_connection_erase(ProvconnValues *changes)
{
	provconn_values_set_null(changes, CONNECTION_ALIAS);
	provconn_values_set_null(changes, CONNECTION_METADATA);
	provconn_values_set_null(changes, CONNECTION_LAST_FAILURE);
}

/* The guard knows the right place of a row that is given none. */
void
provconn_connection_requeue(ProvconnConnection *connection)
{
	ProvconnValues changes = {0};

	provconn_values_set_null(&changes, CONNECTION_HELD_UNTIL);
	provconn_values_set_null(&changes, CONNECTION_DUE_AT);
	provconn_store_update(&connection->row, &changes);
}

void
provconn_connection_update(ProvconnConnection *connection, const ProvconnValues *changes)
{
	provconn_store_update(&connection->row, changes);
}

/* The audit columns are the BEFORE trigger's to fill. */
void
provconn_connection_insert(const ProvconnNewConnection *fresh, ProvconnValues *values)
{
	provconn_values_set(values, CONNECTION_SHARD_KEY,
						Int32GetDatum(provconn_uuid7_shard(&fresh->id)));
	provconn_values_set(values, CONNECTION_ID, UUIDPGetDatum((const pg_uuid_t *) &fresh->id));
	provconn_values_set(values, CONNECTION_USER_ID,
						UUIDPGetDatum((const pg_uuid_t *) &fresh->user_id));
	provconn_values_set(values, CONNECTION_PROVIDER_ID,
						UUIDPGetDatum((const pg_uuid_t *) &fresh->provider_id));
	provconn_values_set(values, CONNECTION_STATUS, provconn_catalog_status_datum(fresh->status));
	if (!values->set[CONNECTION_VERSION])
		provconn_values_set(values, CONNECTION_VERSION, Int32GetDatum(0));
	provconn_connection_set_alias(values, fresh->alias);
	provconn_values_set(values, CONNECTION_CREATED_AT, TimestampTzGetDatum(fresh->now));
	provconn_values_set(values, CONNECTION_UPDATED_AT, TimestampTzGetDatum(fresh->now));
	provconn_values_set(values, CONNECTION_FAILURE_COUNT, Int32GetDatum(0));
	provconn_store_insert(&provconn_connection_table, InvalidOid, values);
}

Datum *
provconn_connection_list(const ProvconnUuid *user_id, int *count)
{
	Datum		values[2];
	Datum		ids;
	bool		isnull;

	values[0] = Int32GetDatum(provconn_shard_of_user(user_id));
	values[1] = UUIDPGetDatum((const pg_uuid_t *) user_id);
	*count = 0;
	(void) provconn_store_run(&provconn_connection_table, &list_of_user, values, NULL,
							  1, &ids, &isnull);
	return isnull ? NULL : array_elements(ids, UUIDOID, count);
}

void
provconn_connection_walk(const ProvconnUuid *id, int limit, ProvconnStretch *stretch)
{
	Datum		values[3];
	Datum		arrays[2];
	bool		nulls[2];

	values[0] = Int32GetDatum(provconn_uuid7_shard(id));
	values[1] = UUIDPGetDatum((const pg_uuid_t *) id);
	values[2] = Int32GetDatum(limit);
	stretch->count = 0;
	(void) provconn_store_run(&provconn_connection_table, &walk_on, values, NULL, 2, arrays, nulls);
	if (nulls[0])
		return;
	stretch->ids = array_elements(arrays[0], UUIDOID, &stretch->count);
	stretch->key_ids = array_elements(arrays[1], INT4OID, &stretch->count);
}

int64
provconn_connection_count_other(int32 key_id)
{
	Datum		value = Int32GetDatum(key_id);
	Datum		count;
	bool		isnull;

	(void) provconn_store_run(&provconn_connection_table, &count_other, &value, NULL,
							  1, &count, &isnull);
	return DatumGetInt64(count);
}

/* As of now at any isolation level, and no longer than to the first one. */
bool
provconn_connection_uses_key(int32 key_id)
{
	KeySearch	search = {key_id, false, NULL};

	search.row_context = AllocSetContextCreate(CurrentMemoryContext, "provconn key search",
											   ALLOCSET_DEFAULT_SIZES);
	provconn_store_each(&provconn_connection_table, looks_for_key, &search);
	MemoryContextDelete(search.row_context);
	return search.found;
}

static bool
looks_for_key(ProvconnRow *row, void *arg)
{
	KeySearch  *search = arg;
	bool		isnull;
	Datum		credential = provconn_store_get(row, CONNECTION_CREDENTIAL, &isnull);
	MemoryContext caller;
	bytea	   *head;

	CHECK_FOR_INTERRUPTS();
	if (isnull)
		return true;
	caller = MemoryContextSwitchTo(search->row_context);
	head = DatumGetByteaPSlice(credential, 0, PROVCONN_ENVELOPE_HEAD);
	search->found = provconn_envelope_key_id((const unsigned char *) VARDATA_ANY(head),
											 VARSIZE_ANY_EXHDR(head)) == search->key_id;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(search->row_context);
	return !search->found;
}

static Datum *
array_elements(Datum array, Oid type, int *count)
{
	Datum	   *elements;

	if (type == UUIDOID)
		deconstruct_array(DatumGetArrayTypeP(array), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR,
						  &elements, NULL, count);
	else
		deconstruct_array(DatumGetArrayTypeP(array), INT4OID, sizeof(int32), true, TYPALIGN_INT,
						  &elements, NULL, count);
	return elements;
}

static void
load_row(ProvconnConnection *connection)
{
	ProvconnRow *row = &connection->row;
	bool		isnull;

	connection->id = get_uuid(row, CONNECTION_ID, &isnull);
	connection->user_id = get_uuid(row, CONNECTION_USER_ID, &isnull);
	connection->provider_id = get_uuid(row, CONNECTION_PROVIDER_ID, &isnull);
	connection->status = provconn_catalog_status(provconn_store_get(row, CONNECTION_STATUS,
																	&isnull));
	connection->version = DatumGetInt32(provconn_store_get(row, CONNECTION_VERSION, &isnull));
	connection->lease = get_uuid(row, CONNECTION_LEASE, &isnull);
	connection->has_lease = !isnull;
	connection->failure_count =
		DatumGetInt32(provconn_store_get(row, CONNECTION_FAILURE_COUNT, &isnull));
}

static ProvconnUuid
get_uuid(ProvconnRow *row, int column, bool *isnull)
{
	ProvconnUuid uuid = {{0}};
	Datum		value = provconn_store_get(row, column, isnull);

	if (!*isnull)
		memcpy(uuid.bytes, DatumGetUUIDP(value)->data, sizeof(uuid.bytes));
	return uuid;
}

/* The newest one that qualifies; it is judged again once it is locked. */
static bool
looks_for_pending(ProvconnRow *row, void *arg)
{
	PendingSearch *search = arg;
	ProvconnUuid id;
	TimestampTz created_at;
	bool		isnull;

	if (!is_completed_by(row, search->alias))
		return true;
	id = get_uuid(row, CONNECTION_ID, &isnull);
	created_at = DatumGetTimestampTz(provconn_store_get(row, CONNECTION_CREATED_AT, &isnull));
	if (search->found &&
		(created_at < search->created_at ||
		 (created_at == search->created_at && memcmp(&id, &search->id, sizeof(id)) < 0)))
		return true;
	search->found = true;
	search->id = id;
	search->created_at = created_at;
	return true;
}

/* Its alias is the one given, or it has none. */
static bool
is_completed_by(ProvconnRow *row, ProvconnSpan alias)
{
	bool		isnull;
	Datum		datum = provconn_store_get(row, CONNECTION_ALIAS, &isnull);
	text	   *own;

	if (isnull)
		return true;
	if (alias.data == NULL)
		return false;
	own = DatumGetTextPP(datum);
	return VARSIZE_ANY_EXHDR(own) == alias.len &&
		memcmp(VARDATA_ANY(own), alias.data, alias.len) == 0;
}
