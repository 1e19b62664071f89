/*
 * backoff.h (layer 1): when a connection that failed is tried again.
 */
#ifndef PROVCONN_BACKOFF_H
#define PROVCONN_BACKOFF_H

#include "model.h"

/*
 * How long to wait after the last of so many failures in a row, in the unit of
 * base and cap: exponential backoff with full jitter, and never less than base.
 * random is any 64 bits; the same bits give the same delay.
 */
extern int64_t provconn_backoff_delay(int failures, int64_t base, int64_t cap, uint64_t random);

/*
 * Whether so many failures in a row, the first of them so long ago, are enough.
 * A limit of 0 never is.
 */
extern bool provconn_backoff_gives_up(int failures, int64_t failing_for,
									  int limit, int64_t after);

#endif /* PROVCONN_BACKOFF_H */
