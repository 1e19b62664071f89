/*
 * types.c (layer 8): the secret type's input, output and casts, and the
 * constructors of credentials and commands.
 *
 * All of them are IMMUTABLE, so that the planner folds them and EXPLAIN shows a
 * constant of type provconn_secret, which prints as [redacted].
 */
#include "postgres.h"

#include "common/int.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "fault.h"
#include "json.h"
#include "mask.h"
#include "secret.h"
#include "token.h"

#define MAX_MEMBERS 4

PG_FUNCTION_INFO_V1(provconn_secret_in);
PG_FUNCTION_INFO_V1(provconn_secret_out);
PG_FUNCTION_INFO_V1(provconn_secret_recv);
PG_FUNCTION_INFO_V1(provconn_secret_send);
PG_FUNCTION_INFO_V1(provconn_secret_from_text);
PG_FUNCTION_INFO_V1(provconn_secret_from_bytea);
PG_FUNCTION_INFO_V1(provconn_secret_from_json);
PG_FUNCTION_INFO_V1(provconn_secret_from_jsonb);
PG_FUNCTION_INFO_V1(provconn_credentials);
PG_FUNCTION_INFO_V1(provconn_connect_command);
PG_FUNCTION_INFO_V1(provconn_disconnect_command);
PG_FUNCTION_INFO_V1(provconn_refresh_command);
PG_FUNCTION_INFO_V1(provconn_oauth2_credentials);
PG_FUNCTION_INFO_V1(provconn_api_key_credentials);
PG_FUNCTION_INFO_V1(provconn_token_response);

/* Members of a JSON object that is being built; those without a value are left out. */
typedef struct Members
{
	int			count;
	const char *names[MAX_MEMBERS];
	ProvconnSpan values[MAX_MEMBERS];
} Members;

static void wipe_input(char *input, size_t len);
static Datum secret_of_varlena(struct varlena *value);
static Datum form_from_arguments(FunctionCallInfo fcinfo, ProvconnComposite composite);
static Datum form_credentials(bool has_secret, ProvconnSpan secret, ProvconnCredentialType type,
							  bool expires, TimestampTz expires_at);
static void add_secret(Members *members, const char *name, FunctionCallInfo fcinfo, int argument);
static void add_text(Members *members, const char *name, FunctionCallInfo fcinfo, int argument);
static ProvconnSpan build_json(const Members *members);
static const char *describe_fault(ProvconnTokenFault fault);
static TimestampTz add_seconds(TimestampTz start, int64 usec);

Datum
provconn_secret_in(PG_FUNCTION_ARGS)
{
	char	   *string = PG_GETARG_CSTRING(0);
	ProvconnSpan bytes = {string, strlen(string)};
	Datum		secret = provconn_mask_make(bytes);

	wipe_input(string, bytes.len);
	PG_RETURN_DATUM(secret);
}

Datum
provconn_secret_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(pstrdup(PROVCONN_SECRET_REDACTED));
}

/* The bytes as they come, whatever the client's encoding; wiped likewise. */
Datum
provconn_secret_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buffer = (StringInfo) PG_GETARG_POINTER(0);
	ProvconnSpan bytes;
	Datum		secret;

	bytes.len = buffer->len - buffer->cursor;
	bytes.data = pq_getmsgbytes(buffer, bytes.len);
	secret = provconn_mask_make(bytes);
	wipe_input(unconstify(char *, bytes.data), bytes.len);
	PG_RETURN_DATUM(secret);
}

Datum
provconn_secret_send(PG_FUNCTION_ARGS)
{
	StringInfoData buffer;

	pq_begintypsend(&buffer);
	pq_sendbytes(&buffer, PROVCONN_SECRET_REDACTED, strlen(PROVCONN_SECRET_REDACTED));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
}

Datum
provconn_secret_from_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(secret_of_varlena((struct varlena *) PG_GETARG_TEXT_PP(0)));
}

Datum
provconn_secret_from_bytea(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(secret_of_varlena((struct varlena *) PG_GETARG_BYTEA_PP(0)));
}

Datum
provconn_secret_from_json(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(secret_of_varlena((struct varlena *) PG_GETARG_TEXT_PP(0)));
}

