/*
 * command.c (layer 7): the commands on one connection and on providers; the
 * order of each one's steps lives here.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "audit.h"
#include "command.h"
#include "compat.h"
#include "connection.h"
#include "fault.h"
#include "idempotency.h"
#include "keyring.h"
#include "lifecycle.h"
#include "metadata.h"
#include "provider.h"
#include "settings.h"
#include "shard.h"
#include "throttle.h"
#include "uuid7.h"
#include "vault.h"

static void describe(ProvconnCall *call, ProvconnRefusal refusal, ProvconnValues *changes,
					 ProvconnOutcome *outcome);
static bool may_reveal(const ProvconnCall *call, bool take);
static ProvconnRefusal check_alias(ProvconnSpan alias);
static ProvconnRefusal check_labels(const ProvconnConnectCommand *command);
static ProvconnRefusal check_provider(ProvconnCall *call, ProvconnSpan slug);
static size_t character_count(ProvconnSpan text);
static bool same_text(ProvconnSpan a, ProvconnSpan b);
static bool repeat_connect(const ProvconnCall *call, const ProvconnConnectCommand *command,
						   ProvconnOutcome *outcome);
static bool keep_connect(const ProvconnCall *call, const ProvconnConnectCommand *command,
						 const ProvconnUuid *connection_id, int32 version);
static void activate_new(const ProvconnCall *call, const ProvconnConnectCommand *command,
						 const ProvconnUuid *id, ProvconnOutcome *outcome);
static void activate_pending(const ProvconnCall *call, const ProvconnConnectCommand *command,
							 ProvconnConnection *connection, ProvconnOutcome *outcome);

void
provconn_command_connect(Oid caller, const ProvconnConnectCommand *command,
						 ProvconnOutcome *outcome)
{
	ProvconnConnection connection;
	ProvconnUuid id;
	ProvconnRefusal refusal;
	bool		pending;
	ProvconnCall call;

	provconn_call_begin(&call, "connect", caller);
	call.user_id = command->user_id;
	call.provider_id = command->provider_id;
	call.provider_slug = command->provider_slug;

	if (!provconn_call_has_user(&call, outcome))
		return;
	refusal = provconn_call_check_credentials(&command->credentials);
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
		provconn_call_refuse(&call, refusal, NULL, outcome);
		return;
	}

	pending = provconn_connection_find_pending(command->user_id, command->provider_id,
											   command->alias, &connection);
	if (pending)
		call.now = GetCurrentTimestamp();	/* its lock may have been waited for */
	id = pending ? connection.id :
				   provconn_shard_new_id(provconn_shard_of_user(command->user_id), call.now);
	if (!keep_connect(&call, command, &id, pending ? provconn_call_next_version(connection.version) : 1))
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
	ProvconnRefusal refusal;
	ProvconnCall call;

	provconn_call_begin(&call, "initiate", caller);
	call.user_id = command->user_id;
	call.provider_id = command->provider_id;
	call.provider_slug = command->provider_slug;

	if (!provconn_call_has_user(&call, outcome))
		return;
	refusal = check_labels(command);
	if (refusal == PROVCONN_ACCEPTED)
		refusal = check_provider(&call, command->provider_slug);
	if (refusal != PROVCONN_ACCEPTED)
	{
		provconn_call_refuse(&call, refusal, NULL, outcome);
		return;
	}

	fresh.id = provconn_shard_new_id(provconn_shard_of_user(command->user_id), call.now);
	fresh.user_id = *command->user_id;
	fresh.provider_id = *command->provider_id;
	fresh.status = provconn_call_status_after(PROVCONN_STATUS_NONE, PROVCONN_EVENT_INITIATE);
	fresh.alias = command->alias;
	fresh.now = call.now;
	provconn_call_write(&call, NULL, &fresh, &values);
	provconn_call_accept(outcome, &fresh.id, fresh.status, 0);
}

