/*
 * command.c (layer 6): one function for each command; the order of its steps
 * lives here.
 *
 * Every command first makes sure that the audit has a place for its row, then
 * locks the connection, then judges it, then writes: the row, whose triggers
 * write the audit row, or, where it is refused, the audit row alone.  The frame
 * tells the triggers which command it is; a change that no trigger recorded is
 * an error, so nothing is ever changed behind the audit's back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "audit.h"
#include "command.h"
#include "compat.h"
#include "connection.h"
#include "fault.h"
#include "idempotency.h"
#include "lifecycle.h"
#include "provider.h"
#include "secret.h"
#include "shard.h"
#include "token.h"
#include "uuid7.h"
#include "vault.h"

/* What a running command knows, for its audit row. */
typedef struct Call
{
	const char *action;
	Oid			caller;
	TimestampTz now;
	const ProvconnUuid *user_id;	/* as claimed by the command */
	const ProvconnUuid *connection_id;
	const ProvconnUuid *provider_id;
	ProvconnSpan provider_slug;
	ProvconnSpan reason;
} Call;

static void begin_call(Call *call, const char *action, Oid caller);
static bool refuse(const Call *call, ProvconnRefusal refusal, ProvconnConnection *connection,
				   ProvconnOutcome *outcome);
static void accept(ProvconnOutcome *outcome, const ProvconnUuid *id, ProvconnStatus status,
				   int32 version);
static void write_row(const Call *call, ProvconnConnection *connection,
					  const ProvconnNewConnection *fresh, ProvconnValues *values);
static ProvconnRefusal check_credentials(const ProvconnCredentials *credentials);
static ProvconnRefusal check_labels(const ProvconnConnectCommand *command);
static ProvconnRefusal check_provider(Call *call, ProvconnSpan slug);
static size_t character_count(ProvconnSpan text);
static int32 next_version(int32 version);
static ProvconnStatus status_after(ProvconnStatus from, ProvconnEvent event);
static bool same_text(ProvconnSpan a, ProvconnSpan b);
static bool repeat_connect(const Call *call, const ProvconnConnectCommand *command,
						   ProvconnOutcome *outcome);
static bool keep_connect(const Call *call, const ProvconnConnectCommand *command,
						 const ProvconnUuid *connection_id, int32 version);
static void activate_new(const Call *call, const ProvconnConnectCommand *command,
						 const ProvconnUuid *id, ProvconnOutcome *outcome);
static void activate_pending(const Call *call, const ProvconnConnectCommand *command,
							 ProvconnConnection *connection, ProvconnOutcome *outcome);
static void set_sealed(ProvconnValues *values, const ProvconnUuid *id,
					   const ProvconnUuid *user_id, const ProvconnUuid *provider_id,
					   int32 version, const ProvconnCredentials *credentials);
static bool find_connection(const Call *call, bool lock, ProvconnConnection *connection,
							ProvconnOutcome *outcome);
static void refresh_one(Oid caller, TimestampTz now, const char *action,
						const ProvconnRefreshCommand *command, ProvconnOutcome *outcome);
static ProvconnRefusal judge_refresh(const ProvconnRefreshCommand *command,
									 const ProvconnConnection *connection);
static void carry_refresh_token(ProvconnConnection *connection, ProvconnCredentials *credentials);
static int	compare_commands(const void *a, const void *b, void *arg);

void
provconn_command_require_writable(const char *function)
{
	if (RecoveryInProgress())
		provconn_fault_raise(PROVCONN_FAULT_STANDBY, function);
	if (XactReadOnly)
		provconn_fault_raise(PROVCONN_FAULT_READ_ONLY, function);
}

