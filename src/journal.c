/*
 * journal.c (layer 5): what the WAL tells of reads, after a crash.
 *
 * A physical replication slot keeps the WAL from the oldest read on whose
 * outcome is not on record.  The checkpoint at the end of crash recovery would
 * remove it otherwise, before anybody could read it.  The launcher has the slot
 * as long as it lives.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "replication/slot.h"
#include "utils/memutils.h"

#include "attempt.h"
#include "compat.h"
#include "journal.h"
#include "ring.h"
#include "settings.h"

#define SLOT "provconn_reads"

/* Something about the slot that may fail. */
typedef void (*Task) (void);

static void move_slot(XLogRecPtr to);
static void drop_slot(void);
static XLogRecPtr end_of_record(XLogRecPtr inserted);
static bool acquire_slot(XLogRecPtr *from);
static XLogRecPtr oldest_wal(void);
static bool try_to_acquire(void);
static bool create_slot(void);
static void acquire(void);
static void create(void);
static bool run_guarded(Task task, const char *hint);
static bool is_ours(XLogReaderState *reader, const xl_logical_message **message);

XLogRecPtr
provconn_journal_open(void)
{
	/* Without a slot as far back as the server is sure to have it. */
	XLogRecPtr	from = GetRedoRecPtr();

	if (provconn_settings_keep_wal() && !acquire_slot(&from))
		(void) create_slot();
	return from;
}

