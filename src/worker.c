/*
 * worker.c (layer 8): the background workers, where the library is preloaded.
 *
 * The launcher is in no database.  It starts a worker for a database as there
 * is something to do there, and keeps the WAL that is needed after a crash.  A
 * worker puts on record what was rolled back, seals the audit, and moves what is
 * overdue to expired; it leaves when it has nothing to do, so that nobody's DROP
 * DATABASE waits for it.
 *
 * On a standby there is the launcher alone: it keeps the WAL that tells of what
 * the primary was about to commit, which is read after a promotion.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "audit.h"
#include "compat.h"
#include "journal.h"
#include "queue.h"
#include "ring.h"
#include "seal.h"
#include "settings.h"
#include "vault.h"
#include "worker.h"

#define BATCH_BYTES (256 * 1024)
#define BATCH_ENTRIES 1000
#define EXPIRE_BATCH 1000
#define LINGER_MS 500			/* how long a worker waits for more */
#define RETRY_MS 5000			/* after a worker failed, or what it has is still open */
#define ROOM_MS 60000			/* how long a full ring is waited for */
#define TELL_MS 60000			/* how often the same is told in the log */
#define PROMOTION_MS 1000		/* how often a standby looks whether it still is one */
#define ADVANCE_MS 10000		/* how often the WAL that is not needed is let go */
#define MAX_FAILURES 3

PGDLLEXPORT void provconn_launcher_main(Datum argument);
PGDLLEXPORT void provconn_worker_main(Datum argument);

/* A piece of housekeeping, in a transaction of its own. */
typedef void (*Task) (void);

/* Of the launcher, for each ring. */
typedef struct Database
{
	BackgroundWorkerHandle *handle;
	TimestampTz not_before;		/* no worker is started until then */
	TimestampTz housekeeping;	/* when that is due next */
	Oid			oid;			/* as its sessions write it to the WAL */
	bool		is_absent;		/* as has been said */
	bool		is_stuck;		/* its ring is full, and stays so */
} Database;

static Database *databases = NULL;

static void wait_a_while(long ms);
static void start_workers(void);
static long next_wait(TimestampTz advance_at);
static void start_worker(int ring, Database *database);
static bool is_there(int ring, Database *database);
static void look_up_databases(void);
static void take_message(Oid database, const char *bytes, size_t size, XLogRecPtr lsn);
static void read_missed(void);
static void read_journal(XLogRecPtr from);
static bool wait_for_room(int ring);
static void set_options(void);
static bool has_extension(void);
static void lose_attempts(int ring);
static bool record_attempts(int ring);
static size_t record_batch(int ring, const char *bytes, size_t size, bool one_by_one);
static void record_one(const ProvconnAttempt *attempt, List **open);
static bool is_signed(const ProvconnAttempt *attempt);
static bool skip_failing(int ring);
static long housekeeping_ms(void);
static void keep_house(void);
static void run_task(const char *name, Task task);
static ErrorData *catch_error(MemoryContext context);
static void seal_audit(void);
static void expire_connections(void);
static bool is_settled(void);
static void begin_transaction(const char *activity);
static void end_transaction(void);
static TimestampTz in_ms(long ms);

void
provconn_worker_init(void)
{
	BackgroundWorker worker = {0};

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = RETRY_MS / 1000;
	strlcpy(worker.bgw_library_name, "provconn", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "provconn_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "provconn launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "provconn launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

static void
forget_launcher(int code, Datum arg)
{
	provconn_ring_set_launcher(NULL);
}

void
provconn_launcher_main(Datum argument)
{
	TimestampTz advance_at;
	XLogRecPtr	from;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	databases = MemoryContextAllocZero(TopMemoryContext, sizeof(Database) * Max(provconn_ring_count(), 1));
	on_shmem_exit(forget_launcher, (Datum) 0);
	provconn_ring_set_launcher(MyLatch);

	from = provconn_journal_open();
	while (RecoveryInProgress())
	{
		from = provconn_journal_follow();
		wait_a_while(PROMOTION_MS);
	}
	pgstat_report_activity(STATE_RUNNING, "reading what the WAL tells of reveals");
	read_journal(from);
	pgstat_report_activity(STATE_IDLE, NULL);
	advance_at = 0;
	for (;;)
	{
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			advance_at = 0;
			/* What was put off for a day is not, when it is to be each minute. */
			for (int i = 0; i < provconn_ring_count(); i++)
				databases[i].housekeeping = Min(databases[i].housekeeping, in_ms(housekeeping_ms()));
		}
		start_workers();
		read_missed();
		if (GetCurrentTimestamp() >= advance_at)
		{
			provconn_journal_advance();
			advance_at = in_ms(ADVANCE_MS);
		}
		wait_a_while(next_wait(advance_at));
	}
}

static void
wait_a_while(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* A worker for each database that has something to do and none. */
static void
start_workers(void)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < provconn_ring_count(); i++)
	{
		Database   *database = &databases[i];
		pid_t		pid;

		if (database->handle != NULL)
		{
			if (GetBackgroundWorkerPid(database->handle, &pid) != BGWH_STOPPED)
				continue;
			pfree(database->handle);
			database->handle = NULL;
			/* What it left behind it could not do now. */
			if (!provconn_ring_is_empty(i))
				database->not_before = Max(provconn_ring_due(i), now + (provconn_ring_failures(i, 0) > 0 ? RETRY_MS * INT64CONST(1000) : 0));
		}
		/* Who rolls something back in a database that was not there has made it. */
		if (database->is_absent && !provconn_ring_is_empty(i))
			database->not_before = now;
		if (now < database->not_before ||
			(now < database->housekeeping &&
			 (provconn_ring_is_empty(i) || now < provconn_ring_due(i))))
			continue;
		if (is_there(i, database))
			start_worker(i, database);
	}
}

