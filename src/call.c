/*
 * call.c (layer 6): what all commands have in common.
 *
 * Every command first makes sure that the audit has a place for its row, then
 * locks the connection, then judges it, then writes: the row, whose triggers
 * write the audit row, or, where it is refused or only read, the audit row
 * alone.  The frame tells the triggers which command it is; a change that no
 * trigger recorded is an error, so nothing is ever changed behind the audit's
 * back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "attempt.h"
#include "audit.h"
#include "call.h"
#include "fault.h"
#include "lifecycle.h"
#include "provider.h"
#include "uuid7.h"
#include "vault.h"

static ProvconnAuditEntry begin_entry(const ProvconnCall *call, const char *outcome);
static ProvconnAttempt describe_attempt(const ProvconnCall *call);
static void tell_attempt(const ProvconnCall *call);

void
provconn_call_require_writable(const char *function)
{
	if (RecoveryInProgress())
		provconn_fault_raise(PROVCONN_FAULT_STANDBY, function);
	if (XactReadOnly)
		provconn_fault_raise(PROVCONN_FAULT_READ_ONLY, function);
}

void
provconn_call_begin(ProvconnCall *call, const char *action, Oid caller)
{
	memset(call, 0, sizeof(*call));
	call->action = action;
	call->caller = caller;
	if (provconn_attempt_is_noted())
		provconn_audit_describe_session(&call->session, caller);
	provconn_call_next(call);
	provconn_audit_prepare(call->now);
}

void
provconn_call_next(ProvconnCall *call)
{
	ProvconnAttempt attempt;

	provconn_call_end(call);
	call->now = GetCurrentTimestamp();
	if (!provconn_attempt_is_noted())
		return;
	attempt = describe_attempt(call);
	call->attempt = provconn_attempt_begin(&attempt);
}

void
provconn_call_end(ProvconnCall *call)
{
	provconn_attempt_end(call->attempt);
	call->attempt = 0;
}

bool
provconn_call_has_user(const ProvconnCall *call, ProvconnOutcome *outcome)
{
	tell_attempt(call);
	return call->user_id != NULL ||
		provconn_call_refuse(call, PROVCONN_INVALID_USER, NULL, outcome);
}

bool
provconn_call_find(ProvconnCall *call, bool lock, ProvconnConnection *connection,
				   ProvconnOutcome *outcome)
{
	tell_attempt(call);
	if (call->connection_id == NULL ||
		!provconn_connection_find(call->connection_id,
								  lock ? PROVCONN_LOCK_WAIT : PROVCONN_LOCK_NONE, connection))
		return provconn_call_refuse(call, PROVCONN_CONNECTION_NOT_FOUND, NULL, outcome);
	if (lock)
		call->now = GetCurrentTimestamp(); /* the lock may have been waited for */
	if (call->user_id != NULL &&
		memcmp(call->user_id, &connection->user_id, sizeof(ProvconnUuid)) != 0)
		return provconn_call_refuse(call, PROVCONN_NOT_OWNED_BY_USER, connection, outcome);
	return true;
}

bool
provconn_call_refuse(const ProvconnCall *call, ProvconnRefusal refusal,
					 ProvconnConnection *connection, ProvconnOutcome *outcome)
{
	ProvconnAuditEntry entry = begin_entry(call, "refused");
	ProvconnAuditStamp stamp;
	ProvconnProvider provider;

	entry.error_code = provconn_refusal_code(refusal);
	entry.connection_id = call->connection_id;
	entry.user_id = call->user_id;
	entry.provider_id = call->provider_id;
	entry.provider_slug = call->provider_slug;
	entry.provider_slug.len = pg_mbcharcliplen(entry.provider_slug.data ? entry.provider_slug.data : "",
											   entry.provider_slug.len, PROVCONN_SLUG_MAX);
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
	stamp = provconn_audit_stamp(provconn_audit_shard(entry.connection_id, entry.user_id), call->now);
	provconn_audit_write(&entry, &stamp);
	provconn_attempt_end(call->attempt);

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

void
provconn_call_accept(ProvconnOutcome *outcome, const ProvconnUuid *id, ProvconnStatus status,
					 int32 version)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->refusal = PROVCONN_ACCEPTED;
	outcome->has_connection = true;
	outcome->connection_id = *id;
	outcome->has_state = true;
	outcome->status = status;
	outcome->version = version;
}

void
provconn_call_record(const ProvconnCall *call, const ProvconnUuid *connection_id,
					 const ProvconnUuid *user_id, const ProvconnUuid *provider_id,
					 ProvconnStatus status, int32 version)
{
	ProvconnAuditEntry entry = begin_entry(call, "succeeded");
	ProvconnAuditStamp stamp;
	ProvconnProvider provider;

	entry.connection_id = connection_id;
	entry.user_id = user_id;
	entry.provider_id = provider_id;
	if (provconn_provider_find(provider_id, &provider))
		entry.provider_slug = provider.slug;
	entry.old_status = entry.new_status = status;
	entry.has_version = true;
	entry.version = version;
	stamp = provconn_audit_stamp(provconn_uuid7_shard(connection_id), call->now);
	provconn_audit_write(&entry, &stamp);
	provconn_attempt_end(call->attempt);
}

