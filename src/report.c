/*
 * report.c (layer 7): what the audit has of one user, as a page to be read.
 *
 * The queries are in src/install/report.sql.  Every value that somebody chose
 * goes onto the page through provconn_markup_text(); what is appended otherwise
 * stands in this file, or is a number, an id or a time.  How long the tables may
 * grow is bounded, the counts are of everything.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "entry.h"
#include "listing.h"
#include "markup.h"
#include "report.h"
#include "ring.h"
#include "shard.h"
#include "store.h"
#include "style.h"
#include "timeline.h"

/* Rows of a list; of the table of each connection, all of which share EVENTS_IN_ALL. */
#define LIST_ROWS 300
#define EVENTS_EACH 200
#define EVENTS_LEAST 20
#define EVENTS_IN_ALL 2000

/* Connections of the overview, and those of them that have a picture and a table. */
#define CONNECTIONS_LISTED 1000
#define CONNECTIONS_SHOWN 100

#define PROBLEMS_LISTED 300

/* Planned for the values, so that what does not matter falls away. */
static ProvconnStatement count_all = {
	.sql = "SELECT * FROM provconn.report_counts($1, $2)",
	.nargs = 2,
	.types = {UUIDOID, INT4OID},
	.custom = true
};

static ProvconnStatement find_connections = {
	.sql = "SELECT * FROM provconn.report_connections($1, $2)",
	.nargs = 2,
	.types = {UUIDOID, INT4OID},
	.custom = true
};

static ProvconnStatement find_problems = {
	.sql = "SELECT * FROM provconn.report_problems($1, $2)",
	.nargs = 2,
	.types = {UUIDOID, INT4OID},
	.custom = true
};

static ProvconnStatement find_events = {
	.sql = "SELECT * FROM provconn.report_events($1, $2, $3)",
	.nargs = 3,
	.types = {UUIDOID, INT4OID, UUIDOID},
	.custom = true
};

static ProvconnStatement find_notices = {
	.sql = "SELECT * FROM provconn.report_notices()",
	.custom = true
};

/* The columns of report_counts. */
enum
{
	COUNT_FIRST_AT,
	COUNT_ROWS,
	COUNT_READS,
	COUNT_REFUSED,
	COUNT_ROLLED_BACK,
	COUNT_DIRECT,
	COUNT_ERASED,
	COUNT_UNSEALED,
	COUNT_IMPORTED,
	COUNT_ELSEWHERE,
	COUNT_FIRST_TIME,
	COUNT_LAST_TIME,
	COUNT_ERASED_TIME,
	COUNT_SHARD_ROWS,
	COUNT_SEALS,
	COUNT_DIGEST,
	COUNT_COLUMNS
};

/* The columns of report_connections. */
enum
{
	LIFE_CONNECTION_ID,
	LIFE_ALIAS,
	LIFE_PROVIDER_SLUG,
	LIFE_PROVIDER_NAME,
	LIFE_STATUS,
	LIFE_CREATED,
	LIFE_CONNECTED,
	LIFE_EXPIRES,
	LIFE_SYNCED,
	LIFE_VERSION,
	LIFE_ROWS,
	LIFE_LAST,
	LIFE_IS_GONE,
	LIFE_COLUMNS
};

/* The columns of report_problems and of report_notices. */
enum
{
	PROBLEM_SEVERITY,
	PROBLEM_PROBLEM,
	PROBLEM_AUDIT_ID,
	PROBLEM_CONNECTION_ID,
	PROBLEM_SEQ,
	PROBLEM_SEAL_ID,
	PROBLEM_DETAIL,
	PROBLEM_COLUMNS
};

enum
{
	NOTICE_TIME,
	NOTICE_KIND,
	NOTICE_DETAIL,
	NOTICE_COLUMNS
};

/* A connection's values by column, as text; NULL for null. */
typedef struct Life
{
	char	   *values[LIFE_COLUMNS];
} Life;

typedef struct Report
{
	StringInfo	page;
	Datum		asked[2];		/* the user and their shard */
	TimestampTz from;
	TimestampTz now;
	char	   *counts[COUNT_COLUMNS];
	Life	   *lives;
	int			life_count;
	ProvconnListing listing;
	ProvconnTimeline *timeline;
	StringInfoData rows;		/* of a table whose number of rows has to be known first */
	int			row_count;
} Report;