/* Where there is no such database it is said once, and looked for now and then. */
static bool
is_there(int ring, Database *database)
{
	look_up_databases();
	if (OidIsValid(database->oid))
	{
		database->is_absent = false;
		return true;
	}
	if (!database->is_absent)
		ereport(LOG,
				(errmsg("database \"%s\" of provconn.databases does not exist, or takes no connections",
						provconn_ring_database(ring))));
	database->is_absent = true;
	lose_attempts(ring);
	database->not_before = in_ms(RETRY_MS);
	return false;
}

/* All rows are read: who is in no database may not have the indexes. */
static void
look_up_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	for (int i = 0; i < provconn_ring_count(); i++)
		databases[i].oid = InvalidOid;
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);

		for (int i = 0; row->datallowconn && i < provconn_ring_count(); i++)
			if (strcmp(provconn_ring_database(i), NameStr(row->datname)) == 0)
				databases[i].oid = row->oid;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

static long
next_wait(TimestampTz advance_at)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = advance_at;

	for (int i = 0; i < provconn_ring_count(); i++)
	{
		TimestampTz at = databases[i].housekeeping;

		if (databases[i].handle != NULL)
			continue;
		if (!provconn_ring_is_empty(i))
			at = Min(at, provconn_ring_due(i));
		next = Min(next, Max(at, databases[i].not_before));
	}
	return Min(Max((next - now) / 1000 + 1, 1), ADVANCE_MS);
}

static void
start_worker(int ring, Database *database)
{
	static TimestampTz tell_at = 0;
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(ring);
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "provconn", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "provconn_worker_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "provconn worker for %s", provconn_ring_database(ring));
	strlcpy(worker.bgw_type, "provconn worker", sizeof(worker.bgw_type));
	memcpy(worker.bgw_extra, &database->housekeeping, sizeof(TimestampTz));
	if (RegisterDynamicBackgroundWorker(&worker, &database->handle))
	{
		if (GetCurrentTimestamp() >= database->housekeeping)
			database->housekeeping = in_ms(housekeeping_ms());
		/* A database that is not there is not tried again at once. */
		database->not_before = in_ms(100);
		return;
	}
	database->handle = NULL;
	database->not_before = in_ms(RETRY_MS);
	if (GetCurrentTimestamp() < tell_at)
		return;
	tell_at = in_ms(TELL_MS);
	ereport(LOG,
			(errmsg("provconn could not start a worker for database \"%s\"", provconn_ring_database(ring)),
			 errhint("Raise max_worker_processes.")));
}

/* Reads for which a ring had no room. */
static void
read_missed(void)
{
	for (int i = 0; i < provconn_ring_count(); i++)
	{
		XLogRecPtr	from = provconn_ring_missed(i);

		if (from == InvalidXLogRecPtr)
			continue;
		read_journal(from);
		provconn_ring_clear_missed(i, from);
	}
}

/* Where it can't be read, that is said, and the rest goes on. */
static void
read_journal(XLogRecPtr from)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		look_up_databases();
		provconn_journal_read(from, take_message);
	}
	PG_CATCH();
	{
		ErrorData  *error = catch_error(caller);

		ereport(WARNING,
				(errmsg("provconn could not read what the WAL tells of reveals before a crash: %s", error->message),
				 errdetail("Reveals whose transactions the crash ended may not be on record.")));
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
}

