/*
 * test_uuid7.c: bit fields of the UUIDs, and the example of RFC 9562.
 */
#include "tap.h"
#include "uuid7.h"

static void
format_uuid(const ProvconnUuid *uuid, char *out)
{
	int			i;

	for (i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		out += sprintf(out, "%02X", uuid->bytes[i]);
	}
}

static ProvconnUuid
make_uuid(uint64_t unix_ms, int shard, const char *random)
{
	ProvconnSpan bytes = span_of_bytes(random, 8);

	return provconn_uuid7_make(unix_ms, shard, (const unsigned char *) bytes.data);
}

static void
check_uuid(ProvconnUuid uuid, const char *expected, const char *name)
{
	char		text[37];

	format_uuid(&uuid, text);
	is_text(text, 36, expected, "%s", name);
}

static void
test_shards(void)
{
	int			lost = 0;
	int			wrong_bits = 0;
	int			shard;

	for (shard = 0; shard < PROVCONN_SHARD_COUNT; shard++)
	{
		ProvconnUuid uuid = make_uuid(UINT64_C(0x017F22E279B0), shard,
									  "\377\377\377\377\377\377\377\377");

		lost += provconn_uuid7_shard(&uuid) != shard;
		wrong_bits += uuid.bytes[6] >> 4 != 7 || uuid.bytes[8] >> 6 != 2;
		tap_free_all();
	}
	is(lost, 0, "all 4096 shards are read back");
	is(wrong_bits, 0, "all have version 7 and variant binary 10");
}

static void
test_order(void)
{
	ProvconnUuid before = make_uuid(999, 4095, "\377\377\377\377\377\377\377\377");
	ProvconnUuid first = make_uuid(1000, 0, "\0\0\0\0\0\0\0\0");
	ProvconnUuid floor = provconn_uuid7_floor(1000);
	ProvconnUuid far_away = provconn_uuid7_floor(UINT64_C(1) << 48);

	ok(memcmp(before.bytes, floor.bytes, 16) < 0,
	   "the floor sorts behind all of the millisecond before");
	is(memcmp(first.bytes, floor.bytes, 16), 0, "the floor is the least of its own");
	ok(memcmp(far_away.bytes, first.bytes, 16) > 0, "a time past 48 bits sorts late");
}

/* One after another, by the last four bytes of a third. */
static void
check_after(const char *random, const char *step, const char *expected, const char *name)
{
	ProvconnUuid uuid = make_uuid(UINT64_C(0x0000000000FF), 0xABC, random);
	ProvconnUuid fresh = make_uuid(1, 0, step);
	ProvconnUuid next = provconn_uuid7_after(&uuid, &fresh);

	check_uuid(next, expected, name);
	ok(memcmp(next.bytes, uuid.bytes, sizeof(next.bytes)) > 0, "%s: it is greater", name);
	is(provconn_uuid7_shard(&next), 0xABC, "%s: in the same shard", name);
}

static void
test_after(void)
{
	check_after("\0\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\0",
				"00000000-00FF-7ABC-8000-000000000001", "the least step");
	check_after("\0\0\0\0\377\377\377\377", "\0\0\0\0\377\377\377\377",
				"00000000-00FF-7ABC-8000-0001FFFFFFFF", "the greatest step");
	check_after("\377\377\377\377\377\377\377\377", "\0\0\0\0\0\0\0\0",
				"00000000-0100-7ABC-8000-000000000000", "at the end of the bits the time goes on");
	check_after("\377\377\377\377\377\377\377\376", "\0\0\0\0\0\0\0\2",
				"00000000-0100-7ABC-8000-000000000001", "and the rest of the step counts");
}

int
main(void)
{
	ProvconnUuid any;

	check_uuid(make_uuid(UINT64_C(0x017F22E279B0), 0xCC3, "\x18\xC4\xDC\x0C\x0C\x07\x39\x8F"),
			   "017F22E2-79B0-7CC3-98C4-DC0C0C07398F", "RFC 9562, appendix A.6");
	check_uuid(make_uuid(0, 0, "\0\0\0\0\0\0\0\0"),
			   "00000000-0000-7000-8000-000000000000", "all fields zero");
	check_uuid(make_uuid((UINT64_C(1) << 48) - 1, 4095, "\377\377\377\377\377\377\377\377"),
			   "FFFFFFFF-FFFF-7FFF-BFFF-FFFFFFFFFFFF", "all fields at their greatest");
	check_uuid(make_uuid(UINT64_MAX, 4095, "\377\377\377\377\377\377\377\377"),
			   "FFFFFFFF-FFFF-7FFF-BFFF-FFFFFFFFFFFF", "the time saturates");
	check_uuid(make_uuid(UINT64_C(0x0123456789AB), 0, "\377\376\375\374\373\372\371\370"),
			   "01234567-89AB-7000-BFFE-FDFCFBFAF9F8", "every byte in its place");
	check_uuid(provconn_uuid7_floor(UINT64_C(0x017F22E279B0)),
			   "017F22E2-79B0-7000-8000-000000000000", "a floor");

	memset(any.bytes, 0xff, sizeof(any.bytes));
	is(provconn_uuid7_shard(&any), 4095, "the shard of a UUID that is none of ours");
	test_shards();
	test_order();
	test_after();
	return tap_done();
}
