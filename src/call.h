/*
 * call.h (layer 6): what all commands have in common.
 */
#ifndef PROVCONN_CALL_H
#define PROVCONN_CALL_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "attempt.h"
#include "connection.h"
#include "fault.h"
#include "model.h"

/* Credentials as a caller gave them; ids below are NULL, spans' data NULL, for SQL NULL. */
typedef struct ProvconnCredentials
{
	bool		given;
	ProvconnSpan secret;
	ProvconnCredentialType type;
	bool		expires;
	TimestampTz expires_at;
} ProvconnCredentials;

/* What became of a command. */
typedef struct ProvconnOutcome
{
	ProvconnRefusal refusal;
	bool		has_connection;
	ProvconnUuid connection_id;
	bool		has_state;		/* status and version are known to the caller */
	ProvconnStatus status;
	int32		version;
	bool		needs_user_action;
} ProvconnOutcome;

/* What a running command knows, for its audit row. */
typedef struct ProvconnCall
{
	const char *action;			/* the SQL function's name without its prefix */
	Oid			caller;			/* the current user at the call */
	TimestampTz now;
	const ProvconnUuid *user_id; /* as claimed by the command */
	const ProvconnUuid *connection_id;
	const ProvconnUuid *provider_id;
	ProvconnSpan provider_slug;
	ProvconnSpan reason;
	const char *error_code;		/* of a fault that the change puts on record */
	bool		resealing;		/* the change is of the ciphertext alone, and not audited */
	int			attempt;		/* its number, until it has a row of the audit */
	ProvconnAttempt session;	/* what an attempt says of the session, where they are noted */
} ProvconnCall;

/*
 * Begins a call; what is not an argument is the command's to fill in.  Makes
 * sure that the audit has a place for the call's row, before any row is locked.
 */
extern void provconn_call_begin(ProvconnCall *call, const char *action, Oid caller);

/* The next command of a call that has many. */
extern void provconn_call_next(ProvconnCall *call);

/* Ends a call that changed and refused nothing, and so has no row of the audit. */
extern void provconn_call_end(ProvconnCall *call);

/* Whether the call names its user; on false it was refused. */
extern bool provconn_call_has_user(const ProvconnCall *call, ProvconnOutcome *outcome);

/*
 * Finds the connection of a call and, where the call names a user, checks that
 * it is theirs.  With lock, the call's time becomes that after the lock.  On
 * false the call was refused.
 */
extern bool provconn_call_find(ProvconnCall *call, bool lock, ProvconnConnection *connection,
							   ProvconnOutcome *outcome);

/*
 * Ends a call by refusing it: audit row, outcome; the connection, where one was
 * found, is closed.  Returns false, for callers that pass that on.
 */
extern bool provconn_call_refuse(const ProvconnCall *call, ProvconnRefusal refusal,
								 ProvconnConnection *connection, ProvconnOutcome *outcome);

/* The outcome of a call that was accepted. */
extern void provconn_call_accept(ProvconnOutcome *outcome, const ProvconnUuid *id,
								 ProvconnStatus status, int32 version);

/* The audit row of a call that was accepted and changes no row. */
extern void provconn_call_record(const ProvconnCall *call, const ProvconnUuid *connection_id,
								 const ProvconnUuid *user_id, const ProvconnUuid *provider_id,
								 ProvconnStatus status, int32 version);

/* The audit row of a call that is about no connection; the reason says what was done. */
extern void provconn_call_note(ProvconnCall *call, const char *format,...)
	pg_attribute_printf(2, 3);

/* Writes the connection's changes, or the fresh row, and with it its audit row. */
extern void provconn_call_write(const ProvconnCall *call, ProvconnConnection *connection,
								const ProvconnNewConnection *fresh, ProvconnValues *values);

/* A warning that names a connection. */
extern void provconn_call_warn(ProvconnFault fault, const ProvconnConnection *connection);

/* Where an event leads that the table allows from there. */
extern ProvconnStatus provconn_call_status_after(ProvconnStatus from, ProvconnEvent event);

extern ProvconnRefusal provconn_call_check_credentials(const ProvconnCredentials *credentials);

/* The version after one more write of credentials. */
extern int32 provconn_call_next_version(int32 version);

/* Seals the credentials for the row and version given, into the row's values. */
extern void provconn_call_seal(ProvconnValues *values, const ProvconnUuid *id,
							   const ProvconnUuid *user_id, const ProvconnUuid *provider_id,
							   int32 version, const ProvconnCredentials *credentials);

/* The changes of a write of credentials to a connection that exists. */
extern void provconn_call_reseal(ProvconnValues *changes, const ProvconnCall *call,
								 const ProvconnConnection *connection, int32 version,
								 const ProvconnCredentials *credentials);

/* Raises the fault of a read-only transaction or a standby server. */
extern void provconn_call_require_writable(const char *function);

#endif /* PROVCONN_CALL_H */
