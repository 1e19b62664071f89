/*
 * metadata.c (layer 2): how long a JSON value is as text.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "metadata.h"
#include "model.h"

static size_t scalar_length(const JsonbValue *scalar);
static size_t string_length(const JsonbValue *string);

bool
provconn_metadata_fits(Jsonb *metadata, size_t limit)
{
	JsonbIterator *iterator = JsonbIteratorInit(&metadata->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		first = true;
	size_t		length = 0;

	while (length <= limit &&
		   (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		bool		begins = token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY;
		bool		ends = token == WJB_END_OBJECT || token == WJB_END_ARRAY;

		/* ", " before all but the first in its container; a key brings its own ": " */
		if (!first && !ends)
			length += 2;
		if (begins || ends)
			length += 1;
		else if (token == WJB_KEY)
			length += string_length(&value) + 2;
		else
			length += scalar_length(&value);
		first = begins || token == WJB_KEY;
	}
	return length <= limit;
}

static size_t
scalar_length(const JsonbValue *scalar)
{
	switch (scalar->type)
	{
		case jbvNull:
			return strlen("null");
		case jbvBool:
			return scalar->val.boolean ? strlen("true") : strlen("false");
		case jbvNumeric:
			return strlen(DatumGetCString(DirectFunctionCall1(numeric_out,
															  NumericGetDatum(scalar->val.numeric))));
		default:
			return string_length(scalar);
	}
}

static size_t
string_length(const JsonbValue *string)
{
	StringInfoData printed;
	size_t		length;

	/* Escaping makes nothing shorter. */
	if (string->val.string.len > PROVCONN_METADATA_MAX)
		return string->val.string.len;
	initStringInfo(&printed);
	escape_json(&printed, pnstrdup(string->val.string.val, string->val.string.len));
	length = printed.len;
	pfree(printed.data);
	return length;
}
