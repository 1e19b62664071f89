/*
 * entry.c (layer 4): a row of the audit: its columns, commitment and hash.
 *
 * Personal values (user, owner, reason, application name, client address)
 * stand beside one salted SHA-256 commitment of them all.  The hash of the
 * entry covers the commitment, so that erasing the values and the salt leaves a
 * row that still verifies but tells nothing.
 *
 * The salt is random.  Where the same row is composed twice, as the triggers do
 * for direct SQL, it is derived from the row's id under a secret of the process:
 * nobody else can tell it, and both times it is the same.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/inet.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "catalog.h"
#include "compat.h"
#include "entry.h"
#include "field.h"
#include "lifecycle.h"
#include "random.h"

#define SALT_LENGTH 16
#define SECRET_LENGTH 32

/* What the bytes that are hashed begin with: a leaf (RFC 6962), and of what kind. */
#define LEAF 0
#define KIND_ENTRY 1
#define KIND_HEAD 2

static const ProvconnColumn columns[ENTRY_COLUMN_COUNT] = {
	[ENTRY_SHARD_KEY] = {"shard_key", INT4OID},
	[ENTRY_AUDIT_ID] = {"audit_id", UUIDOID},
	[ENTRY_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID},
	[ENTRY_CONNECTION_ID] = {"connection_id", UUIDOID},
	[ENTRY_SEQ] = {"seq", INT8OID},
	[ENTRY_PROVIDER_ID] = {"provider_id", UUIDOID},
	[ENTRY_PROVIDER_SLUG] = {"provider_slug", TEXTOID},
	[ENTRY_ACTION] = {"action", TEXTOID},
	[ENTRY_OUTCOME] = {"outcome", TEXTOID},
	[ENTRY_OLD_STATUS] = {"old_status", InvalidOid},
	[ENTRY_NEW_STATUS] = {"new_status", InvalidOid},
	[ENTRY_ERROR_CODE] = {"error_code", TEXTOID},
	[ENTRY_VERSION] = {"version", INT4OID},
	[ENTRY_SESSION_ROLE] = {"session_role", TEXTOID},
	[ENTRY_CALLER_ROLE] = {"caller_role", TEXTOID},
	[ENTRY_ORIGIN] = {"origin", INT4OID},
	[ENTRY_TRANSACTION_ID] = {"transaction_id", XID8OID},
	[ENTRY_ATTEMPT_ID] = {"attempt_id", XID8OID},
	[ENTRY_USER_ID] = {"user_id", UUIDOID},
	[ENTRY_OWNER_ID] = {"owner_id", UUIDOID},
	[ENTRY_REASON] = {"reason", TEXTOID},
	[ENTRY_APPLICATION_NAME] = {"application_name", TEXTOID},
	[ENTRY_CLIENT_ADDRESS] = {"client_address", INETOID},
	[ENTRY_PERSONAL_SALT] = {"personal_salt", BYTEAOID},
	[ENTRY_PERSONAL_HASH] = {"personal_hash", BYTEAOID},
	[ENTRY_PREVIOUS_HASH] = {"previous_hash", BYTEAOID},
	[ENTRY_ENTRY_HASH] = {"entry_hash", BYTEAOID},
};

ProvconnTable provconn_entry_table = {
	.name = "audit", .is_partitioned = true, .key_columns = 2, .column_count = ENTRY_COLUMN_COUNT, .columns = columns
};

const int	provconn_entry_hashed[] = {
	ENTRY_AUDIT_ID, ENTRY_OCCURRED_AT, ENTRY_CONNECTION_ID, ENTRY_SEQ, ENTRY_PROVIDER_ID,
	ENTRY_PROVIDER_SLUG, ENTRY_ACTION, ENTRY_OUTCOME, ENTRY_OLD_STATUS, ENTRY_NEW_STATUS,
	ENTRY_ERROR_CODE, ENTRY_VERSION, ENTRY_SESSION_ROLE, ENTRY_CALLER_ROLE, ENTRY_ORIGIN,
	ENTRY_TRANSACTION_ID, ENTRY_ATTEMPT_ID, ENTRY_PERSONAL_HASH, -1
};

static void derive_salt(const pg_uuid_t *audit_id, unsigned char salt[SALT_LENGTH]);
static void append_value(StringInfo fields, int column, Datum value);

void
provconn_entry_commit(ProvconnValues *row, bool is_repeated)
{
	unsigned char salt[SALT_LENGTH];
	unsigned char hash[PROVCONN_DIGEST_LENGTH];

	if (is_repeated)
		derive_salt(DatumGetUUIDP(row->values[ENTRY_AUDIT_ID]), salt);
	else
		provconn_random_bytes(salt, sizeof(salt));
	/* bytea and text share their layout */
	provconn_values_set(row, ENTRY_PERSONAL_SALT,
						PointerGetDatum(cstring_to_text_with_len((char *) salt, sizeof(salt))));
	provconn_entry_personal_hash(row, hash);
	provconn_values_set(row, ENTRY_PERSONAL_HASH, provconn_digest_datum(hash));
}

