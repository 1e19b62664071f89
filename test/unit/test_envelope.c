/*
 * test_envelope.c: the layout of sealed credentials and of associated data.
 * Both are frozen, so the expected bytes are written out.
 */
#include "envelope.h"
#include "tap.h"

#define MAX_LENGTH 33

/* An envelope of a text of that length, whose bytes count up from 5 on. */
static unsigned char *
make_envelope(size_t text_len, int32_t key_id)
{
	size_t		len = PROVCONN_ENVELOPE_OVERHEAD + text_len;
	unsigned char *bytes = (unsigned char *) tap_alloc(len);
	size_t		i;

	for (i = 0; i < len; i++)
		bytes[i] = (unsigned char) i;
	provconn_envelope_start(bytes, key_id);
	return bytes;
}

static void
test_parse(void)
{
	ProvconnEnvelope envelope;
	size_t		text_len;

	for (text_len = 1; text_len <= MAX_LENGTH; text_len++)
	{
		unsigned char *bytes = make_envelope(text_len, 0x01020304);
		size_t		len = 37 + text_len;

		memset(&envelope, 0, sizeof(envelope));
		ok(provconn_envelope_parse(bytes, len, &envelope), "a text of %d", (int) text_len);
		ok(bytes[0] == 1 && memcmp(bytes + 1, "\1\2\3\4\5", 5) == 0,
		   "the head is format and key id, big-endian, and no more is written");
		is(envelope.key_id, 0x01020304, "key id");
		is(envelope.iv - bytes, 5, "initial counter block");
		is(envelope.ciphertext - bytes, 21, "ciphertext");
		is(envelope.ciphertext_len, text_len, "length of the ciphertext");
		is(envelope.tag - bytes, 21 + text_len, "tag");
		is(envelope.tag + 16 - bytes, len, "and no more");
	}
}

/* Whether an envelope that starts thus is refused. */
static bool
refuses_head(const char *head)
{
	unsigned char *bytes = make_envelope(1, 1);
	ProvconnEnvelope envelope;

	memcpy(bytes, head, 5);
	return !provconn_envelope_parse(bytes, PROVCONN_ENVELOPE_OVERHEAD + 1, &envelope);
}

static void
test_refusals(void)
{
	unsigned char *bytes = make_envelope(MAX_LENGTH, 7);
	ProvconnEnvelope envelope;
	size_t		len;

	for (len = 0; len <= PROVCONN_ENVELOPE_OVERHEAD + MAX_LENGTH; len++)
	{
		ProvconnSpan cut = span_of_bytes(bytes, len);
		bool		enough = len >= 38;

		is(provconn_envelope_parse((const unsigned char *) cut.data, len, &envelope),
		   enough, "cut off at %d bytes it is %s envelope", (int) len, enough ? "an" : "no");
	}
	ok(!provconn_envelope_parse(NULL, 0, &envelope), "no bytes at all");
	ok(refuses_head("\0\0\0\0\1"), "format 0");
	ok(refuses_head("\2\0\0\0\1"), "format 2");
	ok(refuses_head("\1\0\0\0\0"), "key id 0");
	ok(refuses_head("\1\200\0\0\0"), "key id 2147483648");
	ok(refuses_head("\1\377\377\377\377"), "key id -1");
	ok(!refuses_head("\1\177\377\377\377"), "but not key id 2147483647");
}

/* What names its key need not be whole, nor of a format that is known. */
static void
test_key_id(void)
{
	ProvconnSpan head = span_of_bytes("\2\1\2\3\4", 5);
	ProvconnSpan cut = span_of_bytes("\1\1\2\3", 4);
	ProvconnSpan high = span_of_bytes("\1\377\377\377\377", 5);

	is(provconn_envelope_key_id((const unsigned char *) head.data, head.len), 0x01020304,
	   "the key id of a head");
	is(provconn_envelope_key_id((const unsigned char *) cut.data, cut.len), 0, "none in four bytes");
	is(provconn_envelope_key_id((const unsigned char *) high.data, high.len), -1,
	   "one that no key has");
}

