/*
 * idempotency.h (layer 5): connects that were accepted before.
 */
#ifndef PROVCONN_IDEMPOTENCY_H
#define PROVCONN_IDEMPOTENCY_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "model.h"

/* What is kept of an accepted connect. */
typedef struct ProvconnIdempotent
{
	ProvconnUuid user_id;
	ProvconnUuid key;
	ProvconnUuid provider_id;
	ProvconnSpan alias;
	ProvconnUuid connection_id;
	int32		version;
} ProvconnIdempotent;

/* The accepted connect with this user and key, unless it is too old. */
extern bool provconn_idempotency_find(const ProvconnUuid *user_id, const ProvconnUuid *key,
									  TimestampTz now, ProvconnIdempotent *first);

/*
 * Keeps an accepted connect; false when another session did so for the same
 * key, which this waits for.  Forgets what the user has that is too old.
 */
extern bool provconn_idempotency_keep(const ProvconnIdempotent *accepted, TimestampTz now);

/* Forgets every key of a user. */
extern void provconn_idempotency_forget_user(const ProvconnUuid *user_id);

#endif							/* PROVCONN_IDEMPOTENCY_H */
