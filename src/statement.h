/*
 * statement.h (layer 2): the text of the running statement, kept out of sight.
 */
#ifndef PROVCONN_STATEMENT_H
#define PROVCONN_STATEMENT_H

#include "postgres.h"

#include "fmgr.h"

/*
 * Takes the text of the client's statement out of what this backend shows of
 * itself from here on: pg_stat_activity, the STATEMENT line of errors, the
 * report of a crash or a deadlock, current_query().  It may hold a secret as a
 * literal.
 */
extern void provconn_statement_hide(void);

/*
 * Calls the body of an entry point that handles secrets.  The statement is
 * hidden, and so are statement and context in the log entry of any error that
 * comes out of it, whoever raised it: the context may list bound parameters.
 */
extern Datum provconn_statement_shield(PGFunction body, FunctionCallInfo fcinfo);

/*
 * The SQLSTATE of the last error that came out of one of these; NULL where there
 * was none since it was last forgotten.
 */
extern const char *provconn_statement_error(void);
extern void provconn_statement_forget_error(void);

#endif /* PROVCONN_STATEMENT_H */
