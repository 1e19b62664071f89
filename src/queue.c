/*
 * queue.c (layer 7): the refresh queue, from a worker's claim to its report.
 *
 * The queue is an index of provconn.connection over (provider_id, held_until,
 * due_at), columns that the guard of that table keeps:
 *
 *	held_until	-infinity: free; a time: leased or backing off until then;
 *				infinity: nothing to refresh, but it expires; null: not queued
 *	due_at		the expiry, or an earlier time.  A refresh that nobody leased
 *				leaves it alone, so that it touches no index; a sweep that comes
 *				upon such a row puts it right first.
 *
 * So what is leased or backing off, or due later, is looked at once at most,
 * however much there is of it.  The queue only says where to look: a row that
 * was found there is judged by its own columns once it is locked.
 *
 * Sweeps take their rows by SKIP LOCKED and wait for nobody: they cannot be in
 * a deadlock.  Their loops end when a round brought nothing.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "attempt.h"
#include "audit.h"
#include "backoff.h"
#include "compat.h"
#include "fault.h"
#include "health.h"
#include "lifecycle.h"
#include "provider.h"
#include "queue.h"
#include "secret.h"
#include "settings.h"
#include "vault.h"

/* Rows that are put right at a time, and by one sweep: the rest is the next one's. */
#define REQUEUE_BATCH 500
#define MAX_REQUEUED 10000

#define DAMAGED_CODE "credential_damaged"
#define DAMAGED_REASON "the stored credential does not open"

/* A sweep over connections that are due. */
typedef struct Sweep
{
	ProvconnCall call;			/* call.now is of each row, once it is locked */
	TimestampTz now;			/* of the sweep: what is due is due now */
	TimestampTz until;			/* what expires until then is due */
	MemoryContext context;		/* of the sweep; each row has one of its own */
	MemoryContext row_context;
	int			remaining;		/* how many more to take */
	int			done;			/* rows that were moved on, in whatever way */
	int			requeued;
	/* claims alone: */
	ProvconnSpan worker;
	TimestampTz leased_until;
	List	   *claimed;
} Sweep;

typedef struct Turn
{
	ProvconnUuid id;
	Datum		key;
	int			position;
	ProvconnSpan slug;
} Turn;

/* What becomes of a row that a sweep has locked. */
typedef void (*Take) (Sweep *sweep, const Turn *turn, ProvconnConnection *connection);

#define FROM_QUEUE \
	" FROM provconn.connection AS c WHERE c.provider_id OPERATOR(pg_catalog.=) $1"
#define IS_FREE " AND c.held_until OPERATOR(pg_catalog.=) '-infinity'"
#define IS_UNREFRESHABLE " AND c.held_until OPERATOR(pg_catalog.=) 'infinity'"
#define IS_HELD " AND c.held_until OPERATOR(pg_catalog.>) '-infinity'"
#define IS_HELD_UNTIL(time) IS_HELD " AND c.held_until OPERATOR(pg_catalog.<=) " time
#define IS_HELD_OR_BACKING_OFF IS_HELD " AND c.held_until OPERATOR(pg_catalog.<) 'infinity'"
#define IS_NOT_LEASED \
	" AND (c.leased_until IS NULL OR c.leased_until OPERATOR(pg_catalog.<=) $2)"
#define IS_DUE(until) " AND c.due_at OPERATOR(pg_catalog.<=) " until
#define LOCKED_IDS(place) \
	"SELECT pg_catalog.array_agg(q.connection_id)" \
	" FROM (SELECT c.connection_id" FROM_QUEUE place " FOR NO KEY UPDATE SKIP LOCKED) AS q"
/* A scalar subquery: nothing that a planner could turn into a join. */
#define PROVIDERS_WITH(places) \
	"SELECT pg_catalog.array_agg(p.provider_id) FROM provconn.provider AS p WHERE " places
