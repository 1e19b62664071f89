/*
 * ring.c (layer 3): attempts on their way to the worker, in shared memory.
 *
 * A ring is written by any session, under its lock, and read by one worker.
 * Positions count bytes and only grow; an entry is its size and its bytes, and
 * may go round the end.  What is in a ring is saved in a file as the server is
 * shut down, and lost in a crash.
 *
 * Writing happens in abort callbacks: nothing there allocates or raises.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "compat.h"
#include "ring.h"
#include "settings.h"

#define TRANCHE "provconn ring"
#define RESERVED_PART 8			/* for reads: one part of so many */
#define SAVED_FILE "pg_stat/provconn_attempts"
#define SAVED_MAGIC UINT64CONST(0x70636F6E6E010101)

typedef struct Ring
{
	LWLockPadded *lock;
	NameData	name;			/* of the database */
	Latch	   *worker;			/* its latch, while there is one */
	uint64		read;			/* positions, in bytes */
	uint64		written;
	uint64		lost;			/* entries */
	int			failures;
	TimestampTz due;
	XLogRecPtr	older_lsn;		/* the least of what was written up to mark; 0: none */
	XLogRecPtr	newer_lsn;		/* and of what was written after it */
	uint64		mark;
	XLogRecPtr	missed_lsn;		/* the least of reads that found no room; 0: none */
	char	   *bytes;
} Ring;

/* A ring in the file, before its bytes. */
typedef struct SavedRing
{
	uint64		magic;
	NameData	name;
	XLogRecPtr	oldest_lsn;
	uint64		size;
} SavedRing;

typedef struct Shared
{
	Latch	   *launcher;
	int			count;
	size_t		ring_size;
	int			backends;
	XLogRecPtr *held;			/* of each process */
	Ring		rings[PROVCONN_SETTINGS_MAX_DATABASES];
} Shared;

static shmem_request_hook_type next_request_hook = NULL;
static shmem_startup_hook_type next_startup_hook = NULL;
static Shared *shared = NULL;

static void request_memory(void);
static void set_up_memory(void);
static void save_rings(int code, Datum arg);
static void load_rings(void);
static List *list_databases(void);
static int	count_backends(void);
static size_t ring_bytes(void);
static void fill_ring(Ring *ring, const SavedRing *saved, const char *bytes);
static void take_least(XLogRecPtr *least, XLogRecPtr lsn);
static void copy_in(Ring *ring, uint64 position, const void *bytes, size_t len);
static void copy_out(const Ring *ring, uint64 position, void *bytes, size_t len);
static int	my_place(void);

void
provconn_ring_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = set_up_memory;
}

int
provconn_ring_count(void)
{
	return shared != NULL ? shared->count : 0;
}

const char *
provconn_ring_database(int ring)
{
	return NameStr(shared->rings[ring].name);
}

int
provconn_ring_here(void)
{
	static int	ring = -2;
	char	   *name;

	if (ring != -2)
		return ring;
	if (provconn_ring_count() == 0)
		return -1;
	name = get_database_name(MyDatabaseId);
	ring = -1;
	for (int i = 0; name != NULL && i < shared->count; i++)
		if (strcmp(NameStr(shared->rings[i].name), name) == 0)
			ring = i;
	return ring;
}

bool
provconn_ring_push(int at, const void *entry, uint32 size, XLogRecPtr lsn)
{
	Ring	   *ring = &shared->rings[at];
	Latch	   *reader;
	bool		fits;

	LWLockAcquire(&ring->lock->lock, LW_EXCLUSIVE);
	/* What the WAL does not tell of leaves room for what it does: nobody can hide a read. */
	fits = ring->written - ring->read + sizeof(size) + size <=
		(lsn == InvalidXLogRecPtr ? shared->ring_size - shared->ring_size / RESERVED_PART : shared->ring_size);
	if (fits)
	{
		copy_in(ring, ring->written, &size, sizeof(size));
		copy_in(ring, ring->written + sizeof(size), entry, size);
		ring->written += sizeof(size) + size;
		ring->due = 0;
		take_least(&ring->newer_lsn, lsn);
	}
	else
		take_least(&ring->missed_lsn, lsn);
	reader = ring->worker != NULL ? ring->worker : shared->launcher;
	LWLockRelease(&ring->lock->lock);
	if (reader != NULL)
		SetLatch(reader);
	return fits;
}

