/*
 * test_json.c: the validator accepts RFC 8259 and nothing else; find, compact
 * and quote; and nothing reads past the end whatever the text.
 */
#include "json.h"
#include "tap.h"

#define E_ACUTE "\303\251"		/* U+00E9 in UTF-8 */
#define CLEF "\360\235\204\236"	/* U+1D11E in UTF-8 */

static const char *const valid_texts[] = {
	"null", "true", "false", "0", "-0", "1", "-1", "10", "120.5", "0.0", "-0.10",
	"1e5", "1E5", "1e+5", "1E-05", "0e0", "1.5e10", "1e999999", "12345678901234567890123",
	"\"\"", "\"a\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u00e9\\uD834\\uDD1E\"",
	"\"\\u0000\"", "\"\\ud800\"", "\"" E_ACUTE CLEF "\"", "\"\177\"", "\"\377\"",
	"[]", "{}", "[ ]", "{ }", "[1]", "[1,2]", "[[],{}]", "[{\"a\":[{}]}]",
	"{\"a\":1}", "{\"a\":1,\"a\":2}", "{\"\":\"\"}", "{\"a\":{\"b\":{}},\"c\":[]}",
	" \t\r\n1 \t\r\n", " { \"a\" : [ 1 , 2 ] , \"b\" : { } } ", "\"{\"", "[\"]\"]"
};

static const char *const invalid_texts[] = {
	"", " ", "nul", "nulll", "Null", "TRUE", "truefalse", "tru e", "NaN", "Infinity",
	"-", "+1", "01", "-01", "00", "1.", ".5", "1.e5", "1e", "1e+", "1e5.5", "0x10", "1_000",
	"1 2", "--1", "1-2", "1a", "- 1", "1,", "\"", "\"a", "a\"", "'a'", "\"a\"\"b\"",
	"\"\\", "\"\\\"", "\"\\x41\"", "\"\\a\"", "\"\\u\"", "\"\\u12\"", "\"\\u12g4\"",
	"\"\\U0041\"", "\"\t\"", "\"\n\"", "\"\037\"", "\"\\\n\"", "[", "]", "[1", "[1,", "[1,]",
	"[,1]", "[,]", "[1 2]", "[1,,2]", "[1:2]", "[1}", "[\"a\":1]", "[]]", "[][]", "{", "}",
	"{]", "[}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{\"a\"}",
	"{\"a\",1}", "{\"a\":}", "{\"a\"::1}", "{\"a\" 1}", "{a:1}", "{1:1}", "{null:1}", "{[]:1}",
	"{\"a\":1 \"b\":2}", "{\"a\":1}}", "{\"a\":1}x", "{}{}", "[{]}", "{\"a\":[}", "{\"a\":1]",
	"[{\"a\":1]", "{\"a\":[1},2]", ":", ",", "[1]//x", "/**/1", "\f1", "\v1", "\2401",
	"\357\273\277{}", E_ACUTE, "[\303]"
};

/* Has one of everything, and no proper beginning of it is valid. */
static const char sample[] = "{\"a\" : [1, -0.5e+10, true, false, null, \"\\u00e9\\n\\\"\", {}],\n"
	"\t\"b\": {\"c\": [[]], \"" E_ACUTE "\": 0}, \"\": \"x\", \"a\": \"last\"}";

static void
test_validate(void)
{
	static const char zero_behind[] = "1\0";
	static const char zero_inside[] = "\"a\0b\"";
	static const char zero_between[] = "[1,\0" "2]";
	ProvconnSpan none = {NULL, 0};
	size_t		i;

	for (i = 0; i < countof(valid_texts); i++)
		ok(provconn_json_validate(span_of(valid_texts[i]), NULL), "valid: %s", valid_texts[i]);
	for (i = 0; i < countof(invalid_texts); i++)
		ok(!provconn_json_validate(span_of(invalid_texts[i]), NULL),
		   "invalid: %s", invalid_texts[i]);
	ok(!provconn_json_validate(none, NULL), "invalid: no text");
	ok(!provconn_json_validate(span_of_bytes(zero_behind, 2), NULL), "a zero byte behind");
	ok(!provconn_json_validate(span_of_bytes(zero_inside, 5), NULL), "a zero byte in a string");
	ok(!provconn_json_validate(span_of_bytes(zero_between, 6), NULL), "a zero byte between");
}

