/*
 * json.c (layer 1): reads and writes JSON text (RFC 8259) where it stands.
 *
 * Nothing is allocated and nothing recurses: the validator keeps one bit per
 * open level, so its use of the stack does not depend on the text.  Only bytes
 * within the span are read, also where a caller hands in text that was never
 * validated; the answer is then merely of no use.
 *
 * Bytes from 0x80 up count as parts of characters and pass through.  Whether
 * they are valid in their encoding was the server's to check.
 */
#include "json.h"

#include <string.h>

typedef enum JsonToken
{
	TOKEN_END,
	TOKEN_INVALID,
	TOKEN_OBJECT_OPEN,
	TOKEN_OBJECT_CLOSE,
	TOKEN_ARRAY_OPEN,
	TOKEN_ARRAY_CLOSE,
	TOKEN_COLON,
	TOKEN_COMMA,
	TOKEN_STRING,
	TOKEN_NUMBER,
	TOKEN_TRUE,
	TOKEN_FALSE,
	TOKEN_NULL
} JsonToken;

typedef struct JsonScanner
{
	ProvconnSpan text;
	size_t		start;			/* of the token read last */
	size_t		pos;			/* behind it */
	bool		strict;			/* looks for control characters in strings */
} JsonScanner;

typedef enum JsonExpect
{
	EXPECT_VALUE,
	EXPECT_ELEMENT_OR_CLOSE,	/* behind [ */
	EXPECT_NAME_OR_CLOSE,		/* behind { */
	EXPECT_NAME,				/* behind a comma in an object */
	EXPECT_COLON,
	EXPECT_COMMA_OR_CLOSE,
	EXPECT_END
} JsonExpect;

typedef struct JsonGrammar
{
	JsonExpect	expect;
	int			depth;
	unsigned char in_object[PROVCONN_JSON_MAX_DEPTH / 8];	/* a bit per level */
} JsonGrammar;

static bool accept_token(JsonGrammar *grammar, JsonToken token);
static bool accept_value(JsonGrammar *grammar);
static bool open_level(JsonGrammar *grammar, bool object);
static bool close_level(JsonGrammar *grammar, bool object);
static bool is_in_object(const JsonGrammar *grammar);
static void end_value(JsonGrammar *grammar);
static bool read_member(JsonScanner *scanner, ProvconnJsonMember *member);
static bool skip_value(JsonScanner *scanner, JsonToken token);
static bool get_kind(JsonToken token, ProvconnJsonKind *kind);
static bool equal_name(ProvconnSpan quoted, const char *name);
static int	decode_char(ProvconnSpan quoted, size_t *pos);
static JsonToken next_token(JsonScanner *scanner);
static bool scan_word(JsonScanner *scanner, const char *word);
static bool scan_string(JsonScanner *scanner);
static bool skip_simple_string(JsonScanner *scanner);
static bool scan_escape(JsonScanner *scanner);
static bool scan_number(JsonScanner *scanner);
static bool scan_digits(JsonScanner *scanner);
static bool scan_char(JsonScanner *scanner, const char *choice);
static int	hex_value(char c);
static char short_escape(char c);
static void put_char(char *out, size_t *len, char c);

bool
provconn_json_validate(ProvconnSpan text, ProvconnJsonKind *kind)
{
	JsonScanner scanner = {text, 0, 0, true};
	JsonGrammar grammar = {EXPECT_VALUE, 0, {0}};
	ProvconnJsonKind first = PROVCONN_JSON_NULL;
	JsonToken	token = next_token(&scanner);

	if (!get_kind(token, &first))
		return false;
	while (token != TOKEN_END)
	{
		if (!accept_token(&grammar, token))
			return false;
		token = next_token(&scanner);
	}
	if (grammar.expect != EXPECT_END)
		return false;
	if (kind != NULL)
		*kind = first;
	return true;
}

bool
provconn_json_find(ProvconnSpan object, const char *name, ProvconnJsonMember *member)
{
	JsonScanner scanner = {object, 0, 0, false};
	ProvconnJsonMember candidate;
	bool		found = false;

	if (next_token(&scanner) != TOKEN_OBJECT_OPEN)
		return false;

	/* To the very end, because the last of several members counts. */
	while (read_member(&scanner, &candidate))
	{
		if (equal_name(candidate.name, name))
		{
			*member = candidate;
			found = true;
		}
	}
	return found;
}

