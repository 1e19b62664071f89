/*
 * field.c (layer 2): bytes to be hashed, as a sequence of fields.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"

#include "field.h"

void
provconn_field_null(StringInfo fields)
{
	appendStringInfoChar(fields, 0);
}

void
provconn_field_bytes(StringInfo fields, const void *bytes, size_t len)
{
	unsigned char head[5];
	uint32		length = pg_hton32((uint32) len);

	head[0] = 1;
	memcpy(head + 1, &length, sizeof(length));
	appendBinaryStringInfo(fields, (const char *) head, sizeof(head));
	appendBinaryStringInfo(fields, bytes, (int) len);
}

void
provconn_field_int32(StringInfo fields, int32 value)
{
	uint32		bytes = pg_hton32((uint32) value);

	provconn_field_bytes(fields, &bytes, sizeof(bytes));
}

void
provconn_field_int64(StringInfo fields, int64 value)
{
	uint64		bytes = pg_hton64((uint64) value);

	provconn_field_bytes(fields, &bytes, sizeof(bytes));
}

void
provconn_field_text(StringInfo fields, const char *text, size_t len)
{
	char	   *converted = unconstify(char *, text);

	/* A dump may come back into a database of another encoding. */
	if (GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII)
		converted = pg_server_to_any(text, (int) len, PG_UTF8);
	provconn_field_bytes(fields, converted, converted == text ? len : strlen(converted));
}