#define SOME(place) \
	"(SELECT true FROM provconn.connection AS c" \
	" WHERE c.provider_id OPERATOR(pg_catalog.=) p.provider_id" place " LIMIT 1)"
#define OF_TURN \
	.nargs = 4, .types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID}, .by_index = true

/* The providers that have connections to claim: $1 is now, $2 until when. */
static ProvconnStatement due_providers = {
	.sql = PROVIDERS_WITH(SOME(IS_FREE IS_DUE("$2")) " OR "
						  SOME(IS_HELD_UNTIL("$1") IS_DUE("$2"))),
	.nargs = 2,
	.types = {TIMESTAMPTZOID, TIMESTAMPTZOID},
	.by_index = true
};

/* The same for connections that are overdue: those without refresh by $1, others by $2. */
static ProvconnStatement overdue_providers = {
	.sql = PROVIDERS_WITH(SOME(IS_FREE IS_DUE("$2")) " OR "
						  SOME(IS_HELD_OR_BACKING_OFF IS_DUE("$2")) " OR "
						  SOME(IS_UNREFRESHABLE IS_DUE("$1"))),
	.nargs = 2,
	.types = {TIMESTAMPTZOID, TIMESTAMPTZOID},
	.by_index = true
};

/*
 * The statements of one provider's turn: $1 is the provider, $2 now, $3 until
 * when, $4 how many.
 */

/* Of the soonest: how many are held ones whose time has come, how many lag behind. */
static ProvconnStatement look_ahead = {
	.sql =
	"SELECT pg_catalog.count(*) FILTER (WHERE q.is_held)::pg_catalog.int4,"
	" pg_catalog.count(*) FILTER (WHERE q.lags)::pg_catalog.int4"
	" FROM (SELECT u.is_held, u.lags FROM ("
	"(SELECT false AS is_held, c.due_at OPERATOR(pg_catalog.<) c.expires_at AS lags, c.due_at AS due_at"
	FROM_QUEUE IS_FREE IS_DUE("$3") " ORDER BY c.due_at LIMIT $4)"
	" UNION ALL "
	"(SELECT true, false, GREATEST(c.held_until, c.due_at)"
	FROM_QUEUE IS_HELD_UNTIL("$2") IS_DUE("$3") " ORDER BY c.held_until LIMIT $4)"
	") AS u ORDER BY u.due_at LIMIT $4) AS q",
	OF_TURN
};

/* Those that lag behind, among the first. */
#define LOCKED_LAGGARDS(place) \
	"SELECT pg_catalog.array_agg(q.connection_id) FROM (" \
	"SELECT c.connection_id FROM provconn.connection AS c" \
	" JOIN (SELECT f.shard_key, f.connection_id FROM (" \
	"SELECT c.shard_key, c.connection_id, c.due_at," \
	" c.expires_at" FROM_QUEUE place IS_DUE("$3") " ORDER BY c.due_at LIMIT $4) AS f" \
	" WHERE f.due_at OPERATOR(pg_catalog.<) f.expires_at) AS l" \
	" ON c.shard_key OPERATOR(pg_catalog.=) l.shard_key" \
	" AND c.connection_id OPERATOR(pg_catalog.=) l.connection_id" \
	" FOR NO KEY UPDATE OF c SKIP LOCKED) AS q"

static ProvconnStatement lock_free_laggards = {.sql = LOCKED_LAGGARDS(IS_FREE), OF_TURN};
static ProvconnStatement lock_unrefreshable_laggards = {.sql = LOCKED_LAGGARDS(IS_UNREFRESHABLE), OF_TURN};

static ProvconnStatement lock_free = {
	.sql = LOCKED_IDS(IS_FREE IS_DUE("$3") " ORDER BY c.due_at LIMIT $4"),
	OF_TURN
};

static ProvconnStatement lock_held = {
	.sql = LOCKED_IDS(IS_HELD_UNTIL("$2") IS_DUE("$3") " ORDER BY c.held_until LIMIT $4"),
	OF_TURN
};

