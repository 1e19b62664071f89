/*
 * progress.c (layer 5): how far a task of many transactions is.
 *
 * A task saves its progress in the transaction that makes it, so that after a
 * crash it goes on where it was.  One task runs at a time; the lock that sees to
 * it is the session's, and goes with an error as it does with the session.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "fault.h"
#include "progress.h"
#include "store.h"

static const ProvconnColumn columns[] = {
	{"task", TEXTOID},
};

static ProvconnTable progress_table = {
	.name = "progress", .key_columns = 1, .column_count = 1, .columns = columns
};

static ProvconnStatement load = {
	.sql = "SELECT key_id, connection_id, done, total, started_at, finished_at IS NOT NULL"
	" FROM provconn.progress WHERE task OPERATOR(pg_catalog.=) $1",
	.nargs = 1,
	.types = {TEXTOID}
};

static ProvconnStatement save = {
	.sql =
	"INSERT INTO provconn.progress"
	" (task, key_id, connection_id, done, total, started_at, updated_at, finished_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
	" ON CONFLICT (task) DO UPDATE SET key_id = EXCLUDED.key_id,"
	" connection_id = EXCLUDED.connection_id, done = EXCLUDED.done, total = EXCLUDED.total,"
	" started_at = EXCLUDED.started_at, updated_at = EXCLUDED.updated_at,"
	" finished_at = EXCLUDED.finished_at",
	.nargs = 8,
	.types = {TEXTOID, INT4OID, UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID}
};

#define LOCK_TASK 1

bool
provconn_progress_load(const char *task, ProvconnProgress *progress)
{
	Datum		value = CStringGetTextDatum(task);
	Datum		out[6];
	bool		nulls[6];

	if (provconn_store_run(&progress_table, &load, &value, NULL, 6, out, nulls) == 0)
		return false;
	progress->key_id = DatumGetInt32(out[0]);
	memcpy(&progress->connection_id, DatumGetUUIDP(out[1]), sizeof(ProvconnUuid));
	progress->done = DatumGetInt64(out[2]);
	progress->total = DatumGetInt64(out[3]);
	progress->started_at = DatumGetTimestampTz(out[4]);
	progress->finished = DatumGetBool(out[5]);
	return true;
}

void
provconn_progress_save(const char *task, const ProvconnProgress *progress, TimestampTz now)
{
	Datum		values[8];
	char		nulls[] = "        ";

	values[0] = CStringGetTextDatum(task);
	values[1] = Int32GetDatum(progress->key_id);
	values[2] = UUIDPGetDatum((const pg_uuid_t *) &progress->connection_id);
	values[3] = Int64GetDatum(progress->done);
	values[4] = Int64GetDatum(progress->total);
	values[5] = TimestampTzGetDatum(progress->started_at);
	values[6] = values[7] = TimestampTzGetDatum(now);
	if (!progress->finished)
		nulls[7] = 'n';
	(void) provconn_store_run(&progress_table, &save, values, nulls, 0, NULL, NULL);
}

void
provconn_progress_claim(const char *procedure)
{
	if (!provconn_store_lock(&progress_table, LOCK_TASK, ExclusiveLock, true, true))
		provconn_fault_raise(PROVCONN_FAULT_ALREADY_RUNNING, procedure);
}

void
provconn_progress_release(void)
{
	provconn_store_unlock_session(&progress_table, LOCK_TASK, ExclusiveLock);
}
