/*
 * seal.c (layer 6): seals of the audit.
 *
 * A seal is over the rows that were settled since the seal before: those whose
 * transaction the snapshot of this one shows, and that of the seal before did
 * not.  So a row is sealed once, however long its transaction took, and no
 * transaction holds up the others.  What this transaction wrote is left to the
 * next seal, since more may come.  Rows that another database wrote, which a
 * restore or logical replication brought here, have transaction ids that say
 * nothing: they count as settled, and the first seal here, and the first after
 * an import, looks through the whole audit for what no seal has.
 *
 * The leaves of its Merkle tree are the rows, in the order of their ids, then
 * the heads of the chains that they belong to, in the order of the connections.
 * Leaves are kept, so that what is missing or altered can be named.
 *
 * One session seals at a time; LOCK_SEAL is held to the end of the transaction.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "cipher.h"
#include "compat.h"
#include "digest.h"
#include "entry.h"
#include "fault.h"
#include "field.h"
#include "keyring.h"
#include "merkle.h"
#include "seal.h"
#include "secret.h"
#include "uuid7.h"

#define LOCK_SEAL 1
#define MAX_LEAVES 65536
#define KIND_SEAL 2

enum
{
	SEAL_ID,
	SEAL_SEALED_AT,
	SEAL_ORIGIN,
	SEAL_KEY_ID,
	SEAL_ROW_COUNT,
	SEAL_HEAD_COUNT,
	SEAL_FIRST_ID,
	SEAL_LAST_ID,
	SEAL_SETTLED,
	SEAL_ROOT,
	SEAL_PREVIOUS_HASH,
	SEAL_SEAL_HASH,
	SEAL_MAC,
	SEAL_LEAVES,
	SEAL_HEADS,
	SEAL_COLUMN_COUNT
};

static const ProvconnColumn columns[SEAL_COLUMN_COUNT] = {
	[SEAL_ID] = {"seal_id", INT8OID},
	[SEAL_SEALED_AT] = {"sealed_at", TIMESTAMPTZOID},
	[SEAL_ORIGIN] = {"origin", INT4OID},
	[SEAL_KEY_ID] = {"key_id", INT4OID},
	[SEAL_ROW_COUNT] = {"row_count", INT4OID},
	[SEAL_HEAD_COUNT] = {"head_count", INT4OID},
	[SEAL_FIRST_ID] = {"first_id", UUIDOID},
	[SEAL_LAST_ID] = {"last_id", UUIDOID},
	[SEAL_SETTLED] = {"settled", PG_SNAPSHOTOID},
	[SEAL_ROOT] = {"root", BYTEAOID},
	[SEAL_PREVIOUS_HASH] = {"previous_hash", BYTEAOID},
	[SEAL_SEAL_HASH] = {"seal_hash", BYTEAOID},
	[SEAL_MAC] = {"mac", BYTEAOID},
	[SEAL_LEAVES] = {"leaves", BYTEAOID},
	[SEAL_HEADS] = {"heads", BYTEAOID},
};

ProvconnTable provconn_seal_table = {
	.name = "seal", .key_columns = 1, .column_count = SEAL_COLUMN_COUNT, .columns = columns
};

/* The newest seal, and what has to be known before the next one: $1 is the origin here. */
static ProvconnStatement last_seal = {
	.sql = "SELECT s.seal_id, s.settled, s.seal_hash,"
	" s.origin OPERATOR(pg_catalog.<>) $1"
	" OR pg_catalog.pg_snapshot_xmax(s.settled) OPERATOR(pg_catalog.>) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"
	" OR EXISTS (SELECT FROM provconn.import AS i WHERE i.origin OPERATOR(pg_catalog.=) $1"
	" AND NOT pg_catalog.pg_visible_in_snapshot(i.transaction_id, s.settled))"
	" FROM provconn.seal AS s ORDER BY s.seal_id DESC LIMIT 1",
	.nargs = 1,
	.types = {INT4OID}
};

