/*
 * store.h (layer 3): the only code that touches tables, and the only one that
 * acts as another user.
 */
#ifndef PROVCONN_STORE_H
#define PROVCONN_STORE_H

#include "postgres.h"

#include "executor/spi.h"
#include "executor/tuptable.h"
#include "storage/lockdefs.h"
#include "utils/rel.h"

#include "model.h"

#define PROVCONN_MAX_COLUMNS 32
#define PROVCONN_MAX_KEYS 3
#define PROVCONN_MAX_PARAMETERS 10

typedef struct ProvconnColumn
{
	const char *name;
	Oid			type;			/* InvalidOid: an enum of provconn's */
} ProvconnColumn;

/*
 * A table of the schema provconn.  The first seven members are its owner's to
 * state, with the primary key's columns first; the rest is the store's.
 */
typedef struct ProvconnTable
{
	const char *name;
	int			key_columns;
	int			column_count;
	const ProvconnColumn *columns;
	bool		is_partitioned;
	int			group_columns;	/* see provconn_store_each_of() */
	int			group[PROVCONN_MAX_KEYS];

	bool		known;			/* on the store's list */
	bool		valid;			/* what follows holds */
	Oid			relid;
	Oid			owner;
	Oid			primary_key;
	Oid			group_index;
	AttrNumber	attnums[PROVCONN_MAX_COLUMNS];
	bool		has_strangers;	/* columns that are not ours */
	Oid			leaf;			/* the partition that the next two are for */
	AttrNumber	leaf_attnums[PROVCONN_MAX_COLUMNS];
	bool		leaf_has_strangers;
	struct ProvconnTable *next;
} ProvconnTable;

/* A row found; open until provconn_store_close(). */
typedef struct ProvconnRow
{
	ProvconnTable *table;
	Relation	rel;
	TupleTableSlot *slot;
} ProvconnRow;

/* A row's values by column of its ProvconnTable. */
typedef struct ProvconnValues
{
	Datum		values[PROVCONN_MAX_COLUMNS];
	bool		nulls[PROVCONN_MAX_COLUMNS];
	bool		set[PROVCONN_MAX_COLUMNS];	/* for updates: what to change */
} ProvconnValues;

/* An SQL statement whose plan is kept for the life of the backend. */
typedef struct ProvconnStatement
{
	const char *sql;
	int			nargs;
	Oid			types[PROVCONN_MAX_PARAMETERS];
	bool		by_index; /* one plan for all values, which scans no table whole */
	bool		custom;	/* planned for the values of each run */
	SPIPlanPtr	plan;
	int			running; /* calls that are executing the plan */
} ProvconnStatement;

typedef struct ProvconnIdentity
{
	Oid			user;
	int			context;
	int			settings;		/* GUC nesting level, 0 where none was opened */
} ProvconnIdentity;

/* Registers the invalidation callback; called once, from _PG_init. */
extern void provconn_store_init(void);

/* The table's oid; a clear error where it is missing or was altered. */
extern Oid	provconn_store_relid(ProvconnTable *table);

/* Opens the table that has the name once the lock is there. */
extern Relation provconn_store_open(ProvconnTable *table, LOCKMODE mode);

/* The attribute number of a column, for code that is handed a tuple. */
extern AttrNumber provconn_store_attnum(ProvconnTable *table, int column);

/*
 * Acts as the owner of the tables, with a search path that nobody else has a
 * say in, until provconn_store_leave(): triggers and constraints that a DBA
 * added, and event triggers, run under both.
 */
extern void provconn_store_enter(ProvconnTable *table, ProvconnIdentity *saved);
extern void provconn_store_leave(const ProvconnIdentity *saved);

typedef enum ProvconnLock
{
	PROVCONN_LOCK_NONE,
	PROVCONN_LOCK_WAIT, /* for other writers, and see what they left */
	PROVCONN_LOCK_SKIP  /* a row that another session has or had meanwhile is not found */
} ProvconnLock;