static ProvconnBinding
make_binding(void)
{
	ProvconnBinding binding;

	memset(&binding, 0, sizeof(binding));
	memcpy(binding.connection_id.bytes, "CCCCCCCCCCCCCCCC", 16);
	memcpy(binding.user_id.bytes, "UUUUUUUUUUUUUUUU", 16);
	memcpy(binding.provider_id.bytes, "PPPPPPPPPPPPPPPP", 16);
	binding.credential_type = PROVCONN_CREDENTIAL_LINK_TOKEN;
	binding.expires = true;
	binding.expires_at = INT64_C(0x0102030405060708);
	binding.version = 0x0a0b0c0d;
	return binding;
}

/* The associated data in a span of its own. */
static ProvconnSpan
associate(ProvconnBinding binding, int32_t key_id)
{
	unsigned char out[PROVCONN_ENVELOPE_ASSOCIATED_MAX];
	size_t		len = provconn_envelope_associated(&binding, key_id, out);

	return span_of_bytes(out, len);
}

static bool
equals(ProvconnSpan span, const char *expected, size_t len)
{
	return span.len == len && memcmp(span.data, expected, len) == 0;
}

static void
test_associated(void)
{
	static const char head[] = "\23provconn.credential\1\1\4\0\0\1\2"
		"\20CCCCCCCCCCCCCCCC\20UUUUUUUUUUUUUUUU\20PPPPPPPPPPPPPPPP";
	static const char finite[] = "\1\3\10\1\2\3\4\5\6\7\10\4\12\13\14\15";
	static const char endless[] = "\1\3\0\4\12\13\14\15";
	static const char negative[] = "\1\3\10\377\377\377\377\377\377\377\376\4\12\13\14\15";
	size_t		head_len = sizeof(head) - 1;
	ProvconnBinding binding = make_binding();
	ProvconnSpan data = associate(binding, 0x102);
	ProvconnSpan tail = {data.data + head_len, data.len - head_len};

	ok(data.len > head_len && memcmp(data.data, head, head_len) == 0,
	   "label, format, key id and the three ids");
	ok(equals(tail, finite, sizeof(finite) - 1), "type, expiry, version");

	binding.expires = false;
	data = associate(binding, 0x102);
	tail.data = data.data + head_len;
	tail.len = data.len - head_len;
	ok(equals(tail, endless, sizeof(endless) - 1), "an expiry of length 0 for never");

	binding.expires = true;
	binding.expires_at = -2;
	data = associate(binding, 0x102);
	tail.data = data.data + head_len;
	tail.len = data.len - head_len;
	ok(equals(tail, negative, sizeof(negative) - 1), "an expiry before 2000");
}

static void
test_binding(void)
{
	ProvconnSpan data[10];
	size_t		i;
	size_t		j;

	for (i = 0; i < countof(data); i++)
	{
		ProvconnBinding binding = make_binding();

		binding.connection_id.bytes[15] ^= i == 1;
		binding.user_id.bytes[0] ^= i == 2;
		binding.provider_id.bytes[15] ^= i == 3;
		if (i == 4)
			binding.credential_type = PROVCONN_CREDENTIAL_OAUTH2;
		if (i == 5 || i == 6)
			binding.expires_at = 0;
		if (i == 6)
			binding.expires = false;
		binding.version += i == 7;
		binding.expires_at += i == 8;
		data[i] = associate(binding, i == 9 ? 2 : 1);
	}
	for (i = 0; i < countof(data); i++)
	{
		for (j = 0; j < i; j++)
			ok(!equals(data[i], data[j].data, data[j].len),
			   "bindings %d and %d differ", (int) i, (int) j);
	}
}

int
main(void)
{
	test_parse();
	test_refusals();
	test_key_id();
	test_associated();
	test_binding();
	return tap_done();
}