/* Not settled is this transaction, too, $1, which its own snapshot does not list. */
static ProvconnStatement current_snapshot = {
	.sql = "SELECT pg_catalog.concat(pg_catalog.pg_snapshot_xmin(n.snapshot), ':',"
	" pg_catalog.pg_snapshot_xmax(n.snapshot), ':',"
	" (SELECT pg_catalog.string_agg(x.id::pg_catalog.text, ',' ORDER BY x.id)"
	" FROM (SELECT pg_catalog.pg_snapshot_xip(n.snapshot) AS id UNION ALL"
	" SELECT $1 WHERE $1 OPERATOR(pg_catalog.<) pg_catalog.pg_snapshot_xmax(n.snapshot)) AS x))::pg_catalog.pg_snapshot"
	" FROM (SELECT pg_catalog.pg_current_snapshot() AS snapshot) AS n",
	.nargs = 1,
	.types = {XID8OID}
};

static ProvconnStatement subscription = {
	.sql = "SELECT s.subname FROM pg_catalog.pg_subscription_rel AS r"
	" JOIN pg_catalog.pg_subscription AS s ON s.oid OPERATOR(pg_catalog.=) r.srsubid"
	" WHERE r.srrelid OPERATOR(pg_catalog.=) 'provconn.seal'::pg_catalog.regclass LIMIT 1"
};

#define ROWS "SELECT a.audit_id, a.entry_hash, a.connection_id, a.seq FROM provconn.audit AS a"
#define SETTLED(snapshot) "pg_catalog.pg_visible_in_snapshot(a.transaction_id, " snapshot ")"

/* What was settled between two snapshots: $1 is the origin, $2 the older one. */
static ProvconnStatement new_rows = {
	.sql = ROWS " WHERE a.transaction_id OPERATOR(pg_catalog.>=) pg_catalog.pg_snapshot_xmin($2)"
	" AND a.origin OPERATOR(pg_catalog.=) $1 AND " SETTLED("$3") " AND NOT "
	SETTLED("$2") " ORDER BY a.audit_id",
	.nargs = 3,
	.types = {INT4OID, PG_SNAPSHOTOID, PG_SNAPSHOTOID},
	.custom = true
};

/* What no seal has, be it settled here or from elsewhere. */
static ProvconnStatement unsealed_rows = {
	.sql = ROWS " WHERE (a.origin OPERATOR(pg_catalog.<>) $1 OR " SETTLED("$3") ")"
	" AND $2 IS NULL AND NOT EXISTS (SELECT FROM"
	" (SELECT l.audit_id FROM provconn.seal AS s, provconn.seal_leaves(s.leaves) AS l) AS l"
	" WHERE l.audit_id OPERATOR(pg_catalog.=) a.audit_id)"
	" ORDER BY a.audit_id",
	.nargs = 3,
	.types = {INT4OID, PG_SNAPSHOTOID, PG_SNAPSHOTOID},
	.custom = true
};

/* $1 is the origin here, $2 the least id of the day before. */
static ProvconnStatement settled_state = {
	.sql = "SELECT NOT EXISTS (SELECT FROM provconn.wrong_trigger)"
	" AND NOT EXISTS (SELECT FROM provconn.import AS i WHERE i.origin OPERATOR(pg_catalog.=) $1"
	" AND i.imported_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) '1 hour'::pg_catalog.interval)"
	" AND NOT EXISTS (SELECT FROM provconn.seal AS s WHERE s.origin OPERATOR(pg_catalog.=) $1"
	" AND pg_catalog.pg_visible_in_snapshot(i.transaction_id, s.settled)))"
	" AND (EXISTS (SELECT FROM provconn.seal AS s WHERE s.origin OPERATOR(pg_catalog.=) $1)"
	" OR EXISTS (SELECT FROM provconn.audit AS a WHERE a.origin OPERATOR(pg_catalog.=) $1"
	" AND a.audit_id OPERATOR(pg_catalog.>=) $2))",
	.nargs = 2,
	.types = {INT4OID, UUIDOID},
	.custom = true
};

static ProvconnStatement newest_digest = {
	.sql = "SELECT provconn.digest_json(s)::pg_catalog.text FROM provconn.seal AS s ORDER BY s.seal_id DESC LIMIT 1"
};

/* The row as its proof shows it; $1 is its shard, $2 its id. */
static ProvconnStatement proven_entry = {
	.sql = "SELECT provconn.entry_json(a)::pg_catalog.text FROM provconn.audit AS a"
	" WHERE a.shard_key OPERATOR(pg_catalog.=) $1 AND a.audit_id OPERATOR(pg_catalog.=) $2",
	.nargs = 2,
	.types = {INT4OID, UUIDOID}
};