void
provconn_call_note(ProvconnCall *call, const char *format,...)
{
	ProvconnAuditEntry entry = begin_entry(call, "succeeded");
	ProvconnAuditStamp stamp;
	char		reason[200];
	va_list		args;

	va_start(args, format);
	(void) vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);

	call->now = GetCurrentTimestamp();
	entry.user_id = call->user_id;
	entry.reason.data = reason;
	entry.reason.len = strlen(reason);
	stamp = provconn_audit_stamp(provconn_audit_shard(entry.connection_id, entry.user_id), call->now);
	provconn_audit_write(&entry, &stamp);
	provconn_attempt_end(call->attempt);
}

void
provconn_call_write(const ProvconnCall *call, ProvconnConnection *connection,
					const ProvconnNewConnection *fresh, ProvconnValues *values)
{
	ProvconnAuditFrame frame = {0};
	ProvconnAuditFrame *before;

	frame.action = call->action;
	frame.connection_id = connection != NULL ? connection->id : fresh->id;
	frame.provider_slug = call->provider_slug;
	frame.reason = call->reason;
	frame.error_code = call->error_code;
	frame.caller = call->caller;
	frame.now = call->now;
	frame.resealing = call->resealing;
	frame.context = CurrentMemoryContext;

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
	provconn_attempt_end(call->attempt);
}

void
provconn_call_warn(ProvconnFault fault, const ProvconnConnection *connection)
{
	Datum		id = UUIDPGetDatum((const pg_uuid_t *) &connection->id);

	provconn_fault_warn(fault, DatumGetCString(DirectFunctionCall1(uuid_out, id)));
}

ProvconnStatus
provconn_call_status_after(ProvconnStatus from, ProvconnEvent event)
{
	ProvconnStatus to = PROVCONN_STATUS_NONE;

	if (provconn_lifecycle_step(from, event, &to) != PROVCONN_ACCEPTED)
		elog(ERROR, "%s does not lead anywhere from %s", provconn_event_name(event),
			 provconn_status_name(from));
	return to;
}

ProvconnRefusal
provconn_call_check_credentials(const ProvconnCredentials *credentials)
{
	if (!credentials->given || credentials->secret.data == NULL ||
		credentials->secret.len == 0 || credentials->type == PROVCONN_CREDENTIAL_NONE)
		return PROVCONN_INVALID_CREDENTIALS;
	return PROVCONN_ACCEPTED;
}

int32
provconn_call_next_version(int32 version)
{
	if (version == PG_INT32_MAX)
		provconn_fault_raise(PROVCONN_FAULT_VERSION_OVERFLOW);
	return version + 1;
}

void
provconn_call_seal(ProvconnValues *values, const ProvconnUuid *id, const ProvconnUuid *user_id,
				   const ProvconnUuid *provider_id, int32 version,
				   const ProvconnCredentials *credentials)
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

void
provconn_call_reseal(ProvconnValues *changes, const ProvconnCall *call,
					 const ProvconnConnection *connection, int32 version,
					 const ProvconnCredentials *credentials)
{
	provconn_connection_touch(changes, call->now);
	provconn_call_seal(changes, &connection->id, &connection->user_id,
					   &connection->provider_id, version, credentials);
	provconn_connection_clear_lease(changes);
	provconn_connection_clear_failures(changes);
}

/* What every audit row says of its call. */
static ProvconnAuditEntry
begin_entry(const ProvconnCall *call, const char *outcome)
{
	ProvconnAuditEntry entry = {0};

	entry.action = call->action;
	entry.outcome = outcome;
	entry.reason = call->reason;
	entry.old_status = entry.new_status = PROVCONN_STATUS_NONE;
	entry.caller = call->caller;
	return entry;
}

/* What is known of a call that has no row of the audit yet. */
static ProvconnAttempt
describe_attempt(const ProvconnCall *call)
{
	ProvconnAttempt attempt = call->session;

	attempt.occurred_at = call->now;
	attempt.transaction_id = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
	attempt.connection_id = call->connection_id;
	attempt.user_id = call->user_id;
	attempt.provider_id = call->provider_id;
	attempt.old_status = attempt.new_status = PROVCONN_STATUS_NONE;
	attempt.action.data = call->action;
	attempt.action.len = strlen(call->action);
	attempt.reason = call->reason;
	if (attempt.reason.data != NULL)
		attempt.reason.len = pg_mbcharcliplen(attempt.reason.data, attempt.reason.len, PROVCONN_REASON_MAX);
	return attempt;
}

static void
tell_attempt(const ProvconnCall *call)
{
	ProvconnAttempt attempt;

	if (call->attempt == 0)
		return;
	attempt = describe_attempt(call);
	provconn_attempt_tell(call->attempt, &attempt);
}
