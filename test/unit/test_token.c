/*
 * test_token.c: token responses as RFC 6749 shows them and as providers send
 * them, and carrying a refresh token over.
 */
#include "tap.h"
#include "token.h"

#define SECONDS(n) (INT64_C(n) * 1000000)

/* RFC 6749, section 5.1, with the indentation of the RFC. */
static const char rfc_response[] =
	"     {\n"
	"       \"access_token\":\"2YotnFZFEjr1zCsicMWpAA\",\n"
	"       \"token_type\":\"example\",\n"
	"       \"expires_in\":3600,\n"
	"       \"refresh_token\":\"tGzv3JOkF0XG5Qx2TlKWIA\",\n"
	"       \"example_parameter\":\"example_value\"\n"
	"     }\n";

static const char rfc_compact[] =
	"{\"access_token\":\"2YotnFZFEjr1zCsicMWpAA\",\"token_type\":\"example\",\"expires_in\":3600,"
	"\"refresh_token\":\"tGzv3JOkF0XG5Qx2TlKWIA\",\"example_parameter\":\"example_value\"}";

/* RFC 6749, section 5.2. */
static const char rfc_error[] =
	"     {\n"
	"       \"error\":\"invalid_request\"\n"
	"     }\n";

static ProvconnTokenFault
read_response(ProvconnSpan text, char **compact, ProvconnTokenResponse *response)
{
	*compact = tap_alloc(text.len);
	if (text.len > 0)
		memset(*compact, '?', text.len);
	memset(response, 0xee, sizeof(*response));
	return provconn_token_read(text, *compact, response);
}

static void
check_read(const char *text, const char *expected)
{
	ProvconnTokenResponse response;
	char	   *compact;

	if (is(read_response(span_of(text), &compact, &response), PROVCONN_TOKEN_OK, "reads %s", text))
		is_text(compact, response.compact_len, expected, "compact: %s", expected);
}

static void
check_fault(const char *text, ProvconnTokenFault fault)
{
	ProvconnTokenResponse response;
	ProvconnSpan span = span_of(text);
	char	   *compact;

	is(read_response(span, &compact, &response), fault, "fault %d: %s", (int) fault, text);
	ok(response.compact_len == 0 && !response.has_expires_in &&
	   (span.len == 0 || compact[0] == '?'), "and nothing is written");
}

static void
test_read(void)
{
	ProvconnTokenResponse response;
	ProvconnSpan none = {NULL, 0};
	char	   *compact;

	check_read(rfc_response, rfc_compact);
	read_response(span_of(rfc_response), &compact, &response);
	ok(response.has_expires_in && response.expires_in_usec == SECONDS(3600),
	   "the RFC's response expires in 3600 seconds");
	check_read("{\"access_token\":\"a\"}", "{\"access_token\":\"a\"}");
	read_response(span_of("{\"access_token\":\"a\"}"), &compact, &response);
	ok(!response.has_expires_in, "no expires_in");
	check_read(" { \"scope\" : \"a  b\" ,\"access_token\":\"\\u0061\", \"x\":[ {} , 1 ]}",
			   "{\"scope\":\"a  b\",\"access_token\":\"\\u0061\",\"x\":[{},1]}");
	check_read("{\"access_token\":1, \"\\u0061ccess_token\":\"a\"}",
			   "{\"access_token\":1,\"\\u0061ccess_token\":\"a\"}");
	check_read("{\"access_token\":\"a\", \"x\":{\"error\":1}}",
			   "{\"access_token\":\"a\",\"x\":{\"error\":1}}");

	is(read_response(none, &compact, &response), PROVCONN_TOKEN_NOT_JSON, "no text");
	check_fault("", PROVCONN_TOKEN_NOT_JSON);
	check_fault("access_token=a&token_type=bearer", PROVCONN_TOKEN_NOT_JSON);
	check_fault("{\"access_token\":\"a\"", PROVCONN_TOKEN_NOT_JSON);
	check_fault("{\"access_token\":\"a\",}", PROVCONN_TOKEN_NOT_JSON);
	check_fault("[{\"access_token\":\"a\"}]", PROVCONN_TOKEN_NOT_OBJECT);
	check_fault("\"a\"", PROVCONN_TOKEN_NOT_OBJECT);
	check_fault("null", PROVCONN_TOKEN_NOT_OBJECT);
	check_fault(rfc_error, PROVCONN_TOKEN_ERROR_RESPONSE);
	check_fault("{\"access_token\":\"a\",\"error\":\"x\"}", PROVCONN_TOKEN_ERROR_RESPONSE);
	check_fault("{\"\\u0065rror\":{},\"expires_in\":-1}", PROVCONN_TOKEN_ERROR_RESPONSE);
	check_fault("{}", PROVCONN_TOKEN_NO_ACCESS_TOKEN);
	check_fault("{\"access_token\":\"\"}", PROVCONN_TOKEN_NO_ACCESS_TOKEN);
	check_fault("{\"access_token\":null}", PROVCONN_TOKEN_NO_ACCESS_TOKEN);
	check_fault("{\"access_token\":1}", PROVCONN_TOKEN_NO_ACCESS_TOKEN);
	check_fault("{\"access_token\":[\"a\"]}", PROVCONN_TOKEN_NO_ACCESS_TOKEN);
	check_fault("{\"access_token\":\"a\",\"access_token\":\"\"}", PROVCONN_TOKEN_NO_ACCESS_TOKEN);
	check_fault("{\"x\":{\"access_token\":\"a\"}}", PROVCONN_TOKEN_NO_ACCESS_TOKEN);
}

