/*
 * uuid7.c (layer 1): makes UUIDv7 (RFC 9562, section 5.7) that carry a shard.
 *
 *	bytes 0-5	unix_ts_ms, big-endian
 *	bytes 6-7	version (4 bits, 7), rand_a (12 bits): the shard
 *	bytes 8-15	variant (2 bits, binary 10), rand_b (62 bits): random
 *
 * The RFC leaves rand_a to the maker.  All randomness is the caller's: 62 bits
 * of it within one millisecond and shard, so it has to be of the strong kind.
 */
#include "uuid7.h"

#include <string.h>

#define RAND_B_MASK ((UINT64_C(1) << 62) - 1)
#define MAX_UNIX_MS ((UINT64_C(1) << 48) - 1)	/* in the year 10889 */

ProvconnUuid
provconn_uuid7_make(uint64_t unix_ms, int shard, const unsigned char random[8])
{
	ProvconnUuid uuid;
	int			i;

	/* Saturates: cut off to 48 bits, a later time would sort as an early one. */
	if (unix_ms > MAX_UNIX_MS)
		unix_ms = MAX_UNIX_MS;
	for (i = 5; i >= 0; i--)
	{
		uuid.bytes[i] = (unsigned char) (unix_ms & 0xff);
		unix_ms >>= 8;
	}
	uuid.bytes[6] = (unsigned char) (0x70 | (shard >> 8 & 0x0f));
	uuid.bytes[7] = (unsigned char) (shard & 0xff);
	memcpy(uuid.bytes + 8, random, 8);
	uuid.bytes[8] = (unsigned char) (0x80 | (uuid.bytes[8] & 0x3f));
	return uuid;
}

int
provconn_uuid7_shard(const ProvconnUuid *uuid)
{
	return (uuid->bytes[6] & 0x0f) << 8 | uuid->bytes[7];
}

ProvconnUuid
provconn_uuid7_floor(uint64_t unix_ms)
{
	static const unsigned char zeros[8] = {0};

	return provconn_uuid7_make(unix_ms, 0, zeros);
}

/* Section 6.2, method 2: the random bits count up, and at their end the time does. */
ProvconnUuid
provconn_uuid7_after(const ProvconnUuid *uuid, const ProvconnUuid *fresh)
{
	ProvconnUuid next = *uuid;
	uint64_t	step = 0;
	uint64_t	low = 0;
	int			i;

	for (i = 12; i < 16; i++)
		step = step << 8 | fresh->bytes[i];
	for (i = 8; i < 16; i++)
		low = low << 8 | uuid->bytes[i];
	low = (low & RAND_B_MASK) + step + 1;
	for (i = 5; low > RAND_B_MASK && i >= 0; i--)
		if (++next.bytes[i] != 0)
			break;
	low &= RAND_B_MASK;
	for (i = 15; i >= 8; i--, low >>= 8)
		next.bytes[i] = (unsigned char) (low & 0xff);
	next.bytes[8] |= 0x80;
	return next;
}
