/*
 * fault.c (layer 2): the one place that raises refusals and faults.
 *
 * Refusals are business answers (SQLSTATE PV0xx, when unwrapped), faults are
 * errors of the caller, the operator or the server (PV1xx, or PostgreSQL's own
 * SQLSTATE where one fits).  doc/errors.md lists both tables.
 *
 * Nothing passed in here may hold a secret, a part of one, or the location of
 * a key.  Statement and context are hidden: a literal in the SQL text may be a
 * secret.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "fault.h"

typedef struct RefusalText
{
	const char *code;
	const char *sqlstate;
	const char *message;
	const char *hint;
} RefusalText;

typedef struct FaultText
{
	const char *sqlstate;
	const char *message;
	const char *hint;
} FaultText;

static const RefusalText refusals[PROVCONN_REFUSAL_COUNT] = {
	[PROVCONN_INVALID_USER] = {"invalid_user", "PV001",
		"user_id must not be null",
	"Pass the id of the user on whose behalf the command is sent."},
	[PROVCONN_INVALID_CREDENTIALS] = {"invalid_credentials", "PV002",
		"credentials must have a secret that is not empty and a credential type",
	"Build them with provconn_oauth2_credentials, provconn_token_response, provconn_api_key_credentials or provconn_credentials."},
	[PROVCONN_INVALID_PROVIDER_SLUG] = {"invalid_provider_slug", "PV003",
		"provider_slug must be the slug of the provider named by provider_id, 1 to 50 characters",
	"Look the pair up in provconn_providers."},
	[PROVCONN_INVALID_ALIAS] = {"invalid_alias", "PV004",
		"alias must not be longer than 100 characters",
	"Shorten the alias, or leave it null."},
	[PROVCONN_INVALID_METADATA] = {"invalid_metadata", "PV007",
		"metadata must be a JSON object of at most 16 kB",
	"Keep large documents in a table of your own, beside the connection_id."},
	[PROVCONN_PROVIDER_NOT_FOUND] = {"provider_not_found", "PV005",
		"no such provider",
	"Register it with provconn_register_provider, or look it up in provconn_providers."},
	[PROVCONN_PROVIDER_INACTIVE] = {"provider_inactive", "PV006",
		"provider is not open for new connections",
	"An operator opens it with provconn_set_provider_active."},
	[PROVCONN_CONNECTION_NOT_FOUND] = {"connection_not_found", "PV010",
		"no such connection",
	"Look the connection up in provconn_connections."},
	[PROVCONN_NOT_OWNED_BY_USER] = {"not_owned_by_user", "PV011",
		"connection belongs to another user",
	"Pass the user_id of the connection's owner."},
	[PROVCONN_NOT_ACTIVE] = {"not_active", "PV012",
		"connection is not active",
	"Ask the user to authenticate with the provider again."},
	[PROVCONN_INVALID_TRANSITION] = {"invalid_transition", "PV013",
		"the connection's status does not allow this",
	"SELECT * FROM provconn_transitions lists what each status allows."},
	[PROVCONN_STALE_VERSION] = {"stale_version", "PV014",
		"expected_version is not the connection's current version",
	"Read the connection again: another session has written its credentials since."},
	[PROVCONN_LEASE_LOST] = {"lease_lost", "PV015",
		"the lease is not the connection's current one",
	"Another worker may hold the connection now: drop what you have and claim again."},
	[PROVCONN_IDEMPOTENCY_CONFLICT] = {"idempotency_conflict", "PV016",
		"the idempotency key was used before with another provider or alias",
	"Use a new key for each new intention; repeat a key only with the same command."},
	[PROVCONN_REVEAL_LIMITED] = {"reveal_limited", "PV017",
		"this role has used up its reveals for now",
	"Wait a minute, or ask an operator to look at provconn.reveal_limit."},
};

static const FaultText faults[] = {
	[PROVCONN_FAULT_KEY_NOT_CONFIGURED] = {"PV100",
		"no master key is configured",
	"Write one with \"openssl rand -hex 32\" to a file that only the server's user can read, and set provconn.key_file to its path."},
	[PROVCONN_FAULT_KEY_COMMAND_NOT_RUN] = {"PV100",
		"the key command was not run",
	"It is run once, at server start, and only where the library is preloaded: add provconn to shared_preload_libraries and restart the server."},
	[PROVCONN_FAULT_KEY_FILE_UNREADABLE] = {"PV101",
		"could not read the key file: %s",
	"Check that provconn.key_file names a file which the server's user can read."},
	[PROVCONN_FAULT_KEY_FILE_UNSAFE] = {"PV101",
		"key file is not safe: %s",
	"The key file must be a regular file with mode 0600 or less, owned by the server's user."},
	[PROVCONN_FAULT_KEY_FILE_EMPTY] = {"PV101",
		"key file is malformed: it holds no key",
	"Each line is \"id:\" and 64 hexadecimal digits; the last line is the current key."},
	[PROVCONN_FAULT_KEY_FILE_MALFORMED] = {"PV101",
		"key file is malformed in line %d: %s",
	"Each line is \"id:\" and 64 hexadecimal digits; the last line is the current key."},
	[PROVCONN_FAULT_KEY_COMMAND_FAILED] = {"PV101",
		"the key command failed: %s",
	"provconn.key_command must print the lines of a key file and exit with 0; the server starts once it does."},
	[PROVCONN_FAULT_KEY_COMMAND_EMPTY] = {"PV101",
		"the key command's output is malformed: it holds no key",
	"Each line is \"id:\" and 64 hexadecimal digits; the last line is the current key."},
	[PROVCONN_FAULT_KEY_COMMAND_MALFORMED] = {"PV101",
		"the key command's output is malformed in line %d: %s",
	"Each line is \"id:\" and 64 hexadecimal digits; the last line is the current key."},
	[PROVCONN_FAULT_MASTER_KEY_MISSING] = {"PV102",
		"there is no master key %d, which data key %d needs",
	"Put the line of that key back into the key file, or what the key command prints."},
	[PROVCONN_FAULT_MASTER_KEY_WRONG] = {"PV102",
		"master key %d is not the one that wrapped data key %d",
	"Restore the key file, or the key command's output, that belongs to this database."},
	[PROVCONN_FAULT_NO_DATA_KEY] = {"PV103",
		"no data key could be made",
	"Remove what keeps rows from provconn.data_key: it has no triggers but provconn's."},
	[PROVCONN_FAULT_DATA_KEY_DAMAGED] = {"PV103",
		"data key %d does not open",
	"Its row in provconn.data_key was changed: restore it from a backup of this database."},
	[PROVCONN_FAULT_CREDENTIAL_DAMAGED] = {"PV104",
										   "the stored credential does not open",
										   "It was changed outside provconn, belongs to another row, or its data key is gone: mark the connection with provconn_mark_revoked and let the user reauthenticate."},
	[PROVCONN_FAULT_CREDENTIAL_SKIPPED] = {"PV104",
										   "connection %s was not claimed: its stored credential does not open",
										   "It was changed outside provconn, belongs to another row, or its data key is gone: mark the connection with provconn_mark_revoked and let the user reauthenticate."},
	[PROVCONN_FAULT_CREDENTIAL_LEFT] = {"PV104",
		"connection %s was not re-encrypted: its stored credential does not open",
	"It keeps its data key from being retired: let the user reauthenticate, or disconnect it."},
	[PROVCONN_FAULT_PGCRYPTO_MISSING] = {"PV105",
		"the pgcrypto library cannot be loaded",
	"Install it (Debian: it comes with the server package; elsewhere: postgresql-contrib), then CREATE EXTENSION pgcrypto."},
	[PROVCONN_FAULT_PGCRYPTO_FAILED] = {"PV105",
		"pgcrypto failed to %s",
	"Check that the installed pgcrypto offers aes-cbc, aes-ecb and hmac sha256 (OpenSSL in FIPS mode does)."},
	[PROVCONN_FAULT_TYPE_CHANGED] = {"PV106",
		"type %s is not as provconn made it: attribute \"%s\" is missing or has another type",
	"Undo the ALTER TYPE."},
	[PROVCONN_FAULT_TABLE_CHANGED] = {"PV107",
		"table provconn.%s is not as provconn made it: column \"%s\" is missing or has another type",
	"Undo the ALTER TABLE."},
	[PROVCONN_FAULT_NOT_A_TABLE] = {"PV107",
		"provconn.%s is not the kind of relation that provconn made",
	"provconn writes to plain tables: put one in its place."},
	[PROVCONN_FAULT_NOT_INSTALLED] = {"PV107",
		"provconn.%s does not exist",
	"The library was called without its extension: CREATE EXTENSION provconn CASCADE."},
	[PROVCONN_FAULT_FORBIDDEN_CHANGE] = {"PV108",
		"connection must not change: %s",
	"SELECT * FROM provconn_transitions lists what each status allows; use the provconn_ functions."},
	[PROVCONN_FAULT_UNDELETABLE] = {"PV109",
		"%s rows are never deleted",
	"End a connection with provconn_disconnect; close a provider with provconn_set_provider_active(provider_id, false)."},
	[PROVCONN_FAULT_DATA_KEY_FIXED] = {"PV109",
		"data keys are neither changed nor deleted",
	"Every credential sealed with a key is lost with it."},
	[PROVCONN_FAULT_AUDIT_APPEND_ONLY] = {"PV110",
		"the audit is append-only",
	"Rows of provconn.audit are never updated, deleted or truncated."},
	[PROVCONN_FAULT_SEAL_FIXED] = {"PV110",
		"rows of provconn.%s are neither changed nor deleted",
	"They are what the audit is verified by."},
	[PROVCONN_FAULT_AUDIT_OWN_WRITES] = {"PV110",
		"rows of provconn.%s are written by provconn alone",
	"Call the provconn_ functions; a restore brings rows by COPY, as a superuser with row_security off."},
	[PROVCONN_FAULT_AUDIT_NOT_WRITTEN] = {"PV111",
		"the change was not audited, so it was not made",
	"A trigger on provconn.connection is missing, disabled or overruled: compare \\d provconn.connection with a fresh installation."},
	[PROVCONN_FAULT_PARTITION_MISSING] = {"PV112",
		"provconn.audit has no partition for %s and none could be made: %s",
	"Rename or detach what stands in the way, and repeat the command."},
	[PROVCONN_FAULT_NOT_SEALED] = {"PV116",
		"no seal covers an audit row of that id",
	"SELECT provconn_seal_audit() seals what is committed; provconn_audit_log lists the rows."},
	[PROVCONN_FAULT_SUBSCRIBER] = {"PV117",
		"the audit is not sealed here: subscription \"%s\" brings the seals of its publisher",
	"Seal on the publisher; once this server has taken over, drop the subscription."},
	[PROVCONN_FAULT_NO_MONTH] = {"22023",
		"no month of the audit to archive or attach: %s",
	"provconn_archive_audit takes any day of a past month, provconn_attach_audit the table that it returned."},
	[PROVCONN_FAULT_NOT_ARCHIVED] = {"55000",
		"%s was not archived: it %s",
	"SELECT * FROM provconn_verify_audit() tells what is wrong; a transaction that is under way has to end first."},
	[PROVCONN_FAULT_FOREIGN_SECRET] = {"PV113",
		"this secret was made by another session",
	"A provconn_secret serves the session that made it: do not keep one in a table, a view or a function. Its bytes are not to be had."},
	[PROVCONN_FAULT_KEY_UNKNOWN] = {"PV114",
		"there is no data key %d",
	"SELECT * FROM provconn_keys lists them."},
	[PROVCONN_FAULT_KEY_CURRENT] = {"PV115",
		"data key %d is the current one",
	"SELECT provconn_rotate_key() makes the next one, from its commit on; then CALL provconn_reencrypt(), then retire this one."},
	[PROVCONN_FAULT_KEY_IN_USE] = {"PV115",
		"data key %d still seals stored credentials",
	"CALL provconn_reencrypt(), then retire it; a credential that does not open has to be replaced or disconnected."},
	[PROVCONN_FAULT_ALREADY_RUNNING] = {"55006",
		"%s is running in another session",
	"SELECT * FROM provconn_progress shows how far it is."},
	[PROVCONN_FAULT_IN_TRANSACTION] = {"2D000",
		"%s cannot run inside a transaction block or a function",
	"It commits as it goes: CALL it on its own; a procedure that calls it must not be SECURITY DEFINER nor have SET clauses."},
	[PROVCONN_FAULT_OLD_SNAPSHOT] = {"25001",
		"%s must be called at READ COMMITTED",
	"An older snapshot would hide from it what it is to change."},
	[PROVCONN_FAULT_LOADED_LATE] = {"25000",
		"provconn cannot be loaded during a parallel operation",
	"Call one of its functions before, or add provconn to shared_preload_libraries."},
	[PROVCONN_FAULT_SETTING_TAKEN] = {"42501",
		"permission denied to set parameter \"%s\"",
	"It is for superusers: connect without it."},
	[PROVCONN_FAULT_READ_ONLY] = {"25006",
		"%s cannot run in a read-only transaction",
	"Start the transaction READ WRITE."},
	[PROVCONN_FAULT_STANDBY] = {"25006",
		"%s cannot run on a standby server",
	"Send it to the primary server."},
	[PROVCONN_FAULT_NULL_ARGUMENT] = {"22004",
									  "%s must not be null",
									  "Pass a value."},
	[PROVCONN_FAULT_INVALID_ARGUMENT] = {"22023",
										 "%s",
										 "doc/reference.md says what each parameter may be."},
	[PROVCONN_FAULT_CONCURRENT_UPDATE] = {"40001",
		"could not serialize access due to concurrent update",
	"Retry the transaction."},
	[PROVCONN_FAULT_MODIFIED_BY_OWN_COMMAND] = {"27000",
		"the connection was changed by the statement that calls this function",
	"Send the two changes as separate statements."},
	[PROVCONN_FAULT_TOKEN_RESPONSE] = {"22023",
		"this is no OAuth 2 token response: %s",
	"Pass the JSON text of a successful response as the provider sent it (RFC 6749, section 5.1)."},
	[PROVCONN_FAULT_SECRET_NOT_TEXT] = {"22021",
		"%s is not valid text in the database's encoding",
	"Pass binary secrets through provconn_credentials."},
	[PROVCONN_FAULT_CARRY_OVER] = {"PV104",
		"the stored credential does not open, and the new one brings no refresh token",
	"Mark the connection with provconn_mark_revoked and let the user reauthenticate, or refresh with a response that has a refresh_token."},
	[PROVCONN_FAULT_SECRET_TOO_LONG] = {"54000",
		"secret is longer than 16 MB",
	"Keep large documents elsewhere, and here what opens them."},
	[PROVCONN_FAULT_VERSION_OVERFLOW] = {"22003",
		"the connection's version is at its end",
	"Disconnect it and connect anew."},
	[PROVCONN_FAULT_ARRAY_LENGTH] = {"22023",
		"%s must be null or have one element for each command",
	"Pass arrays of equal length; elements may be null."},
	[PROVCONN_FAULT_INVALID_PROVIDER] = {"22023",
		"%s",
	"A provider has a name of 1 to 100 characters and a credential type."},
	[PROVCONN_FAULT_DUPLICATE_PROVIDER] = {"23505",
		"a provider with this slug or id is already registered",
	"Look it up in provconn_providers."},
	[PROVCONN_FAULT_NOT_OWNER] = {"42501",
		"must be owner of extension provconn",
	"Ask the role that created the extension."},
	[PROVCONN_FAULT_UNKNOWN_CAPABILITY] = {"22023",
		"no such capability",
	"The capabilities are application, secrets, worker, reader, auditor and operator."},
	[PROVCONN_FAULT_BAD_SCHEMA] = {"42P06",
		"%s",
	"provconn keeps its tables in a schema of that name, which it makes itself: rename yours, and install the functions into public or a schema of your own."},
	[PROVCONN_FAULT_UNSAFE_SCHEMA] = {"42501",
		"the owner of schema \"%s\" could drop provconn with it",
	"Install into a schema of yours, of a superuser's or of the database's owner: DROP SCHEMA ... CASCADE takes an extension along, whoever owns that."},
	[PROVCONN_FAULT_OPEN_SCHEMA] = {"01000",
		"everybody may create functions in schema \"%s\"",
	"One that takes text in place of a secret would be called for literals: REVOKE CREATE ON SCHEMA ... FROM PUBLIC."},
	[PROVCONN_FAULT_UNKNOWN_FORMAT] = {"22023",
		"no such format",
	"The formats are mermaid and dot."},
};

static int	sqlstate_code(const char *sqlstate);

/* The fault's message, filled in with the arguments of a variadic function. */
#define FILL_MESSAGE(text, fault, message) \
	do \
	{ \
		va_list		args_; \
		int			needed_; \
		initStringInfo(&(message)); \
		for (;;) \
		{ \
			va_start(args_, fault); \
			needed_ = appendStringInfoVA(&(message), (text)->message, args_); \
			va_end(args_); \
			if (needed_ == 0) \
				break; \
			enlargeStringInfo(&(message), needed_); \
		} \
	} while (0)

