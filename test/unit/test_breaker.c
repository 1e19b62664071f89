/*
 * test_breaker.c: the circuit breaker, from closed to open to half open and
 * back.
 */
#include "breaker.h"
#include "tap.h"

#define SECOND INT64_C(1000000)
#define INTERVAL (60 * SECOND)

static const ProvconnBreakerRules rules = {3, INTERVAL, 20};

static void
fail_times(ProvconnBreaker *breaker, int times, int64_t now)
{
	int			i;

	for (i = 0; i < times; i++)
		(void) provconn_breaker_failure(breaker, &rules, true, now);
}

static void
test_closed(void)
{
	ProvconnBreaker breaker = {0};
	ProvconnBreakerRules off = rules;
	int			i;

	is(provconn_breaker_allowance(&breaker, &rules, 0), PROVCONN_BREAKER_NO_LIMIT, "closed: no limit");
	ok(!provconn_breaker_claimed(&breaker, &rules, 100, 100, 0, 0), "a claim changes nothing");
	ok(!provconn_breaker_success(&breaker, &rules, 0), "nor does a success");
	for (i = 0; i < 10; i++)
		ok(!provconn_breaker_failure(&breaker, &rules, false, 0),
		   "nor a connection that fails again");

	fail_times(&breaker, 2, 0);
	is(breaker.allowance, 0, "two of three failures leave it closed");
	ok(provconn_breaker_success(&breaker, &rules, 0), "a success is noted");
	is(breaker.failures, 0, "and the count begins anew");
	fail_times(&breaker, 2, 0);
	is(breaker.allowance, 0, "two more leave it closed");
	fail_times(&breaker, 1, 7);
	is(breaker.allowance, 1, "the third opens it");
	is(breaker.opened_at, 7, "and the time is noted");

	memset(&breaker, 0, sizeof(breaker));
	off.threshold = 0;
	for (i = 0; i < 100; i++)
		ok(!provconn_breaker_failure(&breaker, &off, true, 0), "a threshold of 0 never opens");
}

static void
test_open(void)
{
	ProvconnBreaker breaker = {0};
	int64_t		now = 1000 * SECOND;

	fail_times(&breaker, 3, now);
	is(provconn_breaker_allowance(&breaker, &rules, now), 0, "open: nothing at first");
	is(provconn_breaker_allowance(&breaker, &rules, now + INTERVAL - 1), 0, "nor before the interval");
	now += INTERVAL;
	is(provconn_breaker_allowance(&breaker, &rules, now), 1, "then one");
	ok(!provconn_breaker_claimed(&breaker, &rules, 1, 0, now, now), "none found: as before");
	is(provconn_breaker_allowance(&breaker, &rules, now), 1, "still one");

	ok(provconn_breaker_claimed(&breaker, &rules, 1, 1, now + 2 * INTERVAL, now), "a probe");
	is(provconn_breaker_allowance(&breaker, &rules, now + 2 * INTERVAL - 1), 0,
	   "no second one while its lease runs");
	is(provconn_breaker_allowance(&breaker, &rules, now + 2 * INTERVAL), 1, "a lost one is replaced");
	ok(provconn_breaker_claimed(&breaker, &rules, 1, 1, now + 1, now), "a probe of a short lease");
	is(provconn_breaker_allowance(&breaker, &rules, now + INTERVAL - 1), 0, "the interval holds too");

	ok(provconn_breaker_failure(&breaker, &rules, false, now + 5 * SECOND), "it fails");
	is(breaker.allowance, 1, "still open");
	is(breaker.opened_at, 1000 * SECOND, "since the first time");
	is(provconn_breaker_allowance(&breaker, &rules, now + 5 * SECOND + INTERVAL - 1), 0,
	   "the interval counts from the report");
}

static void
test_release(void)
{
	ProvconnBreaker breaker = {0};
	int64_t		now = 1000 * SECOND;

	ok(!provconn_breaker_released(&breaker, &rules, now), "closed: a release changes nothing");
	fail_times(&breaker, 3, now);
	now += INTERVAL;
	(void) provconn_breaker_claimed(&breaker, &rules, 1, 1, now + 100 * INTERVAL, now);
	now += SECOND;
	ok(provconn_breaker_released(&breaker, &rules, now), "a probe given back");
	is(provconn_breaker_allowance(&breaker, &rules, now + INTERVAL - 1), 0, "the interval holds");
	is(provconn_breaker_allowance(&breaker, &rules, now + INTERVAL), 1, "its lease does not");
	ok(!provconn_breaker_released(&breaker, &rules, now), "once is enough");
}

