/*
 * sqlapi.c (layer 8): the entry points of the commands.
 *
 * Each notes who calls, copies its arguments into a Command, and turns the
 * Outcome into a tuple.  Nothing is decided here.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "arguments.h"
#include "catalog.h"
#include "command.h"
#include "compat.h"
#include "fault.h"
#include "lifecycle.h"
#include "rights.h"
#include "secret.h"
#include "shard.h"
#include "statement.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(provconn_connect);
PG_FUNCTION_INFO_V1(provconn_initiate);
PG_FUNCTION_INFO_V1(provconn_disconnect);
PG_FUNCTION_INFO_V1(provconn_reauthenticate);
PG_FUNCTION_INFO_V1(provconn_mark_expired);
PG_FUNCTION_INFO_V1(provconn_mark_revoked);
PG_FUNCTION_INFO_V1(provconn_mark_failed);
PG_FUNCTION_INFO_V1(provconn_record_sync);
PG_FUNCTION_INFO_V1(provconn_rename);
PG_FUNCTION_INFO_V1(provconn_set_metadata);
PG_FUNCTION_INFO_V1(provconn_reveal);
PG_FUNCTION_INFO_V1(provconn_unwrap);
PG_FUNCTION_INFO_V1(provconn_register_provider);
PG_FUNCTION_INFO_V1(provconn_set_provider_active);
PG_FUNCTION_INFO_V1(provconn_shard);
PG_FUNCTION_INFO_V1(provconn_shard_of);
PG_FUNCTION_INFO_V1(provconn_list_transitions);
PG_FUNCTION_INFO_V1(provconn_state_diagram);
PG_FUNCTION_INFO_V1(provconn_grant);
PG_FUNCTION_INFO_V1(provconn_revoke);
PG_FUNCTION_INFO_V1(provconn_reapply_grants);
PG_FUNCTION_INFO_V1(provconn_check_install);
PG_FUNCTION_INFO_V1(provconn_withdraw_defaults);

static Datum run_connect(PG_FUNCTION_ARGS);
static Datum run_initiate(PG_FUNCTION_ARGS);
static Datum run_disconnect(PG_FUNCTION_ARGS);
static Datum run_reauthenticate(PG_FUNCTION_ARGS);
static Datum run_mark_expired(PG_FUNCTION_ARGS);
static Datum run_mark_revoked(PG_FUNCTION_ARGS);
static Datum run_mark_failed(PG_FUNCTION_ARGS);
static Datum run_record_sync(PG_FUNCTION_ARGS);
static Datum run_rename(PG_FUNCTION_ARGS);
static Datum run_set_metadata(PG_FUNCTION_ARGS);
static Datum run_reveal(PG_FUNCTION_ARGS);
static Datum mark(FunctionCallInfo fcinfo, ProvconnEvent event, const char *function);
static Datum form_revealed(const ProvconnOutcome *outcome, const ProvconnCredentials *revealed);

Datum
provconn_connect(PG_FUNCTION_ARGS)
{
	return provconn_statement_shield(run_connect, fcinfo);
}

static Datum
run_connect(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnConnectCommand command = {0};
	ProvconnOutcome outcome;
	Datum		values[5];
	bool		nulls[5];

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "command");
	provconn_call_require_writable("provconn_connect");

	provconn_catalog_deform(PROVCONN_TYPE_CONNECT, PG_GETARG_DATUM(0), values, nulls);
	command.user_id = provconn_uuid_argument(values[0], nulls[0]);
	command.provider_id = provconn_uuid_argument(values[1], nulls[1]);
	command.provider_slug = provconn_text_argument(values[2], nulls[2]);
	provconn_read_credentials(values[3], nulls[3], &command.credentials);
	command.alias = provconn_text_argument(values[4], nulls[4]);
	command.idempotency_key = UUID_ARGUMENT(1);

	provconn_command_connect(caller, &command, &outcome);
	PG_RETURN_DATUM(provconn_form_result(&outcome));
}

Datum
provconn_initiate(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_initiate, fcinfo);
}

static Datum
run_initiate(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnConnectCommand command = {0};
	ProvconnOutcome outcome;

	provconn_call_require_writable("provconn_initiate");
	command.user_id = UUID_ARGUMENT(0);
	command.provider_id = UUID_ARGUMENT(1);
	command.provider_slug = TEXT_ARGUMENT(2);
	command.alias = TEXT_ARGUMENT(3);

	provconn_command_initiate(caller, &command, &outcome);
	PG_RETURN_DATUM(provconn_form_result(&outcome));
}

Datum
provconn_disconnect(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_disconnect, fcinfo);
}

static Datum
run_disconnect(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnDisconnectCommand command;
	ProvconnOutcome outcome;
	Datum		values[2];
	bool		nulls[2];

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "command");
	provconn_call_require_writable("provconn_disconnect");

	provconn_catalog_deform(PROVCONN_TYPE_DISCONNECT, PG_GETARG_DATUM(0), values, nulls);
	command.user_id = provconn_uuid_argument(values[0], nulls[0]);
	command.connection_id = provconn_uuid_argument(values[1], nulls[1]);

	provconn_command_disconnect(caller, &command, &outcome);
	PG_RETURN_DATUM(provconn_form_result(&outcome));
}

Datum
provconn_reauthenticate(PG_FUNCTION_ARGS)
{
	return provconn_statement_shield(run_reauthenticate, fcinfo);
}

static Datum
run_reauthenticate(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnReauthenticateCommand command;
	ProvconnOutcome outcome;

	provconn_call_require_writable("provconn_reauthenticate");
	command.user_id = UUID_ARGUMENT(0);
	command.connection_id = UUID_ARGUMENT(1);
	provconn_read_credentials(PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2), PG_ARGISNULL(2),
							  &command.credentials);

	provconn_command_reauthenticate(caller, &command, &outcome);
	PG_RETURN_DATUM(provconn_form_result(&outcome));
}

Datum
provconn_mark_expired(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_mark_expired, fcinfo);
}

static Datum
run_mark_expired(PG_FUNCTION_ARGS)
{
	return mark(fcinfo, PROVCONN_EVENT_MARK_EXPIRED, "provconn_mark_expired");
}

Datum
provconn_mark_revoked(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_mark_revoked, fcinfo);
}

static Datum
run_mark_revoked(PG_FUNCTION_ARGS)
{
	return mark(fcinfo, PROVCONN_EVENT_MARK_REVOKED, "provconn_mark_revoked");
}

Datum
provconn_mark_failed(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_mark_failed, fcinfo);
}

static Datum
run_mark_failed(PG_FUNCTION_ARGS)
{
	return mark(fcinfo, PROVCONN_EVENT_MARK_FAILED, "provconn_mark_failed");
}

Datum
provconn_record_sync(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_record_sync, fcinfo);
}

static Datum
run_record_sync(PG_FUNCTION_ARGS)
{
	return mark(fcinfo, PROVCONN_EVENT_RECORD_SYNC, "provconn_record_sync");
}

Datum
provconn_rename(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_rename, fcinfo);
}

static Datum
run_rename(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnOutcome outcome;

	provconn_call_require_writable("provconn_rename");
	provconn_command_rename(caller, UUID_ARGUMENT(0), UUID_ARGUMENT(1), TEXT_ARGUMENT(2),
							&outcome);
	PG_RETURN_DATUM(provconn_form_result(&outcome));
}

Datum
provconn_set_metadata(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_set_metadata, fcinfo);
}

static Datum
run_set_metadata(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnOutcome outcome;

	provconn_call_require_writable("provconn_set_metadata");
	provconn_command_set_metadata(caller, UUID_ARGUMENT(0), UUID_ARGUMENT(1),
								  PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2), &outcome);
	PG_RETURN_DATUM(provconn_form_result(&outcome));
}

Datum
provconn_reveal(PG_FUNCTION_ARGS)
{
	return provconn_statement_shield(run_reveal, fcinfo);
}

static Datum
run_reveal(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnRevealCommand command;
	ProvconnOutcome outcome;
	ProvconnCredentials revealed = {0};

	provconn_call_require_writable("provconn_reveal");
	command.user_id = UUID_ARGUMENT(0);
	command.connection_id = UUID_ARGUMENT(1);
	command.purpose = TEXT_ARGUMENT(2);

	provconn_command_reveal(caller, &command, &outcome, &revealed);
	PG_RETURN_DATUM(form_revealed(&outcome, &revealed));
}

Datum
provconn_unwrap(PG_FUNCTION_ARGS)
{
	Datum		values[7];
	bool		nulls[7];

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "result");
	provconn_catalog_deform(PROVCONN_TYPE_RESULT, PG_GETARG_DATUM(0), values, nulls);
	if (!nulls[0] && DatumGetBool(values[0]))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	provconn_refusal_raise(nulls[4] ? NULL : TextDatumGetCString(values[4]),
						   nulls[5] ? NULL : TextDatumGetCString(values[5]));
}

Datum
provconn_register_provider(PG_FUNCTION_ARGS)
{
	ProvconnUuid *id = palloc(sizeof(ProvconnUuid));

	provconn_call_require_writable("provconn_register_provider");
	*id = provconn_command_register_provider(TEXT_ARGUMENT(0), TEXT_ARGUMENT(1),
											 PG_ARGISNULL(2) ? PROVCONN_CREDENTIAL_NONE :
											 provconn_catalog_credential_type(PG_GETARG_DATUM(2)),
											 TEXT_ARGUMENT(3), UUID_ARGUMENT(4));
	PG_RETURN_UUID_P((pg_uuid_t *) id);
}

Datum
provconn_set_provider_active(PG_FUNCTION_ARGS)
{
	provconn_call_require_writable("provconn_set_provider_active");
	if (PG_ARGISNULL(1))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "active");
	provconn_command_set_provider_active(UUID_ARGUMENT(0), PG_GETARG_BOOL(1));
	PG_RETURN_VOID();
}

Datum
provconn_shard(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(provconn_shard_of_user((const ProvconnUuid *) PG_GETARG_UUID_P(0)));
}

Datum
provconn_shard_of(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(provconn_uuid7_shard((const ProvconnUuid *) PG_GETARG_UUID_P(0)));
}

Datum
provconn_list_transitions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const ProvconnTransition *table;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	table = provconn_lifecycle_table(&count);
	for (int i = 0; i < count; i++)
	{
		Datum		values[3] = {0};
		bool		nulls[3] = {false};

		nulls[0] = table[i].from == PROVCONN_STATUS_NONE;
		if (!nulls[0])
			values[0] = provconn_catalog_status_datum(table[i].from);
		values[1] = CStringGetTextDatum(provconn_event_name(table[i].event));
		values[2] = provconn_catalog_status_datum(table[i].to);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
provconn_state_diagram(PG_FUNCTION_ARGS)
{
	char	   *format = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		dot = strcmp(format, "dot") == 0;
	const ProvconnTransition *table;
	StringInfoData diagram;
	int			count;

	if (!dot && strcmp(format, "mermaid") != 0)
		provconn_fault_raise(PROVCONN_FAULT_UNKNOWN_FORMAT);
	initStringInfo(&diagram);
	appendStringInfoString(&diagram, dot ? "digraph provconn {\n" : "stateDiagram-v2\n");
	table = provconn_lifecycle_table(&count);
	for (int i = 0; i < count; i++)
	{
		bool		fresh = table[i].from == PROVCONN_STATUS_NONE;
		const char *from = provconn_status_name(table[i].from);
		const char *to = provconn_status_name(table[i].to);
		const char *event = provconn_event_name(table[i].event);

		if (dot)
			appendStringInfo(&diagram, "    \"%s\" -> \"%s\" [label=\"%s\"];\n", from, to, event);
		else
			appendStringInfo(&diagram, "    %s --> %s: %s\n", fresh ? "[*]" : from, to, event);
	}
	appendStringInfoString(&diagram, dot ? "}\n" : "    disconnected --> [*]\n");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(diagram.data, diagram.len));
}

Datum
provconn_grant(PG_FUNCTION_ARGS)
{
	provconn_call_require_writable("provconn_grant");
	provconn_rights_grant(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

Datum
provconn_revoke(PG_FUNCTION_ARGS)
{
	provconn_call_require_writable("provconn_revoke");
	provconn_rights_revoke(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

Datum
provconn_reapply_grants(PG_FUNCTION_ARGS)
{
	provconn_call_require_writable("provconn.reapply_grants");
	provconn_rights_reapply();
	PG_RETURN_VOID();
}

/* The first thing the install script calls, with the schema it targets. */
Datum
provconn_check_install(PG_FUNCTION_ARGS)
{
	if (strcmp(NameStr(*PG_GETARG_NAME(0)), "provconn") == 0)
		provconn_fault_raise(PROVCONN_FAULT_BAD_SCHEMA,
							 "provconn's functions cannot be installed into the schema \"provconn\"");
	if (PG_GETARG_BOOL(1))
		provconn_fault_raise(PROVCONN_FAULT_BAD_SCHEMA,
							 "a schema \"provconn\" exists already");
	if (PG_GETARG_BOOL(2))
		provconn_fault_raise(PROVCONN_FAULT_UNSAFE_SCHEMA, NameStr(*PG_GETARG_NAME(0)));
	if (PG_GETARG_BOOL(3))
		provconn_fault_warn(PROVCONN_FAULT_OPEN_SCHEMA, NameStr(*PG_GETARG_NAME(0)));
	PG_RETURN_VOID();
}