static ProvconnStatement seals_around = {
	.sql = "SELECT s.leaves, s.heads, provconn.seal_json(s)::pg_catalog.text FROM provconn.seal AS s"
	" WHERE s.last_id OPERATOR(pg_catalog.>=) $1 AND s.first_id OPERATOR(pg_catalog.<=) $1"
	" ORDER BY s.seal_id",
	.nargs = 1,
	.types = {UUIDOID}
};

/* A chain's row among the leaves of the seal in the making. */
typedef struct Head
{
	ProvconnUuid connection_id;
	int64		seq;
	int32		leaf;
} Head;

typedef struct Making
{
	ProvconnSeal seal;			/* the next one */
	Datum		settled;
	const unsigned char *key;
	MemoryContext context;		/* of one seal */
	unsigned char *leaves;
	Head	   *heads;
	int			leaf_count;
	int			head_count;		/* rows of chains so far */
	int			made;
} Making;

typedef struct Proof
{
	const ProvconnUuid *audit_id;
	StringInfo	json;
	bool		found;
} Proof;

/* The first seal of the transaction that made the last one here. */
static TransactionId own_transaction = InvalidTransactionId;
static int64 own_first = 0;

static void require_publisher(void);
static bool is_subscriber(char **subscription_name);
static bool add_row(HeapTuple tuple, TupleDesc tupdesc, void *arg);
static void finish_seal(Making *making);
static int	keep_last(Head *heads, int count);
static int	compare_heads(const void *a, const void *b);
static void insert_seal(Making *making, ProvconnSpan leaves, ProvconnSpan heads);
static bool find_leaf(HeapTuple tuple, TupleDesc tupdesc, void *arg);
static void append_path(StringInfo json, ProvconnSpan leaves, ProvconnSpan heads, size_t index);
static unsigned char *hashes_of(ProvconnSpan leaves, ProvconnSpan heads, size_t *count);
static Datum bytes_datum(const void *bytes, size_t len);
static void append_hex(StringInfo json, const unsigned char *bytes, size_t len);
static void hash_bytes(const void *bytes, size_t len, unsigned char *hash);

int
provconn_seal_make(bool dont_wait)
{
	Making		making = {0};
	Datum		last[4];
	bool		nulls[4] = {true, true, true, true};
	Datum		arguments[3];
	bool		isnull;
	bool		look_through;

	if (IsolationUsesXactSnapshot())
		provconn_fault_raise(PROVCONN_FAULT_OLD_SNAPSHOT, "provconn_seal_audit");
	if (!provconn_store_lock(&provconn_seal_table, LOCK_SEAL, ExclusiveLock, false, dont_wait))
		return 0;
	require_publisher();

	arguments[0] = Int32GetDatum(provconn_entry_origin());
	(void) provconn_store_run(&provconn_seal_table, &last_seal, arguments, NULL, 4, last, nulls);
	making.seal.seal_id = nulls[0] ? 1 : DatumGetInt64(last[0]) + 1;
	making.seal.origin = provconn_entry_origin();
	if (!nulls[2])
		memcpy(making.seal.previous, VARDATA_ANY(DatumGetPointer(last[2])),
			   Min(VARSIZE_ANY_EXHDR(DatumGetPointer(last[2])), PROVCONN_DIGEST_LENGTH));
	look_through = nulls[0] || DatumGetBool(last[3]);

	arguments[0] = FullTransactionIdGetDatum(GetTopFullTransactionIdIfAny());
	(void) provconn_store_run(&provconn_seal_table, &current_snapshot, arguments,
							  TransactionIdIsValid(GetTopTransactionIdIfAny()) ? NULL : "n", 1,
							  &making.settled, &isnull);
	making.seal.settled = OidOutputFunctionCall(F_PG_SNAPSHOT_OUT, making.settled);
	making.context = AllocSetContextCreate(CurrentMemoryContext, "provconn seal",
										   ALLOCSET_DEFAULT_SIZES);
	arguments[0] = Int32GetDatum(provconn_entry_origin());
	arguments[1] = last[1];
	arguments[2] = making.settled;
	provconn_store_query(&provconn_entry_table, look_through ? &unsealed_rows : &new_rows,
						 arguments, look_through ? " n " : NULL, false, add_row, &making);
	/* That the audit was looked through has to be known, even where nothing was found. */
	if (making.leaf_count > 0 || (look_through && making.made == 0 && !nulls[0]))
		finish_seal(&making);
	MemoryContextDelete(making.context);
	return making.made;
}