static void ask(Report *report, ProvconnStatement *statement, ProvconnVisitTuple visit);
static void read_values(HeapTuple tuple, TupleDesc tupdesc, int count, char **values);
static bool keep_counts(HeapTuple tuple, TupleDesc tupdesc, void *arg);
static bool keep_life(HeapTuple tuple, TupleDesc tupdesc, void *arg);
static void name_connections(Report *report);
static void put_head(Report *report, Oid caller);
static void put_figures(const Report *report);
static void put_verification(Report *report);
static bool add_problem(HeapTuple tuple, TupleDesc tupdesc, void *arg);
static void put_checks(const Report *report);
static void put_digest(const Report *report);
static void put_connections(Report *report);
static void put_overview(const Report *report);
static void put_life(Report *report, int number);
static bool add_event(HeapTuple tuple, TupleDesc tupdesc, void *arg);
static void put_lists(const Report *report);
static const char *tell_losses(void);
static void put_list(const Report *report, const char *id, const char *heading, const char *explanation,
					 const char *caption, const char *kind, int64 count);
static void put_notices(Report *report);
static bool add_notice(HeapTuple tuple, TupleDesc tupdesc, void *arg);
static void put_events(const Report *report);
static int64 count_of(const Report *report, int column);
static void put_fact(StringInfo page, const char *term, const char *value);
static void put_figure(StringInfo page, int64 number, const char *what);

void
provconn_report_make(Oid caller, const ProvconnUuid *user_id, StringInfo page)
{
	Report		report = {0};
	int			settings = NewGUCNestLevel();

	/* To compile these queries takes seconds, to run them mostly less. */
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	report.page = page;
	report.asked[0] = UUIDPGetDatum((const pg_uuid_t *) user_id);
	report.asked[1] = Int32GetDatum(provconn_shard_of_user(user_id));
	report.now = GetCurrentStatementStartTimestamp();
	ask(&report, &count_all, keep_counts);
	report.lives = palloc(CONNECTIONS_LISTED * sizeof(Life));
	ask(&report, &find_connections, keep_life);
	name_connections(&report);

	put_head(&report, caller);
	put_verification(&report);
	put_connections(&report);
	put_lists(&report);
	put_notices(&report);
	put_events(&report);
	appendStringInfoString(page, "</main>\n</body>\n</html>");
	AtEOXact_GUC(true, settings);
}

static void
ask(Report *report, ProvconnStatement *statement, ProvconnVisitTuple visit)
{
	provconn_store_query(&provconn_entry_table, statement, report->asked, NULL, true, visit, report);
}

static void
read_values(HeapTuple tuple, TupleDesc tupdesc, int count, char **values)
{
	for (int i = 0; i < count; i++)
		values[i] = SPI_getvalue(tuple, tupdesc, i + 1);
}

static bool
keep_counts(HeapTuple tuple, TupleDesc tupdesc, void *arg)
{
	Report	   *report = arg;
	bool		isnull;
	Datum		first = SPI_getbinval(tuple, tupdesc, COUNT_FIRST_AT + 1, &isnull);

	report->from = isnull ? report->now : DatumGetTimestampTz(first);
	read_values(tuple, tupdesc, COUNT_COLUMNS, report->counts);
	return true;
}

static bool
keep_life(HeapTuple tuple, TupleDesc tupdesc, void *arg)
{
	Report	   *report = arg;

	if (report->life_count < CONNECTIONS_LISTED)
		read_values(tuple, tupdesc, LIFE_COLUMNS, report->lives[report->life_count].values);
	report->life_count++;
	return true;
}

static void
name_connections(Report *report)
{
	int			count = Min(report->life_count, CONNECTIONS_LISTED);
	ProvconnListed *listed = palloc(Max(count, 1) * sizeof(ProvconnListed));

	for (int i = 0; i < count; i++)
	{
		listed[i].id = report->lives[i].values[LIFE_CONNECTION_ID];
		listed[i].alias = report->lives[i].values[LIFE_ALIAS];
	}
	report->listing.page = report->page;
	report->listing.user = report->asked[0];
	report->listing.shard = report->asked[1];
	report->listing.connections = listed;
	report->listing.connection_count = count;
	report->listing.shown = Min(count, CONNECTIONS_SHOWN);
}

