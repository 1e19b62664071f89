/*
 * throttle.c (layer 3): how often a role did something in this minute.
 *
 * The counters are in shared memory: one that a table kept would go back with
 * the caller's ROLLBACK.  They are few and small, so that the slack of shared
 * memory has room for them where the library was not preloaded, as with
 * pg_prewarm.  A minute begins with the first count after the last one is over.
 *
 * Where more roles than there are places count in one minute, those that find
 * none share the last place.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "throttle.h"

#define PLACES 256
#define MINUTE (60 * USECS_PER_SEC)

typedef struct Place
{
	Oid			role;
	int32		count;
	TimestampTz began;
	bool		refused;		/* in this minute */
} Place;

typedef struct Shared
{
	LWLock		lock;
	int			tranche;
	Place		places[PLACES];
} Shared;

static shmem_request_hook_type next_request_hook = NULL;

static void request_memory(void);
static Shared *attach(void);
static Place *find_place(Shared *shared, Oid role, TimestampTz now);

void
provconn_throttle_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
}

bool
provconn_throttle_allows(Oid role, int limit, bool take, bool *first)
{
	Shared	   *shared = attach();
	TimestampTz now = GetCurrentTimestamp();
	Place	   *place;
	bool		allowed;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	place = find_place(shared, role, now);
	allowed = place->count < limit;
	if (allowed && take)
		place->count++;
	*first = !allowed && !place->refused;
	if (!allowed)
		place->refused = true;
	LWLockRelease(&shared->lock);
	return allowed;
}

static void
request_memory(void)
{
	if (next_request_hook != NULL)
		next_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(Shared)));
}

static Shared *
attach(void)
{
	static Shared *shared = NULL;
	bool		found;

	if (shared != NULL)
		return shared;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("provconn throttle", sizeof(Shared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(*shared));
		shared->tranche = LWLockNewTrancheId();
		LWLockInitialize(&shared->lock, shared->tranche);
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(shared->tranche, "provconn throttle");
	return shared;
}

/* The role's place, in its present minute. */
static Place *
find_place(Shared *shared, Oid role, TimestampTz now)
{
	Place	   *place = NULL;

	for (int i = 0; i < PLACES; i++)
	{
		Place	   *at = &shared->places[i];
		bool		over = now - at->began >= MINUTE || now < at->began;

		if (at->role == role && !over)
			return at;
		if (at->role == role || (over && (place == NULL || place->role != role)))
			place = at;
	}
	if (place == NULL)
		return &shared->places[PLACES - 1];
	place->role = role;
	place->count = 0;
	place->began = now;
	place->refused = false;
	return place;
}