/* Backing off or not, but not in the hands of a worker. */
static ProvconnStatement lock_unleased = {
	.sql = LOCKED_IDS(IS_HELD_OR_BACKING_OFF IS_DUE("$3") IS_NOT_LEASED " ORDER BY c.held_until LIMIT $4"),
	OF_TURN
};

static ProvconnStatement lock_unrefreshable = {
	.sql = LOCKED_IDS(IS_UNREFRESHABLE IS_DUE("$3") " ORDER BY c.due_at LIMIT $4"),
	OF_TURN
};

static void begin_sweep(Sweep *sweep, const char *action, Oid caller, int max_connections);
static Turn *find_turns(Sweep *sweep, ProvconnStatement *statement, int *count);
static int	claim_turn(Sweep *sweep, const Turn *turn, int wanted);
static int	claim_rows(Sweep *sweep, const Turn *turn, int wanted);
static void expire_turn(Sweep *sweep, const Turn *turn);
static void expire_rows(Sweep *sweep, const Turn *turn, ProvconnStatement *laggards,
						ProvconnStatement *statement);
static int	requeue_rows(Sweep *sweep, const Turn *turn, ProvconnStatement *laggards);
static int	take_rows(Sweep *sweep, const Turn *turn, ProvconnStatement *statement, int limit,
					  Take take);
static void take_row(Sweep *sweep, const Turn *turn, const ProvconnUuid *id, Take take);
static void put_right(Sweep *sweep, const Turn *turn, ProvconnConnection *connection);
static bool is_expiring(ProvconnConnection *connection, TimestampTz until, bool *refreshes);
static bool is_held(ProvconnConnection *connection, int column, TimestampTz now);
static void claim_row(Sweep *sweep, const Turn *turn, ProvconnConnection *connection);
static void expire_row(Sweep *sweep, const Turn *turn, ProvconnConnection *connection);
static void fail_damaged(Sweep *sweep, ProvconnConnection *connection);
static ProvconnStatus record_failure(ProvconnCall *call, ProvconnConnection *connection,
									 bool permanent);
static bool find_leased(ProvconnCall *call, const ProvconnUuid *lease,
						ProvconnConnection *connection, ProvconnOutcome *outcome);
static void put_in_turn(List *claimed);
static int	compare_due(const ListCell *a, const ListCell *b);
static int	compare_turns(const ListCell *a, const ListCell *b);
static ProvconnUuid new_lease(void);
static TimestampTz add_interval(TimestampTz time, Interval *interval);

List *
provconn_queue_claim(Oid caller, ProvconnSpan worker, Interval *within, int max_connections,
					 Interval *lease_for)
{
	Sweep		sweep = {0};
	Turn	   *turns;
	int			count;
	int			worker_length = pg_mbstrlen_with_len(worker.data, (int) worker.len);

	begin_sweep(&sweep, "claim_due", caller, max_connections);
	sweep.worker = sweep.call.reason = worker;
	sweep.until = add_interval(sweep.now, within);
	sweep.leased_until = add_interval(sweep.now, lease_for);
	if (worker_length < 1 || worker_length > PROVCONN_WORKER_MAX)
		provconn_fault_raise(PROVCONN_FAULT_INVALID_ARGUMENT, "worker must have 1 to 100 characters");
	if (sweep.leased_until <= sweep.now || TIMESTAMP_NOT_FINITE(sweep.leased_until))
		provconn_fault_raise(PROVCONN_FAULT_INVALID_ARGUMENT,
							 "lease_for must be longer than nothing and shorter than for ever");

	/* Each provider in turn gets its share of what remains. */
	turns = find_turns(&sweep, &due_providers, &count);
	while (count > 0 && sweep.remaining > 0)
	{
		int			share = Max(sweep.remaining / count, 1);
		int			left = 0;

		for (int i = 0; i < count && sweep.remaining > 0; i++)
			if (claim_turn(&sweep, &turns[i], Min(share, sweep.remaining)) >= share)
				turns[left++] = turns[i];
		count = left;
	}
	MemoryContextDelete(sweep.row_context);
	provconn_call_end(&sweep.call);
	provconn_attempt_flush_reads(provconn_vault_sign);
	put_in_turn(sweep.claimed);
	return sweep.claimed;
}

