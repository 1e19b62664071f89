/*
 * shard.c (layer 3): which shard a user belongs to, and new ids there.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "digest.h"
#include "random.h"
#include "shard.h"
#include "uuid7.h"

int
provconn_shard_of_user(const ProvconnUuid *user_id)
{
	/* A call asks more than once. */
	static ProvconnUuid last;
	static int	last_shard = -1;
	unsigned char digest[PROVCONN_DIGEST_LENGTH];

	if (last_shard >= 0 && memcmp(user_id, &last, sizeof(last)) == 0)
		return last_shard;
	provconn_digest_sha256(user_id->bytes, sizeof(user_id->bytes), digest);
	last = *user_id;
	last_shard = digest[0] << 4 | digest[1] >> 4;
	return last_shard;
}

ProvconnUuid
provconn_shard_new_id(int shard, TimestampTz now)
{
	const int64 epoch_offset = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	unsigned char random[8];

	provconn_random_bytes(random, sizeof(random));
	return provconn_uuid7_make((uint64) ((now + epoch_offset) / 1000), shard, random);
}
