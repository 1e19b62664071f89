/*
 * listing.c (layer 6): tables of audit rows on the page of a report.
 *
 * Every value of a row goes onto the page through provconn_markup_text(), or is
 * a number or an id.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "entry.h"
#include "listing.h"
#include "markup.h"
#include "store.h"

/* The columns of report_rows. */
enum
{
	ROW_TIME,
	ROW_SEQ,
	ROW_AUDIT_ID,
	ROW_CONNECTION_ID,
	ROW_ACTION,
	ROW_OUTCOME,
	ROW_ERROR_CODE,
	ROW_OLD_STATUS,
	ROW_NEW_STATUS,
	ROW_VERSION,
	ROW_SESSION_ROLE,
	ROW_CALLER_ROLE,
	ROW_NAMED_USER,
	ROW_NAMED_OWNER,
	ROW_APPLICATION,
	ROW_ADDRESS,
	ROW_REASON,
	ROW_IS_ERASED,
	ROW_COLUMNS
};

/* Planned for the values: the kind and the connection decide on the index. */
static ProvconnStatement rows = {
	.sql = "SELECT * FROM provconn.report_rows($1, $2, $3, $4, $5)",
	.nargs = 5,
	.types = {UUIDOID, INT4OID, TEXTOID, UUIDOID, INT4OID},
	.custom = true
};

typedef struct Table
{
	const ProvconnListing *listing;
	bool		has_connection;
	char	   *values[ROW_COLUMNS]; /* of the row at hand, as text; NULL for null */
} Table;

static bool put_row(HeapTuple tuple, TupleDesc tupdesc, void *arg);
static void put_connection(const Table *table);
static void put_action(const Table *table);
static void put_role(const Table *table);
static void put_personal(const Table *table, int column, const char *none);
static bool differ(const char *left, const char *right);

void
provconn_listing_put(const ProvconnListing *listing, const ProvconnListingOf *what)
{
	StringInfo	page = listing->page;
	Table		table = {listing, what->number == 0, {NULL}};
	Datum		values[5];
	char		nulls[] = "     ";

	values[0] = listing->user;
	values[1] = listing->shard;
	values[2] = CStringGetTextDatum(what->kind);
	values[3] = (Datum) 0;
	if (what->number > 0)
		values[3] = DirectFunctionCall1(uuid_in, CStringGetDatum(listing->connections[what->number - 1].id));
	else
		nulls[3] = 'n';
	values[4] = Int32GetDatum(what->limit);

	appendStringInfo(page, "<table class=\"%s\">\n<caption>%s", table.has_connection ? "c2" : "c1", what->caption);
	if (what->count > what->limit)
	{
		appendStringInfoString(page, ": the newest ");
		provconn_listing_number(page, what->limit);
		appendStringInfoString(page, " of ");
	}
	else
		appendStringInfoString(page, ": ");
	provconn_listing_number(page, what->count);
	appendStringInfoString(page, "</caption>\n<thead><tr><th scope=\"col\">When (UTC)</th>");
	if (table.has_connection)
		appendStringInfoString(page, "<th scope=\"col\">Connection</th>");
	appendStringInfoString(page,
						   "<th scope=\"col\">Action</th><th scope=\"col\">Role</th>"
						   "<th scope=\"col\">Application</th><th scope=\"col\">Address</th>"
						   "<th scope=\"col\">Reason</th></tr></thead>\n<tbody>\n");
	provconn_store_query(&provconn_entry_table, &rows, values, nulls, true, put_row, &table);
	appendStringInfoString(page, "</tbody>\n</table>\n");
}

void
provconn_listing_name(const ProvconnListing *listing, int number)
{
	const char *alias = listing->connections[number - 1].alias;

	appendStringInfo(listing->page, "%d", number);
	if (alias == NULL)
		return;
	appendStringInfoString(listing->page, " <bdi>");
	provconn_markup_text(listing->page, alias);
	appendStringInfoString(listing->page, "</bdi>");
}

void
provconn_listing_number(StringInfo page, int64 number)
{
	if (number >= 1000)
	{
		provconn_listing_number(page, number / 1000);
		appendStringInfo(page, ",%03d", (int) (number % 1000));
	}
	else
		appendStringInfo(page, "%d", (int) number);
}

