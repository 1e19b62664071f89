/*
 * sqlapi.c (layer 7): the entry points of the commands.
 *
 * Each notes who calls, copies its arguments into a Command, and turns the
 * Outcome into a tuple.  Nothing is decided here.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "command.h"
#include "compat.h"
#include "fault.h"
#include "lifecycle.h"
#include "rights.h"
#include "secret.h"
#include "shard.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(provconn_connect);
PG_FUNCTION_INFO_V1(provconn_initiate);
PG_FUNCTION_INFO_V1(provconn_disconnect);
PG_FUNCTION_INFO_V1(provconn_refresh);
PG_FUNCTION_INFO_V1(provconn_refresh_batch);
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

static const ProvconnUuid *uuid_or_null(Datum value, bool isnull);
static ProvconnSpan text_or_null(Datum value, bool isnull);
static void read_credentials(Datum value, bool isnull, ProvconnCredentials *credentials);
static void read_refresh(Datum command, ProvconnRefreshCommand *refresh);
static Datum form_result(const ProvconnOutcome *outcome);
static Datum form_revealed(const ProvconnOutcome *outcome, const ProvconnCredentials *revealed);
static Datum *read_array(FunctionCallInfo fcinfo, int argument, Oid element_type, const char *name,
						 int expected, bool **nulls, int *count);
static bool is_valid_text(ProvconnSpan bytes);

/* Argument of a function that is not strict. */
#define UUID_ARGUMENT(n) \
	uuid_or_null(PG_ARGISNULL(n) ? (Datum) 0 : PG_GETARG_DATUM(n), PG_ARGISNULL(n))
#define TEXT_ARGUMENT(n) \
	text_or_null(PG_ARGISNULL(n) ? (Datum) 0 : PG_GETARG_DATUM(n), PG_ARGISNULL(n))

Datum
provconn_connect(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnConnectCommand command = {0};
	ProvconnOutcome outcome;
	Datum		values[5];
	bool		nulls[5];

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "command");
	provconn_command_require_writable("provconn_connect");

	provconn_catalog_deform(PROVCONN_TYPE_CONNECT, PG_GETARG_DATUM(0), values, nulls);
	command.user_id = uuid_or_null(values[0], nulls[0]);
	command.provider_id = uuid_or_null(values[1], nulls[1]);
	command.provider_slug = text_or_null(values[2], nulls[2]);
	read_credentials(values[3], nulls[3], &command.credentials);
	command.alias = text_or_null(values[4], nulls[4]);
	command.idempotency_key = UUID_ARGUMENT(1);

	provconn_command_connect(caller, &command, &outcome);
	PG_RETURN_DATUM(form_result(&outcome));
}

Datum
provconn_initiate(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnConnectCommand command = {0};
	ProvconnOutcome outcome;

	provconn_command_require_writable("provconn_initiate");
	command.user_id = UUID_ARGUMENT(0);
	command.provider_id = UUID_ARGUMENT(1);
	command.provider_slug = TEXT_ARGUMENT(2);
	command.alias = TEXT_ARGUMENT(3);

	provconn_command_initiate(caller, &command, &outcome);
	PG_RETURN_DATUM(form_result(&outcome));
}

Datum
provconn_disconnect(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnDisconnectCommand command;
	ProvconnOutcome outcome;
	Datum		values[2];
	bool		nulls[2];

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "command");
	provconn_command_require_writable("provconn_disconnect");

	provconn_catalog_deform(PROVCONN_TYPE_DISCONNECT, PG_GETARG_DATUM(0), values, nulls);
	command.user_id = uuid_or_null(values[0], nulls[0]);
	command.connection_id = uuid_or_null(values[1], nulls[1]);

	provconn_command_disconnect(caller, &command, &outcome);
	PG_RETURN_DATUM(form_result(&outcome));
}

Datum
provconn_refresh(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnRefreshCommand command = {0};
	ProvconnOutcome outcome;

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "command");
	provconn_command_require_writable("provconn_refresh");

	read_refresh(PG_GETARG_DATUM(0), &command);
	command.lease = UUID_ARGUMENT(1);
	command.has_expected_version = !PG_ARGISNULL(2);
	command.expected_version = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);

	provconn_command_refresh(caller, &command, &outcome);
	PG_RETURN_DATUM(form_result(&outcome));
}

