/*
 * news.c (layer 1): what the server tells of changed relations.
 *
 * The server has room for ten callbacks of this kind, for all extensions of a
 * session together, so ours have one.
 */
#include "postgres.h"

#include "utils/inval.h"

#include "compat.h"
#include "news.h"

#define MAX_LISTENERS 8

static ProvconnNewsListener listeners[MAX_LISTENERS];
static int	listener_count = 0;
static uint64 count = 0;

static void spread(Datum arg, Oid relid);

void
provconn_news_listen(ProvconnNewsListener listener)
{
	if (listener_count == MAX_LISTENERS)
		elog(ERROR, "too many listeners to changes of relations");
	if (listener_count == 0)
		CacheRegisterRelcacheCallback(spread, (Datum) 0);
	listeners[listener_count++] = listener;
}

uint64
provconn_news_count(void)
{
	return count;
}

static void
spread(Datum arg, Oid relid)
{
	count++;
	for (int i = 0; i < listener_count; i++)
		listeners[i](relid);
}
