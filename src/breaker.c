/*
 * breaker.c (layer 1): the circuit breaker of a provider.
 *
 * Closed: claims go on.  Failures in a row of connections that had not failed
 * before open it; one success starts the count anew, and a connection that
 * fails again and again on its own account is no evidence against its provider.
 *
 * Open: one connection at a time is claimed, a probe, with the interval between
 * two of them.  A success makes it half open.
 *
 * Half open: time goes in steps, a sixtieth of the interval each, in which
 * claims may take 2, 4, 8, ... connections, up to the limit, so that a provider
 * that has just come back does not meet all that has waited.  At the limit, a
 * claim that finds fewer connections than it may take closes the breaker.
 * Failures in a row open it again.
 */
#include "breaker.h"

#define OPEN_ALLOWANCE 1
#define FIRST_ALLOWANCE 2
#define STEPS_OF_INTERVAL 60

static int64_t step_length(const ProvconnBreakerRules *rules);
static void begin_step(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules, int64_t now);

static void
open_breaker(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules, int64_t now)
{
	if (breaker->allowance == 0)
		breaker->opened_at = now;
	breaker->allowance = OPEN_ALLOWANCE;
	breaker->taken = 0;
	breaker->next_claim_at = now + rules->interval;
}

bool
provconn_breaker_failure(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules,
						 bool newly, int64_t now)
{
	bool		closed = breaker->allowance == 0;

	if (breaker->allowance == OPEN_ALLOWANCE)
	{
		open_breaker(breaker, rules, now);
		return true;
	}
	if ((closed && !newly) || rules->threshold == 0)
		return false;
	if (breaker->failures < INT32_MAX)
		breaker->failures++;
	if (breaker->failures >= rules->threshold)
		open_breaker(breaker, rules, now);
	return true;
}

bool
provconn_breaker_success(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules, int64_t now)
{
	bool		changed = breaker->failures > 0;

	breaker->failures = 0;
	if (breaker->allowance != OPEN_ALLOWANCE)
		return changed;
	breaker->allowance = FIRST_ALLOWANCE;
	breaker->taken = 0;
	breaker->next_claim_at = now + step_length(rules);
	return true;
}

bool
provconn_breaker_released(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules, int64_t now)
{
	if (breaker->allowance != OPEN_ALLOWANCE || breaker->next_claim_at <= now + rules->interval)
		return false;
	breaker->next_claim_at = now + rules->interval;
	return true;
}

bool
provconn_breaker_claimed(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules,
						 int asked, int got, int64_t leased_until, int64_t now)
{
	if (breaker->allowance == 0)
		return false;
	if (breaker->allowance == OPEN_ALLOWANCE)
	{
		if (got == 0)
			return false;
		breaker->next_claim_at = now + rules->interval;
		if (breaker->next_claim_at < leased_until)
			breaker->next_claim_at = leased_until;
		return true;
	}
	begin_step(breaker, rules, now);
	if (got < asked && breaker->allowance >= rules->limit)
	{
		breaker->failures = 0;
		breaker->allowance = 0;
		return true;
	}
	breaker->taken += got;
	return true;
}

bool
provconn_breaker_is_failing(const ProvconnBreaker *breaker, const ProvconnBreakerRules *rules,
							int64_t now)
{
	ProvconnBreaker later = *breaker;

	if (breaker->allowance <= OPEN_ALLOWANCE)
		return breaker->allowance == OPEN_ALLOWANCE;
	begin_step(&later, rules, now);
	return later.allowance < rules->limit;
}

int
provconn_breaker_allowance(const ProvconnBreaker *breaker, const ProvconnBreakerRules *rules,
						   int64_t now)
{
	ProvconnBreaker later = *breaker;

	if (breaker->allowance == 0)
		return PROVCONN_BREAKER_NO_LIMIT;
	if (breaker->allowance == OPEN_ALLOWANCE)
		return now < breaker->next_claim_at ? 0 : OPEN_ALLOWANCE;
	begin_step(&later, rules, now);
	return later.allowance > later.taken ? later.allowance - later.taken : 0;
}

static int64_t
step_length(const ProvconnBreakerRules *rules)
{
	return rules->interval < STEPS_OF_INTERVAL ? 1 : rules->interval / STEPS_OF_INTERVAL;
}

/* Each step that has passed doubles the allowance, used or not. */
static void
begin_step(ProvconnBreaker *breaker, const ProvconnBreakerRules *rules, int64_t now)
{
	int64_t		step = step_length(rules);

	if (now < breaker->next_claim_at)
		return;
	for (; breaker->next_claim_at <= now && breaker->allowance < rules->limit;
		 breaker->next_claim_at += step)
		breaker->allowance = breaker->allowance > rules->limit / 2 ?
			rules->limit : breaker->allowance * 2;
	if (breaker->allowance > rules->limit)
		breaker->allowance = rules->limit;
	breaker->taken = 0;
	breaker->next_claim_at = now + step;
}