void
provconn_command_connect(Oid caller, const ProvconnConnectCommand *command,
						 ProvconnOutcome *outcome)
{
	ProvconnConnection connection;
	ProvconnUuid id;
	ProvconnRefusal refusal;
	bool		pending;
	Call		call;

	begin_call(&call, "connect", caller);
	call.user_id = command->user_id;
	call.provider_id = command->provider_id;
	call.provider_slug = command->provider_slug;

	if (command->user_id == NULL)
	{
		refuse(&call, PROVCONN_INVALID_USER, NULL, outcome);
		return;
	}
	refusal = check_credentials(&command->credentials);
	if (refusal == PROVCONN_ACCEPTED && command->provider_slug.data == NULL)
		refusal = PROVCONN_INVALID_PROVIDER_SLUG;
	if (refusal == PROVCONN_ACCEPTED && repeat_connect(&call, command, outcome))
		return;
	if (refusal == PROVCONN_ACCEPTED)
		refusal = check_labels(command);
	if (refusal == PROVCONN_ACCEPTED)
		refusal = check_provider(&call, command->provider_slug);
	if (refusal != PROVCONN_ACCEPTED)
	{
		refuse(&call, refusal, NULL, outcome);
		return;
	}

	pending = provconn_connection_find_pending(command->user_id, command->provider_id,
											   command->alias, &connection);
	if (pending)
		call.now = GetCurrentTimestamp();	/* its lock may have been waited for */
	id = pending ? connection.id :
		provconn_shard_new_id(provconn_shard_of_user(command->user_id), call.now);
	if (!keep_connect(&call, command, &id, pending ? next_version(connection.version) : 1))
	{
		/* A concurrent repeat was first, and has committed. */
		if (pending)
			provconn_connection_close(&connection);
		if (!repeat_connect(&call, command, outcome))
			provconn_fault_raise(PROVCONN_FAULT_CONCURRENT_UPDATE);
		return;
	}

	if (pending)
	{
		activate_pending(&call, command, &connection, outcome);
		provconn_connection_close(&connection);
	}
	else
		activate_new(&call, command, &id, outcome);
}

void
provconn_command_initiate(Oid caller, const ProvconnConnectCommand *command,
						  ProvconnOutcome *outcome)
{
	ProvconnNewConnection fresh;
	ProvconnValues values = {0};
	ProvconnRefusal refusal = PROVCONN_ACCEPTED;
	Call		call;

	begin_call(&call, "initiate", caller);
	call.user_id = command->user_id;
	call.provider_id = command->provider_id;
	call.provider_slug = command->provider_slug;

	if (command->user_id == NULL)
		refusal = PROVCONN_INVALID_USER;
	if (refusal == PROVCONN_ACCEPTED)
		refusal = check_labels(command);
	if (refusal == PROVCONN_ACCEPTED)
		refusal = check_provider(&call, command->provider_slug);
	if (refusal != PROVCONN_ACCEPTED)
	{
		refuse(&call, refusal, NULL, outcome);
		return;
	}

	fresh.id = provconn_shard_new_id(provconn_shard_of_user(command->user_id), call.now);
	fresh.user_id = *command->user_id;
	fresh.provider_id = *command->provider_id;
	fresh.status = status_after(PROVCONN_STATUS_NONE, PROVCONN_EVENT_INITIATE);
	fresh.alias = command->alias;
	fresh.now = call.now;
	write_row(&call, NULL, &fresh, &values);
	accept(outcome, &fresh.id, fresh.status, 0);
}

void
provconn_command_disconnect(Oid caller, const ProvconnDisconnectCommand *command,
							ProvconnOutcome *outcome)
{
	ProvconnConnection connection;
	ProvconnValues changes = {0};
	ProvconnStatus status;
	Call		call;

	begin_call(&call, "disconnect", caller);
	call.user_id = command->user_id;
	call.connection_id = command->connection_id;

	if (command->user_id == NULL)
	{
		refuse(&call, PROVCONN_INVALID_USER, NULL, outcome);
		return;
	}
	if (!find_connection(&call, true, &connection, outcome))
		return;
	call.now = GetCurrentTimestamp();	/* the lock may have been waited for */

	status = status_after(connection.status, PROVCONN_EVENT_DISCONNECT);
	provconn_connection_touch(&changes, call.now);
	if (connection.status != status)
	{
		provconn_connection_set_disconnected(&changes);
		provconn_connection_clear_lease(&changes);
	}
	write_row(&call, &connection, NULL, &changes);
	accept(outcome, &connection.id, status, connection.version);
	provconn_connection_close(&connection);
}

void
provconn_command_refresh(Oid caller, const ProvconnRefreshCommand *command,
						 ProvconnOutcome *outcome)
{
	Call		call;

	begin_call(&call, "refresh", caller);
	refresh_one(caller, call.now, "refresh", command, outcome);
}