static void
test_kinds(void)
{
	static const struct
	{
		const char *text;
		ProvconnJsonKind kind;
	}			cases[] = {
		{" {}", PROVCONN_JSON_OBJECT}, {"[{}]", PROVCONN_JSON_ARRAY},
		{"\"{\"", PROVCONN_JSON_STRING}, {"-1", PROVCONN_JSON_NUMBER},
		{"true", PROVCONN_JSON_TRUE}, {"false", PROVCONN_JSON_FALSE},
		{"null ", PROVCONN_JSON_NULL}
	};
	size_t		i;

	for (i = 0; i < countof(cases); i++)
	{
		ProvconnJsonKind kind = (ProvconnJsonKind) 77;

		ok(provconn_json_validate(span_of(cases[i].text), &kind) && kind == cases[i].kind,
		   "the kind of %s", cases[i].text);
	}
}

/* depth levels around nothing, of arrays, objects or both in turn. */
static ProvconnSpan
nest(size_t depth, const char *how)
{
	char	   *text = tap_alloc(depth * 6);
	size_t		len = 0;
	size_t		i;

	for (i = 0; i < depth; i++)
	{
		bool		object = how[i % strlen(how)] == 'o';

		if (!object)
			text[len++] = '[';
		else
		{
			const char *opening = i + 1 < depth ? "{\"\":" : "{";

			memcpy(text + len, opening, strlen(opening));
			len += strlen(opening);
		}
	}
	for (i = depth; i-- > 0;)
		text[len++] = how[i % strlen(how)] == 'o' ? '}' : ']';
	return span_of_bytes(text, len);
}

static void
test_depth(void)
{
	static const char *const shapes[] = {"a", "o", "ao", "oa", "aaoooao"};
	ProvconnSpan deep;
	size_t		i;

	for (i = 0; i < countof(shapes); i++)
	{
		ok(provconn_json_validate(nest(PROVCONN_JSON_MAX_DEPTH, shapes[i]), NULL),
		   "the greatest depth, %s", shapes[i]);
		ok(!provconn_json_validate(nest(PROVCONN_JSON_MAX_DEPTH + 1, shapes[i]), NULL),
		   "one level more, %s", shapes[i]);
	}
	deep = nest(1000000, "a");
	ok(!provconn_json_validate(deep, NULL), "a million levels");
	deep.len /= 2;
	ok(!provconn_json_validate(deep, NULL), "a million levels left open");
	ok(provconn_json_validate(span_of("[[[]],[[]],{\"a\":[]},[]]"), NULL),
	   "levels closed and opened again");
}

static void
check_find(const char *object, const char *name, const char *value)
{
	ProvconnSpan text = span_of(object);
	ProvconnJsonMember member;
	bool		found = provconn_json_find(text, name, &member);

	if (value == NULL)
		ok(!found, "no %s in %s", name, object);
	else if (!found)
		ok(false, "%s in %s", name, object);
	else
	{
		is_text(member.value.data, member.value.len, value, "%s in %s", name, object);
		ok(member.value.data > text.data &&
		   member.value.data + member.value.len < text.data + text.len,
		   "the value stands in the text itself");
	}
}