/* A read: whether its transaction committed is for the worker to find out. */
static void
take_message(Oid database, const char *bytes, size_t size, XLogRecPtr lsn)
{
	/* Half of it is left to the sessions. */
	const size_t spare = provconn_settings_attempt_buffers() / 2;
	char		copy[PROVCONN_ATTEMPT_MAX];
	ProvconnAttempt attempt;
	int			ring = 0;

	while (ring < provconn_ring_count() && databases[ring].oid != database)
		ring++;
	if (ring == provconn_ring_count() || !provconn_attempt_decode(bytes, size, &attempt))
		return;
	if (attempt.audit_id == NULL)
		return;
	attempt.is_open = attempt.is_told = true;
	attempt.lsn = lsn;
	size = provconn_attempt_encode(&attempt, copy, sizeof(copy));
	while (provconn_ring_room(ring) < spare && wait_for_room(ring))
		;
	if (provconn_ring_room(ring) >= spare)
		databases[ring].is_stuck = false;
	if (provconn_ring_room(ring) < size + sizeof(uint32) ||
		!provconn_ring_push(ring, copy, (uint32) size, lsn))
		provconn_attempt_lose(ring, &attempt);
}

/*
 * There may be more to tell than a ring can hold: its worker reads along.  False
 * where none makes room.
 */
static bool
wait_for_room(int ring)
{
	Database   *database = &databases[ring];
	TimestampTz until = in_ms(ROOM_MS);
	size_t		room = provconn_ring_room(ring);

	while (!database->is_stuck && provconn_ring_room(ring) <= room)
	{
		if (GetCurrentTimestamp() >= until)
			database->is_stuck = true;
		start_workers();
		wait_a_while(20);
	}
	return !database->is_stuck;
}

static void
leave_ring(int code, Datum ring)
{
	provconn_ring_detach_worker(DatumGetInt32(ring));
}

void
provconn_worker_main(Datum argument)
{
	int			ring = DatumGetInt32(argument);
	TimestampTz housekeeping;
	TimestampTz leave_at;

	memcpy(&housekeeping, MyBgworkerEntry->bgw_extra, sizeof(housekeeping));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(provconn_ring_database(ring), NULL, 0);
	if (!provconn_ring_attach_worker(ring))
		return;
	before_shmem_exit(leave_ring, Int32GetDatum(ring));
	set_options();
	if (!has_extension())
	{
		lose_attempts(ring);
		return;
	}
	if (GetCurrentTimestamp() >= housekeeping)
		keep_house();
	/* Where there always is more, the next worker keeps house, and by new settings. */
	leave_at = in_ms(housekeeping_ms());
	while (GetCurrentTimestamp() < leave_at && !ConfigReloadPending)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (record_attempts(ring))
			continue;
		if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LINGER_MS,
					  PG_WAIT_EXTENSION) & WL_TIMEOUT)
			break;
	}
}