void
provconn_command_refresh_batch(Oid caller, int count, const ProvconnRefreshCommand *commands,
							   ProvconnOutcome *outcomes)
{
	int		   *order = palloc(sizeof(int) * Max(count, 1));
	MemoryContext each = AllocSetContextCreate(CurrentMemoryContext, "provconn batch",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller_context;
	Call		call;

	begin_call(&call, "refresh_batch", caller);
	for (int i = 0; i < count; i++)
		order[i] = i;
	qsort_arg(order, count, sizeof(int), compare_commands, unconstify(ProvconnRefreshCommand *, commands));

	caller_context = MemoryContextSwitchTo(each);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		refresh_one(caller, GetCurrentTimestamp(), "refresh_batch",
					&commands[order[i]], &outcomes[order[i]]);
		MemoryContextReset(each);
	}
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(each);
	pfree(order);
}

void
provconn_command_reveal(Oid caller, const ProvconnRevealCommand *command,
						ProvconnOutcome *outcome, ProvconnCredentials *revealed)
{
	ProvconnConnection connection;
	ProvconnBinding binding;
	ProvconnAuditEntry entry = {0};
	ProvconnAuditStamp stamp;
	ProvconnProvider provider;
	bytea	   *sealed;
	Call		call;

	begin_call(&call, "reveal", caller);
	call.user_id = command->user_id;
	call.connection_id = command->connection_id;
	call.reason = command->purpose;

	if (command->user_id == NULL)
	{
		refuse(&call, PROVCONN_INVALID_USER, NULL, outcome);
		return;
	}
	if (!find_connection(&call, false, &connection, outcome))
		return;
	if (connection.status != PROVCONN_STATUS_ACTIVE ||
		!provconn_connection_credential(&connection, &binding, &sealed))
	{
		refuse(&call, PROVCONN_NOT_ACTIVE, &connection, outcome);
		return;
	}

	entry.action = call.action;
	entry.outcome = "succeeded";
	entry.connection_id = &connection.id;
	entry.user_id = &connection.user_id;
	entry.provider_id = &connection.provider_id;
	if (provconn_provider_find(&connection.provider_id, &provider))
		entry.provider_slug = provider.slug;
	entry.reason = call.reason;
	entry.old_status = entry.new_status = connection.status;
	entry.has_version = true;
	entry.version = connection.version;
	entry.caller = caller;
	stamp = provconn_audit_stamp(provconn_uuid7_shard(&connection.id), call.now);
	provconn_audit_write(&entry, &stamp);

	if (!provconn_vault_open(&binding, sealed, &revealed->secret))
		provconn_fault_raise(PROVCONN_FAULT_CREDENTIAL_DAMAGED);
	revealed->given = true;
	revealed->type = binding.credential_type;
	revealed->expires = binding.expires;
	revealed->expires_at = binding.expires_at;
	accept(outcome, &connection.id, connection.status, connection.version);
	provconn_connection_close(&connection);
}

ProvconnUuid
provconn_command_register_provider(ProvconnSpan slug, ProvconnSpan name,
								   ProvconnCredentialType credential_type,
								   ProvconnSpan category, const ProvconnUuid *provider_id)
{
	TimestampTz now = GetCurrentTimestamp();
	ProvconnUuid id;

	if (!provconn_provider_slug_is_valid(slug))
		provconn_refusal_raise(provconn_refusal_code(PROVCONN_INVALID_PROVIDER_SLUG),
							   "slug must be 1 to 50 lowercase letters, digits, hyphens or underscores");
	if (name.data == NULL || name.len == 0 || character_count(name) > PROVCONN_NAME_MAX)
		provconn_fault_raise(PROVCONN_FAULT_INVALID_PROVIDER,
							 "name must have 1 to 100 characters");
	if (credential_type == PROVCONN_CREDENTIAL_NONE)
		provconn_fault_raise(PROVCONN_FAULT_INVALID_PROVIDER,
							 "credential_type must not be null");

	provconn_audit_prepare(now);
	id = provider_id != NULL ? *provider_id : provconn_shard_new_id(0, now);
	provconn_provider_insert(&id, slug, name, credential_type, category, now);
	return id;
}

void
provconn_command_set_provider_active(const ProvconnUuid *provider_id, bool active)
{
	if (provider_id == NULL ||
		!provconn_provider_set_active(provider_id, active, GetCurrentTimestamp()))
		provconn_refusal_raise(provconn_refusal_code(PROVCONN_PROVIDER_NOT_FOUND), NULL);
}

static void
begin_call(Call *call, const char *action, Oid caller)
{
	memset(call, 0, sizeof(*call));
	call->action = action;
	call->caller = caller;
	call->now = GetCurrentTimestamp();
	provconn_audit_prepare(call->now);
}