static void
test_find(void)
{
	ProvconnSpan text = span_of("{\"x\" : 1, \"\\u0061b\" :\ttrue }");
	ProvconnJsonMember member;

	check_find("{\"a\":1}", "a", "1");
	check_find("{\"a\":1}", "b", NULL);
	check_find("{}", "a", NULL);
	check_find("{\"a\":1}", "A", NULL);
	check_find("{\"a\":1}", "", NULL);
	check_find("{\"\":1}", "", "1");
	check_find("{\"ab\":1}", "a", NULL);
	check_find("{\"a\":1}", "ab", NULL);
	check_find(" { \"a\" :\t[ 1 , {\"a\": 2} ] , \"b\":3}", "a", "[ 1 , {\"a\": 2} ]");
	check_find(" { \"a\" :\t[ 1 , {\"a\": 2} ] , \"b\":3}", "b", "3");
	check_find("{\"x\":{\"a\":1},\"y\":[{\"a\":2}]}", "a", NULL);
	check_find("{\"x\":\"\\\",\\\"a\\\":1,\\\"\",\"b\":2}", "a", NULL);
	check_find("{\"x\":\"a\",\"b\":\"a\"}", "a", NULL);

	check_find("{\"a\":1,\"a\":2}", "a", "2");
	check_find("{\"a\":1,\"b\":2,\"a\":null,\"c\":3}", "a", "null");
	check_find("{\"a\":1,\"\\u0061\":2}", "a", "2");
	check_find("{\"\\u0061\":1,\"a\":2}", "a", "2");

	check_find("{\"\\u0061\\u0063cess\\u005Ftoken\":\"x\"}", "access_token", "\"x\"");
	check_find("{\"\\u005f\\u004A\\u004a\":1}", "_JJ", "1");
	check_find("{\"\\u0161\":1}", "a", NULL);
	check_find("{\"\\u6161\":1}", "aa", NULL);
	check_find("{\"\\u00e1\":1}", "\341", NULL);
	check_find("{\"a\\u0000\":1}", "a", NULL);
	check_find("{\"\\u0000a\":1}", "", NULL);
	check_find("{\"a\\u0000b\":1}", "a", NULL);
	check_find("{\"\\/\\\\\\\"\\b\\f\\n\\r\\t\":1}", "/\\\"\b\f\n\r\t", "1");
	check_find("{\"n\":1}", "\n", NULL);
	check_find("{\"\\n\":1}", "n", NULL);
	check_find("{\"" E_ACUTE "\":1}", E_ACUTE, "1");

	if (ok(provconn_json_find(text, "ab", &member), "a member whose name is escaped"))
	{
		is_text(member.name.data, member.name.len, "\"\\u0061b\"", "its name as it stands");
		is_text(member.value.data, member.value.len, "true", "its value");
		is(member.kind, PROVCONN_JSON_TRUE, "its kind");
	}
	ok(!provconn_json_find(span_of("[\"a\",1]"), "a", &member) &&
	   !provconn_json_find(span_of("\"a\""), "a", &member) &&
	   !provconn_json_find(span_of(""), "a", &member), "none in what is no object");
}

static void
check_compact(const char *text, const char *expected)
{
	ProvconnSpan span = span_of(text);
	char	   *out = tap_alloc(span.len);
	size_t		len = provconn_json_compact(span, out);

	is_text(out, len, expected, "compact: %s", text);
}

static void
test_compact(void)
{
	check_compact("{}", "{}");
	check_compact(" \t\r\n{ \"a\" :\n1 , \"b\" : [ true , null ] } \n",
				  "{\"a\":1,\"b\":[true,null]}");
	check_compact("\" a\\n \\\" b \"", "\" a\\n \\\" b \"");
	check_compact("[ -1.50e+01 , \"" E_ACUTE "  " CLEF "\" ]",
				  "[-1.50e+01,\"" E_ACUTE "  " CLEF "\"]");
	check_compact("{ \"b\" : 1, \"a\" : 2, \"b\" : 3 }", "{\"b\":1,\"a\":2,\"b\":3}");
	check_compact("{\"\\u0061\": \"\\/\"}", "{\"\\u0061\":\"\\/\"}");
	check_compact(" 12 ", "12");
}

static void
check_quote(const char *bytes, size_t len, const char *expected)
{
	ProvconnSpan text = span_of_bytes(bytes, len);
	size_t		needed = provconn_json_quote(text, NULL);
	char	   *out = tap_alloc(needed);
	ProvconnSpan quoted = {out, needed};
	ProvconnJsonKind kind = PROVCONN_JSON_NULL;

	is(provconn_json_quote(text, out), needed, "quote: counted as written");
	is_text(out, needed, expected, "quote: %s", expected);
	ok(provconn_json_validate(quoted, &kind) && kind == PROVCONN_JSON_STRING,
	   "quote: gives a JSON string");
}