/* What is set for the sessions of a database, or of all, must not stop a worker. */
static void
set_options(void)
{
	static const char *const options[][2] = {
		{"application_name", "provconn worker"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"idle_in_transaction_session_timeout", "0"},
		{"lock_timeout", "0"},
		{"session_replication_role", "origin"},
		{"statement_timeout", "0"},
	};

	for (int i = 0; i < (int) lengthof(options); i++)
		SetConfigOption(options[i][0], options[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

static bool
has_extension(void)
{
	bool		found;

	begin_transaction("looking for provconn");
	found = OidIsValid(get_extension_oid("provconn", true));
	end_transaction();
	return found;
}

/*
 * What was rolled back where provconn was dropped then has no place to be on
 * record.  It must not stay in the ring, and hold WAL, until there is one again.
 */
static void
lose_attempts(int ring)
{
	char	   *bytes = palloc(BATCH_BYTES);
	size_t		size;

	while ((size = provconn_ring_peek(ring, bytes, BATCH_BYTES)) > 0)
	{
		for (size_t done = 0; done < size;)
		{
			ProvconnAttempt attempt;
			uint32		entry_size;

			memcpy(&entry_size, bytes + done, sizeof(entry_size));
			if (provconn_attempt_decode(bytes + done + sizeof(entry_size), entry_size, &attempt))
				provconn_attempt_lose(ring, &attempt);
			done += sizeof(entry_size) + entry_size;
		}
		provconn_ring_release(ring, size);
	}
	pfree(bytes);
}

/*
 * Puts what is in the ring on record.  False where there is nothing more to do
 * now.  Entries stay in the ring until their rows are committed: what fails is
 * tried again by the next worker.
 */
static bool
record_attempts(int ring)
{
	static char *bytes = NULL;
	size_t		size;
	size_t		done;

	if (bytes == NULL)
		bytes = MemoryContextAlloc(TopMemoryContext, BATCH_BYTES);
	if (GetCurrentTimestamp() < provconn_ring_due(ring))
		return false;
	size = provconn_ring_peek(ring, bytes, BATCH_BYTES);
	if (size == 0)
		return false;
	done = record_batch(ring, bytes, size, provconn_ring_failures(ring, 1) > MAX_FAILURES);
	provconn_ring_release(ring, done);
	return provconn_ring_due(ring) == 0;
}

/* Returns how many bytes of entries are done with. */
static size_t
record_batch(int ring, const char *bytes, size_t size, bool one_by_one)
{
	size_t		done = 0;
	int			entries = 0;
	List	   *open = NIL;
	ListCell   *cell;

	begin_transaction("putting attempts on record");
	for (; done < size && entries < (one_by_one ? 1 : BATCH_ENTRIES); entries++)
	{
		ProvconnAttempt attempt;
		uint32		entry_size;

		memcpy(&entry_size, bytes + done, sizeof(entry_size));
		if (provconn_attempt_decode(bytes + done + sizeof(entry_size), entry_size, &attempt))
		{
			if (one_by_one && skip_failing(ring))
				provconn_attempt_lose(ring, &attempt);
			else
				record_one(&attempt, &open);
		}
		done += sizeof(entry_size) + entry_size;
	}

	/* What is open goes to the end of the line; a worker comes back to it. */
	foreach(cell, open)
	{
		ProvconnAttempt *attempt = lfirst(cell);
		char		copy[PROVCONN_ATTEMPT_MAX];
		size_t		copy_size = provconn_attempt_encode(attempt, copy, sizeof(copy));

		if (!provconn_ring_push(ring, copy, (uint32) copy_size, attempt->lsn) &&
			(attempt->lsn == InvalidXLogRecPtr || !provconn_settings_keep_wal()))
			provconn_attempt_lose(ring, attempt);
	}
	if (list_length(open) == entries)
		provconn_ring_set_due(ring, in_ms(RETRY_MS));
	end_transaction();
	return done;
}

/* One whose transaction is still under way is put off. */
static void
record_one(const ProvconnAttempt *attempt, List **open)
{
	FullTransactionId transaction_id = FullTransactionIdFromU64(attempt->transaction_id);
	ProvconnAttempt *copy;

	if (attempt->is_open && attempt->transaction_id != 0 &&
		TransactionIdIsInProgress(XidFromFullTransactionId(transaction_id)))
	{
		copy = palloc(sizeof(ProvconnAttempt));
		*copy = *attempt;
		*open = lappend(*open, copy);
		return;
	}
	if (attempt->is_told && !is_signed(attempt))
	{
		ereport(LOG,
				(errmsg("the WAL has a message that only looks like one of provconn's"),
				 errhint("pg_logical_emit_message() writes what it is given.")));
		return;
	}
	provconn_audit_prepare(GetCurrentTimestamp());
	provconn_audit_record_attempt(attempt);
}

static bool
is_signed(const ProvconnAttempt *attempt)
{
	char		bytes[PROVCONN_ATTEMPT_MAX];
	ProvconnSpan span = {bytes, 0};

	span.len = provconn_attempt_signed_bytes(attempt, bytes, sizeof(bytes));
	return provconn_vault_has_signed(attempt->key_id, span, attempt->mac);
}

/* One that could not be put on record by itself either, is given up. */
static bool
skip_failing(int ring)
{
	return provconn_ring_failures(ring, 0) > 2 * MAX_FAILURES;
}

static long
housekeeping_ms(void)
{
	int			interval = provconn_settings_seal_interval();

	return (interval > 0 ? interval : 60) * 1000L;
}

static void
keep_house(void)
{
	run_task("sealing the audit", seal_audit);
	run_task("expiring connections", expire_connections);
}

/* One that fails is for the log; the others go on. */
static void
run_task(const char *name, Task task)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		begin_transaction(name);
		if (is_settled())
			task();
		end_transaction();
	}
	PG_CATCH();
	{
		ErrorData  *error = catch_error(caller);

		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("provconn worker failed at %s: %s", name, error->message),
				 error->hint != NULL ? errhint("%s", error->hint) : 0));
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* The error that was caught; its transaction is over.  A shutdown goes on. */
static ErrorData *
catch_error(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	if (error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		ReThrowError(error);
	return error;
}

static void
seal_audit(void)
{
	if (provconn_settings_seal_interval() > 0)
		(void) provconn_seal_make(true);
}

static void
expire_connections(void)
{
	Interval	grace = {0};

	if (provconn_settings_expire_after() < 0)
		return;
	grace.time = provconn_settings_expire_after();
	(void) provconn_queue_expire_overdue(GetUserId(), &grace, EXPIRE_BATCH);
}

/*
 * Whether nobody is restoring a dump here (its triggers come last), and the tables
 * are not those of a publisher, which seals and expires itself.
 */
static bool
is_settled(void)
{
	return provconn_seal_is_possible() && provconn_seal_is_settled();
}

static void
begin_transaction(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

static void
end_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}

static TimestampTz
in_ms(long ms)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}