/* expires_in as JSON text and the microseconds it stands for; -1 for bad. */
static const struct
{
	const char *value;
	int64_t		usec;
}			expires_cases[] = {
	{"0", 0}, {"1", SECONDS(1)}, {"3600", SECONDS(3600)}, {"-0", 0}, {"-0.0e5", 0},
	{"0.5", 500000}, {"3599.999999", SECONDS(3599) + 999999}, {"1.0000001", SECONDS(1)},
	{"1.9999999999999999999999999", SECONDS(1) + 999999}, {"0.000001", 1}, {"0.0000009", 0},
	{"3.6e3", SECONDS(3600)}, {"3.6E+3", SECONDS(3600)}, {"36000e-1", SECONDS(3600)},
	{"360000000000000000000000e-20", SECONDS(3600)}, {"0.00000000000000000000000036e28", SECONDS(3600)},
	{"1e-6", 1}, {"1e-7", 0}, {"1e-999999999999999999999", 0}, {"0e999999999999999999999", 0},
	{"5.25e0", SECONDS(5) + 250000}, {"1e0000000000000000000000001", SECONDS(10)},
	{"999999999999.999999", SECONDS(999999999999) + 999999},
	{"9999999999999.99999999e-1", SECONDS(999999999999) + 999999},
	{"1000000000000", SECONDS(1000000000000)}, {"1e12", SECONDS(1000000000000)},
	{"1000000000000.000001", -1}, {"1000000000001", -1}, {"1e13", -1}, {"1e12345", -1},
	{"9223372036854775807", -1}, {"9223372036854775808", -1}, {"18446744073709551616", -1},
	{"18446744073709551617", -1}, {"18446744073710", -1}, {"100000000000000000000000000000", -1},
	{"1e999999999999999999999", -1}, {"1e9223372036854775807", -1}, {"1e18446744073709551616", -1},
	{"-1", -1}, {"-0.1", -1}, {"-1e-99", -1}, {"-3600", -1}, {"-1e99", -1},

	{"\"3600\"", SECONDS(3600)}, {"\"3.6e3\"", SECONDS(3600)}, {"\"0\"", 0},
	{"\" 3600\\t\"", -1}, {"\" 3600 \"", SECONDS(3600)}, {"\"-1\"", -1}, {"\"\"", -1}, {"\" \"", -1},
	{"\"3600s\"", -1}, {"\"0x10\"", -1}, {"\"03600\"", -1}, {"\"+1\"", -1}, {"\"1,5\"", -1},
	{"\"1 2\"", -1}, {"\"never\"", -1}, {"\"null\"", -1}, {"\"[1]\"", -1}, {"\"\\\"1\\\"\"", -1},
	{"\"\\u0031\"", -1}, {"\"1e13\"", -1},
	{"true", -1}, {"false", -1}, {"[]", -1}, {"[3600]", -1}, {"{}", -1}
};

static void
test_expires_in(void)
{
	char		text[200];
	ProvconnTokenResponse response;
	ProvconnTokenFault fault;
	char	   *compact;
	size_t		i;

	for (i = 0; i < countof(expires_cases); i++)
	{
		snprintf(text, sizeof(text), "{\"access_token\":\"a\",\"expires_in\":%s}",
				 expires_cases[i].value);
		fault = read_response(span_of(text), &compact, &response);
		if (expires_cases[i].usec < 0)
			is(fault, PROVCONN_TOKEN_BAD_EXPIRES_IN, "bad: expires_in %s", expires_cases[i].value);
		else if (is(fault, PROVCONN_TOKEN_OK, "expires_in %s", expires_cases[i].value))
			is(response.has_expires_in ? response.expires_in_usec : -1, expires_cases[i].usec,
			   "gives its microseconds");
	}

	fault = read_response(span_of("{\"access_token\":\"a\",\"expires_in\":null}"), &compact, &response);
	ok(fault == PROVCONN_TOKEN_OK && !response.has_expires_in, "null counts as absent");
	read_response(span_of("{\"expires_in\":1,\"access_token\":\"a\",\"expires_in\":2}"),
				  &compact, &response);
	is(response.expires_in_usec, SECONDS(2), "the last of two counts");
}

