/*
 * rotation.c (layer 7): changing keys, and sealing anew what others sealed.
 *
 * Re-encryption walks through provconn.connection by its primary key, some rows
 * in a transaction.  It changes ciphertexts and nothing else: version, state and
 * history of a connection stay, and no client can tell.  It takes rows that
 * nobody has locked; those that somebody had are waited for at the end, one by
 * one, when it holds no other row.  A transaction of it ends after a quarter of a
 * millisecond, and then it sleeps: each row is a full write, which commits of
 * others have to wait for, and a longer turn on a busy processor would show in
 * their latency.
 *
 * Its commits need not reach the disk at once: what a crash takes away is sealed
 * with the old key as before, and the progress that is lost with it is done
 * again.  The last commit does reach it, and with it all before.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#include "call.h"
#include "compat.h"
#include "connection.h"
#include "fault.h"
#include "keyring.h"
#include "progress.h"
#include "rotation.h"
#include "settings.h"
#include "vault.h"

#define TASK "reencrypt"
#define HOLD_TIME INT64CONST(250) /* microseconds that rows are locked */
#define FIRST_STRETCH 10
#define NOTICE_INTERVAL (5 * USECS_PER_SEC)
#define MAX_WARNINGS 10

typedef struct Reencryption
{
	ProvconnCall call;
	ProvconnProgress progress;
	void		(*commit)(void);
	MemoryContext context;		/* of the whole */
	MemoryContext row_context;
	int64		count;			/* sealed anew by this call */
	int64		count_before;	/* this pass */
	int64		damaged;		/* in this pass */
	bool		resumed;		/* this pass did not begin at the beginning */
	int			stretch;		/* how many rows to look at in the next transaction */
	List	   *skipped;		/* ids of rows that somebody had */
	TimestampTz noticed_at;
} Reencryption;

typedef enum Resealed
{
	RESEALED,
	LEFT, /* not due any more, or damaged */
	LOCKED
} Resealed;

static void begin_pass(Reencryption *run);
static bool walk_on(Reencryption *run, int batch_size);
static void take_skipped(Reencryption *run);
static Resealed reseal(Reencryption *run, const ProvconnUuid *id, ProvconnLock lock);
static Resealed reseal_found(Reencryption *run, ProvconnConnection *connection);
static void end_batch(Reencryption *run, bool changed);
static void tell(Reencryption *run, bool last);

int32
provconn_rotation_rotate(Oid caller)
{
	ProvconnCall call;
	int32		key_id;

	provconn_call_begin(&call, "rotate_key", caller);
	key_id = provconn_keyring_rotate();
	provconn_call_note(&call, "data key %d is current", key_id);
	return key_id;
}

int
provconn_rotation_rewrap(Oid caller)
{
	ProvconnCall call;
	int			count;

	provconn_call_begin(&call, "rewrap_keys", caller);
	count = provconn_keyring_rewrap();
	provconn_call_note(&call, "%d data keys wrapped by the current master key", count);
	return count;
}

void
provconn_rotation_retire(Oid caller, int32 key_id)
{
	ProvconnCall call;

	provconn_call_begin(&call, "retire_key", caller);
	if (!provconn_keyring_begin_retiring(key_id))
	{
		provconn_call_end(&call);
		return;
	}
	if (provconn_connection_uses_key(key_id))
		provconn_fault_raise(PROVCONN_FAULT_KEY_IN_USE, key_id);
	provconn_keyring_retire(key_id, GetCurrentTimestamp());
	provconn_call_note(&call, "data key %d is retired", key_id);
}

void
provconn_rotation_reencrypt(Oid caller, int batch_size, void (*commit)(void))
{
	Reencryption run = {0};
	int64		others;

	if (batch_size < 1)
		provconn_fault_raise(PROVCONN_FAULT_INVALID_ARGUMENT, "batch_size must be 1 or more");
	provconn_progress_claim("provconn_reencrypt");
	provconn_call_begin(&run.call, TASK, caller);
	run.commit = commit;
	run.context = CurrentMemoryContext;
	run.row_context = AllocSetContextCreate(CurrentMemoryContext, "provconn reencryption",
											ALLOCSET_DEFAULT_SIZES);
	run.noticed_at = run.call.now;
	run.stretch = FIRST_STRETCH;
	begin_pass(&run);
	provconn_call_note(&run.call, "begun: data key %d", run.progress.key_id);
	commit();

	for (;;)
	{
		int32		key_id;

		while (walk_on(&run, batch_size))
			;
		take_skipped(&run);
		/* Who sealed with an older key and has not committed yet is waited for. */
		provconn_keyring_wait_for_sealers();
		commit();
		key_id = provconn_keyring_current()->id;
		others = provconn_connection_count_other(key_id);
		/* What a whole pass could do nothing about is damaged. */
		if (key_id == run.progress.key_id &&
			(others == 0 || (!run.resumed && run.count == run.count_before)))
			break;
		run.progress.finished = true; /* this pass: the next one begins anew */
		provconn_progress_save(TASK, &run.progress, GetCurrentTimestamp());
		begin_pass(&run);
		commit();
	}

	run.progress.finished = true;
	provconn_progress_save(TASK, &run.progress, GetCurrentTimestamp());
	provconn_call_note(&run.call, "finished: data key %d, %lld credentials", run.progress.key_id,
					   (long long) run.count);
	tell(&run, true);
	provconn_progress_release();
}