/*
 * Ends a command by refusing it: audit row, outcome; the connection, where one
 * was found, is closed.  Returns false, for callers that pass that on.
 */
static bool
refuse(const Call *call, ProvconnRefusal refusal, ProvconnConnection *connection,
	   ProvconnOutcome *outcome)
{
	ProvconnAuditEntry entry = {0};
	ProvconnAuditStamp stamp;
	ProvconnProvider provider;

	entry.action = call->action;
	entry.outcome = "refused";
	entry.refusal = refusal;
	entry.connection_id = call->connection_id;
	entry.user_id = call->user_id;
	entry.provider_id = call->provider_id;
	entry.provider_slug = call->provider_slug;
	entry.provider_slug.len = pg_mbcharcliplen(entry.provider_slug.data ? entry.provider_slug.data : "",
											   entry.provider_slug.len, PROVCONN_SLUG_MAX);
	entry.reason = call->reason;
	entry.old_status = entry.new_status = PROVCONN_STATUS_NONE;
	entry.caller = call->caller;
	if (connection != NULL)
	{
		entry.provider_id = &connection->provider_id;
		if (provconn_provider_find(&connection->provider_id, &provider))
			entry.provider_slug = provider.slug;
		entry.old_status = entry.new_status = connection->status;
		entry.has_version = true;
		entry.version = connection->version;
		if (entry.user_id == NULL)
			entry.user_id = &connection->user_id;
		else if (memcmp(entry.user_id, &connection->user_id, sizeof(ProvconnUuid)) != 0)
			entry.owner_id = &connection->user_id;
	}
	stamp = provconn_audit_stamp(provconn_audit_shard(&entry), call->now);
	provconn_audit_write(&entry, &stamp);

	memset(outcome, 0, sizeof(*outcome));
	outcome->refusal = refusal;
	if (call->connection_id != NULL)
	{
		outcome->has_connection = true;
		outcome->connection_id = *call->connection_id;
	}
	/* A stranger must not learn what the connection is like. */
	if (connection != NULL && refusal != PROVCONN_NOT_OWNED_BY_USER)
	{
		outcome->has_state = true;
		outcome->status = connection->status;
		outcome->version = connection->version;
	}
	if (connection != NULL)
		provconn_connection_close(connection);
	return false;
}

static void
accept(ProvconnOutcome *outcome, const ProvconnUuid *id, ProvconnStatus status, int32 version)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->refusal = PROVCONN_ACCEPTED;
	outcome->has_connection = true;
	outcome->connection_id = *id;
	outcome->has_state = true;
	outcome->status = status;
	outcome->version = version;
}

/* Writes the connection's changes, or the fresh row, under the command's frame. */
static void
write_row(const Call *call, ProvconnConnection *connection,
		  const ProvconnNewConnection *fresh, ProvconnValues *values)
{
	ProvconnAuditFrame frame = {0};
	ProvconnAuditFrame *before;

	frame.action = call->action;
	frame.connection_id = connection != NULL ? connection->id : fresh->id;
	frame.provider_slug = call->provider_slug;
	frame.reason = call->reason;
	frame.caller = call->caller;
	frame.now = call->now;

	before = provconn_audit_set_frame(&frame);
	PG_TRY();
	{
		if (connection != NULL)
			provconn_connection_update(connection, values);
		else
			provconn_connection_insert(fresh, values);
	}
	PG_FINALLY();
	{
		(void) provconn_audit_set_frame(before);
	}
	PG_END_TRY();

	if (!frame.recorded)
		provconn_fault_raise(PROVCONN_FAULT_AUDIT_NOT_WRITTEN);
}

static ProvconnRefusal
check_credentials(const ProvconnCredentials *credentials)
{
	if (!credentials->given || credentials->secret.data == NULL ||
		credentials->secret.len == 0 || credentials->type == PROVCONN_CREDENTIAL_NONE)
		return PROVCONN_INVALID_CREDENTIALS;
	return PROVCONN_ACCEPTED;
}

static ProvconnRefusal
check_labels(const ProvconnConnectCommand *command)
{
	if (command->provider_slug.data == NULL || command->provider_slug.len == 0 ||
		character_count(command->provider_slug) > PROVCONN_SLUG_MAX)
		return PROVCONN_INVALID_PROVIDER_SLUG;
	if (command->alias.data != NULL && character_count(command->alias) > PROVCONN_ALIAS_MAX)
		return PROVCONN_INVALID_ALIAS;
	return PROVCONN_ACCEPTED;
}