Datum
provconn_refresh_batch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			caller = GetUserId();
	ProvconnRefreshCommand *commands;
	ProvconnOutcome *outcomes;
	Datum	   *elements;
	Datum	   *leases;
	Datum	   *versions;
	bool	   *nulls;
	bool	   *lease_nulls;
	bool	   *version_nulls;
	int			count;

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "commands");
	provconn_command_require_writable("provconn_refresh_batch");

	elements = read_array(fcinfo, 0, InvalidOid, "commands", -1, &nulls, &count);
	leases = read_array(fcinfo, 1, UUIDOID, "leases", count, &lease_nulls, NULL);
	versions = read_array(fcinfo, 2, INT4OID, "expected_versions", count, &version_nulls, NULL);

	commands = palloc0(sizeof(ProvconnRefreshCommand) * Max(count, 1));
	outcomes = palloc0(sizeof(ProvconnOutcome) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "an element of commands");
		read_refresh(elements[i], &commands[i]);
		if (leases != NULL)
			commands[i].lease = uuid_or_null(leases[i], lease_nulls[i]);
		if (versions != NULL && !version_nulls[i])
		{
			commands[i].has_expected_version = true;
			commands[i].expected_version = DatumGetInt32(versions[i]);
		}
	}
	provconn_command_refresh_batch(caller, count, commands, outcomes);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		HeapTupleHeader header = DatumGetHeapTupleHeader(form_result(&outcomes[i]));
		HeapTupleData tuple;

		tuple.t_len = HeapTupleHeaderGetDatumLength(header);
		ItemPointerSetInvalid(&tuple.t_self);
		tuple.t_tableOid = InvalidOid;
		tuple.t_data = header;
		tuplestore_puttuple(result->setResult, &tuple);
	}
	return (Datum) 0;
}

Datum
provconn_reveal(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnRevealCommand command;
	ProvconnOutcome outcome;
	ProvconnCredentials revealed = {0};

	provconn_command_require_writable("provconn_reveal");
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

	provconn_command_require_writable("provconn_register_provider");
	*id = provconn_command_register_provider(TEXT_ARGUMENT(0), TEXT_ARGUMENT(1),
											 PG_ARGISNULL(2) ? PROVCONN_CREDENTIAL_NONE :
											 provconn_catalog_credential_type(PG_GETARG_DATUM(2)),
											 TEXT_ARGUMENT(3), UUID_ARGUMENT(4));
	PG_RETURN_UUID_P((pg_uuid_t *) id);
}

