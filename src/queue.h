/*
 * queue.h (layer 7): the refresh queue, from a worker's claim to its report.
 */
#ifndef PROVCONN_QUEUE_H
#define PROVCONN_QUEUE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "call.h"
#include "model.h"

/* A connection that a worker was given. */
typedef struct ProvconnClaimed
{
	ProvconnUuid connection_id;
	ProvconnUuid user_id;
	ProvconnUuid provider_id;
	ProvconnSpan provider_slug;
	ProvconnCredentials credentials;
	int32		version;
	int32		attempt;
	ProvconnUuid lease;
	TimestampTz leased_until;

	/* for their order: */
	TimestampTz due_at;
	int			provider;		/* in the order of providers */
	int			turn;			/* the provider's first, second, ... */
} ProvconnClaimed;

/*
 * Leases connections that are due to the worker: a list of ProvconnClaimed, in
 * turn over the providers, soonest first within each.  Their secrets are wiped
 * with CurrentMemoryContext.
 */
extern List *provconn_queue_claim(Oid caller, ProvconnSpan worker, Interval *within,
								  int max_connections, Interval *lease_for);

/* As the commands of command.h. */
extern void provconn_queue_report_failure(Oid caller, const ProvconnUuid *connection_id,
										  const ProvconnUuid *lease, ProvconnSpan reason,
										  bool permanent, ProvconnOutcome *outcome);
extern void provconn_queue_release(Oid caller, const ProvconnUuid *connection_id,
								   const ProvconnUuid *lease, ProvconnOutcome *outcome);

/* Expires connections whose credentials have; returns how many. */
extern int	provconn_queue_expire_overdue(Oid caller, Interval *grace, int max_connections);

/* Closes the breaker of a provider; one that is not registered is an error. */
extern void provconn_queue_reset_provider(const ProvconnUuid *provider_id);

#endif /* PROVCONN_QUEUE_H */