static bool
put_row(HeapTuple tuple, TupleDesc tupdesc, void *arg)
{
	Table	   *table = arg;
	StringInfo	page = table->listing->page;
	char	  **values = table->values;

	for (int i = 0; i < ROW_COLUMNS; i++)
		values[i] = SPI_getvalue(tuple, tupdesc, i + 1);
	appendStringInfo(page, "<tr><th scope=\"row\">%s<small class=\"id\">", values[ROW_TIME]);
	if (values[ROW_SEQ] != NULL)
		appendStringInfo(page, "#%s ", values[ROW_SEQ]);
	appendStringInfo(page, "%s</small></th>", values[ROW_AUDIT_ID]);
	if (table->has_connection)
		put_connection(table);
	put_action(table);
	put_role(table);
	put_personal(table, ROW_APPLICATION, "");
	put_personal(table, ROW_ADDRESS, "local");
	put_personal(table, ROW_REASON, "");
	appendStringInfoString(page, "</tr>\n");
	for (int i = 0; i < ROW_COLUMNS; i++)
		if (values[i] != NULL)
			pfree(values[i]);
	return true;
}

static void
put_connection(const Table *table)
{
	const ProvconnListing *listing = table->listing;
	const char *id = table->values[ROW_CONNECTION_ID];
	int			number = 1;

	if (id == NULL)
	{
		appendStringInfoString(listing->page, "<td>none</td>");
		return;
	}
	while (number <= listing->connection_count && strcmp(listing->connections[number - 1].id, id) != 0)
		number++;
	if (number <= listing->shown)
	{
		appendStringInfo(listing->page, "<td><a href=\"#c%d\">", number);
		provconn_listing_name(listing, number);
		appendStringInfoString(listing->page, "</a></td>");
	}
	else
		appendStringInfo(listing->page, "<td><span class=\"id\">%s</span><small>%s</small></td>", id,
						 number <= listing->connection_count ? "" :
						 table->values[ROW_NAMED_OWNER] != NULL ? "of another user" :
						 "not of this user");
}

static void
put_action(const Table *table)
{
	StringInfo	page = table->listing->page;
	char *const *values = table->values;
	const char *outcome = values[ROW_OUTCOME];

	appendStringInfoString(page, "<td>");
	provconn_markup_text(page, values[ROW_ACTION]);
	appendStringInfo(page, " <b class=\"tag%s\">",
					 strcmp(outcome, "succeeded") == 0 ? " ok" :
					 strcmp(outcome, "rolled_back") == 0 ? " back" :
					 "");
	provconn_markup_text(page, strcmp(outcome, "rolled_back") == 0 ? "rolled back" : outcome);
	appendStringInfoString(page, "</b>");
	if (values[ROW_ERROR_CODE] != NULL)
	{
		appendStringInfoString(page, " <code>");
		provconn_markup_text(page, values[ROW_ERROR_CODE]);
		appendStringInfoString(page, "</code>");
	}
	if (differ(values[ROW_OLD_STATUS], values[ROW_NEW_STATUS]))
		appendStringInfo(page, "<small>%s &#x2192; %s</small>",
						 values[ROW_OLD_STATUS] != NULL ? values[ROW_OLD_STATUS] : "new",
						 values[ROW_NEW_STATUS] != NULL ? values[ROW_NEW_STATUS] : "none");
	if (values[ROW_NAMED_USER] != NULL)
		appendStringInfo(page, "<small>for user <span class=\"id\">%s</span></small>", values[ROW_NAMED_USER]);
	if (values[ROW_NAMED_OWNER] != NULL)
		appendStringInfo(page, "<small>owner <span class=\"id\">%s</span></small>", values[ROW_NAMED_OWNER]);
	appendStringInfoString(page, "</td>");
}

static void
put_role(const Table *table)
{
	StringInfo	page = table->listing->page;
	char *const *values = table->values;

	appendStringInfoString(page, "<td>");
	provconn_markup_text(page, values[ROW_SESSION_ROLE]);
	if (differ(values[ROW_SESSION_ROLE], values[ROW_CALLER_ROLE]))
	{
		appendStringInfoString(page, "<small>as ");
		provconn_markup_text(page, values[ROW_CALLER_ROLE]);
		appendStringInfoString(page, "</small>");
	}
	appendStringInfoString(page, "</td>");
}

static void
put_personal(const Table *table, int column, const char *none)
{
	StringInfo	page = table->listing->page;

	appendStringInfoString(page, "<td>");
	if (strcmp(table->values[ROW_IS_ERASED], "t") == 0)
		appendStringInfoString(page, "<i class=\"gone\">erased</i>");
	else
		provconn_markup_text(page, table->values[column] != NULL ? table->values[column] : none);
	appendStringInfoString(page, "</td>");
}

static bool
differ(const char *left, const char *right)
{
	if (left == NULL || right == NULL)
		return left != right;
	return strcmp(left, right) != 0;
}