static ProvconnRefusal
check_provider(Call *call, ProvconnSpan slug)
{
	ProvconnProvider provider;

	if (call->provider_id == NULL || !provconn_provider_find(call->provider_id, &provider))
		return PROVCONN_PROVIDER_NOT_FOUND;
	if (!provider.is_active)
		return PROVCONN_PROVIDER_INACTIVE;
	if (!same_text(provider.slug, slug))
		return PROVCONN_INVALID_PROVIDER_SLUG;
	return PROVCONN_ACCEPTED;
}

static size_t
character_count(ProvconnSpan text)
{
	return (size_t) pg_mbstrlen_with_len(text.data, (int) text.len);
}

static int32
next_version(int32 version)
{
	if (version == PG_INT32_MAX)
		provconn_fault_raise(PROVCONN_FAULT_VERSION_OVERFLOW);
	return version + 1;
}

/* Where an event leads that the table allows from there. */
static ProvconnStatus
status_after(ProvconnStatus from, ProvconnEvent event)
{
	ProvconnStatus to = PROVCONN_STATUS_NONE;

	if (provconn_lifecycle_step(from, event, &to) != PROVCONN_ACCEPTED)
		elog(ERROR, "%s does not lead anywhere from %s", provconn_event_name(event),
			 provconn_status_name(from));
	return to;
}

