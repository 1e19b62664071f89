/*
 * keyfile.c (layer 1): reads the master keys out of the text of a key file.
 *
 * Key bytes go to the caller's array and nowhere else, and from there they are
 * wiped again on any fault.  What a fault says names neither digits nor ids, so
 * that it may go to a log.  The text itself is the caller's to wipe.
 */
#include "keyfile.h"

#include <string.h>

static ProvconnSpan next_line(ProvconnSpan text, size_t *pos);
static ProvconnKeyfileFault read_key(ProvconnSpan line, ProvconnMasterKey *keys,
									 int *key_count);
static bool read_id(ProvconnSpan digits, int32_t *id);
static bool read_hex(ProvconnSpan digits, unsigned char *bytes);
static int	hex_value(char c);
static bool has_id(const ProvconnMasterKey *keys, int key_count, int32_t id);
static bool is_blank(char c);
static void wipe_keys(ProvconnMasterKey *keys);

ProvconnKeyfileFault
provconn_keyfile_parse(ProvconnSpan text, ProvconnMasterKey *keys, int *key_count,
					   int *line)
{
	ProvconnKeyfileFault fault = PROVCONN_KEYFILE_OK;
	size_t		pos = 0;
	int			number = 0;

	*key_count = 0;
	*line = 0;
	while (fault == PROVCONN_KEYFILE_OK && pos < text.len)
	{
		ProvconnSpan entry = next_line(text, &pos);

		number++;
		if (entry.len > 0 && entry.data[0] != '#')
			fault = read_key(entry, keys, key_count);
	}

	if (fault != PROVCONN_KEYFILE_OK)
		*line = number;
	else if (*key_count == 0)
		fault = PROVCONN_KEYFILE_EMPTY;

	if (fault != PROVCONN_KEYFILE_OK)
	{
		wipe_keys(keys);
		*key_count = 0;
	}
	return fault;
}

const char *
provconn_keyfile_fault_text(ProvconnKeyfileFault fault)
{
	switch (fault)
	{
		case PROVCONN_KEYFILE_OK:
			return "no fault";
		case PROVCONN_KEYFILE_EMPTY:
			return "it holds no key";
		case PROVCONN_KEYFILE_BAD_ID:
			return "the key id is not a whole number from 1 to 2147483647";
		case PROVCONN_KEYFILE_BAD_KEY:
			return "the key is not exactly 64 hexadecimal digits";
		case PROVCONN_KEYFILE_DUPLICATE_ID:
			return "the key id stands in an earlier line already";
		case PROVCONN_KEYFILE_TOO_MANY:
			return "it holds more than 64 keys";
	}
	return "unknown fault";
}

/* The line at *pos without the blanks around it; *pos moves to the next one. */
static ProvconnSpan
next_line(ProvconnSpan text, size_t *pos)
{
	ProvconnSpan line;
	const char *newline;

	line.data = text.data + *pos;
	line.len = text.len - *pos;
	newline = memchr(line.data, '\n', line.len);
	if (newline != NULL)
		line.len = (size_t) (newline - line.data);
	*pos += line.len + (newline != NULL ? 1 : 0);

	while (line.len > 0 && is_blank(line.data[0]))
	{
		line.data++;
		line.len--;
	}
	while (line.len > 0 && is_blank(line.data[line.len - 1]))
		line.len--;
	return line;
}

/* Adds the key in line, or says why not. */
static ProvconnKeyfileFault
read_key(ProvconnSpan line, ProvconnMasterKey *keys, int *key_count)
{
	const char *colon = memchr(line.data, ':', line.len);
	ProvconnSpan digits = line;
	ProvconnMasterKey *key;
	int32_t		id = 1;

	if (colon != NULL)
	{
		ProvconnSpan before = {line.data, (size_t) (colon - line.data)};

		if (!read_id(before, &id))
			return PROVCONN_KEYFILE_BAD_ID;
		digits.data = colon + 1;
		digits.len = line.len - before.len - 1;
	}
	if (*key_count == PROVCONN_KEYFILE_MAX_KEYS)
		return PROVCONN_KEYFILE_TOO_MANY;

	key = &keys[*key_count];
	if (!read_hex(digits, key->bytes))
		return PROVCONN_KEYFILE_BAD_KEY;
	if (has_id(keys, *key_count, id))
		return PROVCONN_KEYFILE_DUPLICATE_ID;
	key->id = id;
	(*key_count)++;
	return PROVCONN_KEYFILE_OK;
}

static bool
read_id(ProvconnSpan digits, int32_t *id)
{
	int64_t		value = 0;
	size_t		i;

	for (i = 0; i < digits.len; i++)
	{
		if (digits.data[i] < '0' || digits.data[i] > '9')
			return false;
		value = value * 10 + (digits.data[i] - '0');
		if (value > INT32_MAX)
			return false;
	}
	*id = (int32_t) value;
	return value > 0;
}

static bool
read_hex(ProvconnSpan digits, unsigned char *bytes)
{
	size_t		i;

	if (digits.len != 2 * PROVCONN_KEY_LENGTH)
		return false;
	for (i = 0; i < PROVCONN_KEY_LENGTH; i++)
	{
		int			high = hex_value(digits.data[2 * i]);
		int			low = hex_value(digits.data[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (unsigned char) (high * 16 + low);
	}
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

static bool
has_id(const ProvconnMasterKey *keys, int key_count, int32_t id)
{
	int			i;

	for (i = 0; i < key_count; i++)
	{
		if (keys[i].id == id)
			return true;
	}
	return false;
}

/* A carriage return is one, which is how CR LF is passed over. */
static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/*
 * The whole array, a key half decoded included.  volatile, because a compiler
 * may drop stores that nobody reads, and C99 has no explicit_bzero().
 */
static void
wipe_keys(ProvconnMasterKey *keys)
{
	volatile unsigned char *byte = (volatile unsigned char *) keys;
	size_t		len = sizeof(ProvconnMasterKey) * PROVCONN_KEYFILE_MAX_KEYS;

	while (len-- > 0)
		*byte++ = 0;
}