/* The last thing that the install script does about rights. */
Datum
provconn_withdraw_defaults(PG_FUNCTION_ARGS)
{
	provconn_rights_withdraw_defaults();
	PG_RETURN_VOID();
}

static Datum
mark(FunctionCallInfo fcinfo, ProvconnEvent event, const char *function)
{
	Oid			caller = GetUserId();
	ProvconnSpan reason = {NULL, 0};
	ProvconnOutcome outcome;

	provconn_call_require_writable(function);
	if (PG_NARGS() > 1)
		reason = TEXT_ARGUMENT(1);
	provconn_command_mark(caller, event, UUID_ARGUMENT(0), reason, &outcome);
	PG_RETURN_DATUM(provconn_form_result(&outcome));
}

static Datum
form_revealed(const ProvconnOutcome *outcome, const ProvconnCredentials *revealed)
{
	Datum		values[9] = {0};
	bool		nulls[9] = {false};
	bool		ok = outcome->refusal == PROVCONN_ACCEPTED;
	Datum		row;

	values[0] = BoolGetDatum(ok);
	nulls[1] = !outcome->has_connection;
	values[1] = UUIDPGetDatum((const pg_uuid_t *) &outcome->connection_id);
	nulls[2] = !outcome->has_state;
	values[2] = Int32GetDatum(outcome->version);
	nulls[3] = nulls[4] = nulls[5] = nulls[6] = true;
	if (ok)
	{
		Datum		bytes = PointerGetDatum(cstring_to_text_with_len(revealed->secret.data,
																	 revealed->secret.len));

		/* bytea and text share their layout */
		values[3] = values[4] = bytes;
		nulls[3] = false;
		nulls[4] = !provconn_is_valid_text(revealed->secret);
		values[5] = provconn_catalog_credential_type_datum(revealed->type);
		nulls[5] = false;
		values[6] = TimestampTzGetDatum(revealed->expires_at);
		nulls[6] = !revealed->expires;
	}
	nulls[7] = nulls[8] = ok;
	if (!ok)
	{
		values[7] = CStringGetTextDatum(provconn_refusal_code(outcome->refusal));
		values[8] = CStringGetTextDatum(provconn_refusal_message(outcome->refusal));
	}
	row = provconn_catalog_form(PROVCONN_TYPE_REVEALED, values, nulls);
	if (ok)
		provconn_secret_wipe(DatumGetPointer(values[3]), VARSIZE(DatumGetPointer(values[3])));
	return row;
}
