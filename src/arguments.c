/*
 * arguments.c (layer 7): what the entry points do with SQL values: arguments of
 * functions that are not strict, and results.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "arguments.h"
#include "catalog.h"
#include "compat.h"
#include "fault.h"
#include "mask.h"

const ProvconnUuid *
provconn_uuid_argument(Datum value, bool isnull)
{
	return isnull ? NULL : (const ProvconnUuid *) DatumGetUUIDP(value);
}

ProvconnSpan
provconn_text_argument(Datum value, bool isnull)
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

void
provconn_read_credentials(Datum value, bool isnull, ProvconnCredentials *credentials)
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
		credentials->secret = provconn_mask_open(values[0]);
	if (credentials->secret.len > PROVCONN_SECRET_MAX)
		provconn_fault_raise(PROVCONN_FAULT_SECRET_TOO_LONG);
	if (!nulls[1])
		credentials->type = provconn_catalog_credential_type(values[1]);
	credentials->expires = !nulls[2];
	if (!nulls[2])
		credentials->expires_at = DatumGetTimestampTz(values[2]);
}

Datum
provconn_form_result(const ProvconnOutcome *outcome)
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

Datum *
provconn_read_array(FunctionCallInfo fcinfo, int argument, Oid element_type, const char *name,
					int			expected, bool **nulls, int *count)
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

bool
provconn_is_valid_text(ProvconnSpan bytes)
{
	return memchr(bytes.data, '\0', bytes.len) == NULL &&
		pg_verify_mbstr(GetDatabaseEncoding(), bytes.data, (int) bytes.len, true);
}
