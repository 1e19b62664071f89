/*
 * statement.c (layer 2): the text of the running statement, kept out of sight.
 *
 * What the server has logged before any code of ours runs, or logs from a copy
 * of its own (log_statement, log_min_duration_statement, auto_explain), is out
 * of reach, and so is what the workers of a parallel query show.
 */
#include "postgres.h"

#include "pgstat.h"
#include "tcop/tcopprot.h"

#include "compat.h"
#include "statement.h"

static const char hidden[] = "<statement hidden by provconn>";
static char last_error[6] = "";

void
provconn_statement_hide(void)
{
	Size		len;
	char	   *blank;

	/* Once for each statement: the server sets it anew with the next one. */
	if (debug_query_string == NULL || debug_query_string == hidden)
		return;

	/* A shorter text would leave the longer one's end in shared memory. */
	len = Min(strlen(debug_query_string), (Size) pgstat_track_activity_query_size - 1);
	blank = palloc(len + 1);
	memset(blank, ' ', len);
	blank[len] = '\0';
	provconn_compat_report_query(blank);
	provconn_compat_report_query(hidden);
	pfree(blank);
	debug_query_string = hidden;
}

Datum
provconn_statement_shield(PGFunction body, FunctionCallInfo fcinfo)
{
	Datum		result;

	provconn_statement_hide();
	PG_TRY();
	{
		result = body(fcinfo);
	}
	PG_CATCH();
	{
		strlcpy(last_error, unpack_sql_state(geterrcode()), sizeof(last_error));
		/* The error is still the current one: these two concern it. */
		errhidestmt(true);
		errhidecontext(true);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return result;
}

const char *
provconn_statement_error(void)
{
	return last_error[0] != '\0' ? last_error : NULL;
}

void
provconn_statement_forget_error(void)
{
	last_error[0] = '\0';
}