Datum
provconn_secret_from_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb	   *value = PG_GETARG_JSONB_P(0);
	ProvconnSpan bytes;
	char	   *text = JsonbToCString(NULL, &value->root, VARSIZE(value));
	Datum		secret;

	bytes.data = text;
	bytes.len = strlen(text);
	secret = provconn_mask_make(bytes);
	provconn_secret_wipe(text, bytes.len);
	PG_RETURN_DATUM(secret);
}

Datum
provconn_credentials(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(form_from_arguments(fcinfo, PROVCONN_TYPE_CREDENTIALS));
}

Datum
provconn_connect_command(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(form_from_arguments(fcinfo, PROVCONN_TYPE_CONNECT));
}

Datum
provconn_disconnect_command(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(form_from_arguments(fcinfo, PROVCONN_TYPE_DISCONNECT));
}

Datum
provconn_refresh_command(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(form_from_arguments(fcinfo, PROVCONN_TYPE_REFRESH));
}

/* Arguments: access_token, refresh_token, expires_at, scope, token_type. */
Datum
provconn_oauth2_credentials(PG_FUNCTION_ARGS)
{
	Members		members = {0};
	ProvconnSpan none = {NULL, 0};
	bool		has_token;

	add_secret(&members, "access_token", fcinfo, 0);
	has_token = members.count > 0;
	add_secret(&members, "refresh_token", fcinfo, 1);
	add_text(&members, "scope", fcinfo, 3);
	add_text(&members, "token_type", fcinfo, 4);
	PG_RETURN_DATUM(form_credentials(has_token, has_token ? build_json(&members) : none,
									 PROVCONN_CREDENTIAL_OAUTH2, !PG_ARGISNULL(2),
									 PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2)));
}

/* Arguments: api_key, api_secret, expires_at. */
Datum
provconn_api_key_credentials(PG_FUNCTION_ARGS)
{
	Members		members = {0};
	ProvconnSpan none = {NULL, 0};
	bool		has_key;

	add_secret(&members, "api_key", fcinfo, 0);
	has_key = members.count > 0;
	add_secret(&members, "api_secret", fcinfo, 1);
	PG_RETURN_DATUM(form_credentials(has_key, has_key ? build_json(&members) : none,
									 PROVCONN_CREDENTIAL_API_KEY, !PG_ARGISNULL(2),
									 PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2)));
}

/* Arguments: response, received_at. */
Datum
provconn_token_response(PG_FUNCTION_ARGS)
{
	ProvconnTokenResponse response;
	ProvconnTokenFault fault;
	ProvconnSpan text = {NULL, 0};
	ProvconnSpan compact;
	char	   *buffer;
	TimestampTz expires_at = 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_DATUM(form_credentials(false, text, PROVCONN_CREDENTIAL_OAUTH2, false, 0));

	text = provconn_mask_open(PG_GETARG_DATUM(0));
	if (!pg_verify_mbstr(GetDatabaseEncoding(), text.data, (int) text.len, true))
		provconn_fault_raise(PROVCONN_FAULT_SECRET_NOT_TEXT, "response");
	buffer = provconn_secret_alloc(text.len);
	fault = provconn_token_read(text, buffer, &response);
	if (fault != PROVCONN_TOKEN_OK)
		provconn_fault_raise(PROVCONN_FAULT_TOKEN_RESPONSE, describe_fault(fault));

	if (response.has_expires_in)
	{
		if (PG_ARGISNULL(1))
			provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "received_at");
		expires_at = add_seconds(PG_GETARG_TIMESTAMPTZ(1), response.expires_in_usec);
	}
	compact.data = buffer;
	compact.len = response.compact_len;
	PG_RETURN_DATUM(form_credentials(true, compact, PROVCONN_CREDENTIAL_OAUTH2,
									 response.has_expires_in, expires_at));
}

/*
 * Wipes what a secret was read from, where that is the server's own: a parameter
 * in the client's message, which the server would show where it logs the
 * parameters of a failed statement, and leave in memory; or a literal in a parse
 * tree, which the parser may scribble on.  Both are read before a portal runs.
 * What is read while one runs (by COPY, DDL, a procedural language) may be
 * somebody's who reads it again.
 */
static void
wipe_input(char *input, size_t len)
{
	if (MyProcPort != NULL && ActivePortal == NULL)
		memset(input, '*', len);
}

static Datum
secret_of_varlena(struct varlena *value)
{
	ProvconnSpan bytes;

	bytes.data = VARDATA_ANY(value);
	bytes.len = VARSIZE_ANY_EXHDR(value);
	return provconn_mask_make(bytes);
}