/* An exponent may undo as many zeros as there is text. */
static void
test_long_number(void)
{
	static const char head[] = "{\"access_token\":\"a\",\"expires_in\":0.";
	static const char tail[] = "36e100004}";
	size_t		zeros = 100000;
	size_t		len = sizeof(head) - 1 + zeros + sizeof(tail) - 1;
	char	   *text = tap_alloc(len);
	ProvconnSpan span = {text, len};
	ProvconnTokenResponse response;
	char	   *compact;

	memset(text, '0', len);
	memcpy(text, head, sizeof(head) - 1);
	memcpy(text + len - (sizeof(tail) - 1), tail, sizeof(tail) - 1);
	is(read_response(span, &compact, &response), PROVCONN_TOKEN_OK, "a number of 100000 digits");
	is(response.expires_in_usec, SECONDS(3600), "gives its microseconds");
}

static void
test_questions(void)
{
	static const struct
	{
		const char *secret;
		bool		is_oauth2;
		bool		lacks_refresh;
	}			cases[] = {
		{"{\"access_token\":\"a\"}", true, true},
		{" {\"access_token\":\"a\",\"refresh_token\":null}", true, true},
		{"{\"access_token\":\"a\",\"refresh_token\":\"\"}", true, true},
		{"{\"access_token\":\"a\",\"x\":{\"refresh_token\":\"r\"}}", true, true},
		{"{\"access_token\":\"a\",\"refresh_token\":\"r\",\"refresh_token\":null}", true, true},
		{"{\"access_token\":\"a\",\"Refresh_token\":\"r\"}", true, true},
		{"{\"access_token\":\"a\",\"refresh_token\":\"r\"}", true, false},
		{"{\"access_token\":\"a\",\"refresh_\\u0074oken\":\"r\"}", true, false},
		{"{\"access_token\":\"a\",\"refresh_token\":\"\",\"refresh_token\":\"r\"}", true, false},
		{"{\"access_token\":\"a\",\"refresh_token\":0}", true, false},
		{"{\"access_token\":\"a\",\"refresh_token\":false}", true, false},
		{"{\"access_token\":\"a\",\"refresh_token\":{}}", true, false},
		{"{\"access_token\":\"\"}", false, false},
		{"{\"access_token\":null}", false, false},
		{"{\"access_token\":7}", false, false},
		{"{\"api_key\":\"a\"}", false, false},
		{"{}", false, false},
		{"[\"access_token\",\"a\"]", false, false},
		{"{\"access_token\":\"a\"", false, false},
		{"access_token", false, false},
		{"\"access_token\"", false, false},
		{"", false, false}
	};
	size_t		i;

	for (i = 0; i < countof(cases); i++)
	{
		is(provconn_token_is_oauth2(span_of(cases[i].secret)), cases[i].is_oauth2,
		   "is OAuth 2: %s", cases[i].secret);
		is(provconn_token_lacks_refresh(span_of(cases[i].secret)), cases[i].lacks_refresh,
		   "lacks a refresh token: %s", cases[i].secret);
	}
}

/* With expected NULL there is nothing to carry over. */
static void
check_carry_over(const char *stored, const char *fresh, const char *expected)
{
	ProvconnSpan from = span_of(stored);
	ProvconnSpan to = span_of(fresh);
	char	   *out = tap_alloc(from.len + to.len + 20);
	size_t		len = provconn_token_carry_over(from, to, out);
	ProvconnSpan result = {out, len};

	if (expected == NULL)
	{
		is(len, 0, "nothing to carry over from %s to %s", stored, fresh);
		return;
	}
	is_text(out, len, expected, "carried over: %s", expected);
	ok(provconn_token_is_oauth2(result) && !provconn_token_lacks_refresh(result),
	   "the result has a refresh token");
}