void
provconn_fault_raise(ProvconnFault fault,...)
{
	const FaultText *text = &faults[fault];
	StringInfoData message;

	FILL_MESSAGE(text, fault, message);
	ereport(ERROR,
			(errcode(sqlstate_code(text->sqlstate)),
			 errmsg_internal("%s", message.data),
			 errhint("%s", text->hint),
			 errhidestmt(true),
			 errhidecontext(true)));
}

void
provconn_fault_warn(ProvconnFault fault, ...)
{
	const FaultText *text = &faults[fault];
	StringInfoData message;

	FILL_MESSAGE(text, fault, message);
	ereport(WARNING,
			(errcode(sqlstate_code(text->sqlstate)),
			 errmsg_internal("%s", message.data),
			 errhint("%s", text->hint),
			 errhidestmt(true),
			 errhidecontext(true)));
}

const char *
provconn_refusal_code(ProvconnRefusal refusal)
{
	return refusals[refusal].code;
}

const char *
provconn_refusal_message(ProvconnRefusal refusal)
{
	return refusals[refusal].message;
}

void
provconn_refusal_raise(const char *code, const char *message)
{
	for (int i = PROVCONN_ACCEPTED + 1; i < PROVCONN_REFUSAL_COUNT; i++)
	{
		const RefusalText *text = &refusals[i];

		if (code != NULL && strcmp(text->code, code) == 0)
			ereport(ERROR,
					(errcode(sqlstate_code(text->sqlstate)),
					 errmsg_internal("%s", message ? message : text->message),
					 errhint("%s", text->hint),
					 errhidestmt(true),
					 errhidecontext(true)));
	}
	ereport(ERROR,
			(errcode(sqlstate_code("PV000")),
			 errmsg_internal("%s", message ? message : "command was refused"),
			 errhint("The result has no error_code that this version of provconn knows."),
			 errhidestmt(true),
			 errhidecontext(true)));
}

static int
sqlstate_code(const char *sqlstate)
{
	return MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]);
}
