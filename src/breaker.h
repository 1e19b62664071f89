/*
 * breaker.h (layer 1): the circuit breaker of a provider.
 */
#ifndef PROVCONN_BREAKER_H
#define PROVCONN_BREAKER_H

#include "model.h"

#define PROVCONN_BREAKER_NO_LIMIT INT32_MAX

/* Times are microseconds since one epoch or another. */
typedef struct ProvconnBreaker
{
	int32_t		failures;		/* since the last success */
	int32_t		allowance;		/* connections to claim before next_claim_at moves; 0: closed */
	int32_t		taken;			/* of the allowance */
	int64_t		opened_at;		/* unless closed */
	int64_t		next_claim_at;	/* unless closed */
} ProvconnBreaker;

typedef struct ProvconnBreakerRules
{
	int32_t		threshold;		/* failures that open it; 0: never */
	int64_t		interval;		/* between two probes, microseconds */
	int32_t		limit;			/* of the allowance while half open */
} ProvconnBreakerRules;

/*
 * A transient failure, of a connection that had not failed before (newly) or
 * had.  Returns whether the breaker changed, as the next ones do.
 */
extern bool provconn_breaker_failure(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules,
									 bool newly, int64_t now);
extern bool provconn_breaker_success(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules,
									 int64_t now);

/* A claimed connection was given back untried. */
extern bool provconn_breaker_released(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules,
									  int64_t now);

/* A claim of this provider's connections that asked for some and got some. */
extern bool provconn_breaker_claimed(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules,
									 int asked, int got, int64_t leased_until, int64_t now);

/* Whether the provider is down, or up again so short a time that it is still spared. */
extern bool provconn_breaker_is_failing(const ProvconnBreaker *breaker,
										const ProvconnBreakerRules *rules, int64_t now);

/* How many connections a claim may take now. */
extern int	provconn_breaker_allowance(const ProvconnBreaker *breaker,
									   const ProvconnBreakerRules *rules, int64_t now);

#endif /* PROVCONN_BREAKER_H */