/* Where the last call was interrupted, unless the key has changed since; else the beginning. */
static void
begin_pass(Reencryption *run)
{
	ProvconnProgress *progress = &run->progress;
	ProvconnProgress before;
	int32		key_id;

	key_id = provconn_keyring_current()->id;
	run->count_before = run->count;
	run->damaged = 0;
	run->resumed = false;
	if (provconn_progress_load(TASK, &before) && !before.finished && before.key_id == key_id)
	{
		*progress = before;
		run->resumed = true;
		return;
	}
	memset(progress, 0, sizeof(*progress));
	progress->key_id = key_id;
	progress->total = provconn_connection_count_other(key_id);
	progress->started_at = GetCurrentTimestamp();
	provconn_progress_save(TASK, progress, progress->started_at);
}

/* One transaction; false at the end of the table. */
static bool
walk_on(Reencryption *run, int batch_size)
{
	ProvconnProgress *progress = &run->progress;
	ProvconnStretch stretch;
	TimestampTz began = 0;
	bool		changed = false;
	int			i;

	MemoryContextReset(run->row_context);
	MemoryContextSwitchTo(run->row_context);
	/* As many as were done in the last one, and some more, lest they be read in vain. */
	provconn_connection_walk(&progress->connection_id, Min(batch_size, run->stretch), &stretch);
	for (i = 0; i < stretch.count; i++)
	{
		const ProvconnUuid *id = (ProvconnUuid *) DatumGetUUIDP(stretch.ids[i]);
		int32		key_id = DatumGetInt32(stretch.key_ids[i]);

		CHECK_FOR_INTERRUPTS();
		if (key_id != progress->key_id)
		{
			if (began == 0)
				began = GetCurrentTimestamp();
			else if (GetCurrentTimestamp() - began > HOLD_TIME)
				break;
			switch (reseal(run, id, PROVCONN_LOCK_SKIP))
			{
				case RESEALED:
					changed = true;
					break;
				case LOCKED:
					MemoryContextSwitchTo(run->context);
					run->skipped = lappend(run->skipped, memcpy(palloc(sizeof(*id)), id, sizeof(*id)));
					MemoryContextSwitchTo(run->row_context);
					break;
				case LEFT:
					break;
			}
		}
		progress->connection_id = *id;
	}
	run->stretch = Min(i, batch_size) * 2 + FIRST_STRETCH;
	end_batch(run, changed || stretch.count == 0);
	MemoryContextSwitchTo(run->context);
	return stretch.count > 0;
}

/* Those that somebody had, each in a transaction of its own. */
static void
take_skipped(Reencryption *run)
{
	ListCell   *cell;

	foreach(cell, run->skipped)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(run->row_context);
		MemoryContextSwitchTo(run->row_context);
		if (reseal(run, lfirst(cell), PROVCONN_LOCK_WAIT) == RESEALED)
			end_batch(run, true);
		else
			run->commit();
		MemoryContextSwitchTo(run->context);
	}
	list_free_deep(run->skipped);
	run->skipped = NIL;
}

static Resealed
reseal(Reencryption *run, const ProvconnUuid *id, ProvconnLock lock)
{
	ProvconnConnection connection;
	Resealed	result;

	/* A row is never deleted: one that is not found is locked, or was changed. */
	if (!provconn_connection_find(id, lock, &connection))
		return LOCKED;
	result = reseal_found(run, &connection);
	provconn_connection_close(&connection);
	if (result == RESEALED)
	{
		run->progress.done++;
		run->count++;
	}
	return result;
}

static Resealed
reseal_found(Reencryption *run, ProvconnConnection *connection)
{
	ProvconnCall call = run->call;
	ProvconnValues changes = {0};
	ProvconnBinding binding;
	ProvconnSpan secret;
	int32		key_id;
	bytea	   *sealed;

	if (!provconn_connection_credential(connection, &binding, &sealed) ||
		provconn_vault_key_id(sealed) == run->progress.key_id)
		return LEFT;
	if (!provconn_vault_open(&binding, sealed, &secret))
	{
		if (run->damaged++ < MAX_WARNINGS)
			provconn_call_warn(PROVCONN_FAULT_CREDENTIAL_LEFT, connection);
		return LEFT;
	}

	sealed = provconn_vault_seal(&binding, secret);
	key_id = provconn_vault_key_id(sealed);
	provconn_values_set(&changes, CONNECTION_CREDENTIAL, PointerGetDatum(sealed));
	call.now = GetCurrentTimestamp();
	call.connection_id = &connection->id;
	call.resealing = true;
	provconn_call_write(&call, connection, NULL, &changes);
	/* A rotation since this pass began counts for the next one. */
	return key_id == run->progress.key_id ? RESEALED : LEFT;
}

static void
end_batch(Reencryption *run, bool changed)
{
	if (changed)
		provconn_progress_save(TASK, &run->progress, GetCurrentTimestamp());
	provconn_store_commit_lazily();
	run->commit();
	tell(run, false);
	if (changed && provconn_settings_reencrypt_delay() > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 provconn_settings_reencrypt_delay(), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
tell(Reencryption *run, bool last)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!last && now - run->noticed_at < NOTICE_INTERVAL)
		return;
	run->noticed_at = now;
	ereport(NOTICE,
			(errmsg("re-encrypted %lld of %lld credentials with data key %d",
					(long long) run->progress.done, (long long) run->progress.total,
					run->progress.key_id)));
}