void
provconn_queue_report_failure(Oid caller, const ProvconnUuid *connection_id,
							  const ProvconnUuid *lease, ProvconnSpan reason, bool permanent,
							  ProvconnOutcome *outcome)
{
	ProvconnConnection connection;
	ProvconnStatus status;
	ProvconnCall call;

	provconn_call_begin(&call, "report_failure", caller);
	call.connection_id = connection_id;
	call.reason = reason;
	if (!find_leased(&call, lease, &connection, outcome))
		return;

	/* A provider that says no is not down. */
	if (permanent)
		provconn_health_succeeded(&connection.provider_id, call.now);
	else
		provconn_health_failed(&connection.provider_id, connection.failure_count == 0, call.now);
	status = record_failure(&call, &connection, permanent);
	provconn_call_accept(outcome, &connection.id, status, connection.version);
	outcome->needs_user_action = status != PROVCONN_STATUS_ACTIVE;
	provconn_connection_close(&connection);
}

void
provconn_queue_release(Oid caller, const ProvconnUuid *connection_id, const ProvconnUuid *lease,
					   ProvconnOutcome *outcome)
{
	ProvconnConnection connection;
	ProvconnValues changes = {0};
	ProvconnCall call;

	provconn_call_begin(&call, "release", caller);
	call.connection_id = connection_id;
	if (!find_leased(&call, lease, &connection, outcome))
		return;

	provconn_connection_touch(&changes, call.now);
	provconn_connection_clear_lease(&changes);
	provconn_call_write(&call, &connection, NULL, &changes);
	provconn_health_released(&connection.provider_id, call.now);
	provconn_call_accept(outcome, &connection.id, connection.status, connection.version);
	provconn_connection_close(&connection);
}

int
provconn_queue_expire_overdue(Oid caller, Interval *grace, int max_connections)
{
	Sweep		sweep = {0};
	Turn	   *turns;
	int			count;

	begin_sweep(&sweep, "expire_overdue", caller, max_connections);
	sweep.until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
														  TimestampTzGetDatum(sweep.now),
														  IntervalPGetDatum(grace)));
	if (sweep.until > sweep.now)
		provconn_fault_raise(PROVCONN_FAULT_INVALID_ARGUMENT, "grace must not be negative");
	turns = find_turns(&sweep, &overdue_providers, &count);
	for (int i = 0; i < count && sweep.remaining > 0; i++)
		expire_turn(&sweep, &turns[i]);
	MemoryContextDelete(sweep.row_context);
	provconn_call_end(&sweep.call);
	return max_connections - sweep.remaining;
}

void
provconn_queue_reset_provider(const ProvconnUuid *provider_id)
{
	ProvconnProvider provider;

	if (provider_id == NULL || !provconn_provider_find(provider_id, &provider))
		provconn_refusal_raise(provconn_refusal_code(PROVCONN_PROVIDER_NOT_FOUND), NULL);
	provconn_health_reset(provider_id);
}

static void
begin_sweep(Sweep *sweep, const char *action, Oid caller, int max_connections)
{
	if (max_connections < 0)
		provconn_fault_raise(PROVCONN_FAULT_INVALID_ARGUMENT,
							 "max_connections must not be negative");
	provconn_call_begin(&sweep->call, action, caller);
	sweep->now = sweep->call.now;
	sweep->remaining = max_connections;
	sweep->context = CurrentMemoryContext;
	sweep->row_context = AllocSetContextCreate(CurrentMemoryContext, "provconn sweep",
											   ALLOCSET_DEFAULT_SIZES);
}

