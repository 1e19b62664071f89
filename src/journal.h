/*
 * journal.h (layer 5): what the WAL tells of reads, after a crash.
 *
 * For the launcher alone, which is in no database.
 */
#ifndef PROVCONN_JOURNAL_H
#define PROVCONN_JOURNAL_H

#include "postgres.h"

#include "access/xlogdefs.h"

/*
 * Takes the slot that keeps the WAL, making it where there is none, and returns
 * where to read from.
 */
extern XLogRecPtr provconn_journal_open(void);

/* Hands each message of ours from there to the end of the WAL to visit. */
typedef void (*ProvconnVisitMessage) (Oid database, const char *bytes, size_t size, XLogRecPtr lsn);
extern void provconn_journal_read(XLogRecPtr from, ProvconnVisitMessage visit);

/* Lets the WAL go that nobody holds; makes or drops the slot as the setting has it. */
extern void provconn_journal_advance(void);

/* The same on a standby; returns where to read from, should it be promoted. */
extern XLogRecPtr provconn_journal_follow(void);

#endif							/* PROVCONN_JOURNAL_H */
