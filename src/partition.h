/*
 * partition.h (layer 4): the months of provconn.audit.
 */
#ifndef PROVCONN_PARTITION_H
#define PROVCONN_PARTITION_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "model.h"

/*
 * Rows in which a user claimed a connection that need not be theirs, and which
 * may be in another shard: each month has an index of them.
 */
#define PROVCONN_PARTITION_CLAIMS \
	"(owner_id IS NOT NULL OR error_code OPERATOR(pg_catalog.=) 'connection_not_found'" \
	" OR outcome OPERATOR(pg_catalog.=) 'rolled_back')"

/*
 * The partition that takes an audit row of that id, made now where there is
 * none.  Call it before locking rows: making one waits for other makers.
 */
extern Oid	provconn_partition_for(const ProvconnUuid *audit_id, TimestampTz when);

/* Makes the months ahead where the horizon is short and nobody else does. */
extern void provconn_partition_extend(TimestampTz when);

/* The partition for exactly the month of that time, and its bounds; invalid where there is none. */
extern Oid	provconn_partition_of_month(TimestampTz when, ProvconnUuid *from, ProvconnUuid *to);

/* Takes back what default privileges gave on a table in the schema provconn. */
extern void provconn_partition_withdraw_defaults(const char *name);

/* Whether the month of that time is over. */
extern bool provconn_partition_is_past(TimestampTz when, TimestampTz now);

/* Registers the invalidation callback; called once, from _PG_init. */
extern void provconn_partition_init(void);

#endif							/* PROVCONN_PARTITION_H */
