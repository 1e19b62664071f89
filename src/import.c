/*
 * import.c (layer 5): what came into the tables past their guards.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "compat.h"
#include "entry.h"
#include "import.h"
#include "shard.h"
#include "store.h"

enum
{
	IMPORT_ID,
	IMPORT_IMPORTED_AT,
	IMPORT_KIND,
	IMPORT_TABLE_NAME,
	IMPORT_ORIGIN,
	IMPORT_TRANSACTION_ID,
	IMPORT_SESSION_ROLE,
	IMPORT_COLUMN_COUNT
};

static const ProvconnColumn columns[IMPORT_COLUMN_COUNT] = {
	[IMPORT_ID] = {"import_id", UUIDOID},
	[IMPORT_IMPORTED_AT] = {"imported_at", TIMESTAMPTZOID},
	[IMPORT_KIND] = {"kind", TEXTOID},
	[IMPORT_TABLE_NAME] = {"table_name", NAMEOID},
	[IMPORT_ORIGIN] = {"origin", INT4OID},
	[IMPORT_TRANSACTION_ID] = {"transaction_id", XID8OID},
	[IMPORT_SESSION_ROLE] = {"session_role", TEXTOID},
};

static ProvconnTable import = {
	.name = "import", .key_columns = 1, .column_count = IMPORT_COLUMN_COUNT, .columns = columns
};

static bool is_known(const char *table);

void
provconn_import_record(const char *table)
{
	TimestampTz now = GetCurrentTimestamp();
	ProvconnUuid id = provconn_shard_new_id(0, now);
	ProvconnValues row = {0};
	char	   *role;

	if (IsLogicalWorker() && is_known(table))
		return;
	provconn_values_set(&row, IMPORT_ID, UUIDPGetDatum((const pg_uuid_t *) &id));
	provconn_values_set(&row, IMPORT_IMPORTED_AT, TimestampTzGetDatum(now));
	provconn_values_set(&row, IMPORT_KIND,
						CStringGetTextDatum(IsLogicalWorker() ? "replicated" : "restored"));
	provconn_values_set(&row, IMPORT_TABLE_NAME,
						DirectFunctionCall1(namein, CStringGetDatum(table)));
	provconn_values_set(&row, IMPORT_ORIGIN, Int32GetDatum(provconn_entry_origin()));
	provconn_values_set(&row, IMPORT_TRANSACTION_ID,
						FullTransactionIdGetDatum(GetTopFullTransactionId()));
	role = GetUserNameFromId(GetSessionUserId(), true);
	if (role != NULL)
		provconn_values_set(&row, IMPORT_SESSION_ROLE, CStringGetTextDatum(role));
	provconn_store_insert(&import, InvalidOid, &row);
}

/* Whether this process has left its trace, in a transaction that was not undone. */
static bool
is_known(const char *table)
{
	static NameData known_table;
	static TransactionId writer = InvalidTransactionId;

	if (TransactionIdIsValid(writer) && strcmp(NameStr(known_table), table) == 0 &&
		(TransactionIdIsCurrentTransactionId(writer) || TransactionIdDidCommit(writer)))
		return true;
	namestrcpy(&known_table, table);
	writer = GetTopTransactionId();
	return false;
}
