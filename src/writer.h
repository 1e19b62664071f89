/*
 * writer.h (layer 2): single rows, written through the executor.
 */
#ifndef PROVCONN_WRITER_H
#define PROVCONN_WRITER_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

/*
 * Whether writing a row of the relation, which is open and locked, may run what
 * others have made: triggers, constraints, index expressions.  If not, none of it
 * depends on the search path.
 */
extern bool provconn_writer_runs_others(Relation rel);

/*
 * Writes a row as the current user, with all that the executor does: triggers,
 * constraints, indexes.  updated are the attributes that an update sets, offset
 * as in a range table entry, for triggers that ask.
 */
extern void provconn_writer_update(Relation rel, Bitmapset *updated, TupleTableSlot *old,
								   const Datum *values, const bool *nulls);

/* fill, where given, sets further values before the row is written. */
typedef void (*ProvconnWriterFill) (EState *estate, Relation rel, Datum *values, bool *nulls,
									void *arg);
extern void provconn_writer_insert(Relation rel, Datum *values, bool *nulls,
								   ProvconnWriterFill fill, void *arg);

/* Registers the invalidation callbacks; called once, from _PG_init. */
extern void provconn_writer_init(void);

#endif							/* PROVCONN_WRITER_H */
