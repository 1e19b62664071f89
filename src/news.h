/*
 * news.h (layer 1): what the server tells of changed relations.
 */
#ifndef PROVCONN_NEWS_H
#define PROVCONN_NEWS_H

#include "postgres.h"

/* Hears that a relation has changed in the catalog; InvalidOid: that any may have. */
typedef void (*ProvconnNewsListener) (Oid relid);

/* Called from _PG_init alone. */
extern void provconn_news_listen(ProvconnNewsListener listener);

/*
 * How often there was news so far.  Who keeps what was read from the catalog
 * compares before and after: what came meanwhile may concern what was just read.
 */
extern uint64 provconn_news_count(void);

#endif							/* PROVCONN_NEWS_H */