size_t
provconn_json_compact(ProvconnSpan text, char *out)
{
	JsonScanner scanner = {text, 0, 0, false};
	JsonToken	token = next_token(&scanner);
	size_t		len = 0;

	while (token != TOKEN_END && token != TOKEN_INVALID)
	{
		memcpy(out + len, text.data + scanner.start, scanner.pos - scanner.start);
		len += scanner.pos - scanner.start;
		token = next_token(&scanner);
	}
	return len;
}

size_t
provconn_json_quote(ProvconnSpan text, char *out)
{
	static const char digits[] = "0123456789abcdef";
	size_t		len = 0;
	size_t		i;

	put_char(out, &len, '"');
	for (i = 0; i < text.len; i++)
	{
		char		c = text.data[i];
		char		escape = short_escape(c);

		if (escape == '\0' && (unsigned char) c >= 0x20)
		{
			put_char(out, &len, c);
			continue;
		}
		put_char(out, &len, '\\');
		put_char(out, &len, escape != '\0' ? escape : 'u');
		if (escape == '\0')
		{
			put_char(out, &len, '0');
			put_char(out, &len, '0');
			put_char(out, &len, digits[(unsigned char) c >> 4]);
			put_char(out, &len, digits[(unsigned char) c & 0x0f]);
		}
	}
	put_char(out, &len, '"');
	return len;
}

/* Takes the grammar one token further; false where it cannot stand. */
static bool
accept_token(JsonGrammar *grammar, JsonToken token)
{
	switch (token)
	{
		case TOKEN_OBJECT_OPEN:
			return open_level(grammar, true);
		case TOKEN_ARRAY_OPEN:
			return open_level(grammar, false);
		case TOKEN_OBJECT_CLOSE:
			return close_level(grammar, true);
		case TOKEN_ARRAY_CLOSE:
			return close_level(grammar, false);
		case TOKEN_COLON:
			if (grammar->expect != EXPECT_COLON)
				return false;
			grammar->expect = EXPECT_VALUE;
			return true;
		case TOKEN_COMMA:
			if (grammar->expect != EXPECT_COMMA_OR_CLOSE)
				return false;
			grammar->expect = is_in_object(grammar) ? EXPECT_NAME : EXPECT_VALUE;
			return true;
		case TOKEN_STRING:
			if (grammar->expect != EXPECT_NAME && grammar->expect != EXPECT_NAME_OR_CLOSE)
				return accept_value(grammar);
			grammar->expect = EXPECT_COLON;
			return true;
		case TOKEN_NUMBER:
		case TOKEN_TRUE:
		case TOKEN_FALSE:
		case TOKEN_NULL:
			return accept_value(grammar);
		case TOKEN_END:
		case TOKEN_INVALID:
			break;
	}
	return false;
}

static bool
accept_value(JsonGrammar *grammar)
{
	if (grammar->expect != EXPECT_VALUE && grammar->expect != EXPECT_ELEMENT_OR_CLOSE)
		return false;
	end_value(grammar);
	return true;
}

static bool
open_level(JsonGrammar *grammar, bool object)
{
	unsigned char bit = (unsigned char) (1 << (grammar->depth % 8));

	if (grammar->expect != EXPECT_VALUE && grammar->expect != EXPECT_ELEMENT_OR_CLOSE)
		return false;
	if (grammar->depth == PROVCONN_JSON_MAX_DEPTH)
		return false;

	if (object)
		grammar->in_object[grammar->depth / 8] |= bit;
	else
		grammar->in_object[grammar->depth / 8] &= (unsigned char) ~bit;
	grammar->depth++;
	grammar->expect = object ? EXPECT_NAME_OR_CLOSE : EXPECT_ELEMENT_OR_CLOSE;
	return true;
}

static bool
close_level(JsonGrammar *grammar, bool object)
{
	JsonExpect	when_empty = object ? EXPECT_NAME_OR_CLOSE : EXPECT_ELEMENT_OR_CLOSE;

	if (grammar->expect != when_empty && grammar->expect != EXPECT_COMMA_OR_CLOSE)
		return false;
	if (is_in_object(grammar) != object)
		return false;
	grammar->depth--;
	end_value(grammar);
	return true;
}

/* Only asked inside a level: what is expected there implies one. */
static bool
is_in_object(const JsonGrammar *grammar)
{
	int			level = grammar->depth - 1;

	return (grammar->in_object[level / 8] >> (level % 8) & 1) != 0;
}