void
provconn_ring_count_loss(int at)
{
	Ring	   *ring = &shared->rings[at];

	LWLockAcquire(&ring->lock->lock, LW_EXCLUSIVE);
	ring->lost++;
	LWLockRelease(&ring->lock->lock);
}

uint64
provconn_ring_losses(int at)
{
	Ring	   *ring = &shared->rings[at];
	uint64		lost;

	LWLockAcquire(&ring->lock->lock, LW_SHARED);
	lost = ring->lost;
	LWLockRelease(&ring->lock->lock);
	return lost;
}

size_t
provconn_ring_peek(int at, char *buffer, size_t size)
{
	Ring	   *ring = &shared->rings[at];
	uint64		position;
	uint64		written;
	size_t		copied = 0;

	LWLockAcquire(&ring->lock->lock, LW_SHARED);
	position = ring->read;
	written = ring->written;
	LWLockRelease(&ring->lock->lock);
	/* What was written stays until it is released, which is the caller's to do. */
	while (position < written)
	{
		uint32		entry_size;

		copy_out(ring, position, &entry_size, sizeof(entry_size));
		if (copied + sizeof(entry_size) + entry_size > size)
			break;
		copy_out(ring, position, buffer + copied, sizeof(entry_size) + entry_size);
		copied += sizeof(entry_size) + entry_size;
		position += sizeof(entry_size) + entry_size;
	}
	return copied;
}

void
provconn_ring_release(int at, size_t bytes)
{
	Ring	   *ring = &shared->rings[at];

	LWLockAcquire(&ring->lock->lock, LW_EXCLUSIVE);
	ring->read += bytes;
	ring->failures = 0;
	if (ring->read >= ring->mark)
	{
		ring->older_lsn = ring->read < ring->written ? ring->newer_lsn : InvalidXLogRecPtr;
		ring->newer_lsn = InvalidXLogRecPtr;
		ring->mark = ring->written;
	}
	LWLockRelease(&ring->lock->lock);
}

XLogRecPtr
provconn_ring_missed(int at)
{
	Ring	   *ring = &shared->rings[at];
	XLogRecPtr	missed;

	LWLockAcquire(&ring->lock->lock, LW_SHARED);
	missed = ring->missed_lsn;
	LWLockRelease(&ring->lock->lock);
	return missed;
}

void
provconn_ring_clear_missed(int at, XLogRecPtr lsn)
{
	Ring	   *ring = &shared->rings[at];

	LWLockAcquire(&ring->lock->lock, LW_EXCLUSIVE);
	if (ring->missed_lsn == lsn)
		ring->missed_lsn = InvalidXLogRecPtr;
	LWLockRelease(&ring->lock->lock);
}

bool
provconn_ring_is_empty(int at)
{
	Ring	   *ring = &shared->rings[at];
	bool		empty;

	LWLockAcquire(&ring->lock->lock, LW_SHARED);
	empty = ring->read == ring->written;
	LWLockRelease(&ring->lock->lock);
	return empty;
}

size_t
provconn_ring_room(int at)
{
	Ring	   *ring = &shared->rings[at];
	size_t		room;

	LWLockAcquire(&ring->lock->lock, LW_SHARED);
	room = shared->ring_size - (ring->written - ring->read);
	LWLockRelease(&ring->lock->lock);
	return room;
}

bool
provconn_ring_wait(int at, int seconds)
{
	Ring	   *ring = &shared->rings[at];
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), seconds * 1000L);
	uint64		written;
	uint64		position;

	LWLockAcquire(&ring->lock->lock, LW_SHARED);
	written = ring->written;
	position = ring->read;
	LWLockRelease(&ring->lock->lock);
	while (position < written && GetCurrentTimestamp() < until)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(10000L);
		LWLockAcquire(&ring->lock->lock, LW_SHARED);
		position = ring->read;
		LWLockRelease(&ring->lock->lock);
	}
	return position >= written;
}

bool
provconn_ring_attach_worker(int at)
{
	Ring	   *ring = &shared->rings[at];
	bool		attached;

	LWLockAcquire(&ring->lock->lock, LW_EXCLUSIVE);
	attached = ring->worker == NULL;
	if (attached)
		ring->worker = MyLatch;
	LWLockRelease(&ring->lock->lock);
	return attached;
}

