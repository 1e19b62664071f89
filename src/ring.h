/*
 * ring.h (layer 3): attempts on their way to the worker, in shared memory.
 *
 * There is a ring for each database of provconn.databases, where the library
 * was preloaded, and none otherwise.
 */
#ifndef PROVCONN_RING_H
#define PROVCONN_RING_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "storage/latch.h"

/* Asks for shared memory; called once, from _PG_init. */
extern void provconn_ring_init(void);

/* How many databases have one, and their names. */
extern int	provconn_ring_count(void);
extern const char *provconn_ring_database(int ring);

/* The ring of this session's database; -1 where it has none. */
extern int	provconn_ring_here(void);

/*
 * Puts an entry in, and wakes its reader.  Allocates nothing and raises nothing:
 * false where it is full.  lsn is where the WAL tells of the entry, if it does.
 */
extern bool provconn_ring_push(int ring, const void *entry, uint32 size, XLogRecPtr lsn);

/*
 * Where the WAL tells of the first entry with a lsn that found no room; it is to
 * be read from there, and then cleared, where no other came in between.
 */
extern XLogRecPtr provconn_ring_missed(int ring);
extern void provconn_ring_clear_missed(int ring, XLogRecPtr lsn);

/* Counts an entry that was lost; how many were, here and since the server started. */
extern void provconn_ring_count_loss(int ring);
extern uint64 provconn_ring_losses(int ring);

/*
 * For the one reader of a ring: copies whole entries into buffer, each after its
 * size (uint32); returns how many bytes.  They stay in the ring until released.
 */
extern size_t provconn_ring_peek(int ring, char *buffer, size_t size);
extern void provconn_ring_release(int ring, size_t bytes);
extern bool provconn_ring_is_empty(int ring);
extern size_t provconn_ring_room(int ring);

/* Waits, for seconds at most, until what is in it now was read; false where it was not. */
extern bool provconn_ring_wait(int ring, int seconds);

/* Says who reads: a worker comes to its database, and leaves. */
extern bool provconn_ring_attach_worker(int ring);
extern void provconn_ring_detach_worker(int ring);

/* Who starts workers, to be woken where none is there. */
extern void provconn_ring_set_launcher(Latch *latch);

/* When a worker is wanted next, though nothing was put in; 0: now. */
extern void provconn_ring_set_due(int ring, TimestampTz when);
extern TimestampTz provconn_ring_due(int ring);

/* How often in a row the reader failed with the same entry. */
extern int	provconn_ring_failures(int ring, int add);

/*
 * Until this session says that none is left, the WAL from here on tells of reads
 * whose outcome is open.  The least such place of all sessions and rings.
 */
extern void provconn_ring_hold_wal(XLogRecPtr lsn);
extern void provconn_ring_let_wal_go(void);
extern XLogRecPtr provconn_ring_held_wal(void);

#endif							/* PROVCONN_RING_H */