int64
provconn_seal_limit(void)
{
	return TransactionIdIsValid(own_transaction) && own_transaction == GetTopTransactionIdIfAny() ?
		own_first : PG_INT64_MAX;
}

bool
provconn_seal_is_possible(void)
{
	char	   *name;

	return !RecoveryInProgress() && !XactReadOnly && !IsolationUsesXactSnapshot() &&
		!is_subscriber(&name);
}

bool
provconn_seal_is_settled(void)
{
	ProvconnUuid yesterday = provconn_uuid7_floor((uint64) provconn_entry_time(GetCurrentTimestamp() - USECS_PER_DAY) / 1000);
	Datum		values[2];
	Datum		settled;
	bool		isnull;

	values[0] = Int32GetDatum(provconn_entry_origin());
	values[1] = UUIDPGetDatum((const pg_uuid_t *) &yesterday);
	(void) provconn_store_run(&provconn_seal_table, &settled_state, values, NULL, 1, &settled, &isnull);
	return !isnull && DatumGetBool(settled);
}

bool
provconn_seal_digest(StringInfo json)
{
	Datum		digest;
	bool		isnull;

	if (provconn_store_run(&provconn_seal_table, &newest_digest, NULL, NULL, 1, &digest, &isnull) == 0)
		return false;
	appendStringInfoString(json, TextDatumGetCString(digest));
	return true;
}

bool
provconn_seal_prove(const ProvconnUuid *audit_id, StringInfo json)
{
	Proof		proof = {audit_id, json, false};
	Datum		values[2];
	Datum		entry;
	bool		isnull;

	values[0] = Int32GetDatum(provconn_uuid7_shard(audit_id));
	values[1] = UUIDPGetDatum((const pg_uuid_t *) audit_id);
	if (provconn_store_run(&provconn_entry_table, &proven_entry, values, NULL, 1, &entry, &isnull) == 0)
		return false;
	appendStringInfo(json, "{\"format\": 1, \"entry\": %s", TextDatumGetCString(entry));
	provconn_store_query(&provconn_seal_table, &seals_around, &values[1], NULL, true,
						 find_leaf, &proof);
	appendStringInfoChar(json, '}');
	return proof.found;
}

void
provconn_seal_hash(const ProvconnSeal *seal, unsigned char hash[PROVCONN_DIGEST_LENGTH])
{
	StringInfoData fields;

	initStringInfo(&fields);
	appendStringInfoChar(&fields, KIND_SEAL);
	appendStringInfoChar(&fields, 1);
	provconn_field_bytes(&fields, seal->previous, sizeof(seal->previous));
	provconn_field_int64(&fields, seal->seal_id);
	provconn_field_int64(&fields, provconn_entry_time(seal->sealed_at));
	provconn_field_int32(&fields, seal->origin);
	provconn_field_int32(&fields, seal->row_count);
	provconn_field_int32(&fields, seal->head_count);
	provconn_field_bytes(&fields, &seal->first_id, sizeof(seal->first_id));
	provconn_field_bytes(&fields, &seal->last_id, sizeof(seal->last_id));
	provconn_field_bytes(&fields, seal->settled, strlen(seal->settled));
	provconn_field_bytes(&fields, seal->root, sizeof(seal->root));
	provconn_digest_sha256(fields.data, fields.len, hash);
	pfree(fields.data);
}

void
provconn_seal_root(ProvconnSpan leaves, ProvconnSpan heads,
				   unsigned char root[PROVCONN_DIGEST_LENGTH])
{
	size_t		count;
	unsigned char *hashes = hashes_of(leaves, heads, &count);

	if (count == 0)
		provconn_digest_sha256("", 0, root);
	else
		provconn_merkle_root(hashes, count, hash_bytes, root);
	pfree(hashes);
}

bool
provconn_seal_is_authentic(int32 key_id, const unsigned char hash[PROVCONN_DIGEST_LENGTH],
						   ProvconnSpan mac)
{
	const unsigned char *key = key_id > 0 ? provconn_keyring_seal_key(&key_id) : NULL;
	ProvconnSpan key_span = {(const char *) key, PROVCONN_KEY_LENGTH};
	ProvconnSpan data = {(const char *) hash, PROVCONN_DIGEST_LENGTH};
	unsigned char expected[PROVCONN_CIPHER_MAC];

	if (key == NULL || mac.len != sizeof(expected))
		return false;
	provconn_cipher_hmac(key_span, data, expected);
	return provconn_secret_equal(expected, mac.data, sizeof(expected));
}