static void
put_head(Report *report, Oid caller)
{
	StringInfo	page = report->page;
	char	   *user = DatumGetCString(DirectFunctionCall1(uuid_out, report->asked[0]));
	StringInfoData now;

	initStringInfo(&now);
	provconn_markup_time(&now, report->now, PROVCONN_MARKUP_TIME);
	appendStringInfo(page,
					 "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\" xml:lang=\"en\">\n<head>\n"
					 "<meta charset=\"utf-8\"/>\n"
					 "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n"
					 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
					 "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
					 "<meta name=\"referrer\" content=\"no-referrer\"/>\n"
					 "<meta name=\"robots\" content=\"noindex\"/>\n"
					 "<title>Audit report of user %s</title>\n<style>\n%s</style>\n</head>\n<body>\n<header>\n"
					 "<h1>Audit report of one user</h1>\n<dl class=\"facts\">\n",
					 user, provconn_style);
	put_fact(page, "User", user);
	put_fact(page, "Database", get_database_name(MyDatabaseId));
	put_fact(page, "Generated (UTC)", now.data);
	put_fact(page, "For role", GetUserNameFromId(caller, true));
	put_fact(page, "First audit row (UTC)", report->counts[COUNT_FIRST_TIME]);
	put_fact(page, "Newest audit row (UTC)", report->counts[COUNT_LAST_TIME]);
	appendStringInfoString(page, "</dl>\n");
	if (report->counts[COUNT_ERASED_TIME] != NULL)
		appendStringInfo(page,
						 "<p class=\"box note\">This user was erased, at last at %s UTC. Of the rows until then it is not"
						 " known any more who was named, from where, by which program, and why; where that is so it"
						 " says <i class=\"gone\">erased</i>. What is left are ids, states, roles and times.</p>\n",
						 report->counts[COUNT_ERASED_TIME]);
	put_figures(report);
	appendStringInfoString(page,
						   "<nav aria-label=\"Contents\"><ul><li><a href=\"#verification\">Verification</a></li>"
						   "<li><a href=\"#connections\">Connections</a></li><li><a href=\"#reads\">Who read what</a></li>"
						   "<li><a href=\"#refused\">Refused and rolled back</a></li><li><a href=\"#direct\">Direct SQL</a></li>"
						   "<li><a href=\"#elsewhere\">Of no connection</a></li><li><a href=\"#notices\">Imports and archives</a></li>"
						   "<li><a href=\"#events\">Events</a></li></ul></nav>\n</header>\n<main>\n");
}

static void
put_figures(const Report *report)
{
	appendStringInfoString(report->page, "<ul class=\"figures\">\n");
	put_figure(report->page, report->life_count, "connections");
	put_figure(report->page, count_of(report, COUNT_ROWS), "audit rows");
	put_figure(report->page, count_of(report, COUNT_READS), "reads of credentials");
	put_figure(report->page, count_of(report, COUNT_REFUSED), "refused");
	put_figure(report->page, count_of(report, COUNT_ROLLED_BACK), "rolled back");
	put_figure(report->page, count_of(report, COUNT_DIRECT), "by direct SQL");
	if (count_of(report, COUNT_ERASED) > 0)
		put_figure(report->page, count_of(report, COUNT_ERASED), "erased rows");
	appendStringInfoString(report->page, "</ul>\n");
}