static void
test_carry_over(void)
{
	static const char stored[] = "{\"access_token\":\"a\",\"refresh_token\":\"r\"}";
	static const char bare[] = "{\"access_token\":\"b\"}";

	check_carry_over(stored, bare, "{\"access_token\":\"b\",\"refresh_token\":\"r\"}");
	check_carry_over(rfc_response, bare,
					 "{\"access_token\":\"b\",\"refresh_token\":\"tGzv3JOkF0XG5Qx2TlKWIA\"}");
	check_carry_over(stored, " { \"access_token\" : \"b\" \n } \n",
					 " { \"access_token\" : \"b\",\"refresh_token\":\"r\" \n } \n");
	check_carry_over(stored, "{\"access_token\":\"b\",\"x\":{}}",
					 "{\"access_token\":\"b\",\"x\":{},\"refresh_token\":\"r\"}");
	check_carry_over(stored, "{\"access_token\":\"b\",\"refresh_token\":null,\"x\":1}",
					 "{\"access_token\":\"b\",\"refresh_token\":\"r\",\"x\":1}");
	check_carry_over(stored, "{\"refresh_token\" : \"\" , \"access_token\":\"b\"}",
					 "{\"refresh_token\" : \"r\" , \"access_token\":\"b\"}");
	check_carry_over(stored, "{\"access_token\":\"b\",\"\\u0072efresh_token\":null}",
					 "{\"access_token\":\"b\",\"\\u0072efresh_token\":\"r\"}");
	check_carry_over(stored,
					 "{\"refresh_token\":\"old\",\"access_token\":\"b\",\"refresh_token\":null}",
					 "{\"refresh_token\":\"old\",\"access_token\":\"b\",\"refresh_token\":\"r\"}");
	check_carry_over(stored, "{\"access_token\":\"b\",\"x\":{\"refresh_token\":null}}",
					 "{\"access_token\":\"b\",\"x\":{\"refresh_token\":null},\"refresh_token\":\"r\"}");
	check_carry_over("{\"access_token\":\"a\",\"refresh_token\":\"\\u0072\\\"\\/\303\251\"}", bare,
					 "{\"access_token\":\"b\",\"refresh_token\":\"\\u0072\\\"\\/\303\251\"}");
	check_carry_over("{\"access_token\":\"a\",\"refresh_token\":[ 1 ]}", bare,
					 "{\"access_token\":\"b\",\"refresh_token\":[ 1 ]}");
	check_carry_over("{\"access_token\":\"a\",\"refresh_token\":\"p\",\"refresh_token\":\"q\"}", bare,
					 "{\"access_token\":\"b\",\"refresh_token\":\"q\"}");

	check_carry_over(bare, bare, NULL);
	check_carry_over("{\"access_token\":\"a\",\"refresh_token\":null}", bare, NULL);
	check_carry_over("{\"access_token\":\"a\",\"refresh_token\":\"\"}", bare, NULL);
	check_carry_over("{\"refresh_token\":\"r\"}", bare, "{\"access_token\":\"b\",\"refresh_token\":\"r\"}");
	check_carry_over("[{\"refresh_token\":\"r\"}]", bare, NULL);
	check_carry_over("{\"api_key\":\"k\"}", bare, NULL);
	check_carry_over("opaque", bare, NULL);
	check_carry_over("", bare, NULL);
	check_carry_over(stored, stored, NULL);
	check_carry_over(stored, "{\"access_token\":\"b\",\"refresh_token\":5}", NULL);
	check_carry_over(stored, "{\"api_key\":\"k\"}", NULL);
	check_carry_over(stored, "{}", NULL);
	check_carry_over(stored, "", NULL);
}

/* Every beginning of the RFC's response, wherever it can be handed in. */
static void
test_truncation(void)
{
	size_t		whole = strlen(rfc_response) - 1;
	size_t		len;

	for (len = 0; len < whole; len++)
	{
		ProvconnSpan cut = span_of_bytes(rfc_response, len);
		ProvconnSpan fresh = span_of("{\"access_token\":\"b\"}");
		ProvconnTokenResponse response;
		char	   *compact;
		char	   *out = tap_alloc(cut.len + fresh.len + 20);

		ok(read_response(cut, &compact, &response) == PROVCONN_TOKEN_NOT_JSON &&
		   !provconn_token_is_oauth2(cut) && !provconn_token_lacks_refresh(cut) &&
		   provconn_token_carry_over(cut, fresh, out) == 0 &&
		   provconn_token_carry_over(fresh, cut, out) == 0,
		   "the RFC's response cut off at %d bytes", (int) len);
	}
}

int
main(void)
{
	test_read();
	test_expires_in();
	test_long_number();
	test_questions();
	test_carry_over();
	test_truncation();
	return tap_done();
}