/* A subscriber has the seals of its publisher, and makes none that would collide with them. */
static void
require_publisher(void)
{
	char	   *name;

	if (is_subscriber(&name))
		provconn_fault_raise(PROVCONN_FAULT_SUBSCRIBER, name);
}

static bool
is_subscriber(char **subscription_name)
{
	Datum		name;
	bool		isnull;

	if (provconn_store_run(&provconn_seal_table, &subscription, NULL, NULL, 1, &name, &isnull) == 0)
		return false;
	*subscription_name = NameStr(*DatumGetName(name));
	return true;
}

static bool
add_row(HeapTuple tuple, TupleDesc tupdesc, void *arg)
{
	Making	   *making = arg;
	bool		isnull;
	Datum		id = SPI_getbinval(tuple, tupdesc, 1, &isnull);
	struct varlena *hash = PG_DETOAST_DATUM_PACKED(SPI_getbinval(tuple, tupdesc, 2, &isnull));
	unsigned char *leaf;
	Datum		seq;

	if (making->leaves == NULL)
	{
		making->leaves = MemoryContextAlloc(making->context, MAX_LEAVES * PROVCONN_SEAL_LEAF);
		making->heads = MemoryContextAlloc(making->context, MAX_LEAVES * sizeof(Head));
	}
	leaf = making->leaves + making->leaf_count * PROVCONN_SEAL_LEAF;
	memset(leaf, 0, PROVCONN_SEAL_LEAF);
	memcpy(leaf, DatumGetUUIDP(id), sizeof(ProvconnUuid));
	memcpy(leaf + sizeof(ProvconnUuid), VARDATA_ANY(hash),
		   Min(VARSIZE_ANY_EXHDR(hash), PROVCONN_DIGEST_LENGTH));

	seq = SPI_getbinval(tuple, tupdesc, 4, &isnull);
	if (!isnull)
	{
		Head	   *head = &making->heads[making->head_count];

		head->seq = DatumGetInt64(seq);
		head->leaf = making->leaf_count;
		memcpy(&head->connection_id, DatumGetUUIDP(SPI_getbinval(tuple, tupdesc, 3, &isnull)),
			   sizeof(ProvconnUuid));
		making->head_count++;
	}
	if (++making->leaf_count == MAX_LEAVES)
		finish_seal(making);
	CHECK_FOR_INTERRUPTS();
	return true;
}

/* Makes a seal of what there is, and begins the next one. */
static void
finish_seal(Making *making)
{
	MemoryContext caller = MemoryContextSwitchTo(making->context);
	ProvconnSeal *seal = &making->seal;
	ProvconnSpan leaves = {(const char *) making->leaves, (size_t) making->leaf_count * PROVCONN_SEAL_LEAF};
	ProvconnSpan heads;
	int			head_count = keep_last(making->heads, making->head_count);
	unsigned char *bytes = palloc(head_count * PROVCONN_SEAL_HEAD + 1);

	for (int i = 0; i < head_count; i++)
	{
		unsigned char *at = bytes + i * PROVCONN_SEAL_HEAD;
		uint64		seq = pg_hton64((uint64) making->heads[i].seq);
		uint32		leaf = pg_hton32((uint32) making->heads[i].leaf);

		memcpy(at, &making->heads[i].connection_id, sizeof(ProvconnUuid));
		memcpy(at + 16, &seq, sizeof(seq));
		memcpy(at + 24, &leaf, sizeof(leaf));
	}
	heads.data = (const char *) bytes;
	heads.len = (size_t) head_count * PROVCONN_SEAL_HEAD;

	/* Who was told of a seal must find it again after a crash. */
	provconn_store_commit_durably();
	if (making->key == NULL)
		making->key = provconn_keyring_seal_key(&seal->key_id);
	seal->sealed_at = GetCurrentTimestamp();
	seal->row_count = making->leaf_count;
	seal->head_count = head_count;
	memset(&seal->first_id, 0, sizeof(seal->first_id));
	memset(&seal->last_id, 0, sizeof(seal->last_id));
	if (making->leaf_count > 0)
	{
		memcpy(&seal->first_id, making->leaves, sizeof(ProvconnUuid));
		memcpy(&seal->last_id, making->leaves + (making->leaf_count - 1) * PROVCONN_SEAL_LEAF,
			   sizeof(ProvconnUuid));
	}
	provconn_seal_root(leaves, heads, seal->root);
	insert_seal(making, leaves, heads);

	making->leaves = NULL;
	making->heads = NULL;
	making->leaf_count = making->head_count = 0;
	making->made++;
	seal->seal_id++;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(making->context);
	/* It was in that context. */
	making->key = NULL;
}