static void
put_verification(Report *report)
{
	StringInfo	page = report->page;

	initStringInfo(&report->rows);
	report->row_count = 0;
	ask(report, &find_problems, add_problem);
	appendStringInfoString(page, "<section id=\"verification\">\n<h2>Verification</h2>\n");
	if (report->row_count == 0)
		appendStringInfoString(page, "<p class=\"box good\"><strong>&#x2713; No problem found</strong> in what was checked.</p>\n");
	else
	{
		appendStringInfoString(page, "<p class=\"box bad\"><strong>&#x2717; ");
		provconn_listing_number(page, report->row_count);
		appendStringInfo(page,
						 "%s found.</strong> Rows of other users in the same shard count, as a row that was"
						 " altered may have been this user&#39;s.</p>\n",
						 report->row_count == 1 ? " problem" : " problems");
		appendStringInfoString(page, "<table class=\"c4\">\n<caption>Problems");
		if (report->row_count > PROBLEMS_LISTED)
			appendStringInfo(page, ": the first %d", PROBLEMS_LISTED);
		appendStringInfo(page,
						 "</caption>\n<thead><tr><th scope=\"col\">Problem</th><th scope=\"col\">Row</th>"
						 "<th scope=\"col\">Connection</th><th scope=\"col\">Number</th><th scope=\"col\">Seal</th>"
						 "<th scope=\"col\">What</th></tr></thead>\n<tbody>\n%s</tbody>\n</table>\n",
						 report->rows.data);
	}
	put_checks(report);
	put_digest(report);
	appendStringInfoString(page, "</section>\n");
}

static bool
add_problem(HeapTuple tuple, TupleDesc tupdesc, void *arg)
{
	Report	   *report = arg;
	char	   *values[PROBLEM_COLUMNS];

	if (report->row_count++ >= PROBLEMS_LISTED)
		return true;
	read_values(tuple, tupdesc, PROBLEM_COLUMNS, values);
	appendStringInfoString(&report->rows, "<tr><th scope=\"row\"><b class=\"tag\">");
	provconn_markup_text(&report->rows, values[PROBLEM_PROBLEM]);
	appendStringInfoString(&report->rows, "</b></th>");
	for (int i = PROBLEM_AUDIT_ID; i < PROBLEM_COLUMNS; i++)
	{
		appendStringInfoString(&report->rows,
							   i == PROBLEM_AUDIT_ID || i == PROBLEM_CONNECTION_ID ? "<td class=\"id\">" : "<td>");
		provconn_markup_text(&report->rows, values[i]);
		appendStringInfoString(&report->rows, "</td>");
	}
	appendStringInfoString(&report->rows, "</tr>\n");
	return true;
}

/* Exactly what report_problems() looks at. */
static void
put_checks(const Report *report)
{
	StringInfo	page = report->page;

	appendStringInfoString(page, "<h3>What was checked</h3>\n<ul class=\"checks\">\n<li>The ");
	provconn_listing_number(page, count_of(report, COUNT_ROWS));
	appendStringInfo(page, " audit rows of this user, and with them all rows of shard %d, in which they are kept (",
					 DatumGetInt32(report->asked[1]));
	provconn_listing_number(page, count_of(report, COUNT_SHARD_ROWS));
	appendStringInfoString(page,
						   "): each has its hash, and its personal values are those that it committed to,"
						   " or were erased with their user.</li>\n"
						   "<li>The chains of all connections of that shard: their rows are numbered from 1"
						   " without a gap, each holds the hash of the one before, and the last one is the one"
						   " that the connection&#39;s row names.</li>\n"
						   "<li>Each of these rows that is older than the newest seal is in its seal; and every row"
						   " of that shard that was ever sealed is there.</li>\n<li>");
	provconn_listing_number(page, count_of(report, COUNT_SEALS));
	appendStringInfoString(page, count_of(report, COUNT_SEALS) == 1 ? " seal" : " seals");
	appendStringInfoString(page,
						   ", which is all there are: each follows the one before, and has its hash and"
						   " the root of its leaves.</li>\n"
						   "<li>The triggers that guard the tables are all in place.</li>\n</ul>\n"
						   "<p class=\"dim\">Not checked were other users&#39; rows in other shards, the seals&#39; authentication by their"
						   " key, and a digest that was kept outside of the database: <code>provconn_verify_audit()</code>"
						   " does that. Months that were archived are not in this report.</p>\n");
}