/*
 * Finds a row by its whole primary key, as of now (or, above READ COMMITTED, as
 * of the transaction's snapshot), and locks it as asked.  Where that waited, a
 * row changed meanwhile is error 40001 above READ COMMITTED.  Where it returns
 * false nothing is left open.
 */
extern bool provconn_store_find(ProvconnTable *table, const Datum *keys, ProvconnLock lock,
								ProvconnRow *row);
extern Datum provconn_store_get(ProvconnRow *row, int column, bool *isnull);
extern void provconn_store_close(ProvconnRow *row);

/*
 * Hands every row of a small table to visit, as of now at any isolation level.
 * visit returns false to end the scan.
 */
typedef bool (*ProvconnVisit) (ProvconnRow *row, void *arg);
extern void provconn_store_each(ProvconnTable *table, ProvconnVisit visit, void *arg);

/*
 * Hands the rows whose group columns equal the keys to visit, as of now or, above
 * READ COMMITTED, as of the transaction's snapshot.  The index that begins with
 * these columns, in their order, leads to them.
 */
extern void provconn_store_each_of(ProvconnTable *table, const Datum *keys,
								   ProvconnVisit visit, void *arg);

/* The transaction that wrote the row. */
extern TransactionId provconn_store_writer(ProvconnRow *row);

/* Changes the columns that are set in the row, which must be locked. */
extern void provconn_store_update(ProvconnRow *row, const ProvconnValues *changes);

/* Inserts a row into the table, or into leaf, a partition of it. */
extern void provconn_store_insert(ProvconnTable *table, Oid leaf,
								  const ProvconnValues *values);

/*
 * Runs a statement as the owner and returns the number of rows it processed.
 * With out, the values of the first row's columns go there, copied into the
 * caller's memory context.
 */
extern uint64 provconn_store_run(ProvconnTable *table, ProvconnStatement *statement,
								 const Datum *values, const char *nulls,
								 int out_count, Datum *out, bool *out_nulls);

/*
 * Hands every row of a query's result to visit, which returns false to end it;
 * the tuple is its for the call.  The rows come through a cursor: there may be
 * any number of them.  With frozen the query sees what the calling statement
 * sees; otherwise what is committed now.
 */
typedef bool (*ProvconnVisitTuple) (HeapTuple tuple, TupleDesc tupdesc, void *arg);
extern void provconn_store_query(ProvconnTable *table, ProvconnStatement *statement,
								 const Datum *values, const char *nulls, bool frozen,
								 ProvconnVisitTuple visit, void *arg);

/*
 * Locks that the table's maintenance (VACUUM, ANALYZE, REINDEX) knows nothing
 * of, told apart by which.  False where dont_wait and somebody has it; with
 * session it is held across transactions, until it is released or an error.
 */
extern bool provconn_store_lock(ProvconnTable *table, int which, LOCKMODE mode, bool session,
								bool dont_wait);
extern void provconn_store_unlock_session(ProvconnTable *table, int which, LOCKMODE mode);

/* Waits for all transactions that hold a lock on the table which conflicts with mode. */
extern void provconn_store_wait_for_lockers(ProvconnTable *table, LOCKMODE mode);

/* Runs DDL, or anything else for which a kept plan is no use, as the owner. */
extern void provconn_store_execute(ProvconnTable *table, const char *sql);

/* This transaction's commit need not reach the disk before it is reported. */
extern void provconn_store_commit_lazily(void);

/* And this one's must, whatever the caller has set; what is stronger stays. */
extern void provconn_store_commit_durably(void);

static inline void
provconn_values_set(ProvconnValues *values, int column, Datum value)
{
	values->values[column] = value;
	values->nulls[column] = false;
	values->set[column] = true;
}

static inline void
provconn_values_set_null(ProvconnValues *values, int column)
{
	values->values[column] = (Datum) 0;
	values->nulls[column] = true;
	values->set[column] = true;
}

#endif							/* PROVCONN_STORE_H */
