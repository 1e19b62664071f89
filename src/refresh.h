/*
 * refresh.h (layer 7): new credentials for active connections.
 */
#ifndef PROVCONN_REFRESH_H
#define PROVCONN_REFRESH_H

#include "postgres.h"

#include "call.h"
#include "model.h"

/* Pointers are NULL for SQL NULL. */
typedef struct ProvconnRefreshCommand
{
	const ProvconnUuid *connection_id;
	ProvconnCredentials credentials;
	const ProvconnUuid *lease;
	bool		has_expected_version;
	int32		expected_version;
} ProvconnRefreshCommand;

/* As the commands of command.h. */
extern void provconn_command_refresh(Oid caller, const ProvconnRefreshCommand *command,
									 ProvconnOutcome *outcome);

/* Rows are locked in the order of their ids; outcomes come in that of commands. */
extern void provconn_command_refresh_batch(Oid caller, int count,
										   const ProvconnRefreshCommand *commands,
										   ProvconnOutcome *outcomes);

#endif /* PROVCONN_REFRESH_H */
