/*
 * attempt.h (layer 4): what becomes of commands that are rolled back.
 *
 * Where the library was preloaded and the database is in provconn.databases,
 * a session notes each command.  Those whose transaction or subtransaction
 * aborts go to the worker, which puts them on record.
 */
#ifndef PROVCONN_ATTEMPT_H
#define PROVCONN_ATTEMPT_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

#include "model.h"

#define PROVCONN_ATTEMPT_MAC 32

/* What the audit would have said; spans' data and ids are NULL for null. */
typedef struct ProvconnAttempt
{
	const ProvconnUuid *audit_id;	/* NULL: the command failed before it had a row */
	TimestampTz occurred_at;
	uint64		transaction_id; /* 0: it had none */
	const ProvconnUuid *connection_id;
	const ProvconnUuid *user_id;
	const ProvconnUuid *owner_id;
	const ProvconnUuid *provider_id;
	ProvconnStatus old_status;
	ProvconnStatus new_status;
	bool		has_version;
	int32		version;
	bool		is_read;		/* a secret was, or is to be, handed out */
	bool		is_open;		/* whether its transaction was rolled back is not known yet */
	XLogRecPtr	lsn;			/* where the WAL tells of it; 0: nowhere */
	bool		is_told;		/* known from the WAL alone: anybody may have written that */
	int32		key_id;			/* of a read: what it is signed with, */
	unsigned char mac[PROVCONN_ATTEMPT_MAC];	/* and how */
	ProvconnSpan action;
	ProvconnSpan error_code;
	ProvconnSpan provider_slug;
	ProvconnSpan reason;
	ProvconnSpan session_role;
	ProvconnSpan caller_role;
	ProvconnSpan application_name;
	ProvconnSpan client_address;
} ProvconnAttempt;

/* Whether attempts are noted in this session. */
extern bool provconn_attempt_is_noted(void);

/*
 * Begins an attempt that has no row of the audit yet: returns its number, or 0
 * where none is noted.  Ended by provconn_attempt_end(), once it has a row, or
 * is through without one; if it never is, it failed.  In between, what becomes
 * known of it can be told.
 */
extern int	provconn_attempt_begin(const ProvconnAttempt *attempt);
extern void provconn_attempt_tell(int number, const ProvconnAttempt *attempt);
extern void provconn_attempt_end(int number);

/* An attempt that has its row of the audit. */
extern void provconn_attempt_add(const ProvconnAttempt *attempt);

/*
 * Has the WAL on disk tell of all reads so far, before a secret leaves.  Every
 * role can write messages like that (pg_logical_emit_message), so each is signed:
 * the signer returns the number of the key, or raises an error.
 */
typedef int32 (*ProvconnSigner) (ProvconnSpan bytes, unsigned char mac[PROVCONN_ATTEMPT_MAC]);
extern void provconn_attempt_flush_reads(ProvconnSigner sign);

/* The bytes that an attempt's signature is over. */
extern size_t provconn_attempt_signed_bytes(const ProvconnAttempt *attempt, char *bytes, size_t size);

/* The bytes of an attempt, and back: the latter refers to them.  False: they are not one. */
extern bool provconn_attempt_decode(const char *bytes, size_t len, ProvconnAttempt *attempt);
extern size_t provconn_attempt_encode(const ProvconnAttempt *attempt, char *bytes, size_t size);

/* One that nobody can put on record goes to the log, and is counted. */
extern void provconn_attempt_lose(int ring, const ProvconnAttempt *attempt);

#define PROVCONN_ATTEMPT_MAX 8192

/* What WAL messages of ours are marked with. */
#define PROVCONN_ATTEMPT_PREFIX "provconn"

#endif							/* PROVCONN_ATTEMPT_H */