void
provconn_journal_read(XLogRecPtr from, ProvconnVisitMessage visit)
{
	ReadLocalXLogPageNoWaitPrivate progress = {0};
	XLogReaderState *reader;
	XLogRecPtr	first;
	char	   *error = NULL;

	reader = XLogReaderAllocate(wal_segment_size, NULL,
								XL_ROUTINE(.page_read = &read_local_xlog_page_no_wait,
										   .segment_open = &wal_segment_open,
										   .segment_close = &wal_segment_close),
								&progress);
	if (reader == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	first = XLogFindNextRecord(reader, from);
	if (first != InvalidXLogRecPtr)
	{
		while (XLogReadRecord(reader, &error) != NULL)
		{
			const xl_logical_message *message;

			CHECK_FOR_INTERRUPTS();
			if (is_ours(reader, &message))
				visit(message->dbId, message->message + message->prefix_size, message->message_size,
					  reader->ReadRecPtr);
		}
	}
	XLogReaderFree(reader);
	if (error != NULL && !progress.end_of_wal)
		ereport(WARNING,
				(errmsg("could not read the WAL as far as it tells of reveals: %s", error)));
}

void
provconn_journal_advance(void)
{
	XLogRecPtr	held;
	XLogRecPtr	inserted;

	if (!provconn_settings_keep_wal())
	{
		drop_slot();
		return;
	}
	if (MyReplicationSlot == NULL && !acquire_slot(NULL) && !create_slot())
		return;

	/*
	 * Who begins to hold WAL after this look writes beyond what was inserted
	 * before it.  Who let go before it has committed, or has put its attempts on
	 * record; that must be on disk before the WAL that tells of them may go.
	 */
	inserted = GetXLogInsertRecPtr();
	pg_memory_barrier();
	held = provconn_ring_held_wal();
	XLogFlush(end_of_record(GetXLogInsertRecPtr()));
	if (held == InvalidXLogRecPtr || held > inserted)
		held = inserted;
	move_slot(held);
}

XLogRecPtr
provconn_journal_follow(void)
{
	XLogRecPtr	redo = GetRedoRecPtr();

	if (!provconn_settings_keep_wal())
	{
		drop_slot();
		return redo;
	}
	if (MyReplicationSlot == NULL && !acquire_slot(NULL) && !create_slot())
		return redo;
	move_slot(redo);
	return MyReplicationSlot->data.restart_lsn;
}

static void
move_slot(XLogRecPtr to)
{
	if (to <= MyReplicationSlot->data.restart_lsn)
		return;
	SpinLockAcquire(&MyReplicationSlot->mutex);
	MyReplicationSlot->data.restart_lsn = to;
	SpinLockRelease(&MyReplicationSlot->mutex);
	ReplicationSlotMarkDirty();
	ReplicationSlotsComputeRequiredLSN();
}

static void
drop_slot(void)
{
	if (MyReplicationSlot == NULL && !acquire_slot(NULL))
		return;
	ReplicationSlotRelease();
	ReplicationSlotDrop(SLOT, true);
}

/* Where a page was begun that holds nothing yet, the end is that of the one before. */
static XLogRecPtr
end_of_record(XLogRecPtr inserted)
{
	if (XLogSegmentOffset(inserted, wal_segment_size) == SizeOfXLogLongPHD)
		return inserted - SizeOfXLogLongPHD;
	if (inserted % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return inserted - SizeOfXLogShortPHD;
	return inserted;
}

/* from is set to where its WAL begins, where there is some. */
static bool
acquire_slot(XLogRecPtr *from)
{
	XLogRecPtr	begin;
	ReplicationSlot *slot = max_replication_slots > 0 ? SearchNamedReplicationSlot(SLOT, true) : NULL;

	/* Not ours, in spite of its name. */
	if (slot == NULL || SlotIsLogical(slot) || !try_to_acquire())
		return false;
	begin = MyReplicationSlot->data.restart_lsn;
	if (!provconn_compat_slot_is_lost(MyReplicationSlot))
	{
		if (from != NULL)
			*from = begin;
		return true;
	}
	/* Such a slot keeps nothing, and never will again; some of its WAL may be there yet. */
	if (from != NULL && begin != InvalidXLogRecPtr)
		*from = Max(begin, oldest_wal());
	ereport(WARNING,
			(errmsg("the WAL that tells of reveals was removed"),
			 errhint("%s", provconn_compat_lost_slot_hint(MyReplicationSlot))));
	ReplicationSlotRelease();
	ReplicationSlotDrop(SLOT, true);
	return false;
}

static XLogRecPtr
oldest_wal(void)
{
	XLogRecPtr	oldest;

	XLogSegNoOffsetToRecPtr(XLogGetLastRemovedSegno() + 1, 0, wal_segment_size, oldest);
	return oldest;
}

/* Nobody waits for who else may have it. */
static bool
try_to_acquire(void)
{
	return run_guarded(acquire, "Nobody else may use it: see pg_replication_slots.");
}

static bool
create_slot(void)
{
	return run_guarded(create,
					   "Raise max_replication_slots, set wal_level to replica at least, or turn provconn.keep_wal off.");
}

static void
acquire(void)
{
	provconn_compat_acquire_slot(SLOT);
}

static void
create(void)
{
	CheckSlotRequirements();
	provconn_compat_create_slot(SLOT);
	ReplicationSlotReserveWal();
	ReplicationSlotMarkDirty();
	ReplicationSlotSave();
}

/* Without a slot the rest goes on; that it is so is said once. */
static bool
run_guarded(Task task, const char *hint)
{
	static bool told = false;
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		task();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		LWLockReleaseAll();
		if (!told)
			ereport(WARNING,
					(errmsg("provconn has no replication slot: %s", error->message),
					 errhint("%s", hint)));
		told = true;
		FreeErrorData(error);
	}
	PG_END_TRY();
	return done;
}

static bool
is_ours(XLogReaderState *reader, const xl_logical_message **message)
{
	if (XLogRecGetRmid(reader) != RM_LOGICALMSG_ID ||
		(XLogRecGetInfo(reader) & ~XLR_INFO_MASK) != XLOG_LOGICAL_MESSAGE)
		return false;
	*message = (const xl_logical_message *) XLogRecGetData(reader);
	return !(*message)->transactional && strcmp((*message)->message, PROVCONN_ATTEMPT_PREFIX) == 0;
}
