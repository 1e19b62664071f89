/*
 * test_keyfile.c: the forms of a key file, and that a fault leaves no key.
 */
#include "keyfile.h"
#include "tap.h"

/* 16, 64 and 63 hexadecimal digits */
#define HEX16 "00112233aAbBcCdD"
#define HEX64 HEX16 HEX16 HEX16 HEX16
#define HEX63 HEX16 HEX16 HEX16 "00112233aAbBcCd"

typedef struct FaultCase
{
	const char *name;
	const char *text;
	ProvconnKeyfileFault fault;
	int			line;
} FaultCase;

static const FaultCase fault_cases[] = {
	{"nothing", "", PROVCONN_KEYFILE_EMPTY, 0},
	{"blank lines and comments", "\n \t\r\n# x\n  # 1:" HEX64 "\n", PROVCONN_KEYFILE_EMPTY, 0},
	{"63 digits", HEX63, PROVCONN_KEYFILE_BAD_KEY, 1},
	{"65 digits", HEX64 "0", PROVCONN_KEYFILE_BAD_KEY, 1},
	{"63 digits with an id", "\n1:" HEX63 "\n", PROVCONN_KEYFILE_BAD_KEY, 2},
	{"65 digits with an id", "1:" HEX64 "0\n", PROVCONN_KEYFILE_BAD_KEY, 1},
	{"no digits behind the id", "1:", PROVCONN_KEYFILE_BAD_KEY, 1},
	{"a digit too high", "1:" HEX63 "g", PROVCONN_KEYFILE_BAD_KEY, 1},
	{"a character below the digits", "1:" HEX63 "/", PROVCONN_KEYFILE_BAD_KEY, 1},
	{"a sign among the digits", "1:-" HEX63, PROVCONN_KEYFILE_BAD_KEY, 1},
	{"a byte above ASCII", "1:" HEX63 "\351", PROVCONN_KEYFILE_BAD_KEY, 1},
	{"a second colon", "1:2:" HEX64, PROVCONN_KEYFILE_BAD_KEY, 1},
	{"a comment behind the key", "1:" HEX64 " # old", PROVCONN_KEYFILE_BAD_KEY, 1},
	{"a blank behind the colon", "1: " HEX64, PROVCONN_KEYFILE_BAD_KEY, 1},
	{"a word", "hello", PROVCONN_KEYFILE_BAD_KEY, 1},
	{"a key in two lines", HEX16 HEX16 "\n" HEX16 HEX16, PROVCONN_KEYFILE_BAD_KEY, 1},
	{"no id before the colon", ":" HEX64, PROVCONN_KEYFILE_BAD_ID, 1},
	{"id 0", "0:" HEX64, PROVCONN_KEYFILE_BAD_ID, 1},
	{"id -1", "-1:" HEX64, PROVCONN_KEYFILE_BAD_ID, 1},
	{"id +1", "+1:" HEX64, PROVCONN_KEYFILE_BAD_ID, 1},
	{"id 1.0", "1.0:" HEX64, PROVCONN_KEYFILE_BAD_ID, 1},
	{"a blank behind the id", "1 :" HEX64, PROVCONN_KEYFILE_BAD_ID, 1},
	{"id 2147483648", "2147483648:" HEX64, PROVCONN_KEYFILE_BAD_ID, 1},
	{"id 4294967297", "4294967297:" HEX64, PROVCONN_KEYFILE_BAD_ID, 1},
	{"id 18446744073709551617", "18446744073709551617:" HEX64, PROVCONN_KEYFILE_BAD_ID, 1},
	{"a fault in a later line", "1:" HEX64 "\r\n\r\n# x\r\n2:xyz\r\n", PROVCONN_KEYFILE_BAD_KEY, 4},
	{"the same id twice", "7:" HEX64 "\n8:" HEX64 "\n7:" HEX64, PROVCONN_KEYFILE_DUPLICATE_ID, 3},
	{"two keys without an id", HEX64 "\n" HEX64 "\n", PROVCONN_KEYFILE_DUPLICATE_ID, 2},
	{"id 1 spelled out again", HEX64 "\n1:" HEX64 "\n", PROVCONN_KEYFILE_DUPLICATE_ID, 2},
	{"one id in two spellings", "2:" HEX64 "\n02:" HEX64 "\n", PROVCONN_KEYFILE_DUPLICATE_ID, 2}
};

/* Exactly as many keys as parse() may write to. */
static ProvconnMasterKey *
make_keys(void)
{
	size_t		len = sizeof(ProvconnMasterKey) * PROVCONN_KEYFILE_MAX_KEYS;
	char	   *keys = tap_alloc(len);

	memset(keys, 0xee, len);
	return (ProvconnMasterKey *) (void *) keys;
}

