/*
 * seal.h (layer 6): seals of the audit.
 */
#ifndef PROVCONN_SEAL_H
#define PROVCONN_SEAL_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "digest.h"
#include "model.h"
#include "store.h"

extern ProvconnTable provconn_seal_table;

/* What a seal says; its hash covers all of it. */
typedef struct ProvconnSeal
{
	int64		seal_id;
	TimestampTz sealed_at;
	int32		origin;
	int32		key_id;
	int32		row_count;
	int32		head_count;
	ProvconnUuid first_id;
	ProvconnUuid last_id;
	const char *settled;		/* a pg_snapshot as text */
	unsigned char root[PROVCONN_DIGEST_LENGTH];
	unsigned char previous[PROVCONN_DIGEST_LENGTH];	/* zeros for the first one */
} ProvconnSeal;

/*
 * Seals what was settled since the last seal, in as many seals as that takes;
 * returns how many.  Where another session seals, it is waited for, or, with
 * dont_wait, 0 is returned at once.
 */
extern int	provconn_seal_make(bool dont_wait);

/* The number that all seals are below which other transactions have made. */
extern int64 provconn_seal_limit(void);

/* Whether this session can seal at all: not on a standby or subscriber, say. */
extern bool provconn_seal_is_possible(void);

/*
 * Whether the tables are in use rather than being restored: all triggers are
 * there, which a restore makes last, no import is fresh, and this database has
 * been sealed or written to.
 */
extern bool provconn_seal_is_settled(void);

/* The digest of the newest seal as JSON; false where there is none. */
extern bool provconn_seal_digest(StringInfo json);

/* The inclusion proof of a row as JSON; false where no seal has the row. */
extern bool provconn_seal_prove(const ProvconnUuid *audit_id, StringInfo json);

/* What a seal's hash is over, and the root of its leaves and heads. */
extern void provconn_seal_hash(const ProvconnSeal *seal,
							   unsigned char hash[PROVCONN_DIGEST_LENGTH]);
extern void provconn_seal_root(ProvconnSpan leaves, ProvconnSpan heads,
							   unsigned char root[PROVCONN_DIGEST_LENGTH]);

/* Whether a seal's hash was authenticated with that key; NULL key: there is none. */
extern bool provconn_seal_is_authentic(int32 key_id, const unsigned char hash[PROVCONN_DIGEST_LENGTH],
									   ProvconnSpan mac);

/* A leaf: the row's id and hash.  A head: connection, number, place among the leaves. */
#define PROVCONN_SEAL_LEAF (16 + PROVCONN_DIGEST_LENGTH)
#define PROVCONN_SEAL_HEAD (16 + 8 + 4)

#endif							/* PROVCONN_SEAL_H */
