/*
 * markup.c (layer 2): text for a page of HTML that is XML as well.
 *
 * Nothing that somebody else chose gets into a page but through
 * provconn_markup_text().  What it makes is ASCII, so that a page is the same in
 * each client's encoding.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "pgtime.h"
#include "utils/datetime.h"

#include "markup.h"

/* Characters that are not seen, or that change how others are shown; and no characters. */
static const struct
{
	uint32		first;
	uint32		last;
} hidden[] = {
	{0x00, 0x1F}, {0x7F, 0x9F}, {0xAD, 0xAD}, {0x34F, 0x34F}, {0x61C, 0x61C}, {0x115F, 0x1160}, {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x200B, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F}, {0x3164, 0x3164}, {0xD800, 0xDFFF}, {0xFDD0, 0xFDEF}, {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF}, {0xE0000, 0xE0FFF}, {0x10FFFF, 0xFFFFFFFF}};

static uint32 next_character(const unsigned char **at, bool *is_byte);
static bool is_hidden(uint32 character);

void
provconn_markup_text(StringInfo page, const char *text)
{
	const unsigned char *at;

	if (text == NULL)
		return;
	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		text = pg_server_to_any(text, strlen(text), PG_UTF8);
	at = (const unsigned char *) text;
	while (*at != '\0')
	{
		bool		is_byte;
		uint32		character = next_character(&at, &is_byte);

		if (is_byte)
			appendStringInfo(page, "&#x27E8;%02X&#x27E9;", character);
		else if (is_hidden(character))
			appendStringInfo(page, "&#x27E8;U+%04X&#x27E9;", character);
		else if (character > 0x7F || strchr("<>&\"'", (int) character) != NULL)
			appendStringInfo(page, "&#x%X;", character);
		else
			appendStringInfoChar(page, (char) character);
	}
}

void
provconn_markup_time(StringInfo page, TimestampTz time, ProvconnMarkupTime how)
{
	struct pg_tm tm;
	fsec_t		fraction;

	if (timestamp2tm(time, NULL, &tm, &fraction, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	switch (how)
	{
		case PROVCONN_MARKUP_YEAR:
			appendStringInfo(page, "%04d", tm.tm_year);
			break;
		case PROVCONN_MARKUP_MONTH:
			appendStringInfo(page, "%04d-%02d", tm.tm_year, tm.tm_mon);
			break;
		case PROVCONN_MARKUP_DAY:
			appendStringInfo(page, "%04d-%02d-%02d", tm.tm_year, tm.tm_mon, tm.tm_mday);
			break;
		case PROVCONN_MARKUP_MINUTE:
			appendStringInfo(page, "%02d-%02d %02d:%02d", tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min);
			break;
		case PROVCONN_MARKUP_SECOND:
			appendStringInfo(page, "%02d:%02d:%02d", tm.tm_hour, tm.tm_min, tm.tm_sec);
			break;
		case PROVCONN_MARKUP_TIME:
			appendStringInfo(page, "%04d-%02d-%02d %02d:%02d:%02d", tm.tm_year, tm.tm_mon, tm.tm_mday,
							 tm.tm_hour, tm.tm_min, tm.tm_sec);
			break;
	}
}

/* Decodes UTF-8; what is none is taken as a byte, which SQL_ASCII allows. */
static uint32
next_character(const unsigned char **at, bool *is_byte)
{
	const unsigned char *s = *at;
	uint32		character = s[0];
	int			more = s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 1 :
		s[0] < 0xF0 ? 2 :
		s[0] < 0xF5 ? 3 :
		0;

	*is_byte = s[0] >= 0x80 && more == 0;
	if (more > 0)
		character = s[0] & (0x3F >> more);
	for (int i = 1; i <= more; i++)
	{
		/* The terminating NUL ends it as well. */
		if ((s[i] & 0xC0) != 0x80)
		{
			*is_byte = true;
			break;
		}
		character = character << 6 | (s[i] & 0x3F);
	}
	if (*is_byte)
	{
		character = s[0];
		more = 0;
	}
	*at = s + 1 + more;
	return character;
}

static bool
is_hidden(uint32 character)
{
	for (size_t i = 0; i < lengthof(hidden); i++)
		if (character <= hidden[i].last)
			return character >= hidden[i].first;
	return false;
}