/* The arguments, in order, are the fields of the composite. */
static Datum
form_from_arguments(FunctionCallInfo fcinfo, ProvconnComposite composite)
{
	Datum		values[PROVCONN_MAX_FIELDS];
	bool		nulls[PROVCONN_MAX_FIELDS];
	int			fields = provconn_catalog_field_count(composite);

	if (PG_NARGS() != fields)
		elog(ERROR, "constructor called with %d arguments instead of %d", PG_NARGS(), fields);
	for (int i = 0; i < fields; i++)
	{
		nulls[i] = PG_ARGISNULL(i);
		values[i] = nulls[i] ? (Datum) 0 : PG_GETARG_DATUM(i);
	}
	return provconn_catalog_form(composite, values, nulls);
}

static Datum
form_credentials(bool has_secret, ProvconnSpan secret, ProvconnCredentialType type,
				 bool expires, TimestampTz expires_at)
{
	Datum		values[3];
	bool		nulls[3];

	nulls[0] = !has_secret;
	values[0] = has_secret ? provconn_mask_make(secret) : (Datum) 0;
	nulls[1] = false;
	values[1] = provconn_catalog_credential_type_datum(type);
	nulls[2] = !expires;
	values[2] = TimestampTzGetDatum(expires_at);
	return provconn_catalog_form(PROVCONN_TYPE_CREDENTIALS, values, nulls);
}

/* A secret argument as a member; null and empty ones are left out. */
static void
add_secret(Members *members, const char *name, FunctionCallInfo fcinfo, int argument)
{
	ProvconnSpan bytes;

	if (PG_ARGISNULL(argument))
		return;
	bytes = provconn_mask_open(PG_GETARG_DATUM(argument));
	if (bytes.len == 0)
		return;
	if (memchr(bytes.data, '\0', bytes.len) != NULL ||
		!pg_verify_mbstr(GetDatabaseEncoding(), bytes.data, (int) bytes.len, true))
		provconn_fault_raise(PROVCONN_FAULT_SECRET_NOT_TEXT, name);
	members->names[members->count] = name;
	members->values[members->count++] = bytes;
}

static void
add_text(Members *members, const char *name, FunctionCallInfo fcinfo, int argument)
{
	text	   *value;

	if (PG_ARGISNULL(argument))
		return;
	value = PG_GETARG_TEXT_PP(argument);
	members->names[members->count] = name;
	members->values[members->count].data = VARDATA_ANY(value);
	members->values[members->count++].len = VARSIZE_ANY_EXHDR(value);
}

static ProvconnSpan
build_json(const Members *members)
{
	ProvconnSpan json;
	size_t		size = 2;
	char	   *text;
	char	   *at;

	for (int i = 0; i < members->count; i++)
		size += strlen(members->names[i]) + 4 + provconn_json_quote(members->values[i], NULL);
	at = text = provconn_secret_alloc(size);
	for (int i = 0; i < members->count; i++)
	{
		*at++ = i == 0 ? '{' : ',';
		*at++ = '"';
		memcpy(at, members->names[i], strlen(members->names[i]));
		at += strlen(members->names[i]);
		*at++ = '"';
		*at++ = ':';
		at += provconn_json_quote(members->values[i], at);
	}
	*at++ = '}';
	json.data = text;
	json.len = at - text;
	return json;
}

static const char *
describe_fault(ProvconnTokenFault fault)
{
	switch (fault)
	{
		case PROVCONN_TOKEN_NOT_JSON:
			return "not valid JSON";
		case PROVCONN_TOKEN_NOT_OBJECT:
			return "not a JSON object";
		case PROVCONN_TOKEN_ERROR_RESPONSE:
			return "it is an error response";
		case PROVCONN_TOKEN_NO_ACCESS_TOKEN:
			return "it has no access_token";
		case PROVCONN_TOKEN_BAD_EXPIRES_IN:
			return "expires_in is no number of seconds";
		case PROVCONN_TOKEN_OK:
			break;
	}
	return "unknown";
}

static TimestampTz
add_seconds(TimestampTz start, int64 usec)
{
	TimestampTz end;

	if (TIMESTAMP_NOT_FINITE(start))
		return start;
	if (pg_add_s64_overflow(start, usec, &end) || !IS_VALID_TIMESTAMP(end))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range"),
				 errhint("expires_in is too far in the future."),
				 errhidestmt(true), errhidecontext(true)));
	return end;
}
