/*
 * audit.h (layer 5): one row for each command, accepted or refused.
 */
#ifndef PROVCONN_AUDIT_H
#define PROVCONN_AUDIT_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "attempt.h"
#include "digest.h"
#include "model.h"
#include "store.h"

/* What the audit says of a command; ids are NULL, texts empty spans, for none. */
typedef struct ProvconnAuditEntry
{
	const char *action;			/* the function's name without its prefix */
	const char *outcome;		/* succeeded or refused */
	const char *error_code;		/* of a refusal, or of a fault put on record */
	const ProvconnUuid *connection_id;
	const ProvconnUuid *user_id;
	const ProvconnUuid *owner_id;
	const ProvconnUuid *provider_id;
	ProvconnSpan provider_slug;
	ProvconnSpan reason;
	ProvconnStatus old_status;
	ProvconnStatus new_status;
	bool		has_version;
	int32		version;
	Oid			caller;			/* the current user at the call */
	bool		is_repeated;	/* the same row is composed twice, to the same bytes */
} ProvconnAuditEntry;

/* What the triggers fix before the row is written. */
typedef struct ProvconnAuditStamp
{
	ProvconnUuid audit_id;
	TimestampTz occurred_at;
	int64		seq;			/* 0: the row changed no connection */
	unsigned char previous[PROVCONN_DIGEST_LENGTH];	/* hash of the chain's row before, for seq > 1 */
} ProvconnAuditStamp;

/* A row of the audit, ready to be inserted. */
typedef struct ProvconnAuditRow
{
	ProvconnAuditStamp stamp;
	ProvconnValues values;
	unsigned char hash[PROVCONN_DIGEST_LENGTH];
} ProvconnAuditRow;

/*
 * What a command tells the triggers of the row it is about to write.  A row
 * change of another connection, or with no frame at all, is "direct".
 */
typedef struct ProvconnAuditFrame
{
	const char *action;
	ProvconnUuid connection_id;
	ProvconnSpan provider_slug; /* data NULL: look it up */
	ProvconnSpan reason;
	const char *error_code;
	Oid			caller;
	TimestampTz now;
	bool		resealing;		/* nothing but the ciphertext changes: no audit row */
	MemoryContext context;		/* lives longer than the writing of the row */
	bool		composed;		/* by the guard: row is what is to be inserted */
	ProvconnAuditRow row;
	bool		recorded;		/* set when the row's audit row was written, or is none due */
} ProvconnAuditFrame;

/*
 * Makes sure that the audit can take a row of this time; call it before any
 * row is locked.
 */
extern void provconn_audit_prepare(TimestampTz now);

/* A stamp for a row of that shard. */
extern ProvconnAuditStamp provconn_audit_stamp(int shard, TimestampTz now);

/*
 * Composes a row, commitment and hash included; what it refers to is in
 * CurrentMemoryContext or the caller's.  Then inserts it, as the only writer of
 * provconn.audit.
 */
extern void provconn_audit_compose(const ProvconnAuditEntry *entry,
								   const ProvconnAuditStamp *stamp, ProvconnAuditRow *row);
extern void provconn_audit_insert(const ProvconnAuditRow *row);

/* Both at once. */
extern void provconn_audit_write(const ProvconnAuditEntry *entry,
								 const ProvconnAuditStamp *stamp);

/* What an attempt says of its session: roles, application, address; in CurrentMemoryContext. */
extern void provconn_audit_describe_session(ProvconnAttempt *attempt, Oid caller);

/* Puts an attempt on record that was rolled back, unless it has a row. */
extern void provconn_audit_record_attempt(const ProvconnAttempt *attempt);

/* The shard that a row without a change belongs to: the connection's, else the user's. */
extern int	provconn_audit_shard(const ProvconnUuid *connection_id, const ProvconnUuid *user_id);

/*
 * Clears the personal values and salts of all rows that name a user; the
 * commitments stay.  Returns how many rows.  Records of earlier erasures, which
 * are about no connection, stay whole.
 */
extern uint64 provconn_audit_erase(const ProvconnUuid *user_id);

/* Waits for all transactions that have written an audit row so far, or are about to. */
extern void provconn_audit_wait_for_writers(void);

/* Whether the update of provconn.audit under way is that. */
extern bool provconn_audit_is_erasing(void);

/* The personal columns, the salt among them, for who is handed a tuple; NULL ends them. */
extern const char *provconn_audit_personal_column(int i);

/*
 * The frame of the command that is writing; NULL where there is none.  Setting
 * returns the frame before, which must be set again, also when an error passes.
 */
extern ProvconnAuditFrame *provconn_audit_set_frame(ProvconnAuditFrame *frame);
extern ProvconnAuditFrame *provconn_audit_frame(const ProvconnUuid *connection_id);

#endif							/* PROVCONN_AUDIT_H */