/* Of each connection the row with the highest number, in the order of connections. */
static int
keep_last(Head *heads, int count)
{
	int			kept = 0;

	if (count > 0)
		qsort(heads, count, sizeof(Head), compare_heads);
	for (int i = 0; i < count; i++)
		if (i + 1 == count ||
			memcmp(&heads[i].connection_id, &heads[i + 1].connection_id, sizeof(ProvconnUuid)) != 0)
			heads[kept++] = heads[i];
	return kept;
}

static int
compare_heads(const void *a, const void *b)
{
	const Head *left = a;
	const Head *right = b;
	int			order = memcmp(&left->connection_id, &right->connection_id, sizeof(ProvconnUuid));

	if (order == 0)
		order = left->seq < right->seq ? -1 : left->seq > right->seq;
	return order;
}

static void
insert_seal(Making *making, ProvconnSpan leaves, ProvconnSpan heads)
{
	ProvconnSeal *seal = &making->seal;
	ProvconnValues row = {0};
	unsigned char hash[PROVCONN_DIGEST_LENGTH];
	unsigned char mac[PROVCONN_CIPHER_MAC];
	ProvconnSpan key = {(const char *) making->key, PROVCONN_KEY_LENGTH};
	ProvconnSpan hash_span = {(const char *) hash, sizeof(hash)};

	provconn_seal_hash(seal, hash);
	provconn_cipher_hmac(key, hash_span, mac);
	provconn_values_set(&row, SEAL_ID, Int64GetDatum(seal->seal_id));
	provconn_values_set(&row, SEAL_SEALED_AT, TimestampTzGetDatum(seal->sealed_at));
	provconn_values_set(&row, SEAL_ORIGIN, Int32GetDatum(seal->origin));
	provconn_values_set(&row, SEAL_KEY_ID, Int32GetDatum(seal->key_id));
	provconn_values_set(&row, SEAL_ROW_COUNT, Int32GetDatum(seal->row_count));
	provconn_values_set(&row, SEAL_HEAD_COUNT, Int32GetDatum(seal->head_count));
	provconn_values_set(&row, SEAL_FIRST_ID, UUIDPGetDatum((const pg_uuid_t *) &seal->first_id));
	provconn_values_set(&row, SEAL_LAST_ID, UUIDPGetDatum((const pg_uuid_t *) &seal->last_id));
	provconn_values_set(&row, SEAL_SETTLED, making->settled);
	provconn_values_set(&row, SEAL_ROOT, provconn_digest_datum(seal->root));
	if (seal->seal_id > 1)
		provconn_values_set(&row, SEAL_PREVIOUS_HASH, provconn_digest_datum(seal->previous));
	provconn_values_set(&row, SEAL_SEAL_HASH, provconn_digest_datum(hash));
	provconn_values_set(&row, SEAL_MAC, bytes_datum(mac, sizeof(mac)));
	provconn_values_set(&row, SEAL_LEAVES, bytes_datum(leaves.data, leaves.len));
	provconn_values_set(&row, SEAL_HEADS, bytes_datum(heads.data, heads.len));
	provconn_store_insert(&provconn_seal_table, InvalidOid, &row);
	if (own_transaction != GetTopTransactionId())
		own_first = seal->seal_id;
	own_transaction = GetTopTransactionId();
	memcpy(seal->previous, hash, sizeof(hash));
}

