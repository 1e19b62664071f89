/*
 * shard.c (layer 3): which shard a user belongs to, and new ids there.
 */
#include "postgres.h"

#include "common/sha2.h"
#include "common/cryptohash.h"
#include "utils/timestamp.h"

#include "shard.h"
#include "uuid7.h"

int
provconn_shard_of_user(const ProvconnUuid *user_id)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, user_id->bytes, sizeof(user_id->bytes)) < 0 ||
		pg_cryptohash_final(context, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA-256 hash");
	pg_cryptohash_free(context);
	return digest[0] << 4 | digest[1] >> 4;
}

ProvconnUuid
provconn_shard_new_id(int shard, TimestampTz now)
{
	const int64 epoch_offset = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	unsigned char random[8];

	if (!pg_strong_random(random, sizeof(random)))
		elog(ERROR, "could not generate random values");
	return provconn_uuid7_make((uint64) ((now + epoch_offset) / 1000), shard, random);
}
