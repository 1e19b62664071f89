/*
 * backoff.c (layer 1): when a connection that failed is tried again.
 *
 * The delay is drawn evenly between base and the ceiling, which doubles with
 * each failure until it reaches cap.  Full jitter takes connections apart that
 * failed together; the floor keeps an unlucky one from being tried again at
 * once.
 */
#include "backoff.h"

int64_t
provconn_backoff_delay(int failures, int64_t base, int64_t cap, uint64_t random)
{
	int64_t		ceiling = base;
	int			i;

	if (base >= cap)
		return cap;
	for (i = 0; i < failures && ceiling < cap; i++)
		ceiling = ceiling > cap / 2 ? cap : ceiling * 2;
	return base + (int64_t) (random % (uint64_t) (ceiling - base + 1));
}

bool
provconn_backoff_gives_up(int failures, int64_t failing_for, int limit, int64_t after)
{
	return limit > 0 && failures >= limit && failing_for >= after;
}