static void
put_digest(const Report *report)
{
	StringInfo	page = report->page;
	int64		unsealed = count_of(report, COUNT_UNSEALED);

	appendStringInfoString(page, "<h3>Newest digest</h3>\n");
	if (report->counts[COUNT_DIGEST] == NULL)
	{
		appendStringInfoString(page, "<p>There is no seal yet: nothing shows that rows were not replaced.</p>\n");
		return;
	}
	if (unsealed > 0)
	{
		appendStringInfoString(page, "<p>");
		provconn_listing_number(page, unsealed);
		appendStringInfo(page, " audit %s of this user %s newer than it, and no seal has %s yet.</p>\n",
						 unsealed == 1 ? "row" : "rows", unsealed == 1 ? "is" : "are", unsealed == 1 ? "it" : "them");
	}
	else
		appendStringInfoString(page, "<p>All audit rows of this user are sealed.</p>\n");
	appendStringInfoString(page, "<pre>");
	for (char *line = strtok(report->counts[COUNT_DIGEST], "\n"); line != NULL; line = strtok(NULL, "\n"))
	{
		provconn_markup_text(page, line);
		appendStringInfoChar(page, '\n');
	}
	appendStringInfoString(page, "</pre>\n");
}

static void
put_connections(Report *report)
{
	StringInfo	page = report->page;

	appendStringInfoString(page, "<section id=\"connections\">\n<h2>Connections</h2>\n");
	provconn_timeline_shapes(page);
	if (report->life_count == 0)
		appendStringInfoString(page, "<p>This user has no connection.</p>\n");
	else
		appendStringInfoString(page,
							   "<p>All pictures are of the same time. A mark is one event; a bar is several that lie close"
							   " together, and the higher the more they are.</p>\n");
	if (report->life_count > 1)
		put_overview(report);
	for (int i = 1; i <= report->listing.shown; i++)
		put_life(report, i);
	appendStringInfoString(page, "</section>\n");
}

static void
put_overview(const Report *report)
{
	StringInfo	page = report->page;

	appendStringInfo(page, "<table class=\"c3\">\n<caption>Overview, the oldest first");
	if (report->life_count > CONNECTIONS_SHOWN)
		appendStringInfo(page, ": %d of %d; the first %d are below", report->listing.connection_count,
						 report->life_count, CONNECTIONS_SHOWN);
	appendStringInfoString(page,
						   "</caption>\n<thead><tr><th scope=\"col\">Connection</th><th scope=\"col\">Provider</th>"
						   "<th scope=\"col\">Status</th><th scope=\"col\">Audit rows</th>"
						   "<th scope=\"col\">Newest (UTC)</th></tr></thead>\n<tbody>\n");
	for (int i = 1; i <= report->listing.connection_count; i++)
	{
		char	  **values = report->lives[i - 1].values;

		appendStringInfoString(page, "<tr><th scope=\"row\">");
		if (i <= report->listing.shown)
			appendStringInfo(page, "<a href=\"#c%d\">", i);
		provconn_listing_name(&report->listing, i);
		appendStringInfoString(page, i <= report->listing.shown ? "</a></th><td>" : "</th><td>");
		provconn_markup_text(page, values[LIFE_PROVIDER_SLUG]);
		appendStringInfo(page, "</td><td>%s</td><td>", values[LIFE_STATUS] ? values[LIFE_STATUS] : "gone");
		provconn_listing_number(page, pg_strtoint64(values[LIFE_ROWS]));
		appendStringInfo(page, "</td><td>%s</td></tr>\n", values[LIFE_LAST] ? values[LIFE_LAST] : "");
	}
	appendStringInfoString(page, "</tbody>\n</table>\n");
}

