/*
 * refresh.c (layer 7): new credentials for active connections.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "audit.h"
#include "compat.h"
#include "fault.h"
#include "health.h"
#include "lifecycle.h"
#include "refresh.h"
#include "secret.h"
#include "token.h"
#include "vault.h"

static void refresh_one(ProvconnCall *call, const ProvconnRefreshCommand *command,
						ProvconnOutcome *outcome);
static ProvconnRefusal judge_refresh(const ProvconnRefreshCommand *command,
									 const ProvconnConnection *connection);
static void carry_refresh_token(ProvconnConnection *connection, ProvconnCredentials *credentials);
static int	compare_commands(const void *a, const void *b, void *arg);

void
provconn_command_refresh(Oid caller, const ProvconnRefreshCommand *command,
						 ProvconnOutcome *outcome)
{
	ProvconnCall call;

	provconn_call_begin(&call, "refresh", caller);
	refresh_one(&call, command, outcome);
}

void
provconn_command_refresh_batch(Oid caller, int count, const ProvconnRefreshCommand *commands,
							   ProvconnOutcome *outcomes)
{
	int		   *order = palloc(sizeof(int) * Max(count, 1));
	MemoryContext each = AllocSetContextCreate(CurrentMemoryContext, "provconn batch",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller_context;
	ProvconnCall call;

	provconn_call_begin(&call, "refresh_batch", caller);
	for (int i = 0; i < count; i++)
		order[i] = i;
	qsort_arg(order, count, sizeof(int), compare_commands, unconstify(ProvconnRefreshCommand *, commands));

	caller_context = MemoryContextSwitchTo(each);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		provconn_call_next(&call);
		refresh_one(&call, &commands[order[i]], &outcomes[order[i]]);
		MemoryContextReset(each);
	}
	MemoryContextSwitchTo(caller_context);
	provconn_call_end(&call);
	MemoryContextDelete(each);
	pfree(order);
}

static void
refresh_one(ProvconnCall *call, const ProvconnRefreshCommand *command, ProvconnOutcome *outcome)
{
	ProvconnConnection connection;
	ProvconnCredentials credentials = command->credentials;
	ProvconnValues changes = {0};
	ProvconnRefusal refusal;
	int32		version;

	call->connection_id = command->connection_id;
	if (!provconn_call_find(call, true, &connection, outcome))
		return;
	refusal = judge_refresh(command, &connection);
	if (refusal != PROVCONN_ACCEPTED)
	{
		provconn_call_refuse(call, refusal, &connection, outcome);
		outcome->needs_user_action = refusal == PROVCONN_NOT_ACTIVE;
		return;
	}

	carry_refresh_token(&connection, &credentials);
	version = provconn_call_next_version(connection.version);
	provconn_call_reseal(&changes, call, &connection, version, &credentials);
	provconn_call_write(call, &connection, NULL, &changes);
	/* What a worker has refreshed, the provider has answered for. */
	if (command->lease != NULL)
		provconn_health_succeeded(&connection.provider_id, call->now);
	provconn_call_accept(outcome, &connection.id, PROVCONN_STATUS_ACTIVE, version);
	provconn_connection_close(&connection);
}

static ProvconnRefusal
judge_refresh(const ProvconnRefreshCommand *command, const ProvconnConnection *connection)
{
	ProvconnRefusal refusal = provconn_call_check_credentials(&command->credentials);
	ProvconnStatus status;

	if (refusal != PROVCONN_ACCEPTED)
		return refusal;
	if (command->lease != NULL && !provconn_connection_is_leased(connection, command->lease))
		return PROVCONN_LEASE_LOST;
	if (command->has_expected_version && command->expected_version != connection->version)
		return PROVCONN_STALE_VERSION;
	return provconn_lifecycle_step(connection->status, PROVCONN_EVENT_REFRESH, &status);
}

/*
 * RFC 6749, section 6: a response without a refresh token leaves the old one in
 * force.  The stored secret is opened only where its token is needed.
 */
static void
carry_refresh_token(ProvconnConnection *connection, ProvconnCredentials *credentials)
{
	ProvconnBinding binding;
	ProvconnSpan stored;
	bytea	   *sealed;
	char	   *merged;
	size_t		len;

	if (!provconn_token_lacks_refresh(credentials->secret) ||
		!provconn_connection_credential(connection, &binding, &sealed))
		return;
	if (!provconn_vault_open(&binding, sealed, &stored))
		provconn_fault_raise(PROVCONN_FAULT_CARRY_OVER);

	merged = provconn_secret_alloc(stored.len + credentials->secret.len + 20);
	len = provconn_token_carry_over(stored, credentials->secret, merged);
	if (len > 0)
	{
		credentials->secret.data = merged;
		credentials->secret.len = len;
	}
}

/* By connection_id, nulls first; commands on one connection in their own order. */
static int
compare_commands(const void *a, const void *b, void *arg)
{
	const ProvconnRefreshCommand *commands = arg;
	int			i = *(const int *) a;
	int			j = *(const int *) b;
	const ProvconnUuid *x = commands[i].connection_id;
	const ProvconnUuid *y = commands[j].connection_id;
	int			order;

	if (x == NULL || y == NULL)
		order = (x != NULL) - (y != NULL);
	else
		order = memcmp(x, y, sizeof(ProvconnUuid));
	return order != 0 ? order : i - j;
}