Datum
provconn_set_provider_active(PG_FUNCTION_ARGS)
{
	provconn_command_require_writable("provconn_set_provider_active");
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
	provconn_command_require_writable("provconn_grant");
	provconn_rights_grant(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

Datum
provconn_revoke(PG_FUNCTION_ARGS)
{
	provconn_command_require_writable("provconn_revoke");
	provconn_rights_revoke(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

Datum
provconn_reapply_grants(PG_FUNCTION_ARGS)
{
	provconn_command_require_writable("provconn.reapply_grants");
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
	PG_RETURN_VOID();
}

/* The last thing that the install script does about rights. */
Datum
provconn_withdraw_defaults(PG_FUNCTION_ARGS)
{
	provconn_rights_withdraw_defaults();
	PG_RETURN_VOID();
}

static const ProvconnUuid *
uuid_or_null(Datum value, bool isnull)
{
	return isnull ? NULL : (const ProvconnUuid *) DatumGetUUIDP(value);
}

static ProvconnSpan
text_or_null(Datum value, bool isnull)
{
	ProvconnSpan span = {NULL, 0};
	text	   *datum;

	if (isnull)
		return span;
	datum = DatumGetTextPP(value);
	span.data = VARDATA_ANY(datum);
	span.len = VARSIZE_ANY_EXHDR(datum);
	return span;
}

static void
read_credentials(Datum value, bool isnull, ProvconnCredentials *credentials)
{
	Datum		values[3];
	bool		nulls[3];

	memset(credentials, 0, sizeof(*credentials));
	credentials->type = PROVCONN_CREDENTIAL_NONE;
	if (isnull)
		return;
	provconn_catalog_deform(PROVCONN_TYPE_CREDENTIALS, value, values, nulls);
	credentials->given = true;
	if (!nulls[0])
		credentials->secret = provconn_secret_open(values[0]);
	if (credentials->secret.len > PROVCONN_SECRET_MAX)
		provconn_fault_raise(PROVCONN_FAULT_SECRET_TOO_LONG);
	if (!nulls[1])
		credentials->type = provconn_catalog_credential_type(values[1]);
	credentials->expires = !nulls[2];
	if (!nulls[2])
		credentials->expires_at = DatumGetTimestampTz(values[2]);
}

static void
read_refresh(Datum command, ProvconnRefreshCommand *refresh)
{
	Datum		values[2];
	bool		nulls[2];

	provconn_catalog_deform(PROVCONN_TYPE_REFRESH, command, values, nulls);
	refresh->connection_id = uuid_or_null(values[0], nulls[0]);
	read_credentials(values[1], nulls[1], &refresh->credentials);
}

static Datum
form_result(const ProvconnOutcome *outcome)
{
	Datum		values[7] = {0};
	bool		nulls[7] = {false};
	bool		ok = outcome->refusal == PROVCONN_ACCEPTED;

	values[0] = BoolGetDatum(ok);
	nulls[1] = !outcome->has_connection;
	values[1] = UUIDPGetDatum((const pg_uuid_t *) &outcome->connection_id);
	nulls[2] = nulls[3] = !outcome->has_state;
	if (outcome->has_state)
		values[2] = provconn_catalog_status_datum(outcome->status);
	values[3] = Int32GetDatum(outcome->version);
	nulls[4] = nulls[5] = ok;
	if (!ok)
	{
		values[4] = CStringGetTextDatum(provconn_refusal_code(outcome->refusal));
		values[5] = CStringGetTextDatum(provconn_refusal_message(outcome->refusal));
	}
	values[6] = BoolGetDatum(outcome->needs_user_action);
	return provconn_catalog_form(PROVCONN_TYPE_RESULT, values, nulls);
}

static Datum
form_revealed(const ProvconnOutcome *outcome, const ProvconnCredentials *revealed)
{
	Datum		values[9] = {0};
	bool		nulls[9] = {false};
	bool		ok = outcome->refusal == PROVCONN_ACCEPTED;

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
		nulls[4] = !is_valid_text(revealed->secret);
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
	return provconn_catalog_form(PROVCONN_TYPE_REVEALED, values, nulls);
}

/* An array argument's elements; NULL for SQL NULL.  expected < 0: any number of them. */
static Datum *
read_array(FunctionCallInfo fcinfo, int argument, Oid element_type, const char *name,
		   int expected, bool **nulls, int *count)
{
	ArrayType  *array;
	Datum	   *elements;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	int			found;

	if (PG_ARGISNULL(argument))
		return NULL;
	array = PG_GETARG_ARRAYTYPE_P(argument);
	if (ARR_NDIM(array) > 1)
		provconn_fault_raise(PROVCONN_FAULT_ARRAY_LENGTH, name);
	if (!OidIsValid(element_type))
		element_type = ARR_ELEMTYPE(array);
	get_typlenbyvalalign(element_type, &typlen, &typbyval, &typalign);
	deconstruct_array(array, element_type, typlen, typbyval, typalign, &elements, nulls, &found);
	if (expected >= 0 && found != expected)
		provconn_fault_raise(PROVCONN_FAULT_ARRAY_LENGTH, name);
	if (count != NULL)
		*count = found;
	return elements;
}

/* Text holds no NUL byte, and is valid in the database's encoding. */
static bool
is_valid_text(ProvconnSpan bytes)
{
	return memchr(bytes.data, '\0', bytes.len) == NULL &&
		pg_verify_mbstr(GetDatabaseEncoding(), bytes.data, (int) bytes.len, true);
}