static void
put_life(Report *report, int number)
{
	StringInfo	page = report->page;
	char	  **values = report->lives[number - 1].values;
	char	   *name = values[LIFE_ALIAS] == NULL ? psprintf("connection %d", number) :
		psprintf("connection %d, %s", number, values[LIFE_ALIAS]);
	Datum		asked[3];

	appendStringInfo(page, "<article id=\"c%d\">\n<h3><span class=\"dim\">%d</span> <bdi>", number, number);
	provconn_markup_text(page, values[LIFE_ALIAS]);
	appendStringInfo(page, "</bdi>%s</h3>\n<dl class=\"facts\">\n",
					 values[LIFE_ALIAS] != NULL ? "" :
					 report->counts[COUNT_ERASED_TIME] != NULL ? "<i class=\"gone\">no alias, or erased</i>" :
					 "<i class=\"gone\">no alias</i>");
	put_fact(page, "Connection", values[LIFE_CONNECTION_ID]);
	put_fact(page, "Provider", values[LIFE_PROVIDER_NAME] == NULL ? values[LIFE_PROVIDER_SLUG] :
			 psprintf("%s (%s)", values[LIFE_PROVIDER_NAME], values[LIFE_PROVIDER_SLUG]));
	put_fact(page, "Status now", strcmp(values[LIFE_IS_GONE], "t") == 0 ? "its row is gone" : values[LIFE_STATUS]);
	put_fact(page, "Created (UTC)", values[LIFE_CREATED]);
	put_fact(page, "Connected (UTC)", values[LIFE_CONNECTED]);
	put_fact(page, "Credentials expire (UTC)", values[LIFE_EXPIRES]);
	put_fact(page, "Last sync (UTC)", values[LIFE_SYNCED]);
	put_fact(page, "Version", values[LIFE_VERSION]);
	appendStringInfoString(page, "</dl>\n<figure>\n");

	memcpy(asked, report->asked, sizeof(report->asked));
	asked[2] = DirectFunctionCall1(uuid_in, CStringGetDatum(values[LIFE_CONNECTION_ID]));
	report->timeline = provconn_timeline_begin(report->from, report->now);
	provconn_store_query(&provconn_entry_table, &find_events, asked, NULL, true, add_event, report);
	provconn_timeline_draw(report->timeline, page, number, name);
	provconn_timeline_legend(report->timeline, page);
	appendStringInfoString(page, "<figcaption>");
	provconn_markup_time(page, report->from, PROVCONN_MARKUP_DAY);
	appendStringInfoString(page, " to ");
	provconn_markup_time(page, report->now, PROVCONN_MARKUP_DAY);
	appendStringInfo(page, ". <a href=\"#e%d\">Events of connection %d</a></figcaption>\n</figure>\n</article>\n",
					 number, number);
}

static bool
add_event(HeapTuple tuple, TupleDesc tupdesc, void *arg)
{
	Report	   *report = arg;
	bool		isnull;
	TimestampTz time = DatumGetTimestampTz(SPI_getbinval(tuple, tupdesc, 1, &isnull));
	char	   *values[4];

	for (int i = 1; i < 4; i++)
		values[i] = SPI_getvalue(tuple, tupdesc, i + 1);
	provconn_timeline_add(report->timeline, time, values[1], values[2], values[3]);
	for (int i = 1; i < 4; i++)
		if (values[i] != NULL)
			pfree(values[i]);
	return true;
}

static void
put_lists(const Report *report)
{
	put_list(report, "reads", "Who read what",
			 "Reveals, and claims by workers, which hand out credentials as well. The reason is the purpose of a"
			 " reveal and the name of a claim&#39;s worker.",
			 "Reads", "read", count_of(report, COUNT_READS));
	put_list(report, "refused", "Refused and rolled back",
			 psprintf("What was asked for and did not happen: by this user, with this user&#39;s connections, or in"
					  " this user&#39;s name.%s",
					  tell_losses()),
			 "Attempts", "refused", count_of(report, COUNT_REFUSED) + count_of(report, COUNT_ROLLED_BACK));
	put_list(report, "direct", "Changes by direct SQL",
			 "Changes of this user&#39;s connections by who wrote into the tables, past the functions.",
			 "Changes", "direct", count_of(report, COUNT_DIRECT));
	put_list(report, "elsewhere", "Rows of no connection",
			 "What concerned the user as a whole.", "Rows", "elsewhere", count_of(report, COUNT_ELSEWHERE));
}

/* What may be missing among attempts that were rolled back. */
static const char *
tell_losses(void)
{
	int			ring = provconn_ring_here();
	uint64		losses = ring >= 0 ? provconn_ring_losses(ring) : 0;

	if (ring < 0)
		return " At present attempts that are rolled back are not noted here: <code>provconn.databases</code>"
			" does not have this database, or the library is not preloaded.";
	if (losses == 0)
		return "";
	return psprintf(" Since the server started " UINT64_FORMAT " attempts, of any user of this database, went to the"
					" server log alone.",
					losses);
}