static ProvconnBreaker
half_open_at(int64_t now)
{
	ProvconnBreaker breaker = {0};

	fail_times(&breaker, 3, now);
	(void) provconn_breaker_success(&breaker, &rules, now);
	return breaker;
}

static void
test_half_open(void)
{
	static const int allowances[] = {2, 4, 8, 16, 20, 20};
	int64_t		now = 77 * SECOND;
	ProvconnBreaker breaker = half_open_at(now);
	size_t		i;

	for (i = 0; i < countof(allowances); i++)
	{
		is(provconn_breaker_allowance(&breaker, &rules, now), allowances[i], "step %d", (int) i);
		(void) provconn_breaker_claimed(&breaker, &rules, allowances[i] - 1, allowances[i] - 1, now, now);
		is(provconn_breaker_allowance(&breaker, &rules, now), 1, "what a claim left, the next may take");
		(void) provconn_breaker_claimed(&breaker, &rules, 1, 1, now, now);
		is(provconn_breaker_allowance(&breaker, &rules, now + SECOND - 1), 0,
		   "then none for the rest of the step");
		now += SECOND;
	}

	ok(provconn_breaker_failure(&breaker, &rules, false, now), "a failure is counted");
	ok(provconn_breaker_success(&breaker, &rules, now), "a success forgives it");
	fail_times(&breaker, 2, now);
	ok(breaker.allowance > 1, "two in a row: still half open");
	fail_times(&breaker, 1, now);
	is(breaker.allowance, 1, "three in a row: open");
	is(breaker.opened_at, 77 * SECOND, "since the first time");
}

static void
test_closing(void)
{
	ProvconnBreaker breaker = half_open_at(0);

	(void) provconn_breaker_claimed(&breaker, &rules, 2, 1, 0, 0);
	is(breaker.allowance, 2, "a claim that finds less does not end a ramp that has just begun");
	is(provconn_breaker_allowance(&breaker, &rules, 0), 1, "and counts what it took");
	is(provconn_breaker_allowance(&breaker, &rules, 3 * SECOND), 16, "steps pass without a claim");
	ok(provconn_breaker_is_failing(&breaker, &rules, 3 * SECOND), "the provider is still spared");
	ok(!provconn_breaker_is_failing(&breaker, &rules, 4 * SECOND), "until the ramp is at its limit");

	(void) provconn_breaker_claimed(&breaker, &rules, 20, 20, 0, 4 * SECOND);
	is(breaker.allowance, 20, "a full claim at the limit leaves it half open");
	(void) provconn_breaker_claimed(&breaker, &rules, 20, 19, 0, 5 * SECOND);
	is(breaker.allowance, 0, "one that finds less closes it");
	is(breaker.failures, 0, "with a clean record");
	is(provconn_breaker_allowance(&breaker, &rules, 5 * SECOND), PROVCONN_BREAKER_NO_LIMIT, "no limit");
	ok(!provconn_breaker_is_failing(&breaker, &rules, 5 * SECOND), "closed: nothing is wrong");

	breaker = half_open_at(0);
	is(provconn_breaker_allowance(&breaker, &rules, INT64_C(1) << 60), 20, "a long rest is no problem");
	fail_times(&breaker, 3, 0);
	ok(provconn_breaker_is_failing(&breaker, &rules, INT64_C(1) << 60), "open is failing, however long");
}

static void
test_limit(void)
{
	ProvconnBreakerRules least = {1, 1, 2};
	ProvconnBreaker breaker = {0};

	(void) provconn_breaker_failure(&breaker, &least, true, 0);
	(void) provconn_breaker_success(&breaker, &least, 0);
	is(provconn_breaker_allowance(&breaker, &least, 0), 2, "the least limit and interval work");
	is(provconn_breaker_allowance(&breaker, &least, 1), 2, "the least limit is kept");
	breaker.allowance = 1000;
	is(provconn_breaker_allowance(&breaker, &least, 1), 2, "one that was lowered holds from the next step on");
	breaker.taken = 2000;
	is(provconn_breaker_allowance(&breaker, &least, 0), 0, "never less than none");

	least.limit = INT32_MAX;
	breaker.allowance = INT32_MAX / 2 + 1;
	breaker.taken = 0;
	is(provconn_breaker_allowance(&breaker, &least, 1), INT32_MAX, "doubling stops at the limit");
}

int
main(void)
{
	test_closed();
	test_open();
	test_release();
	test_half_open();
	test_closing();
	test_limit();
	return tap_done();
}
