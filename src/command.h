/*
 * command.h (layer 7): the commands on one connection and on providers.
 */
#ifndef PROVCONN_COMMAND_H
#define PROVCONN_COMMAND_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "call.h"
#include "model.h"

/* Ids below are NULL, spans' data NULL, for SQL NULL. */
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

typedef struct ProvconnReauthenticateCommand
{
	const ProvconnUuid *user_id;
	const ProvconnUuid *connection_id;
	ProvconnCredentials credentials;
} ProvconnReauthenticateCommand;

typedef struct ProvconnRevealCommand
{
	const ProvconnUuid *user_id;
	const ProvconnUuid *connection_id;
	ProvconnSpan purpose;
} ProvconnRevealCommand;

/*
 * Commands.  caller is the current user at the call.  Business refusals are
 * outcomes; faults are raised.  Each leaves exactly one audit row, or an error.
 */
extern void provconn_command_connect(Oid caller, const ProvconnConnectCommand *command,
									 ProvconnOutcome *outcome);
extern void provconn_command_initiate(Oid caller, const ProvconnConnectCommand *command,
									  ProvconnOutcome *outcome);
extern void provconn_command_disconnect(Oid caller, const ProvconnDisconnectCommand *command,
										ProvconnOutcome *outcome);
extern void provconn_command_reauthenticate(Oid caller,
											const ProvconnReauthenticateCommand *command,
											ProvconnOutcome *outcome);

/* mark_expired, mark_revoked, mark_failed and record_sync, by their event. */
extern void provconn_command_mark(Oid caller, ProvconnEvent event,
								  const ProvconnUuid *connection_id, ProvconnSpan reason,
								  ProvconnOutcome *outcome);
extern void provconn_command_rename(Oid caller, const ProvconnUuid *user_id,
									const ProvconnUuid *connection_id, ProvconnSpan alias,
									ProvconnOutcome *outcome);

/* metadata is NULL for SQL NULL. */
extern void provconn_command_set_metadata(Oid caller, const ProvconnUuid *user_id,
										  const ProvconnUuid *connection_id, Jsonb *metadata,
										  ProvconnOutcome *outcome);

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

#endif /* PROVCONN_COMMAND_H */
