/*
 * idempotency.c (layer 5): connects that were accepted before.
 *
 * The table's primary key makes a concurrent repeat wait for the first; a row
 * past its retention counts as absent and is taken over.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "idempotency.h"
#include "settings.h"
#include "shard.h"
#include "store.h"

enum
{
	COLUMN_SHARD_KEY,
	COLUMN_USER_ID,
	COLUMN_IDEMPOTENCY_KEY,
	COLUMN_PROVIDER_ID,
	COLUMN_ALIAS,
	COLUMN_CONNECTION_ID,
	COLUMN_VERSION,
	COLUMN_CREATED_AT,
	COLUMN_COUNT
};

static const ProvconnColumn columns[COLUMN_COUNT] = {
	[COLUMN_SHARD_KEY] = {"shard_key", INT4OID},
	[COLUMN_USER_ID] = {"user_id", UUIDOID},
	[COLUMN_IDEMPOTENCY_KEY] = {"idempotency_key", UUIDOID},
	[COLUMN_PROVIDER_ID] = {"provider_id", UUIDOID},
	[COLUMN_ALIAS] = {"alias", TEXTOID},
	[COLUMN_CONNECTION_ID] = {"connection_id", UUIDOID},
	[COLUMN_VERSION] = {"version", INT4OID},
	[COLUMN_CREATED_AT] = {"created_at", TIMESTAMPTZOID},
};

static ProvconnTable idempotency = {
	.name = "idempotency", .key_columns = 3, .column_count = COLUMN_COUNT, .columns = columns
};

static ProvconnStatement keep = {
	.sql =
	"INSERT INTO provconn.idempotency AS i"
	" (shard_key, user_id, idempotency_key, provider_id, alias, connection_id, version, created_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
	" ON CONFLICT (shard_key, user_id, idempotency_key) DO UPDATE"
	" SET provider_id = EXCLUDED.provider_id, alias = EXCLUDED.alias,"
	" connection_id = EXCLUDED.connection_id, version = EXCLUDED.version,"
	" created_at = EXCLUDED.created_at"
	" WHERE i.created_at OPERATOR(pg_catalog.<=) $9",
	.nargs = 9,
	.types = {INT4OID, UUIDOID, UUIDOID, UUIDOID, TEXTOID, UUIDOID, INT4OID, TIMESTAMPTZOID,
	TIMESTAMPTZOID}
};

/* Locked rows are being taken over by a repeat: leave them. */
static ProvconnStatement forget_old = {
	.sql =
	"DELETE FROM provconn.idempotency AS i USING ("
	"SELECT shard_key, user_id, idempotency_key FROM provconn.idempotency"
	" WHERE shard_key OPERATOR(pg_catalog.=) $1 AND user_id OPERATOR(pg_catalog.=) $2"
	" AND created_at OPERATOR(pg_catalog.<=) $3 FOR UPDATE SKIP LOCKED) AS old"
	" WHERE i.shard_key OPERATOR(pg_catalog.=) $1"
	" AND i.shard_key OPERATOR(pg_catalog.=) old.shard_key"
	" AND i.user_id OPERATOR(pg_catalog.=) old.user_id"
	" AND i.idempotency_key OPERATOR(pg_catalog.=) old.idempotency_key",
	.nargs = 3,
	.types = {INT4OID, UUIDOID, TIMESTAMPTZOID}
};

static ProvconnStatement forget_user = {
	.sql = "DELETE FROM provconn.idempotency"
	" WHERE shard_key OPERATOR(pg_catalog.=) $1 AND user_id OPERATOR(pg_catalog.=) $2",
	.nargs = 2,
	.types = {INT4OID, UUIDOID}
};

static TimestampTz oldest_kept(TimestampTz now);

bool
provconn_idempotency_find(const ProvconnUuid *user_id, const ProvconnUuid *key, TimestampTz now,
						  ProvconnIdempotent *first)
{
	ProvconnRow row;
	Datum		keys[3];
	Datum		value;
	bool		isnull;
	bool		live;

	keys[0] = Int32GetDatum(provconn_shard_of_user(user_id));
	keys[1] = UUIDPGetDatum((const pg_uuid_t *) user_id);
	keys[2] = UUIDPGetDatum((const pg_uuid_t *) key);
	if (!provconn_store_find(&idempotency, keys, PROVCONN_LOCK_NONE, &row))
		return false;

	live = DatumGetTimestampTz(provconn_store_get(&row, COLUMN_CREATED_AT, &isnull)) >
		oldest_kept(now);
	first->user_id = *user_id;
	first->key = *key;
	value = provconn_store_get(&row, COLUMN_PROVIDER_ID, &isnull);
	memcpy(&first->provider_id, DatumGetUUIDP(value), sizeof(ProvconnUuid));
	value = provconn_store_get(&row, COLUMN_CONNECTION_ID, &isnull);
	memcpy(&first->connection_id, DatumGetUUIDP(value), sizeof(ProvconnUuid));
	first->version = DatumGetInt32(provconn_store_get(&row, COLUMN_VERSION, &isnull));
	value = provconn_store_get(&row, COLUMN_ALIAS, &isnull);
	first->alias.data = NULL;
	first->alias.len = 0;
	if (!isnull)
	{
		text	   *alias = DatumGetTextPCopy(value);

		first->alias.data = VARDATA(alias);
		first->alias.len = VARSIZE(alias) - VARHDRSZ;
	}
	provconn_store_close(&row);
	return live;
}

bool
provconn_idempotency_keep(const ProvconnIdempotent *accepted, TimestampTz now)
{
	Datum		values[9];
	char		nulls[] = "         ";
	Datum		old_values[3];

	values[0] = Int32GetDatum(provconn_shard_of_user(&accepted->user_id));
	values[1] = UUIDPGetDatum((const pg_uuid_t *) &accepted->user_id);
	values[2] = UUIDPGetDatum((const pg_uuid_t *) &accepted->key);
	values[3] = UUIDPGetDatum((const pg_uuid_t *) &accepted->provider_id);
	values[4] = (Datum) 0;
	if (accepted->alias.data != NULL)
		values[4] = PointerGetDatum(cstring_to_text_with_len(accepted->alias.data,
															 accepted->alias.len));
	else
		nulls[4] = 'n';
	values[5] = UUIDPGetDatum((const pg_uuid_t *) &accepted->connection_id);
	values[6] = Int32GetDatum(accepted->version);
	values[7] = TimestampTzGetDatum(now);
	values[8] = TimestampTzGetDatum(oldest_kept(now));
	if (provconn_store_run(&idempotency, &keep, values, nulls, 0, NULL, NULL) == 0)
		return false;

	old_values[0] = values[0];
	old_values[1] = values[1];
	old_values[2] = values[8];
	(void) provconn_store_run(&idempotency, &forget_old, old_values, NULL, 0, NULL, NULL);
	return true;
}

void
provconn_idempotency_forget_user(const ProvconnUuid *user_id)
{
	Datum		values[2];

	values[0] = Int32GetDatum(provconn_shard_of_user(user_id));
	values[1] = UUIDPGetDatum((const pg_uuid_t *) user_id);
	(void) provconn_store_run(&idempotency, &forget_user, values, NULL, 0, NULL, NULL);
}

static TimestampTz
oldest_kept(TimestampTz now)
{
	return now - provconn_settings_idempotency_retention() * USECS_PER_SEC;
}
