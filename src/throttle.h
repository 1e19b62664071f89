/*
 * throttle.h (layer 3): how often a role did something in this minute.
 */
#ifndef PROVCONN_THROTTLE_H
#define PROVCONN_THROTTLE_H

#include "postgres.h"

/* Asks for shared memory; called once, from _PG_init. */
extern void provconn_throttle_init(void);

/*
 * Whether the role may do it once more under the limit.  With take that is
 * counted, for all sessions and whatever becomes of the transaction.  *first is
 * set for the first refusal of a minute.
 */
extern bool provconn_throttle_allows(Oid role, int limit, bool take, bool *first);

#endif /* PROVCONN_THROTTLE_H */