void
provconn_ring_detach_worker(int at)
{
	Ring	   *ring = &shared->rings[at];

	LWLockAcquire(&ring->lock->lock, LW_EXCLUSIVE);
	if (ring->worker == MyLatch)
		ring->worker = NULL;
	LWLockRelease(&ring->lock->lock);
	if (shared->launcher != NULL)
		SetLatch(shared->launcher);
}

void
provconn_ring_set_launcher(Latch *latch)
{
	shared->launcher = latch;
}

void
provconn_ring_set_due(int at, TimestampTz when)
{
	Ring	   *ring = &shared->rings[at];

	LWLockAcquire(&ring->lock->lock, LW_EXCLUSIVE);
	ring->due = when;
	LWLockRelease(&ring->lock->lock);
}

TimestampTz
provconn_ring_due(int at)
{
	Ring	   *ring = &shared->rings[at];
	TimestampTz due;

	LWLockAcquire(&ring->lock->lock, LW_SHARED);
	due = ring->due;
	LWLockRelease(&ring->lock->lock);
	return due;
}

int
provconn_ring_failures(int at, int add)
{
	Ring	   *ring = &shared->rings[at];
	int			failures;

	LWLockAcquire(&ring->lock->lock, LW_EXCLUSIVE);
	failures = ring->failures += add;
	LWLockRelease(&ring->lock->lock);
	return failures;
}

void
provconn_ring_hold_wal(XLogRecPtr lsn)
{
	if (shared->held[my_place()] == InvalidXLogRecPtr)
		shared->held[my_place()] = lsn;
	pg_memory_barrier();
}

void
provconn_ring_let_wal_go(void)
{
	pg_memory_barrier();
	if (shared != NULL)
		shared->held[my_place()] = InvalidXLogRecPtr;
}

/* Sessions put what they hold into a ring before they let it go: so sessions first. */
XLogRecPtr
provconn_ring_held_wal(void)
{
	XLogRecPtr	least = InvalidXLogRecPtr;

	for (int i = 0; i < shared->backends; i++)
	{
		XLogRecPtr	held = shared->held[i];

		take_least(&least, held);
	}
	pg_memory_barrier();
	for (int i = 0; i < shared->count; i++)
	{
		Ring	   *ring = &shared->rings[i];

		LWLockAcquire(&ring->lock->lock, LW_SHARED);
		take_least(&least, ring->older_lsn);
		take_least(&least, ring->newer_lsn);
		take_least(&least, ring->missed_lsn);
		LWLockRelease(&ring->lock->lock);
	}
	return least;
}

static void
request_memory(void)
{
	int			count = list_length(list_databases());

	if (next_request_hook != NULL)
		next_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(Shared)) + MAXALIGN(count_backends() * sizeof(XLogRecPtr)) +
						   count * ring_bytes() + 1024);
	RequestNamedLWLockTranche(TRANCHE, Max(count, 1));
}

static void
set_up_memory(void)
{
	List	   *databases = list_databases();
	ListCell   *cell;
	bool		found;

	if (next_startup_hook != NULL)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("provconn rings", sizeof(Shared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(*shared));
		shared->ring_size = ring_bytes();
		shared->backends = count_backends();
		shared->held = ShmemAlloc(shared->backends * sizeof(XLogRecPtr));
		memset(shared->held, 0, shared->backends * sizeof(XLogRecPtr));
		foreach(cell, databases)
		{
			Ring	   *ring = &shared->rings[shared->count];

			ring->lock = &GetNamedLWLockTranche(TRANCHE)[shared->count];
			namestrcpy(&ring->name, lfirst(cell));
			ring->bytes = ShmemAlloc(shared->ring_size);
			shared->count++;
		}
	}
	LWLockRelease(AddinShmemInitLock);
	if (IsUnderPostmaster)
		return;
	if (!found)
		load_rings();
	on_shmem_exit(save_rings, (Datum) 0);
}

/*
 * What is in the rings as the server is shut down, by the sessions that this
 * ended among others, is for the workers of the next start.  After a crash
 * nothing can be said of shared memory.
 */
