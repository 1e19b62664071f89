/*
 * progress.h (layer 5): how far a task of many transactions is.
 */
#ifndef PROVCONN_PROGRESS_H
#define PROVCONN_PROGRESS_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "model.h"

typedef struct ProvconnProgress
{
	int32		key_id;			/* what everything is sealed with */
	ProvconnUuid connection_id; /* the last one that was looked at; zeros: none yet */
	int64		done;
	int64		total;
	TimestampTz started_at;
	bool		finished;
} ProvconnProgress;

/* The task's progress; false where it never began. */
extern bool provconn_progress_load(const char *task, ProvconnProgress *progress);
extern void provconn_progress_save(const char *task, const ProvconnProgress *progress,
								   TimestampTz now);

/*
 * Makes this session the only one at it, until provconn_progress_release() or an
 * error, across transactions.  Raises 55006 where another one is.
 */
extern void provconn_progress_claim(const char *procedure);
extern void provconn_progress_release(void);

#endif /* PROVCONN_PROGRESS_H */