static void
end_value(JsonGrammar *grammar)
{
	grammar->expect = grammar->depth == 0 ? EXPECT_END : EXPECT_COMMA_OR_CLOSE;
}

/* The next member of the object that the scanner stands in. */
static bool
read_member(JsonScanner *scanner, ProvconnJsonMember *member)
{
	JsonToken	token = next_token(scanner);
	size_t		start;

	if (token == TOKEN_COMMA)
		token = next_token(scanner);
	if (token != TOKEN_STRING)
		return false;
	member->name.data = scanner->text.data + scanner->start;
	member->name.len = scanner->pos - scanner->start;

	if (next_token(scanner) != TOKEN_COLON)
		return false;
	token = next_token(scanner);
	start = scanner->start;
	if (!get_kind(token, &member->kind) || !skip_value(scanner, token))
		return false;
	member->value.data = scanner->text.data + start;
	member->value.len = scanner->pos - start;
	return true;
}

/* Moves behind the value that token begins. */
static bool
skip_value(JsonScanner *scanner, JsonToken token)
{
	size_t		depth = 0;

	for (;;)
	{
		if (token == TOKEN_END || token == TOKEN_INVALID)
			return false;
		if (token == TOKEN_OBJECT_OPEN || token == TOKEN_ARRAY_OPEN)
			depth++;
		else if (token == TOKEN_OBJECT_CLOSE || token == TOKEN_ARRAY_CLOSE)
			depth--;
		if (depth == 0)
			return true;
		token = next_token(scanner);
	}
}

/* The kind of value that token begins; false if it begins none. */
static bool
get_kind(JsonToken token, ProvconnJsonKind *kind)
{
	switch (token)
	{
		case TOKEN_OBJECT_OPEN:
			*kind = PROVCONN_JSON_OBJECT;
			return true;
		case TOKEN_ARRAY_OPEN:
			*kind = PROVCONN_JSON_ARRAY;
			return true;
		case TOKEN_STRING:
			*kind = PROVCONN_JSON_STRING;
			return true;
		case TOKEN_NUMBER:
			*kind = PROVCONN_JSON_NUMBER;
			return true;
		case TOKEN_TRUE:
			*kind = PROVCONN_JSON_TRUE;
			return true;
		case TOKEN_FALSE:
			*kind = PROVCONN_JSON_FALSE;
			return true;
		case TOKEN_NULL:
			*kind = PROVCONN_JSON_NULL;
			return true;
		default:
			return false;
	}
}

static bool
equal_name(ProvconnSpan quoted, const char *name)
{
	size_t		pos = 1;

	while (pos < quoted.len - 1)
	{
		int			c = decode_char(quoted, &pos);

		/* \u0000 is a character like any other and not the end of name. */
		if (c == 0 || c != (unsigned char) *name)
			return false;
		name++;
	}
	return *name == '\0';
}

/*
 * The next character of a string the scanner accepted: a byte, or the code
 * point of an ASCII character written as an escape.  Other escapes give -1,
 * since the names asked for are ASCII.
 */
static int
decode_char(ProvconnSpan quoted, size_t *pos)
{
	static const char letters[] = "bfnrt";
	static const char meanings[] = "\b\f\n\r\t";
	char		c = quoted.data[(*pos)++];
	int			code = 0;
	int			i;

	if (c != '\\')
		return (unsigned char) c;

	c = quoted.data[(*pos)++];
	if (c != 'u')
	{
		const char *letter = strchr(letters, c);

		return letter != NULL ? meanings[letter - letters] : c;
	}
	for (i = 0; i < 4; i++)
		code = code * 16 + hex_value(quoted.data[(*pos)++]);
	return code < 0x80 ? code : -1;
}

