/*
 * fault.h (layer 2): refusals and faults, with their SQLSTATEs and words.
 */
#ifndef PROVCONN_FAULT_H
#define PROVCONN_FAULT_H

#include "postgres.h"

#include "model.h"

/* Faults are errors; the order is that of the table in fault.c. */
typedef enum ProvconnFault
{
	PROVCONN_FAULT_KEY_NOT_CONFIGURED,
	PROVCONN_FAULT_KEY_FILE_UNREADABLE,
	PROVCONN_FAULT_KEY_FILE_UNSAFE,
	PROVCONN_FAULT_KEY_FILE_EMPTY,
	PROVCONN_FAULT_KEY_FILE_MALFORMED,
	PROVCONN_FAULT_MASTER_KEY_MISSING,
	PROVCONN_FAULT_MASTER_KEY_WRONG,
	PROVCONN_FAULT_NO_DATA_KEY,
	PROVCONN_FAULT_DATA_KEY_DAMAGED,
	PROVCONN_FAULT_CREDENTIAL_DAMAGED,
	PROVCONN_FAULT_CREDENTIAL_SKIPPED,
	PROVCONN_FAULT_PGCRYPTO_MISSING,
	PROVCONN_FAULT_PGCRYPTO_FAILED,
	PROVCONN_FAULT_TYPE_CHANGED,
	PROVCONN_FAULT_TABLE_CHANGED,
	PROVCONN_FAULT_NOT_A_TABLE,
	PROVCONN_FAULT_NOT_INSTALLED,
	PROVCONN_FAULT_FORBIDDEN_CHANGE,
	PROVCONN_FAULT_UNDELETABLE,
	PROVCONN_FAULT_DATA_KEY_FIXED,
	PROVCONN_FAULT_AUDIT_APPEND_ONLY,
	PROVCONN_FAULT_AUDIT_NOT_WRITTEN,
	PROVCONN_FAULT_PARTITION_MISSING,
	PROVCONN_FAULT_READ_ONLY,
	PROVCONN_FAULT_STANDBY,
	PROVCONN_FAULT_NULL_ARGUMENT,
	PROVCONN_FAULT_INVALID_ARGUMENT,
	PROVCONN_FAULT_CONCURRENT_UPDATE,
	PROVCONN_FAULT_MODIFIED_BY_OWN_COMMAND,
	PROVCONN_FAULT_TOKEN_RESPONSE,
	PROVCONN_FAULT_SECRET_NOT_TEXT,
	PROVCONN_FAULT_CARRY_OVER,
	PROVCONN_FAULT_SECRET_TOO_LONG,
	PROVCONN_FAULT_VERSION_OVERFLOW,
	PROVCONN_FAULT_ARRAY_LENGTH,
	PROVCONN_FAULT_INVALID_PROVIDER,
	PROVCONN_FAULT_DUPLICATE_PROVIDER,
	PROVCONN_FAULT_NOT_OWNER,
	PROVCONN_FAULT_UNKNOWN_CAPABILITY,
	PROVCONN_FAULT_BAD_SCHEMA,
	PROVCONN_FAULT_UNKNOWN_FORMAT
} ProvconnFault;

/*
 * Raises the fault as an error: its SQLSTATE, its message (the table's, with
 * the arguments filled in as printf does), its hint.  No argument may hold a
 * secret.  Never returns.
 */
extern _Noreturn void provconn_fault_raise(ProvconnFault fault,...);

/* The same as a warning, and returns. */
extern void provconn_fault_warn(ProvconnFault fault, ...);

/* The public code of a refusal ("not_active"); NULL for PROVCONN_ACCEPTED. */
extern const char *provconn_refusal_code(ProvconnRefusal refusal);

/* The message of a refusal; NULL for PROVCONN_ACCEPTED. */
extern const char *provconn_refusal_message(ProvconnRefusal refusal);

/*
 * Raises a refusal by its public code, which may be unknown, with the message
 * given or, where that is NULL, its own.  Never returns.
 */
extern _Noreturn void provconn_refusal_raise(const char *code, const char *message);

#endif							/* PROVCONN_FAULT_H */