static void
save_rings(int code, Datum arg)
{
	FILE	   *file;
	bool		some = false;
	bool		failed;

	if (code != 0 || shared == NULL)
		return;
	for (int i = 0; i < shared->count; i++)
		some |= shared->rings[i].written > shared->rings[i].read;
	if (!some)
		return;
	file = AllocateFile(SAVED_FILE ".tmp", PG_BINARY_W);
	failed = file == NULL;
	for (int i = 0; i < shared->count && !failed; i++)
	{
		Ring	   *ring = &shared->rings[i];
		SavedRing	saved = {SAVED_MAGIC, ring->name, InvalidXLogRecPtr, ring->written - ring->read};
		char	   *bytes = malloc(saved.size + 1);

		failed = bytes == NULL;
		if (failed)
			break;
		take_least(&saved.oldest_lsn, ring->older_lsn);
		take_least(&saved.oldest_lsn, ring->newer_lsn);
		copy_out(ring, ring->read, bytes, saved.size);
		failed = fwrite(&saved, sizeof(saved), 1, file) != 1 ||
			(saved.size > 0 && fwrite(bytes, saved.size, 1, file) != 1);
		free(bytes);
	}
	if (file != NULL && FreeFile(file) != 0)
		failed = true;
	if (!failed)
		(void) durable_rename(SAVED_FILE ".tmp", SAVED_FILE, LOG);
	else
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("provconn could not save attempts that are not on record yet in file \"%s\": %m", SAVED_FILE)));
}

static void
load_rings(void)
{
	FILE	   *file = AllocateFile(SAVED_FILE, PG_BINARY_R);
	SavedRing	saved;

	if (file == NULL)
		return;
	while (fread(&saved, sizeof(saved), 1, file) == 1 && saved.magic == SAVED_MAGIC &&
		   saved.size <= MaxAllocSize)
	{
		char	   *bytes = palloc(saved.size + 1);

		if (saved.size > 0 && fread(bytes, saved.size, 1, file) != 1)
			break;
		for (int i = 0; i < shared->count; i++)
			if (strcmp(NameStr(shared->rings[i].name), NameStr(saved.name)) == 0)
				fill_ring(&shared->rings[i], &saved, bytes);
		pfree(bytes);
	}
	FreeFile(file);
	(void) unlink(SAVED_FILE);
}

/* Where the rings are smaller now, the rest is counted as lost. */
static void
fill_ring(Ring *ring, const SavedRing *saved, const char *bytes)
{
	uint64		lost = 0;
	uint32		size;

	for (size_t at = 0; at + sizeof(size) <= saved->size; at += sizeof(size) + size)
	{
		memcpy(&size, bytes + at, sizeof(size));
		if (size > saved->size - at - sizeof(size))
			break;
		if (ring->written - ring->read + sizeof(size) + size > shared->ring_size)
		{
			lost++;
			continue;
		}
		copy_in(ring, ring->written, bytes + at, sizeof(size) + size);
		ring->written += sizeof(size) + size;
	}
	ring->newer_lsn = saved->oldest_lsn;
	ring->lost += lost;
	if (lost > 0)
		ereport(LOG,
				(errmsg("provconn has no room for %llu attempts of database \"%s\" that were not on record",
						(unsigned long long) lost, NameStr(ring->name))));
}

/* The names in provconn.databases, the first PROVCONN_SETTINGS_MAX_DATABASES of them. */
static List *
list_databases(void)
{
	char	   *names = pstrdup(provconn_settings_databases());
	List	   *list = NIL;

	if (!SplitIdentifierString(names, ',', &list))
		return NIL;				/* the check hook has said so */
	return list_truncate(list, PROVCONN_SETTINGS_MAX_DATABASES);
}

static int
count_backends(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS + max_prepared_xacts;
}

static size_t
ring_bytes(void)
{
	return MAXALIGN(provconn_settings_attempt_buffers());
}

static void
take_least(XLogRecPtr *least, XLogRecPtr lsn)
{
	if (lsn != InvalidXLogRecPtr && (*least == InvalidXLogRecPtr || lsn < *least))
		*least = lsn;
}

static void
copy_in(Ring *ring, uint64 position, const void *bytes, size_t len)
{
	size_t		at = position % shared->ring_size;
	size_t		first = Min(len, shared->ring_size - at);

	memcpy(ring->bytes + at, bytes, first);
	memcpy(ring->bytes, (const char *) bytes + first, len - first);
}

static void
copy_out(const Ring *ring, uint64 position, void *bytes, size_t len)
{
	size_t		at = position % shared->ring_size;
	size_t		first = Min(len, shared->ring_size - at);

	memcpy(bytes, ring->bytes + at, first);
	memcpy((char *) bytes + first, ring->bytes, len - first);
}

static int
my_place(void)
{
	return (int) (MyProc - ProcGlobal->allProcs);
}