static void
test_quote(void)
{
	char		all[0x20];
	int			i;

	for (i = 0; i < 0x20; i++)
		all[i] = (char) i;
	check_quote("", 0, "\"\"");
	check_quote("abc", 3, "\"abc\"");
	check_quote("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
	check_quote(all, 0x20,
				"\"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007"
				"\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f"
				"\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017"
				"\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f\"");
	check_quote(" \177" E_ACUTE CLEF "\377", 9, "\" \177" E_ACUTE CLEF "\377\"");
	check_quote("{\"a\": 1}", 8, "\"{\\\"a\\\": 1}\"");
}

/* All of them over text, in buffers of the least size allowed. */
static bool
stays_consistent(ProvconnSpan text)
{
	static const char *const names[] = {"a", "access_token", ""};
	char	   *out = tap_alloc(text.len);
	char	   *again = tap_alloc(text.len);
	ProvconnSpan compact;
	ProvconnJsonMember member;
	ProvconnJsonKind kind = PROVCONN_JSON_NULL;
	ProvconnJsonKind kind_again = PROVCONN_JSON_NULL;
	bool		valid = provconn_json_validate(text, &kind);
	size_t		i;

	compact.data = out;
	compact.len = provconn_json_compact(text, out);
	for (i = 0; i < countof(names); i++)
	{
		if (provconn_json_find(text, names[i], &member) && valid &&
			(!provconn_json_validate(member.value, &kind_again) || kind_again != member.kind))
			return false;
	}
	if (!valid)
		return compact.len <= text.len;
	return provconn_json_validate(compact, &kind_again) && kind == kind_again &&
		provconn_json_compact(compact, again) == compact.len &&
		memcmp(again, out, compact.len) == 0;
}

static void
test_hostile(void)
{
	size_t		sample_len = sizeof(sample) - 1;
	size_t		len;
	int			bad = 0;
	int			byte;

	ok(provconn_json_validate(span_of(sample), NULL), "the sample is valid");
	ok(stays_consistent(span_of(sample)), "the sample is consistent");
	for (len = 0; len < sample_len; len++)
	{
		ProvconnSpan cut = span_of_bytes(sample, len);

		ok(!provconn_json_validate(cut, NULL) && stays_consistent(cut),
		   "the sample cut off at %d bytes is invalid", (int) len);
	}
	tap_free_all();
	for (len = 0; len < sample_len; len++)
	{
		for (byte = 0; byte < 256; byte++)
		{
			char		text[sizeof(sample)];

			memcpy(text, sample, sizeof(sample));
			text[len] = (char) byte;
			bad += !stays_consistent(span_of_bytes(text, sample_len));
			tap_free_all();
		}
	}
	is(bad, 0, "every byte in every place of the sample");
}

/* Tokens thrown together at random, from a fixed seed. */
static void
test_random(void)
{
	static const char *const tokens[] = {
		"{", "}", "[", "]", ":", ",", "\"a\"", "\"", "\\", "\\u0061", "1", "-", ".", "e",
		"true", "null", "nul", " ", "{\"a\":", "\"b\":[", "{}", "[]", "\001", E_ACUTE
	};
	uint32_t	seed = 12345;
	int			bad = 0;
	int			valid = 0;
	int			round;

	for (round = 0; round < 100000; round++)
	{
		char		text[100];
		size_t		len = 0;
		int			i;

		for (i = 0; i < 1 + round % 9; i++)
		{
			const char *token;

			seed = seed * 1664525 + 1013904223;
			token = tokens[(seed >> 16) % countof(tokens)];
			memcpy(text + len, token, strlen(token));
			len += strlen(token);
		}
		bad += !stays_consistent(span_of_bytes(text, len));
		valid += provconn_json_validate(span_of_bytes(text, len), NULL);
		tap_free_all();
	}
	is(bad, 0, "100000 texts of random tokens");
	ok(valid > 100, "some of them, %d, are valid", valid);
}

int
main(void)
{
	test_validate();
	test_kinds();
	test_depth();
	test_find();
	test_compact();
	test_quote();
	test_hostile();
	test_random();
	return tap_done();
}