/* The providers with something to sweep, in random order: none is always first. */
static Turn *
find_turns(Sweep *sweep, ProvconnStatement *statement, int *count)
{
	Datum		times[2];
	Datum		found;
	bool		isnull;
	Datum	   *ids;
	Turn	   *turns;

	times[0] = TimestampTzGetDatum(sweep->now);
	times[1] = TimestampTzGetDatum(sweep->until);
	*count = 0;
	(void) provconn_store_run(&provconn_connection_table, statement, times, NULL,
							  1, &found, &isnull);
	if (isnull)
		return NULL;
	deconstruct_array(DatumGetArrayTypeP(found), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR,
					  &ids, NULL, count);

	turns = palloc0(sizeof(Turn) * *count);
	for (int i = 0; i < *count; i++)
	{
		int			at = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, i);

		turns[i] = turns[at];
		turns[at].key = ids[i];
	}
	for (int i = 0; i < *count; i++)
	{
		ProvconnProvider provider;

		memcpy(&turns[i].id, DatumGetUUIDP(turns[i].key), sizeof(ProvconnUuid));
		turns[i].position = i;
		if (provconn_provider_find(&turns[i].id, &provider))
			turns[i].slug = provider.slug;
	}
	return turns;
}

/* As many as its breaker allows; returns how many of those wanted were claimed. */
static int
claim_turn(Sweep *sweep, const Turn *turn, int wanted)
{
	ProvconnBreakerRules rules = provconn_settings_breaker();
	ProvconnHealth health;
	int			asked = Min(wanted, provconn_health_allowance(&turn->id, sweep->now));
	int			got = 0;

	/* Only what takes something locks: the report of a probe must get through. */
	if (asked == 0)
		return 0;
	if (!provconn_health_is_limited(&turn->id))
		return claim_rows(sweep, turn, wanted);
	if (!provconn_health_lock(&turn->id, &health))
		return 0;
	asked = Min(asked, provconn_breaker_allowance(&health.breaker, &rules, sweep->now));
	if (asked > 0)
	{
		got = claim_rows(sweep, turn, asked);
		if (provconn_breaker_claimed(&health.breaker, &rules, asked, got,
									 sweep->leased_until, sweep->now))
			provconn_health_save(&health);
	}
	provconn_health_close(&health);
	return got;
}

/* Free rows and held ones whose time has come, soonest first; returns how many. */
static int
claim_rows(Sweep *sweep, const Turn *turn, int wanted)
{
	int			start = list_length(sweep->claimed);
	int			asked = wanted;
	int			found;
	int			done;

	do
	{
		Datum		values[4];
		Datum		counts[2];
		bool		nulls[2];
		int			held;

		values[0] = turn->key;
		values[1] = TimestampTzGetDatum(sweep->now);
		values[2] = TimestampTzGetDatum(sweep->until);
		values[3] = Int32GetDatum(asked);
		(void) provconn_store_run(&provconn_connection_table, &look_ahead, values, NULL,
								  2, counts, nulls);
		held = DatumGetInt32(counts[0]);
		if (DatumGetInt32(counts[1]) > 0 && requeue_rows(sweep, turn, &lock_free_laggards) > 0)
			continue;

		done = sweep->done;
		found = take_rows(sweep, turn, &lock_free, asked - held, claim_row);
		found += take_rows(sweep, turn, &lock_held, asked - found, claim_row);
		/* Where others have locked the held ones, there may still be free ones. */
		if (held > 0)
			found += take_rows(sweep, turn, &lock_free, asked - found, claim_row);
		if (found < asked || sweep->done == done)
			break;
		asked = wanted - (list_length(sweep->claimed) - start);
	} while (asked > 0);

	return list_length(sweep->claimed) - start;
}