void
provconn_command_disconnect(Oid caller, const ProvconnDisconnectCommand *command,
							ProvconnOutcome *outcome)
{
	ProvconnConnection connection;
	ProvconnValues changes = {0};
	ProvconnStatus status;
	ProvconnCall call;

	provconn_call_begin(&call, "disconnect", caller);
	call.user_id = command->user_id;
	call.connection_id = command->connection_id;

	if (!provconn_call_has_user(&call, outcome))
		return;
	if (!provconn_call_find(&call, true, &connection, outcome))
		return;

	status = provconn_call_status_after(connection.status, PROVCONN_EVENT_DISCONNECT);
	provconn_connection_touch(&changes, call.now);
	if (connection.status != status)
		provconn_connection_set_disconnected(&changes);
	provconn_call_write(&call, &connection, NULL, &changes);
	provconn_call_accept(outcome, &connection.id, status, connection.version);
	provconn_connection_close(&connection);
}

void
provconn_command_reauthenticate(Oid caller, const ProvconnReauthenticateCommand *command,
								ProvconnOutcome *outcome)
{
	ProvconnConnection connection;
	ProvconnValues changes = {0};
	ProvconnStatus status;
	ProvconnRefusal refusal;
	int32		version;
	ProvconnCall call;

	provconn_call_begin(&call, "reauthenticate", caller);
	call.user_id = command->user_id;
	call.connection_id = command->connection_id;

	if (!provconn_call_has_user(&call, outcome) ||
		!provconn_call_find(&call, true, &connection, outcome))
		return;
	refusal = provconn_call_check_credentials(&command->credentials);
	if (refusal == PROVCONN_ACCEPTED)
		refusal = provconn_lifecycle_step(connection.status, PROVCONN_EVENT_REAUTHENTICATE,
										  &status);
	if (refusal != PROVCONN_ACCEPTED)
	{
		provconn_call_refuse(&call, refusal, &connection, outcome);
		return;
	}

	version = provconn_call_next_version(connection.version);
	provconn_call_reseal(&changes, &call, &connection, version, &command->credentials);
	if (provconn_connection_is_null(&connection, CONNECTION_CONNECTED_AT))
		provconn_values_set(&changes, CONNECTION_CONNECTED_AT, TimestampTzGetDatum(call.now));
	provconn_call_write(&call, &connection, NULL, &changes);
	provconn_call_accept(outcome, &connection.id, status, version);
	provconn_connection_close(&connection);
}

void
provconn_command_mark(Oid caller, ProvconnEvent event, const ProvconnUuid *connection_id,
					  ProvconnSpan reason, ProvconnOutcome *outcome)
{
	ProvconnConnection connection;
	ProvconnValues changes = {0};
	ProvconnStatus status;
	ProvconnRefusal refusal;
	ProvconnCall call;

	provconn_call_begin(&call, provconn_event_name(event), caller);
	call.connection_id = connection_id;
	call.reason = reason;

	if (!provconn_call_find(&call, true, &connection, outcome))
		return;
	refusal = provconn_lifecycle_step(connection.status, event, &status);
	if (refusal != PROVCONN_ACCEPTED)
	{
		provconn_call_refuse(&call, refusal, &connection, outcome);
		return;
	}

	provconn_connection_touch(&changes, call.now);
	if (event == PROVCONN_EVENT_RECORD_SYNC)
		provconn_values_set(&changes, CONNECTION_LAST_SYNC_AT, TimestampTzGetDatum(call.now));
	else
		provconn_connection_set_inactive(&changes, status);
	provconn_call_write(&call, &connection, NULL, &changes);
	provconn_call_accept(outcome, &connection.id, status, connection.version);
	provconn_connection_close(&connection);
}

void
provconn_command_rename(Oid caller, const ProvconnUuid *user_id,
						const ProvconnUuid *connection_id, ProvconnSpan alias,
						ProvconnOutcome *outcome)
{
	ProvconnValues changes = {0};
	ProvconnCall call;

	provconn_call_begin(&call, "rename", caller);
	call.user_id = user_id;
	call.connection_id = connection_id;
	provconn_connection_set_alias(&changes, alias);
	describe(&call, check_alias(alias), &changes, outcome);
}

