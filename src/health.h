/*
 * health.h (layer 5): how providers do, by their circuit breakers.
 */
#ifndef PROVCONN_HEALTH_H
#define PROVCONN_HEALTH_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "breaker.h"
#include "model.h"
#include "store.h"

typedef struct ProvconnHealth
{
	ProvconnRow row;
	ProvconnBreaker breaker;
} ProvconnHealth;

/*
 * Locks the row of a provider, and keeps it until the transaction ends; open
 * until provconn_health_close().  False where another session has it: nobody
 * waits for a breaker.
 */
extern bool provconn_health_lock(const ProvconnUuid *provider_id, ProvconnHealth *health);
extern void provconn_health_save(ProvconnHealth *health);
extern void provconn_health_close(ProvconnHealth *health);

/*
 * What a worker reports.  Counted unless another session is just counting: a
 * breaker goes by many reports, not by each.
 */
extern void provconn_health_succeeded(const ProvconnUuid *provider_id, TimestampTz now);
extern void provconn_health_failed(const ProvconnUuid *provider_id, bool newly, TimestampTz now);

extern void provconn_health_released(const ProvconnUuid *provider_id, TimestampTz now);

/* Whether the provider's breaker is not closed. */
extern bool provconn_health_is_limited(const ProvconnUuid *provider_id);

/* Whether the provider is down, or was until a moment ago. */
extern bool provconn_health_is_failing(const ProvconnUuid *provider_id, TimestampTz now);

/* How many of the provider's connections may be claimed now, as far as is known. */
extern int	provconn_health_allowance(const ProvconnUuid *provider_id, TimestampTz now);

/* Closes a provider's breaker, waiting for who has the row; makes it where it is missing. */
extern void provconn_health_reset(const ProvconnUuid *provider_id);

/* Makes the row of a provider that is new here. */
extern void provconn_health_begin(const ProvconnUuid *provider_id);

#endif /* PROVCONN_HEALTH_H */