static void
expire_turn(Sweep *sweep, const Turn *turn)
{
	TimestampTz until = sweep->until;

	/* While a provider is down, it is no fault of its connections. */
	if (!provconn_health_is_failing(&turn->id, sweep->now))
	{
		expire_rows(sweep, turn, &lock_free_laggards, &lock_free);
		expire_rows(sweep, turn, NULL, &lock_unleased);
	}
	/* The grace is for those that a refresh may still save. */
	sweep->until = sweep->now;
	expire_rows(sweep, turn, &lock_unrefreshable_laggards, &lock_unrefreshable);
	sweep->until = until;
}

static void
expire_rows(Sweep *sweep, const Turn *turn, ProvconnStatement *laggards,
			ProvconnStatement *statement)
{
	int			asked;
	int			done;

	do
	{
		if (laggards != NULL)
			while (requeue_rows(sweep, turn, laggards) > 0)
				;
		asked = sweep->remaining;
		done = sweep->done;
	} while (take_rows(sweep, turn, statement, asked, expire_row) >= asked &&
			 sweep->remaining > 0 && sweep->done > done);
}

/* Puts right what lags behind at the head of the queue; returns how many that were. */
static int
requeue_rows(Sweep *sweep, const Turn *turn, ProvconnStatement *laggards)
{
	int			limit = Min(REQUEUE_BATCH, MAX_REQUEUED - sweep->requeued);

	return take_rows(sweep, turn, laggards, limit, put_right);
}

/* Locks rows and takes each; returns how many there were. */
static int
take_rows(Sweep *sweep, const Turn *turn, ProvconnStatement *statement, int limit, Take take)
{
	Datum		values[4];
	Datum		found;
	bool		isnull;
	Datum	   *ids;
	int			count;

	if (limit <= 0)
		return 0;
	values[0] = turn->key;
	values[1] = TimestampTzGetDatum(sweep->now);
	values[2] = TimestampTzGetDatum(sweep->until);
	values[3] = Int32GetDatum(limit);
	(void) provconn_store_run(&provconn_connection_table, statement, values, NULL,
							  1, &found, &isnull);
	if (isnull)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(found), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR,
					  &ids, NULL, &count);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		take_row(sweep, turn, (ProvconnUuid *) DatumGetUUIDP(ids[i]), take);
	}
	return count;
}

static void
take_row(Sweep *sweep, const Turn *turn, const ProvconnUuid *id, Take take)
{
	ProvconnConnection connection;

	MemoryContextReset(sweep->row_context);
	MemoryContextSwitchTo(sweep->row_context);
	/* It is locked: this waits for nobody. */
	if (provconn_connection_find(id, PROVCONN_LOCK_WAIT, &connection))
	{
		sweep->call.connection_id = &connection.id;
		sweep->call.provider_slug = turn->slug;
		sweep->call.now = GetCurrentTimestamp();
		take(sweep, turn, &connection);
		sweep->call.connection_id = NULL;
		provconn_connection_close(&connection);
	}
	MemoryContextSwitchTo(sweep->context);
}

/* No command's change, not even where a command's trigger led here. */
static void
put_right(Sweep *sweep, const Turn *turn, ProvconnConnection *connection)
{
	ProvconnAuditFrame *before = provconn_audit_set_frame(NULL);

	/* So many, and it may be that somebody's trigger undoes it. */
	if (sweep->requeued++ < MAX_REQUEUED)
		sweep->done++;
	PG_TRY();
	{
		provconn_connection_requeue(connection);
	}
	PG_FINALLY();
	{
		(void) provconn_audit_set_frame(before);
	}
	PG_END_TRY();
}

/* Whether it is active and expires until then, and whether a refresh can help it. */
static bool
is_expiring(ProvconnConnection *connection, TimestampTz until, bool *refreshes)
{
	TimestampTz expires_at;

	*refreshes = provconn_credential_type_refreshes(provconn_connection_type(connection));
	return connection->status == PROVCONN_STATUS_ACTIVE &&
		provconn_connection_time(connection, CONNECTION_EXPIRES_AT, &expires_at) &&
		expires_at <= until;
}

static bool
is_held(ProvconnConnection *connection, int column, TimestampTz now)
{
	TimestampTz until;

	return provconn_connection_time(connection, column, &until) && until > now;
}