/* Looks a row up in a seal; where it is in, the rest of its proof goes to the JSON. */
static bool
find_leaf(HeapTuple tuple, TupleDesc tupdesc, void *arg)
{
	Proof	   *proof = arg;
	bool		isnull;
	bytea	   *leaf_bytes = DatumGetByteaPP(SPI_getbinval(tuple, tupdesc, 1, &isnull));
	bytea	   *head_bytes = DatumGetByteaPP(SPI_getbinval(tuple, tupdesc, 2, &isnull));
	ProvconnSpan leaves = {VARDATA_ANY(leaf_bytes), VARSIZE_ANY_EXHDR(leaf_bytes)};
	ProvconnSpan heads = {VARDATA_ANY(head_bytes), VARSIZE_ANY_EXHDR(head_bytes)};
	size_t		low = 0;
	size_t		high = leaves.len / PROVCONN_SEAL_LEAF;

	while (low < high)
	{
		size_t		middle = (low + high) / 2;

		if (memcmp(leaves.data + middle * PROVCONN_SEAL_LEAF, proof->audit_id,
				   sizeof(ProvconnUuid)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low >= leaves.len / PROVCONN_SEAL_LEAF ||
		memcmp(leaves.data + low * PROVCONN_SEAL_LEAF, proof->audit_id, sizeof(ProvconnUuid)) != 0)
		return true;
	append_path(proof->json, leaves, heads, low);
	appendStringInfo(proof->json, ", \"seal\": %s",
					 TextDatumGetCString(SPI_getbinval(tuple, tupdesc, 3, &isnull)));
	proof->found = true;
	return false;
}

static void
append_path(StringInfo json, ProvconnSpan leaves, ProvconnSpan heads, size_t index)
{
	unsigned char path[PROVCONN_MERKLE_MAX_PATH][PROVCONN_MERKLE_HASH];
	unsigned char root[PROVCONN_MERKLE_HASH];
	size_t		count;
	unsigned char *hashes = hashes_of(leaves, heads, &count);
	size_t		length;

	appendStringInfo(json, ", \"leaf_index\": %zu, \"tree_size\": %zu, \"audit_path\": [", index, count);
	length = provconn_merkle_path(hashes, count, index, hash_bytes, path, root);
	for (size_t i = 0; i < length; i++)
	{
		appendStringInfoString(json, i > 0 ? ", " : "");
		append_hex(json, path[i], sizeof(path[i]));
	}
	appendStringInfoChar(json, ']');
	pfree(hashes);
}

/* The hashes of all leaves of the tree, one after the other. */
static unsigned char *
hashes_of(ProvconnSpan leaves, ProvconnSpan heads, size_t *count)
{
	size_t		leaf_count = leaves.len / PROVCONN_SEAL_LEAF;
	size_t		head_count = heads.len / PROVCONN_SEAL_HEAD;
	unsigned char *hashes = palloc((leaf_count + head_count) * PROVCONN_DIGEST_LENGTH + 1);

	for (size_t i = 0; i < leaf_count; i++)
		memcpy(hashes + i * PROVCONN_DIGEST_LENGTH,
			   leaves.data + i * PROVCONN_SEAL_LEAF + sizeof(ProvconnUuid), PROVCONN_DIGEST_LENGTH);
	for (size_t i = 0; i < head_count; i++)
	{
		const char *head = heads.data + i * PROVCONN_SEAL_HEAD;
		unsigned char none[PROVCONN_DIGEST_LENGTH] = {0};
		uint64		seq;
		uint32		leaf;

		memcpy(&seq, head + 16, sizeof(seq));
		memcpy(&leaf, head + 24, sizeof(leaf));
		leaf = pg_ntoh32(leaf);
		provconn_entry_head_hash((const ProvconnUuid *) head, (int64) pg_ntoh64(seq),
								 leaf < leaf_count ? hashes + leaf * PROVCONN_DIGEST_LENGTH : none,
								 hashes + (leaf_count + i) * PROVCONN_DIGEST_LENGTH);
	}
	*count = leaf_count + head_count;
	return hashes;
}

static Datum
bytes_datum(const void *bytes, size_t len)
{
	/* bytea and text share their layout */
	return PointerGetDatum(cstring_to_text_with_len(bytes != NULL ? bytes : "", (int) len));
}

static void
append_hex(StringInfo json, const unsigned char *bytes, size_t len)
{
	appendStringInfoChar(json, '"');
	for (size_t i = 0; i < len; i++)
		appendStringInfo(json, "%02x", bytes[i]);
	appendStringInfoChar(json, '"');
}

static void
hash_bytes(const void *bytes, size_t len, unsigned char *hash)
{
	provconn_digest_sha256(bytes, len, hash);
}
