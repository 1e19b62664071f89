/*
 * test_backoff.c: delays stay between base and their ceiling, reach both, and
 * never overflow; giving up needs both a number and a time.
 */
#include "backoff.h"
#include "tap.h"

#define BASE 30
#define CAP 3600

static void
test_ceilings(void)
{
	static const int64_t ceilings[] = {60, 120, 240, 480, 960, 1920, 3600, 3600, 3600};
	size_t		i;

	for (i = 0; i < countof(ceilings); i++)
	{
		int			failures = (int) i + 1;
		uint64_t	range = (uint64_t) (ceilings[i] - BASE);

		is(provconn_backoff_delay(failures, BASE, CAP, 0), BASE,
		   "the least delay after %d failures is the base", failures);
		is(provconn_backoff_delay(failures, BASE, CAP, range), ceilings[i],
		   "the longest after %d is base * 2^n, or the cap", failures);
		is(provconn_backoff_delay(failures, BASE, CAP, range + 1), BASE,
		   "and none is longer after %d", failures);
	}
}

static void
test_evenness(void)
{
	int			seen[31] = {0};
	uint64_t	random;
	int			i;

	for (random = 0; random < 31 * 100; random++)
		seen[provconn_backoff_delay(1, BASE, CAP, random) - BASE]++;
	for (i = 0; i < 31; i++)
		is(seen[i], 100, "a delay of %d comes as often as others", BASE + i);
}

static void
test_limits(void)
{
	int64_t		delay;

	delay = provconn_backoff_delay(INT32_MAX, BASE, CAP, UINT64_MAX);
	ok(delay >= BASE && delay <= CAP, "any number of failures stays below the cap");
	delay = provconn_backoff_delay(INT32_MAX, 1, INT64_MAX - 1, UINT64_MAX);
	ok(delay >= 1 && delay < INT64_MAX, "the largest cap does not overflow");
	is(provconn_backoff_delay(3, CAP, BASE, 7), BASE, "a base above the cap is cut to it");
	is(provconn_backoff_delay(3, CAP, CAP, 7), CAP, "a base at the cap leaves no choice");
	is(provconn_backoff_delay(0, BASE, CAP, 12345), BASE, "no failure: the base");
}

static void
test_giving_up(void)
{
	ok(provconn_backoff_gives_up(20, 1000, 20, 1000), "enough failures over enough time");
	ok(!provconn_backoff_gives_up(19, 1000, 20, 1000), "one failure too few");
	ok(!provconn_backoff_gives_up(20, 999, 20, 1000), "too soon");
	ok(provconn_backoff_gives_up(1, 0, 1, 0), "at once, where that is wanted");
	ok(!provconn_backoff_gives_up(INT32_MAX, INT64_MAX, 0, 0), "a limit of 0 never gives up");
	ok(!provconn_backoff_gives_up(20, -5, 20, 0), "a clock that went back gives nobody up");
}

int
main(void)
{
	test_ceilings();
	test_evenness();
	test_limits();
	test_giving_up();
	return tap_done();
}