/* The audit row is written before the secret is opened. */
static void
claim_row(Sweep *sweep, const Turn *turn, ProvconnConnection *connection)
{
	ProvconnClaimed *claimed;
	ProvconnBinding binding;
	ProvconnOpening *opening;
	ProvconnSpan secret;
	ProvconnValues changes = {0};
	TimestampTz held_until;
	bytea	   *sealed;
	char	   *copy;
	bool		refreshes;

	if (!is_expiring(connection, sweep->until, &refreshes) || !refreshes ||
		is_held(connection, CONNECTION_LEASED_UNTIL, sweep->now) ||
		is_held(connection, CONNECTION_NEXT_ATTEMPT_AT, sweep->now))
	{
		put_right(sweep, turn, connection);
		return;
	}
	if (!provconn_connection_credential(connection, &binding, &sealed) ||
		(opening = provconn_vault_check(&binding, sealed)) == NULL)
	{
		fail_damaged(sweep, connection);
		return;
	}

	claimed = MemoryContextAllocZero(sweep->context, sizeof(ProvconnClaimed));
	claimed->connection_id = connection->id;
	claimed->user_id = connection->user_id;
	claimed->provider_id = connection->provider_id;
	claimed->provider_slug = turn->slug;
	claimed->version = connection->version;
	claimed->attempt = Min(connection->failure_count, PG_INT32_MAX - 1) + 1;
	claimed->lease = new_lease();
	claimed->leased_until = sweep->leased_until;
	claimed->due_at = binding.expires_at;
	if (provconn_connection_time(connection, CONNECTION_HELD_UNTIL, &held_until))
		claimed->due_at = Max(claimed->due_at, held_until);
	claimed->provider = turn->position;

	provconn_connection_touch(&changes, sweep->call.now);
	provconn_connection_set_lease(&changes, sweep->worker, &claimed->lease, sweep->leased_until);
	provconn_call_write(&sweep->call, connection, NULL, &changes);

	provconn_vault_decrypt(opening, &secret);
	MemoryContextSwitchTo(sweep->context);
	copy = provconn_secret_alloc(Max(secret.len, 1));
	memcpy(copy, secret.data, secret.len);
	claimed->credentials.secret.data = copy;
	claimed->credentials.secret.len = secret.len;
	claimed->credentials.given = true;
	claimed->credentials.type = binding.credential_type;
	claimed->credentials.expires = binding.expires;
	claimed->credentials.expires_at = binding.expires_at;
	sweep->claimed = lappend(sweep->claimed, claimed);
	sweep->remaining--;
	sweep->done++;
	MemoryContextSwitchTo(sweep->row_context);
}

static void
expire_row(Sweep *sweep, const Turn *turn, ProvconnConnection *connection)
{
	ProvconnValues changes = {0};
	ProvconnStatus status;
	bool		refreshes;

	if (!is_expiring(connection, sweep->until, &refreshes) ||
		(refreshes && is_held(connection, CONNECTION_LEASED_UNTIL, sweep->now)))
	{
		put_right(sweep, turn, connection);
		return;
	}
	status = provconn_call_status_after(connection->status, PROVCONN_EVENT_MARK_EXPIRED);
	provconn_connection_touch(&changes, sweep->call.now);
	provconn_connection_set_inactive(&changes, status);
	provconn_call_write(&sweep->call, connection, NULL, &changes);
	sweep->remaining--;
	sweep->done++;
}

/* A claim must not stop at a credential that does not open. */
static void
fail_damaged(Sweep *sweep, ProvconnConnection *connection)
{
	ProvconnCall call = sweep->call;

	call.error_code = DAMAGED_CODE;
	call.reason.data = DAMAGED_REASON;
	call.reason.len = strlen(DAMAGED_REASON);
	(void) record_failure(&call, connection, false);
	sweep->done++;
	provconn_call_warn(PROVCONN_FAULT_CREDENTIAL_SKIPPED, connection);
}

