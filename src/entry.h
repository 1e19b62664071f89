/*
 * entry.h (layer 4): a row of the audit: its columns, commitment and hash.
 *
 * doc/audit.md has the bytes that are hashed, for strangers.
 */
#ifndef PROVCONN_ENTRY_H
#define PROVCONN_ENTRY_H

#include "postgres.h"

#include "digest.h"
#include "model.h"
#include "store.h"

/* The columns of provconn.audit; the personal ones are together, their salt last. */
enum
{
	ENTRY_SHARD_KEY,
	ENTRY_AUDIT_ID,
	ENTRY_OCCURRED_AT,
	ENTRY_CONNECTION_ID,
	ENTRY_SEQ,
	ENTRY_PROVIDER_ID,
	ENTRY_PROVIDER_SLUG,
	ENTRY_ACTION,
	ENTRY_OUTCOME,
	ENTRY_OLD_STATUS,
	ENTRY_NEW_STATUS,
	ENTRY_ERROR_CODE,
	ENTRY_VERSION,
	ENTRY_SESSION_ROLE,
	ENTRY_CALLER_ROLE,
	ENTRY_ORIGIN,
	ENTRY_TRANSACTION_ID,
	ENTRY_ATTEMPT_ID,
	ENTRY_USER_ID,
	ENTRY_OWNER_ID,
	ENTRY_REASON,
	ENTRY_APPLICATION_NAME,
	ENTRY_CLIENT_ADDRESS,
	ENTRY_PERSONAL_SALT,
	ENTRY_PERSONAL_HASH,
	ENTRY_PREVIOUS_HASH,
	ENTRY_ENTRY_HASH,
	ENTRY_COLUMN_COUNT
};

extern ProvconnTable provconn_entry_table;

/* The columns that the hash of an entry covers, in its order; ends with -1. */
extern const int provconn_entry_hashed[];

/*
 * Commits to the personal values of a row that has its audit_id: sets salt and
 * commitment.  Where the row is composed twice (is_repeated), in one process,
 * its salt is the same both times.
 */
extern void provconn_entry_commit(ProvconnValues *row, bool is_repeated);

/* The commitment of personal values, for who checks one. */
extern void provconn_entry_personal_hash(const ProvconnValues *row,
										 unsigned char hash[PROVCONN_DIGEST_LENGTH]);

/* The hash of a row that is complete but for it. */
extern void provconn_entry_hash(const ProvconnValues *row,
								unsigned char hash[PROVCONN_DIGEST_LENGTH]);

/*
 * A chain's head as a leaf of a seal: connection, number and hash of its last
 * entry.
 */
extern void provconn_entry_head_hash(const ProvconnUuid *connection_id, int64 seq,
									 const unsigned char entry_hash[PROVCONN_DIGEST_LENGTH],
									 unsigned char hash[PROVCONN_DIGEST_LENGTH]);

/* Which database writes here: another one after a restore into another database. */
extern int32 provconn_entry_origin(void);

/* Microseconds since 1970, as entries and seals have them. */
extern int64 provconn_entry_time(TimestampTz time);

#endif							/* PROVCONN_ENTRY_H */
