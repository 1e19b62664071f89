/*
 * uuid7.h (layer 1): UUIDv7 (RFC 9562, section 5.7) that carries a shard.
 */
#ifndef PROVCONN_UUID7_H
#define PROVCONN_UUID7_H

#include "model.h"

/*
 * A UUIDv7 of the time given, with shard (0..4095) in its 12 rand_a bits and
 * the 62 low bits of random in rand_b.  A time past 48 bits counts as the last
 * one they hold.
 */
extern ProvconnUuid provconn_uuid7_make(uint64_t unix_ms, int shard,
										const unsigned char random[8]);

/*
 * A UUIDv7 of the same shard that is greater by 1 to 2^32.  How much is for the
 * random bits of fresh, another UUIDv7, to say: who else goes on from the same
 * one must not come to the same.
 */
extern ProvconnUuid provconn_uuid7_after(const ProvconnUuid *uuid, const ProvconnUuid *fresh);

/* The 12 bits where a UUIDv7 of ours carries its shard; any UUID will do. */
extern int	provconn_uuid7_shard(const ProvconnUuid *uuid);

/* The least UUIDv7 of that millisecond, for range bounds. */
extern ProvconnUuid provconn_uuid7_floor(uint64_t unix_ms);

#endif							/* PROVCONN_UUID7_H */