void
provconn_command_set_metadata(Oid caller, const ProvconnUuid *user_id,
							  const ProvconnUuid *connection_id, Jsonb *metadata,
							  ProvconnOutcome *outcome)
{
	ProvconnValues changes = {0};
	ProvconnCall call;
	bool		valid = metadata != NULL && JB_ROOT_IS_OBJECT(metadata) &&
		!JB_ROOT_IS_SCALAR(metadata) && provconn_metadata_fits(metadata, PROVCONN_METADATA_MAX);

	provconn_call_begin(&call, "set_metadata", caller);
	call.user_id = user_id;
	call.connection_id = connection_id;
	provconn_values_set(&changes, CONNECTION_METADATA, PointerGetDatum(metadata));
	describe(&call, valid ? PROVCONN_ACCEPTED : PROVCONN_INVALID_METADATA, &changes, outcome);
}

void
provconn_command_reveal(Oid caller, const ProvconnRevealCommand *command,
						ProvconnOutcome *outcome, ProvconnCredentials *revealed)
{
	ProvconnConnection connection;
	ProvconnBinding binding;
	ProvconnRefusal refusal;
	bytea	   *sealed;
	ProvconnCall call;

	provconn_call_begin(&call, "reveal", caller);
	call.user_id = command->user_id;
	call.connection_id = command->connection_id;
	call.reason = command->purpose;

	if (!provconn_call_has_user(&call, outcome))
		return;
	provconn_keyring_hold();
	if (!provconn_call_find(&call, false, &connection, outcome))
		return;
	refusal = PROVCONN_ACCEPTED;
	if (!may_reveal(&call, false))
		refusal = PROVCONN_REVEAL_LIMITED;
	else if (connection.status != PROVCONN_STATUS_ACTIVE ||
			 !provconn_connection_credential(&connection, &binding, &sealed))
		refusal = PROVCONN_NOT_ACTIVE;
	else if (!may_reveal(&call, true))
		refusal = PROVCONN_REVEAL_LIMITED;
	if (refusal != PROVCONN_ACCEPTED)
	{
		provconn_call_refuse(&call, refusal, &connection, outcome);
		return;
	}

	provconn_call_record(&call, &connection.id, &connection.user_id, &connection.provider_id,
						 connection.status, connection.version);
	provconn_attempt_flush_reads(provconn_vault_sign);
	if (!provconn_vault_open(&binding, sealed, &revealed->secret))
		provconn_fault_raise(PROVCONN_FAULT_CREDENTIAL_DAMAGED);
	revealed->given = true;
	revealed->type = binding.credential_type;
	revealed->expires = binding.expires;
	revealed->expires_at = binding.expires_at;
	provconn_call_accept(outcome, &connection.id, connection.status, connection.version);
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

/* Changes what only describes a connection, unless the value was refused. */
static void
describe(ProvconnCall *call, ProvconnRefusal refusal, ProvconnValues *changes,
		 ProvconnOutcome *outcome)
{
	ProvconnConnection connection;

	if (!provconn_call_has_user(call, outcome) ||
		!provconn_call_find(call, true, &connection, outcome))
		return;
	if (refusal == PROVCONN_ACCEPTED && provconn_lifecycle_is_terminal(connection.status))
		refusal = PROVCONN_INVALID_TRANSITION;
	if (refusal != PROVCONN_ACCEPTED)
	{
		provconn_call_refuse(call, refusal, &connection, outcome);
		return;
	}
	provconn_connection_touch(changes, call->now);
	provconn_call_write(call, &connection, NULL, changes);
	provconn_call_accept(outcome, &connection.id, connection.status, connection.version);
	provconn_connection_close(&connection);
}

/* Whether the role has reveals left in this minute; take uses one up. */
static bool
may_reveal(const ProvconnCall *call, bool take)
{
	int			limit = provconn_settings_reveal_limit();
	bool		first;

	if (limit == 0 || provconn_throttle_allows(call->caller, limit, take, &first))
		return true;
	if (first)
		ereport(LOG,
				(errmsg("role \"%s\" has used up its reveals of this minute",
						GetUserNameFromId(call->caller, false)),
				 errdetail("provconn.reveal_limit is %d.", limit),
				 errhidestmt(true), errhidecontext(true)));
	return false;
}

static ProvconnRefusal
check_labels(const ProvconnConnectCommand *command)
{
	if (command->provider_slug.data == NULL || command->provider_slug.len == 0 ||
		character_count(command->provider_slug) > PROVCONN_SLUG_MAX)
		return PROVCONN_INVALID_PROVIDER_SLUG;
	return check_alias(command->alias);
}

static ProvconnRefusal
check_alias(ProvconnSpan alias)
{
	if (alias.data != NULL && character_count(alias) > PROVCONN_ALIAS_MAX)
		return PROVCONN_INVALID_ALIAS;
	return PROVCONN_ACCEPTED;
}

static ProvconnRefusal
check_provider(ProvconnCall *call, ProvconnSpan slug)
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

static bool
same_text(ProvconnSpan a, ProvconnSpan b)
{
	if (a.data == NULL || b.data == NULL)
		return a.data == b.data;
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* Whether an earlier connect with this key answers the command. */
static bool
repeat_connect(const ProvconnCall *call, const ProvconnConnectCommand *command, ProvconnOutcome *outcome)
{
	ProvconnIdempotent first;
	ProvconnConnection connection;
	ProvconnStatus status = PROVCONN_STATUS_NONE;
	ProvconnCall repeat = *call;

	if (command->idempotency_key == NULL ||
		!provconn_idempotency_find(command->user_id, command->idempotency_key, call->now, &first))
		return false;
	if (command->provider_id == NULL ||
		memcmp(command->provider_id, &first.provider_id, sizeof(ProvconnUuid)) != 0 ||
		!same_text(command->alias, first.alias))
	{
		provconn_call_refuse(call, PROVCONN_IDEMPOTENCY_CONFLICT, NULL, outcome);
		return true;
	}

	repeat.reason.data = "idempotent repeat";
	repeat.reason.len = strlen(repeat.reason.data);
	/* The answer is the first one's; the audit has what the connection is now. */
	if (provconn_connection_find(&first.connection_id, PROVCONN_LOCK_NONE, &connection))
	{
		status = connection.status;
		provconn_connection_close(&connection);
	}
	provconn_call_record(&repeat, &first.connection_id, call->user_id, call->provider_id,
						 status, first.version);
	provconn_call_accept(outcome, &first.connection_id, PROVCONN_STATUS_ACTIVE, first.version);
	return true;
}

static bool
keep_connect(const ProvconnCall *call, const ProvconnConnectCommand *command,
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
activate_new(const ProvconnCall *call, const ProvconnConnectCommand *command,
			 const ProvconnUuid *id, ProvconnOutcome *outcome)
{
	ProvconnNewConnection fresh;
	ProvconnValues values = {0};

	fresh.id = *id;
	fresh.user_id = *command->user_id;
	fresh.provider_id = *command->provider_id;
	fresh.status = provconn_call_status_after(PROVCONN_STATUS_NONE, PROVCONN_EVENT_CONNECT);
	fresh.alias = command->alias;
	fresh.now = call->now;
	provconn_call_seal(&values, &fresh.id, &fresh.user_id, &fresh.provider_id, 1,
					   &command->credentials);
	provconn_values_set(&values, CONNECTION_CONNECTED_AT, TimestampTzGetDatum(call->now));
	provconn_call_write(call, NULL, &fresh, &values);
	provconn_call_accept(outcome, id, fresh.status, 1);
}

static void
activate_pending(const ProvconnCall *call, const ProvconnConnectCommand *command,
				 ProvconnConnection *connection, ProvconnOutcome *outcome)
{
	ProvconnValues changes = {0};
	ProvconnStatus status;
	int32		version = provconn_call_next_version(connection->version);

	status = provconn_call_status_after(connection->status, PROVCONN_EVENT_CONNECT);
	provconn_call_reseal(&changes, call, connection, version, &command->credentials);
	if (provconn_connection_is_null(connection, CONNECTION_ALIAS))
		provconn_connection_set_alias(&changes, command->alias);
	if (provconn_connection_is_null(connection, CONNECTION_CONNECTED_AT))
		provconn_values_set(&changes, CONNECTION_CONNECTED_AT, TimestampTzGetDatum(call->now));
	provconn_call_write(call, connection, NULL, &changes);
	provconn_call_accept(outcome, &connection->id, status, version);
}