static JsonToken
next_token(JsonScanner *scanner)
{
	while (scan_char(scanner, " \t\n\r"))
		;
	scanner->start = scanner->pos;
	if (scanner->pos >= scanner->text.len)
		return TOKEN_END;

	switch (scanner->text.data[scanner->pos])
	{
		case '{':
			scanner->pos++;
			return TOKEN_OBJECT_OPEN;
		case '}':
			scanner->pos++;
			return TOKEN_OBJECT_CLOSE;
		case '[':
			scanner->pos++;
			return TOKEN_ARRAY_OPEN;
		case ']':
			scanner->pos++;
			return TOKEN_ARRAY_CLOSE;
		case ':':
			scanner->pos++;
			return TOKEN_COLON;
		case ',':
			scanner->pos++;
			return TOKEN_COMMA;
		case '"':
			return scan_string(scanner) ? TOKEN_STRING : TOKEN_INVALID;
		case 't':
			return scan_word(scanner, "true") ? TOKEN_TRUE : TOKEN_INVALID;
		case 'f':
			return scan_word(scanner, "false") ? TOKEN_FALSE : TOKEN_INVALID;
		case 'n':
			return scan_word(scanner, "null") ? TOKEN_NULL : TOKEN_INVALID;
		default:
			return scan_number(scanner) ? TOKEN_NUMBER : TOKEN_INVALID;
	}
}

/*
 * What follows a word or a number need not be looked at: two tokens side by
 * side, as in "nullnull" or "01", are against the grammar anyway.
 */
static bool
scan_word(JsonScanner *scanner, const char *word)
{
	size_t		len = strlen(word);

	if (scanner->text.len - scanner->pos < len ||
		memcmp(scanner->text.data + scanner->pos, word, len) != 0)
		return false;
	scanner->pos += len;
	return true;
}

static bool
scan_string(JsonScanner *scanner)
{
	scanner->pos++;
	if (!scanner->strict && skip_simple_string(scanner))
		return true;
	while (scanner->pos < scanner->text.len)
	{
		unsigned char c = (unsigned char) scanner->text.data[scanner->pos++];

		if (c == '"')
			return true;
		if (c < 0x20)
			return false;
		if (c == '\\' && !scan_escape(scanner))
			return false;
	}
	return false;
}

/* Most strings have no escape, and so end at the next quotation mark. */
static bool
skip_simple_string(JsonScanner *scanner)
{
	const char *begin = scanner->text.data + scanner->pos;
	const char *end = memchr(begin, '"', scanner->text.len - scanner->pos);

	if (end == NULL || memchr(begin, '\\', (size_t) (end - begin)) != NULL)
		return false;
	scanner->pos += (size_t) (end - begin) + 1;
	return true;
}

/*
 * Half a surrogate pair is accepted, as the RFC's grammar has it: the text is
 * kept as it came and such an escape is never decoded here.
 */
static bool
scan_escape(JsonScanner *scanner)
{
	int			i;

	if (scan_char(scanner, "\"\\/bfnrt"))
		return true;
	if (!scan_char(scanner, "u"))
		return false;
	for (i = 0; i < 4; i++)
	{
		if (scanner->pos >= scanner->text.len ||
			hex_value(scanner->text.data[scanner->pos]) < 0)
			return false;
		scanner->pos++;
	}
	return true;
}

static bool
scan_number(JsonScanner *scanner)
{
	scan_char(scanner, "-");
	if (!scan_char(scanner, "0") && !scan_digits(scanner))
		return false;
	if (scan_char(scanner, ".") && !scan_digits(scanner))
		return false;
	if (scan_char(scanner, "eE"))
	{
		scan_char(scanner, "+-");
		return scan_digits(scanner);
	}
	return true;
}

static bool
scan_digits(JsonScanner *scanner)
{
	if (!scan_char(scanner, "0123456789"))
		return false;
	while (scan_char(scanner, "0123456789"))
		;
	return true;
}

/* Moves behind the next byte if it is one of choice. */
static bool
scan_char(JsonScanner *scanner, const char *choice)
{
	char		c;

	if (scanner->pos >= scanner->text.len)
		return false;

	/* strchr() would find a zero byte in every string. */
	c = scanner->text.data[scanner->pos];
	if (c == '\0' || strchr(choice, c) == NULL)
		return false;
	scanner->pos++;
	return true;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The letter that stands for c behind a backslash, or zero. */
static char
short_escape(char c)
{
	switch (c)
	{
		case '"':
		case '\\':
			return c;
		case '\b':
			return 'b';
		case '\f':
			return 'f';
		case '\n':
			return 'n';
		case '\r':
			return 'r';
		case '\t':
			return 't';
		default:
			return '\0';
	}
}

/* Without out it only counts, so that one walk serves both purposes. */
static void
put_char(char *out, size_t *len, char c)
{
	if (out != NULL)
		out[*len] = c;
	(*len)++;
}