static bool
is_zeroed(const ProvconnMasterKey *keys)
{
	const unsigned char *bytes = (const unsigned char *) keys;
	size_t		i;

	for (i = 0; i < sizeof(ProvconnMasterKey) * PROVCONN_KEYFILE_MAX_KEYS; i++)
	{
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

static void
check_fault(const char *name, ProvconnSpan text, ProvconnKeyfileFault fault, int line)
{
	ProvconnMasterKey *keys = make_keys();
	int			count = 99;
	int			got_line = 99;

	is(provconn_keyfile_parse(text, keys, &count, &got_line), fault, "%s: fault", name);
	is(got_line, line, "%s: line", name);
	ok(count == 0 && is_zeroed(keys), "%s: no key is left", name);
}

/* Accepts text as one key with that id. */
static void
check_key(const char *name, const char *text, int32_t id)
{
	static const unsigned char bytes[] = {0x00, 0x11, 0x22, 0x33, 0xaa, 0xbb, 0xcc, 0xdd};
	ProvconnMasterKey *keys = make_keys();
	int			count = 0;
	int			line = 99;
	size_t		i;
	bool		same = true;

	is(provconn_keyfile_parse(span_of(text), keys, &count, &line), PROVCONN_KEYFILE_OK,
	   "%s: accepted", name);
	ok(count == 1 && line == 0 && keys[0].id == id, "%s: one key, its id is %d", name, (int) id);
	for (i = 0; i < PROVCONN_KEY_LENGTH; i++)
		same = same && keys[0].bytes[i] == bytes[i % sizeof(bytes)];
	ok(same, "%s: its bytes", name);
}

static void
test_many(void)
{
	char		text[70 * (PROVCONN_KEYFILE_MAX_KEYS + 2)];
	ProvconnMasterKey *keys = make_keys();
	int			count = 0;
	int			line = 0;
	int			i;
	size_t		len = 0;

	for (i = 1; i <= PROVCONN_KEYFILE_MAX_KEYS; i++)
		len += (size_t) sprintf(text + len, "%d:%064x\n", i * 100, (unsigned) i);
	is(provconn_keyfile_parse(span_of_bytes(text, len), keys, &count, &line),
	   PROVCONN_KEYFILE_OK, "64 keys");
	is(count, 64, "64 keys: all are there");
	ok(keys[0].id == 100 && keys[63].id == 6400, "64 keys: in the file's order");
	ok(keys[0].bytes[31] == 1 && keys[63].bytes[31] == 64, "64 keys: each with its bytes");

	sprintf(text + len, "1:" HEX64);
	check_fault("65 keys", span_of(text), PROVCONN_KEYFILE_TOO_MANY, 65);
	sprintf(text + len, "# the end\n\n");
	is(provconn_keyfile_parse(span_of(text), keys, &count, &line), PROVCONN_KEYFILE_OK,
	   "64 keys and a comment");
}

static void
test_truncation(void)
{
	static const char text[] = "# keys\r\n12:" HEX64 "\r\n13:" HEX64 "\n";
	size_t		len;

	for (len = 0; len < sizeof(text); len++)
	{
		ProvconnMasterKey *keys = make_keys();
		int			count = 99;
		int			line = 99;
		ProvconnKeyfileFault fault;

		fault = provconn_keyfile_parse(span_of_bytes(text, len), keys, &count, &line);
		ok(fault == PROVCONN_KEYFILE_OK ? count == (len < 100 ? 1 : 2)
		   : count == 0 && is_zeroed(keys), "cut off at %d bytes", (int) len);
	}
}

int
main(void)
{
	static const char with_zero[] = "1:" HEX63 "\0";
	ProvconnSpan none = {NULL, 0};
	size_t		i;

	check_key("bare", HEX64, 1);
	check_key("bare, with a newline", HEX64 "\n", 1);
	check_key("with an id", "1:" HEX64 "\n", 1);
	check_key("the greatest id", "2147483647:" HEX64, 2147483647);
	check_key("leading zeros in the id", "000000000000042:" HEX64, 42);
	check_key("CR LF", "# from Windows\r\n\r\n3:" HEX64 "\r\n", 3);
	check_key("CR at the end of the text", "3:" HEX64 "\r", 3);
	check_key("blanks around", " \t 3:" HEX64 " \t \n\t\n", 3);
	check_key("comments around", "#\n  # 2:" HEX64 "\n3:" HEX64 "\n#", 3);

	for (i = 0; i < countof(fault_cases); i++)
		check_fault(fault_cases[i].name, span_of(fault_cases[i].text),
					fault_cases[i].fault, fault_cases[i].line);
	check_fault("no text", none, PROVCONN_KEYFILE_EMPTY, 0);
	check_fault("a zero byte", span_of_bytes(with_zero, sizeof(with_zero) - 1),
				PROVCONN_KEYFILE_BAD_KEY, 1);
	test_many();
	test_truncation();

	for (i = PROVCONN_KEYFILE_OK; i <= PROVCONN_KEYFILE_TOO_MANY + 1; i++)
	{
		const char *text = provconn_keyfile_fault_text((ProvconnKeyfileFault) i);

		ok(text != NULL && text[0] >= 'a' && text[0] <= 'z' && strchr(text, '\n') == NULL,
		   "fault %d has a text", (int) i);
	}
	return tap_done();
}