void
provconn_entry_personal_hash(const ProvconnValues *row, unsigned char hash[PROVCONN_DIGEST_LENGTH])
{
	struct varlena *salt = PG_DETOAST_DATUM_PACKED(row->values[ENTRY_PERSONAL_SALT]);
	StringInfoData fields;

	initStringInfo(&fields);
	appendBinaryStringInfo(&fields, VARDATA_ANY(salt), VARSIZE_ANY_EXHDR(salt));
	for (int column = ENTRY_USER_ID; column <= ENTRY_CLIENT_ADDRESS; column++)
		if (!row->set[column])
			provconn_field_null(&fields);
		else
			append_value(&fields, column, row->values[column]);
	provconn_digest_sha256(fields.data, fields.len, hash);
	pfree(fields.data);
}

void
provconn_entry_hash(const ProvconnValues *row, unsigned char hash[PROVCONN_DIGEST_LENGTH])
{
	static const char first[PROVCONN_DIGEST_LENGTH] = {0};
	StringInfoData fields;

	initStringInfo(&fields);
	appendStringInfoChar(&fields, LEAF);
	appendStringInfoChar(&fields, KIND_ENTRY);
	if (row->set[ENTRY_PREVIOUS_HASH])
	{
		struct varlena *previous = PG_DETOAST_DATUM_PACKED(row->values[ENTRY_PREVIOUS_HASH]);

		appendBinaryStringInfo(&fields, VARDATA_ANY(previous), VARSIZE_ANY_EXHDR(previous));
	}
	else
		appendBinaryStringInfo(&fields, first, sizeof(first));
	for (const int *column = provconn_entry_hashed; *column >= 0; column++)
		if (!row->set[*column])
			provconn_field_null(&fields);
		else
			append_value(&fields, *column, row->values[*column]);
	provconn_digest_sha256(fields.data, fields.len, hash);
	pfree(fields.data);
}

void
provconn_entry_head_hash(const ProvconnUuid *connection_id, int64 seq,
						 const unsigned char entry_hash[PROVCONN_DIGEST_LENGTH],
						 unsigned char hash[PROVCONN_DIGEST_LENGTH])
{
	/* As fields would have it, in place: a seal has many. */
	unsigned char bytes[2 + 5 + sizeof(ProvconnUuid) + 5 + sizeof(int64) + 5 + PROVCONN_DIGEST_LENGTH] = {LEAF, KIND_HEAD, 1, 0, 0, 0, sizeof(ProvconnUuid)};
	unsigned char *at = bytes + 7;
	uint64		number = pg_hton64((uint64) seq);

	memcpy(at, connection_id, sizeof(ProvconnUuid));
	at += sizeof(ProvconnUuid);
	*at = 1;
	at[4] = sizeof(number);
	memcpy(at + 5, &number, sizeof(number));
	at += 5 + sizeof(number);
	*at = 1;
	at[4] = PROVCONN_DIGEST_LENGTH;
	memcpy(at + 5, entry_hash, PROVCONN_DIGEST_LENGTH);
	provconn_digest_sha256(bytes, sizeof(bytes), hash);
}

int32
provconn_entry_origin(void)
{
	static int32 origin = 0;
	unsigned char hash[PROVCONN_DIGEST_LENGTH];
	uint64		place[2];

	if (origin != 0)
		return origin;
	place[0] = pg_hton64(GetSystemIdentifier());
	place[1] = pg_hton64((uint64) MyDatabaseId);
	provconn_digest_sha256(place, sizeof(place), hash);
	origin = (int32) ((uint32) (hash[0] & 0x7F) << 24 | (uint32) hash[1] << 16 | (uint32) hash[2] << 8 | hash[3] | 1);
	return origin;
}

int64
provconn_entry_time(TimestampTz time)
{
	return time + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static void
derive_salt(const pg_uuid_t *audit_id, unsigned char salt[SALT_LENGTH])
{
	static unsigned char secret[SECRET_LENGTH + sizeof(ProvconnUuid)];
	static bool has_secret = false;
	unsigned char hash[PROVCONN_DIGEST_LENGTH];

	if (!has_secret)
		provconn_random_key(secret, SECRET_LENGTH);
	has_secret = true;
	memcpy(secret + SECRET_LENGTH, audit_id, sizeof(ProvconnUuid));
	provconn_digest_sha256(secret, sizeof(secret), hash);
	memcpy(salt, hash, SALT_LENGTH);
}

static void
append_value(StringInfo fields, int column, Datum value)
{
	struct varlena *bytes;
	const char *text;

	switch (columns[column].type)
	{
		case INT4OID:
			provconn_field_int32(fields, DatumGetInt32(value));
			break;
		case INT8OID:
			provconn_field_int64(fields, DatumGetInt64(value));
			break;
		case XID8OID:
			provconn_field_int64(fields, (int64) U64FromFullTransactionId(DatumGetFullTransactionId(value)));
			break;
		case TIMESTAMPTZOID:
			provconn_field_int64(fields, provconn_entry_time(DatumGetTimestampTz(value)));
			break;
		case UUIDOID:
			provconn_field_bytes(fields, DatumGetUUIDP(value), sizeof(ProvconnUuid));
			break;
		case BYTEAOID:
			bytes = PG_DETOAST_DATUM_PACKED(value);
			provconn_field_bytes(fields, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
			break;
		case TEXTOID:
			bytes = PG_DETOAST_DATUM_PACKED(value);
			provconn_field_text(fields, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
			break;
		case INETOID:
			text = DatumGetCString(DirectFunctionCall1(inet_out, value));
			provconn_field_bytes(fields, text, strlen(text));
			break;
		default:
			text = provconn_status_name(provconn_catalog_status(value));
			provconn_field_bytes(fields, text, strlen(text));
	}
}
