/*
 * command.h (layer 6): one function for each command; the order of its steps
 * lives here.
 */
#ifndef PROVCONN_COMMAND_H
#define PROVCONN_COMMAND_H

#include "postgres.h"

#include "datatype/timestamp.h"

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

typedef struct ProvconnConnectCommand
{
	const ProvconnUuid *user_id;
	const ProvconnUuid *provider_id;
	ProvconnSpan provider_slug;
	ProvconnCredentials credentials;
	ProvconnSpan alias;
	const ProvconnUuid *idempotency_key;
} ProvconnConnectCommand;

typedef struct ProvconnDisconnectCommand
{
	const ProvconnUuid *user_id;
	const ProvconnUuid *connection_id;
} ProvconnDisconnectCommand;

typedef struct ProvconnRefreshCommand
{
	const ProvconnUuid *connection_id;
	ProvconnCredentials credentials;
	const ProvconnUuid *lease;
	bool		has_expected_version;
	int32		expected_version;
} ProvconnRefreshCommand;

typedef struct ProvconnRevealCommand
{
	const ProvconnUuid *user_id;
	const ProvconnUuid *connection_id;
	ProvconnSpan purpose;
} ProvconnRevealCommand;

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

/*
 * Commands.  caller is the current user at the call; function is the SQL
 * function's name, for messages.  Business refusals are outcomes; faults are
 * raised.  Each leaves exactly one audit row, or an error.
 */
extern void provconn_command_connect(Oid caller, const ProvconnConnectCommand *command,
									 ProvconnOutcome *outcome);
extern void provconn_command_initiate(Oid caller, const ProvconnConnectCommand *command,
									  ProvconnOutcome *outcome);
extern void provconn_command_disconnect(Oid caller, const ProvconnDisconnectCommand *command,
										ProvconnOutcome *outcome);
extern void provconn_command_refresh(Oid caller, const ProvconnRefreshCommand *command,
									 ProvconnOutcome *outcome);

/* Rows are locked in the order of their ids; outcomes come in that of commands. */
extern void provconn_command_refresh_batch(Oid caller, int count,
										   const ProvconnRefreshCommand *commands,
										   ProvconnOutcome *outcomes);

/*
 * Opens a credential after its audit row was written.  revealed is filled in
 * where the outcome is accepted.
 */
extern void provconn_command_reveal(Oid caller, const ProvconnRevealCommand *command,
									ProvconnOutcome *outcome, ProvconnCredentials *revealed);

/* Registers a provider; invalid arguments are errors. */
extern ProvconnUuid provconn_command_register_provider(ProvconnSpan slug, ProvconnSpan name,
													   ProvconnCredentialType credential_type,
													   ProvconnSpan category,
													   const ProvconnUuid *provider_id);
extern void provconn_command_set_provider_active(const ProvconnUuid *provider_id, bool active);

/* Raises the fault of a read-only transaction or a standby server. */
extern void provconn_command_require_writable(const char *function);

#endif							/* PROVCONN_COMMAND_H */
