/*
 * shard.h (layer 3): which shard a user belongs to, and new ids there.
 */
#ifndef PROVCONN_SHARD_H
#define PROVCONN_SHARD_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "model.h"

/* The first 12 bits of SHA-256 over the 16 bytes of the id; frozen. */
extern int	provconn_shard_of_user(const ProvconnUuid *user_id);

/* A new UUIDv7 of that shard and time. */
extern ProvconnUuid provconn_shard_new_id(int shard, TimestampTz now);

#endif							/* PROVCONN_SHARD_H */