static void
put_list(const Report *report, const char *id, const char *heading, const char *explanation,
		 const char *caption, const char *kind, int64 count)
{
	ProvconnListingOf what = {kind, 0, caption, count, LIST_ROWS};

	appendStringInfo(report->page, "<section id=\"%s\">\n<h2>%s</h2>\n<p>%s</p>\n", id, heading, explanation);
	if (count == 0)
		appendStringInfoString(report->page, "<p><strong>None.</strong></p>\n");
	else
		provconn_listing_put(&report->listing, &what);
	appendStringInfoString(report->page, "</section>\n");
}

static void
put_notices(Report *report)
{
	StringInfo	page = report->page;
	int64		imported = count_of(report, COUNT_IMPORTED);

	resetStringInfo(&report->rows);
	report->row_count = 0;
	ask(report, &find_notices, add_notice);
	appendStringInfoString(page,
						   "<section id=\"notices\">\n<h2>Imports and archives</h2>\n"
						   "<p>Rows, of any user, that came in past the guards, as a restore and logical replication bring"
						   " them, and months of the audit that were put away.</p>\n");
	if (imported > 0)
	{
		appendStringInfoString(page, "<p class=\"box note\">");
		provconn_listing_number(page, imported);
		appendStringInfoString(page, " audit rows of this user were written by another database.</p>\n");
	}
	if (report->row_count == 0)
		appendStringInfoString(page, "<p><strong>None.</strong></p>\n");
	else
		appendStringInfo(page,
						 "<table class=\"c5\">\n<caption>Imports and archives, the newest first</caption>\n"
						 "<thead><tr><th scope=\"col\">When (UTC)</th><th scope=\"col\">Kind</th>"
						 "<th scope=\"col\">What</th></tr></thead>\n<tbody>\n%s</tbody>\n</table>\n",
						 report->rows.data);
	appendStringInfoString(page, "</section>\n");
}

static bool
add_notice(HeapTuple tuple, TupleDesc tupdesc, void *arg)
{
	Report	   *report = arg;
	char	   *values[NOTICE_COLUMNS];

	if (report->row_count++ >= LIST_ROWS)
		return false;
	read_values(tuple, tupdesc, NOTICE_COLUMNS, values);
	appendStringInfo(&report->rows, "<tr><th scope=\"row\">%s</th><td>", values[NOTICE_TIME]);
	provconn_markup_text(&report->rows, values[NOTICE_KIND]);
	appendStringInfoString(&report->rows, "</td><td>");
	provconn_markup_text(&report->rows, values[NOTICE_DETAIL]);
	appendStringInfoString(&report->rows, "</td></tr>\n");
	return true;
}

static void
put_events(const Report *report)
{
	StringInfo	page = report->page;
	int			shown = report->listing.shown;
	int			limit = Min(EVENTS_EACH, Max(EVENTS_LEAST, EVENTS_IN_ALL / Max(shown, 1)));

	appendStringInfoString(page, "<section id=\"events\">\n<h2>Events of each connection</h2>\n");
	if (shown == 0)
		appendStringInfoString(page, "<p><strong>None.</strong></p>\n");
	else
		appendStringInfoString(page,
							   "<p>The newest first. <span class=\"id\">#</span> is the number in the connection&#39;s chain;"
							   " rows without one changed nothing.</p>\n");
	for (int i = 1; i <= shown; i++)
	{
		ProvconnListingOf what = {"connection", i, "Events", pg_strtoint64(report->lives[i - 1].values[LIFE_ROWS]), limit};

		appendStringInfo(page, "<h3 id=\"e%d\">", i);
		provconn_listing_name(&report->listing, i);
		appendStringInfoString(page, "</h3>\n");
		provconn_listing_put(&report->listing, &what);
	}
	appendStringInfoString(page, "</section>\n");
}

static int64
count_of(const Report *report, int column)
{
	return pg_strtoint64(report->counts[column]);
}

/* Nothing where there is no value. */
static void
put_fact(StringInfo page, const char *term, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(page, "<div><dt>%s</dt><dd>", term);
	provconn_markup_text(page, value);
	appendStringInfoString(page, "</dd></div>\n");
}

static void
put_figure(StringInfo page, int64 number, const char *what)
{
	appendStringInfoString(page, "<li><b>");
	provconn_listing_number(page, number);
	appendStringInfo(page, "</b> %s</li>\n", what);
}