static bool
same_text(ProvconnSpan a, ProvconnSpan b)
{
	if (a.data == NULL || b.data == NULL)
		return a.data == b.data;
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* Whether an earlier connect with this key answers the command. */
static bool
repeat_connect(const Call *call, const ProvconnConnectCommand *command, ProvconnOutcome *outcome)
{
	ProvconnIdempotent first;
	ProvconnProvider provider;
	ProvconnAuditEntry entry = {0};
	ProvconnAuditStamp stamp;

	if (command->idempotency_key == NULL ||
		!provconn_idempotency_find(command->user_id, command->idempotency_key, call->now, &first))
		return false;
	if (command->provider_id == NULL ||
		memcmp(command->provider_id, &first.provider_id, sizeof(ProvconnUuid)) != 0 ||
		!same_text(command->alias, first.alias))
	{
		refuse(call, PROVCONN_IDEMPOTENCY_CONFLICT, NULL, outcome);
		return true;
	}

	entry.action = call->action;
	entry.outcome = "succeeded";
	entry.connection_id = &first.connection_id;
	entry.user_id = call->user_id;
	entry.provider_id = call->provider_id;
	if (provconn_provider_find(call->provider_id, &provider))
		entry.provider_slug = provider.slug;
	entry.reason.data = "idempotent repeat";
	entry.reason.len = strlen(entry.reason.data);
	entry.old_status = entry.new_status = PROVCONN_STATUS_ACTIVE;
	entry.has_version = true;
	entry.version = first.version;
	entry.caller = call->caller;
	stamp = provconn_audit_stamp(provconn_uuid7_shard(&first.connection_id), call->now);
	provconn_audit_write(&entry, &stamp);
	accept(outcome, &first.connection_id, PROVCONN_STATUS_ACTIVE, first.version);
	return true;
}

static bool
keep_connect(const Call *call, const ProvconnConnectCommand *command,
			 const ProvconnUuid *connection_id, int32 version)
{
	ProvconnIdempotent accepted;

	if (command->idempotency_key == NULL)
		return true;
	accepted.user_id = *command->user_id;
	accepted.key = *command->idempotency_key;
	accepted.provider_id = *command->provider_id;
	accepted.alias = command->alias;
	accepted.connection_id = *connection_id;
	accepted.version = version;
	return provconn_idempotency_keep(&accepted, call->now);
}

static void
activate_new(const Call *call, const ProvconnConnectCommand *command,
			 const ProvconnUuid *id, ProvconnOutcome *outcome)
{
	ProvconnNewConnection fresh;
	ProvconnValues values = {0};

	fresh.id = *id;
	fresh.user_id = *command->user_id;
	fresh.provider_id = *command->provider_id;
	fresh.status = status_after(PROVCONN_STATUS_NONE, PROVCONN_EVENT_CONNECT);
	fresh.alias = command->alias;
	fresh.now = call->now;
	set_sealed(&values, &fresh.id, &fresh.user_id, &fresh.provider_id, 1,
			   &command->credentials);
	provconn_values_set(&values, CONNECTION_CONNECTED_AT, TimestampTzGetDatum(call->now));
	write_row(call, NULL, &fresh, &values);
	accept(outcome, id, fresh.status, 1);
}

static void
activate_pending(const Call *call, const ProvconnConnectCommand *command,
				 ProvconnConnection *connection, ProvconnOutcome *outcome)
{
	ProvconnValues changes = {0};
	ProvconnStatus status;
	int32		version = next_version(connection->version);

	status = status_after(connection->status, PROVCONN_EVENT_CONNECT);
	provconn_connection_touch(&changes, call->now);
	set_sealed(&changes, &connection->id, &connection->user_id, &connection->provider_id,
			   version, &command->credentials);
	if (provconn_connection_is_null(connection, CONNECTION_ALIAS))
		provconn_connection_set_alias(&changes, command->alias);
	if (provconn_connection_is_null(connection, CONNECTION_CONNECTED_AT))
		provconn_values_set(&changes, CONNECTION_CONNECTED_AT, TimestampTzGetDatum(call->now));
	write_row(call, connection, NULL, &changes);
	accept(outcome, &connection->id, status, version);
}

/* Seals the credentials for the row and version given, into the row's values. */
static void
set_sealed(ProvconnValues *values, const ProvconnUuid *id, const ProvconnUuid *user_id,
		   const ProvconnUuid *provider_id, int32 version, const ProvconnCredentials *credentials)
{
	ProvconnBinding binding;

	binding.connection_id = *id;
	binding.user_id = *user_id;
	binding.provider_id = *provider_id;
	binding.credential_type = credentials->type;
	binding.expires = credentials->expires;
	binding.expires_at = credentials->expires ? credentials->expires_at : 0;
	binding.version = version;
	provconn_connection_set_credentials(values, &binding,
										provconn_vault_seal(&binding, credentials->secret));
}

/*
 * Finds the connection of a command and, where the command names a user, checks
 * that it is theirs.  On false the command was refused.
 */
static bool
find_connection(const Call *call, bool lock, ProvconnConnection *connection,
				ProvconnOutcome *outcome)
{
	if (call->connection_id == NULL ||
		!provconn_connection_find(call->connection_id, lock, connection))
		return refuse(call, PROVCONN_CONNECTION_NOT_FOUND, NULL, outcome);
	if (call->user_id != NULL &&
		memcmp(call->user_id, &connection->user_id, sizeof(ProvconnUuid)) != 0)
		return refuse(call, PROVCONN_NOT_OWNED_BY_USER, connection, outcome);
	return true;
}

static void
refresh_one(Oid caller, TimestampTz now, const char *action,
			const ProvconnRefreshCommand *command, ProvconnOutcome *outcome)
{
	ProvconnConnection connection;
	ProvconnCredentials credentials = command->credentials;
	ProvconnValues changes = {0};
	ProvconnRefusal refusal;
	int32		version;
	Call		call = {0};

	call.action = action;
	call.caller = caller;
	call.now = now;
	call.connection_id = command->connection_id;

	if (!find_connection(&call, true, &connection, outcome))
		return;
	call.now = GetCurrentTimestamp();	/* the lock may have been waited for */
	refusal = judge_refresh(command, &connection);
	if (refusal != PROVCONN_ACCEPTED)
	{
		refuse(&call, refusal, &connection, outcome);
		outcome->needs_user_action = refusal == PROVCONN_NOT_ACTIVE;
		return;
	}

	carry_refresh_token(&connection, &credentials);
	provconn_connection_touch(&changes, call.now);
	version = next_version(connection.version);
	set_sealed(&changes, &connection.id, &connection.user_id, &connection.provider_id,
			   version, &credentials);
	provconn_connection_clear_lease(&changes);
	provconn_connection_clear_failures(&changes);
	write_row(&call, &connection, NULL, &changes);
	accept(outcome, &connection.id, PROVCONN_STATUS_ACTIVE, version);
	provconn_connection_close(&connection);
}

static ProvconnRefusal
judge_refresh(const ProvconnRefreshCommand *command, const ProvconnConnection *connection)
{
	ProvconnRefusal refusal = check_credentials(&command->credentials);
	ProvconnStatus status;

	if (refusal != PROVCONN_ACCEPTED)
		return refusal;
	if (command->lease != NULL &&
		(!connection->has_lease ||
		 memcmp(command->lease, &connection->lease, sizeof(ProvconnUuid)) != 0))
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