/*
 * Puts a failure on record: the connection backs off, or, where the failure is
 * permanent or one too many, it expires.  No connection is given up while its
 * provider fails.
 */
static ProvconnStatus
record_failure(ProvconnCall *call, ProvconnConnection *connection, bool permanent)
{
	ProvconnValues changes = {0};
	ProvconnStatus status = connection->status;
	int			failures = Min(connection->failure_count, PG_INT32_MAX - 1) + 1;
	TimestampTz failing_since;

	if (!provconn_connection_time(connection, CONNECTION_FAILING_SINCE, &failing_since) ||
		TIMESTAMP_NOT_FINITE(failing_since))
		failing_since = call->now;
	if (!permanent)
		permanent = provconn_backoff_gives_up(failures, call->now - failing_since,
											  provconn_settings_give_up_failures(),
											  provconn_settings_give_up_after()) &&
			!provconn_health_is_failing(&connection->provider_id, call->now);

	provconn_connection_touch(&changes, call->now);
	provconn_connection_set_failure(&changes, connection, call->reason, call->now);
	if (permanent)
	{
		status = provconn_call_status_after(status, PROVCONN_EVENT_MARK_EXPIRED);
		provconn_connection_set_inactive(&changes, status);
	}
	else
		provconn_values_set(&changes, CONNECTION_NEXT_ATTEMPT_AT,
							TimestampTzGetDatum(call->now +
												provconn_backoff_delay(failures,
																	   provconn_settings_backoff_base(),
																	   provconn_settings_backoff_cap(),
																	   pg_prng_uint64(&pg_global_prng_state))));
	provconn_call_write(call, connection, NULL, &changes);
	return status;
}

/* The connection of a worker's report; on false it was refused. */
static bool
find_leased(ProvconnCall *call, const ProvconnUuid *lease, ProvconnConnection *connection,
			ProvconnOutcome *outcome)
{
	if (!provconn_call_find(call, true, connection, outcome))
		return false;
	if (!provconn_connection_is_leased(connection, lease))
		return provconn_call_refuse(call, PROVCONN_LEASE_LOST, connection, outcome);
	if (connection->status != PROVCONN_STATUS_ACTIVE)
		return provconn_call_refuse(call, PROVCONN_NOT_ACTIVE, connection, outcome);
	return true;
}

/* The first of each provider, then the second of each, and so on. */
static void
put_in_turn(List *claimed)
{
	ListCell   *cell;
	int			provider = -1;
	int			turn = 0;

	list_sort(claimed, compare_due);
	foreach(cell, claimed)
	{
		ProvconnClaimed *one = lfirst(cell);

		turn = one->provider == provider ? turn + 1 : 0;
		provider = one->provider;
		one->turn = turn;
	}
	list_sort(claimed, compare_turns);
}

static int
compare_due(const ListCell *a, const ListCell *b)
{
	const ProvconnClaimed *x = lfirst(a);
	const ProvconnClaimed *y = lfirst(b);

	if (x->provider != y->provider)
		return x->provider < y->provider ? -1 : 1;
	return (x->due_at > y->due_at) - (x->due_at < y->due_at);
}

static int
compare_turns(const ListCell *a, const ListCell *b)
{
	const ProvconnClaimed *x = lfirst(a);
	const ProvconnClaimed *y = lfirst(b);

	if (x->turn != y->turn)
		return x->turn < y->turn ? -1 : 1;
	return x->provider - y->provider;
}

static ProvconnUuid
new_lease(void)
{
	LOCAL_FCINFO(fcinfo, 0);
	ProvconnUuid lease;

	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	memcpy(&lease, DatumGetUUIDP(gen_random_uuid(fcinfo)), sizeof(lease));
	return lease;
}

static TimestampTz
add_interval(TimestampTz time, Interval *interval)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(time),
												   IntervalPGetDatum(interval)));
}
