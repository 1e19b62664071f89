/*
 * keyring.c (layer 4): data keys.
 *
 * Credentials are sealed with data keys.  These stand in provconn.data_key,
 * each wrapped (sealed) by a master key, with a check value of both, so that a
 * wrong key is named before any data is touched.  The highest id that is not
 * retired is the current one.
 *
 * Unwrapped data keys stay in locked memory, with what is derived of them, until
 * the table or a key setting changes, or the configuration is reloaded.  A data
 * key that the current transaction made is used, but trusted no longer than that
 * transaction (or subtransaction) lives: after a rollback its id may belong to
 * another key.
 *
 * Locks: who seals, or reads what is to be opened, holds ROW SHARE on the table
 * until the end of its transaction, so that who retires a key can wait for all
 * that may have sealed with it while it was current.  Who changes keys holds
 * LOCK_CHANGE, one at a time; neither waits for the other.  Who makes a first
 * key beside another who does shares LOCK_FIRST, and who changes keys waits for
 * that: no key comes to light that was made before.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/timestamp.h"

#include "cipher.h"
#include "compat.h"
#include "fault.h"
#include "keyring.h"
#include "masterkey.h"
#include "news.h"
#include "random.h"
#include "secret.h"
#include "settings.h"
#include "store.h"

#define CHECK_LENGTH 8
#define CACHE_SIZE 64
#define MASTER_CHECK "provconn.master_check"
#define DATA_CHECK "provconn.data_check"
#define CREDENTIAL_PURPOSE "provconn.credential"
#define LOCK_CHANGE 1
#define LOCK_FIRST 2

enum
{
	COLUMN_KEY_ID,
	COLUMN_MASTER_KEY_ID,
	COLUMN_MASTER_CHECK,
	COLUMN_WRAPPED,
	COLUMN_CHECK_VALUE,
	COLUMN_CREATED_AT,
	COLUMN_RETIRED_AT,
	COLUMN_COUNT
};

static const ProvconnColumn columns[COLUMN_COUNT] = {
	[COLUMN_KEY_ID] = {"key_id", INT4OID},
	[COLUMN_MASTER_KEY_ID] = {"master_key_id", INT4OID},
	[COLUMN_MASTER_CHECK] = {"master_check", BYTEAOID},
	[COLUMN_WRAPPED] = {"wrapped", BYTEAOID},
	[COLUMN_CHECK_VALUE] = {"check_value", BYTEAOID},
	[COLUMN_CREATED_AT] = {"created_at", TIMESTAMPTZOID},
	[COLUMN_RETIRED_AT] = {"retired_at", TIMESTAMPTZOID},
};

static ProvconnTable data_key = {
	.name = "data_key", .key_columns = 1, .column_count = COLUMN_COUNT, .columns = columns
};

/* Those that seals are authenticated with; the same columns. */
static ProvconnTable seal_key = {
	.name = "seal_key", .key_columns = 1, .column_count = COLUMN_COUNT, .columns = columns
};

/* A data key in locked memory; its id 0 marks a free place. */
typedef struct CachedKey
{
	ProvconnDataKey key;
	TransactionId writer;		/* ours and not yet committed, or invalid */
} CachedKey;

typedef struct Cache
{
	uint64		generation;		/* of the settings it was filled under */
	TimestampTz reloaded;		/* when those were loaded */
	int32		current;		/* id of the current key, 0 when not known */
	TransactionId current_writer;
	int			next;			/* the place to be filled next */
	CachedKey	keys[CACHE_SIZE];
} Cache;

/* What a scan of a table is to find. */
typedef struct Search
{
	ProvconnTable *table;
	int32		wanted;			/* 0: the current one */
	bool		committed;		/* pass over what this transaction wrote */
	int32		highest;		/* of all ids seen */
	int32		found;
	TransactionId writer;
	bool		retired;
	int32		master_key_id;
	bytea	   *master_check;
	bytea	   *wrapped;
	bytea	   *check_value;
} Search;

static Cache *cache = NULL;
static bool cache_stale = false;
static bool changing = false;	/* a row, as this file alone may */

static void refresh_cache(void);
static const ProvconnDataKey *cached_key(int32 key_id);
static bool still_valid(TransactionId writer);
static void search_table(ProvconnTable *table, int32 wanted, Search *search);
static int32 committed_key(void);
static bool visit_row(ProvconnRow *row, void *arg);
static const unsigned char *unwrap_key(const Search *search);
static const ProvconnMasterKey *master_of(const Search *search);
static const ProvconnDataKey *remember_key(int32 id, TransactionId writer, const unsigned char *bytes);
static void create_first_key(void);
static void lock_for_change(void);
static void create_key(ProvconnTable *table, int32 key_id);
static bool list_key(ProvconnRow *row, void *arg);
static bool is_wrapped_by(const Search *search, const ProvconnMasterKey *master);
static int	rewrap_table(ProvconnTable *table, const ProvconnMasterKey *current);
static void set_wrapped(ProvconnTable *table, ProvconnValues *values, int32 key_id,
						const unsigned char *bytes, const ProvconnMasterKey *master);
static void change_row(ProvconnTable *table, int32 key_id, const ProvconnValues *changes);
static bytea *check_of(const unsigned char *key, const char *label);
static bool has_check(const bytea *stored, const unsigned char *key, const char *label);
static const ProvconnCipherKeys *wrapping_keys(const ProvconnTable *table,
											   const ProvconnMasterKey *master);
static ProvconnSpan wrap_binding(int32 key_id);
static void forget_keys(Oid relid);

void
provconn_keyring_init(void)
{
	provconn_news_listen(forget_keys);
}

const ProvconnDataKey *
provconn_keyring_current(void)
{
	const ProvconnDataKey *key = NULL;
	Search		search;

	/* News of a rotation is heard now, whether or not the lock was held before. */
	provconn_keyring_hold();
	AcceptInvalidationMessages();
	refresh_cache();
	if (cache->current != 0 && still_valid(cache->current_writer))
		key = provconn_keyring_get(cache->current);
	if (key != NULL)
		return key;

	search_table(&data_key, 0, &search);
	if (search.found == 0)
	{
		create_first_key();
		search_table(&data_key, 0, &search);
	}
	/* The scan took a lock, and so may have dropped the cache. */
	refresh_cache();
	cache->current = search.found;
	cache->current_writer = search.writer;
	if (search.found != 0)
		key = provconn_keyring_get(search.found);
	/* Somebody's trigger, say, kept the new key from its table. */
	if (key == NULL)
		provconn_fault_raise(PROVCONN_FAULT_NO_DATA_KEY);
	return key;
}

const ProvconnDataKey *
provconn_keyring_get(int32 key_id)
{
	const ProvconnDataKey *key;
	Search		search;

	refresh_cache();
	key = cached_key(key_id);
	if (key != NULL)
		return key;

	search_table(&data_key, key_id, &search);
	/* What this snapshot shows was sealed anew since. */
	if (search.retired && IsolationUsesXactSnapshot())
		provconn_fault_raise(PROVCONN_FAULT_CONCURRENT_UPDATE);
	if (search.found == 0 || search.retired)
		return NULL;
	return remember_key(search.found, search.writer, unwrap_key(&search));
}

void
provconn_keyring_hold(void)
{
	relation_close(provconn_store_open(&data_key, RowShareLock), NoLock);
}

List *
provconn_keyring_list(void)
{
	List	   *key_ids = NIL;

	provconn_store_each(&data_key, list_key, &key_ids);
	return key_ids;
}

void
provconn_keyring_verify(int32 key_id)
{
	Search		search;

	search_table(&data_key, key_id, &search);
	if (search.found == 0)
		provconn_fault_raise(PROVCONN_FAULT_KEY_UNKNOWN, key_id);
	if (!search.retired)
		(void) unwrap_key(&search);
}

int32
provconn_keyring_rotate(void)
{
	Search		search;

	lock_for_change();
	search_table(&data_key, 0, &search);
	create_key(&data_key, search.highest + 1);
	/* In use at once: no other key may have kept this one from its place. */
	search_table(&data_key, 0, &search);
	if (search.found == 0)
		provconn_fault_raise(PROVCONN_FAULT_NO_DATA_KEY);
	return search.found;
}

int
provconn_keyring_rewrap(void)
{
	const ProvconnMasterKey *masters;
	int			count;

	lock_for_change();
	masters = provconn_masterkey_read(&count);
	(void) rewrap_table(&seal_key, &masters[count - 1]);
	return rewrap_table(&data_key, &masters[count - 1]);
}

bool
provconn_keyring_begin_retiring(int32 key_id)
{
	Search		search;

	lock_for_change();
	search_table(&data_key, key_id, &search);
	if (key_id < 1 || search.found == 0)
		provconn_fault_raise(PROVCONN_FAULT_KEY_UNKNOWN, key_id);
	if (search.retired)
		return false;
	if (committed_key() == key_id)
		provconn_fault_raise(PROVCONN_FAULT_KEY_CURRENT, key_id);
	provconn_keyring_wait_for_sealers();
	return true;
}

void
provconn_keyring_retire(int32 key_id, TimestampTz now)
{
	ProvconnValues changes = {0};

	provconn_values_set(&changes, COLUMN_RETIRED_AT, TimestampTzGetDatum(now));
	provconn_values_set(&changes, COLUMN_WRAPPED,
						PointerGetDatum(cstring_to_text_with_len("", 0)));
	provconn_values_set(&changes, COLUMN_CHECK_VALUE,
						PointerGetDatum(cstring_to_text_with_len("", 0)));
	change_row(&data_key, key_id, &changes);
}

void
provconn_keyring_wait_for_sealers(void)
{
	provconn_store_wait_for_lockers(&data_key, ExclusiveLock);
}

bool
provconn_keyring_is_changing(void)
{
	return changing;
}

const unsigned char *
provconn_keyring_seal_key(int32 *key_id)
{
	Search		search;

	search_table(&seal_key, *key_id, &search);
	if (search.found == 0 && *key_id == 0)
	{
		create_key(&seal_key, 1);
		search_table(&seal_key, 0, &search);
		if (search.found == 0)
			provconn_fault_raise(PROVCONN_FAULT_NO_DATA_KEY);
	}
	if (search.found == 0)
		return NULL;
	*key_id = search.found;
	return unwrap_key(&search);
}

bool
provconn_keyring_check_seal_keys(void)
{
	List	   *key_ids = NIL;
	ListCell   *cell;

	provconn_store_each(&seal_key, list_key, &key_ids);
	foreach(cell, key_ids)
	{
		int32		key_id = lfirst_int(cell);

		(void) provconn_keyring_seal_key(&key_id);
	}
	return key_ids != NIL;
}

/* Makes the cache at first use, and empties it where it may be out of date. */
static void
refresh_cache(void)
{
	uint64		generation = provconn_settings_key_generation();

	if (cache == NULL)
		cache = provconn_secret_pages(sizeof(Cache), false);
	if (cache_stale || cache->generation != generation || cache->reloaded != PgReloadTime)
	{
		provconn_secret_wipe(cache, sizeof(Cache));
		provconn_cipher_forget();
		cache->generation = generation;
		cache->reloaded = PgReloadTime;
		cache_stale = false;
	}
}

static const ProvconnDataKey *
cached_key(int32 key_id)
{
	for (int i = 0; i < CACHE_SIZE; i++)
	{
		CachedKey  *cached = &cache->keys[i];

		if (cached->key.id != key_id || key_id == 0)
			continue;
		if (still_valid(cached->writer))
			return &cached->key;
		provconn_secret_wipe(cached, sizeof(*cached));
	}
	return NULL;
}

/* What a transaction that is over wrote has to be read again: it may be gone. */
static bool
still_valid(TransactionId writer)
{
	return !TransactionIdIsValid(writer) || TransactionIdIsCurrentTransactionId(writer);
}

static void
search_table(ProvconnTable *table, int32 wanted, Search *search)
{
	memset(search, 0, sizeof(*search));
	search->table = table;
	search->wanted = wanted;
	provconn_store_each(table, visit_row, search);
}

/* The current one to others: they do not see yet what this transaction has made. */
static int32
committed_key(void)
{
	Search		search = {.table = &data_key, .committed = true};

	provconn_store_each(&data_key, visit_row, &search);
	return search.found;
}

static bool
visit_row(ProvconnRow *row, void *arg)
{
	Search	   *search = arg;
	bool		isnull;
	bool		retired;
	int32		key_id = DatumGetInt32(provconn_store_get(row, COLUMN_KEY_ID, &isnull));
	TransactionId writer = provconn_store_writer(row);

	(void) provconn_store_get(row, COLUMN_RETIRED_AT, &retired);
	retired = !retired;

	search->highest = Max(search->highest, key_id);
	if (search->committed && TransactionIdIsCurrentTransactionId(writer))
		return true;
	if (search->wanted != 0 ? key_id != search->wanted : (retired || key_id < search->found))
		return true;

	search->found = key_id;
	search->retired = retired;
	search->writer = TransactionIdIsCurrentTransactionId(writer) ? writer : InvalidTransactionId;
	search->master_key_id =
		DatumGetInt32(provconn_store_get(row, COLUMN_MASTER_KEY_ID, &isnull));
	search->master_check =
		DatumGetByteaPCopy(provconn_store_get(row, COLUMN_MASTER_CHECK, &isnull));
	search->wrapped = DatumGetByteaPCopy(provconn_store_get(row, COLUMN_WRAPPED, &isnull));
	search->check_value =
		DatumGetByteaPCopy(provconn_store_get(row, COLUMN_CHECK_VALUE, &isnull));
	return search->wanted == 0;
}

/* The bytes of a data key, wiped with CurrentMemoryContext. */
static const unsigned char *
unwrap_key(const Search *search)
{
	const ProvconnMasterKey *master = master_of(search);
	ProvconnEnvelope envelope;
	ProvconnSpan plain;

	if (!provconn_envelope_parse((const unsigned char *) VARDATA_ANY(search->wrapped),
								 VARSIZE_ANY_EXHDR(search->wrapped), &envelope) ||
		envelope.key_id != search->master_key_id ||
		!provconn_cipher_open(wrapping_keys(search->table, master), &envelope,
							  wrap_binding(search->found), &plain) ||
		plain.len != PROVCONN_KEY_LENGTH ||
		!has_check(search->check_value, (const unsigned char *) plain.data, DATA_CHECK))
		provconn_fault_raise(PROVCONN_FAULT_DATA_KEY_DAMAGED, search->found);
	return (const unsigned char *) plain.data;
}

/* The master key that wrapped a data key, told from others of its id by its check value. */
static const ProvconnMasterKey *
master_of(const Search *search)
{
	int			count;
	const ProvconnMasterKey *masters = provconn_masterkey_read(&count);

	for (int i = 0; i < count; i++)
	{
		if (masters[i].id != search->master_key_id)
			continue;
		if (!has_check(search->master_check, masters[i].bytes, MASTER_CHECK))
			provconn_fault_raise(PROVCONN_FAULT_MASTER_KEY_WRONG, search->master_key_id,
								 search->found);
		return &masters[i];
	}
	provconn_fault_raise(PROVCONN_FAULT_MASTER_KEY_MISSING, search->master_key_id,
						 search->found);
}

static const ProvconnDataKey *
remember_key(int32 id, TransactionId writer, const unsigned char *bytes)
{
	CachedKey  *cached = &cache->keys[cache->next];
	ProvconnCipherKeys *keys = provconn_secret_alloc(sizeof(ProvconnCipherKeys));
	ProvconnSpan purpose = {CREDENTIAL_PURPOSE, sizeof(CREDENTIAL_PURPOSE) - 1};

	/* May fail, so before the place is taken. */
	provconn_cipher_derive(bytes, purpose, keys);
	cache->next = (cache->next + 1) % CACHE_SIZE;
	cached->writer = writer;
	cached->key.id = id;
	memcpy(cached->key.bytes, bytes, PROVCONN_KEY_LENGTH);
	cached->key.keys = *keys;
	return &cached->key;
}

/*
 * Where another session is making a key and has not committed, nobody waits for
 * it, as its transaction may be long and may roll back; an id that it won't
 * choose is taken.  Two first keys do no harm.
 */
static void
create_first_key(void)
{
	Search		search;
	uint32		random;

	if (provconn_store_lock(&data_key, LOCK_CHANGE, ExclusiveLock, false, true))
	{
		search_table(&data_key, 0, &search);
		create_key(&data_key, search.highest + 1);
		return;
	}

	/* It may be that keys are changed just now: then there are some afterwards. */
	(void) provconn_store_lock(&data_key, LOCK_FIRST, ShareLock, false, false);
	search_table(&data_key, 0, &search);
	if (search.found != 0)
		return;
	provconn_random_bytes(&random, sizeof(random));
	create_key(&data_key, 1000 + (int32) (random % 1000000));
}

static void
lock_for_change(void)
{
	(void) provconn_store_lock(&data_key, LOCK_CHANGE, ExclusiveLock, false, false);
	(void) provconn_store_lock(&data_key, LOCK_FIRST, ExclusiveLock, false, false);
}

static void
create_key(ProvconnTable *table, int32 key_id)
{
	unsigned char *fresh = provconn_secret_alloc(PROVCONN_KEY_LENGTH);
	const ProvconnMasterKey *masters;
	ProvconnValues row = {0};
	int			count;

	masters = provconn_masterkey_read(&count);
	provconn_random_key(fresh, PROVCONN_KEY_LENGTH);
	provconn_values_set(&row, COLUMN_KEY_ID, Int32GetDatum(key_id));
	provconn_values_set(&row, COLUMN_CREATED_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
	provconn_values_set(&row, COLUMN_CHECK_VALUE, PointerGetDatum(check_of(fresh, DATA_CHECK)));
	set_wrapped(table, &row, key_id, fresh, &masters[count - 1]);
	provconn_store_insert(table, InvalidOid, &row);
}

static int
rewrap_table(ProvconnTable *table, const ProvconnMasterKey *current)
{
	List	   *key_ids = NIL;
	ListCell   *cell;
	int			rewrapped = 0;

	provconn_store_each(table, list_key, &key_ids);
	foreach(cell, key_ids)
	{
		ProvconnValues changes = {0};
		Search		search;

		search_table(table, lfirst_int(cell), &search);
		if (search.found == 0 || is_wrapped_by(&search, current))
			continue;
		set_wrapped(table, &changes, search.found, unwrap_key(&search), current);
		change_row(table, search.found, &changes);
		rewrapped++;
	}
	return rewrapped;
}

static bool
list_key(ProvconnRow *row, void *arg)
{
	List	  **key_ids = arg;
	bool		isnull;

	(void) provconn_store_get(row, COLUMN_RETIRED_AT, &isnull);
	if (isnull)
		*key_ids = lappend_int(*key_ids,
							   DatumGetInt32(provconn_store_get(row, COLUMN_KEY_ID, &isnull)));
	return true;
}

static bool
is_wrapped_by(const Search *search, const ProvconnMasterKey *master)
{
	return search->master_key_id == master->id &&
		has_check(search->master_check, master->bytes, MASTER_CHECK);
}

/* The columns that change with the master key. */
static void
set_wrapped(ProvconnTable *table, ProvconnValues *values, int32 key_id,
			const unsigned char *bytes, const ProvconnMasterKey *master)
{
	ProvconnSpan plain = {(const char *) bytes, PROVCONN_KEY_LENGTH};

	provconn_values_set(values, COLUMN_MASTER_KEY_ID, Int32GetDatum(master->id));
	provconn_values_set(values, COLUMN_MASTER_CHECK,
						PointerGetDatum(check_of(master->bytes, MASTER_CHECK)));
	provconn_values_set(values, COLUMN_WRAPPED,
						PointerGetDatum(provconn_cipher_seal(wrapping_keys(table, master), master->id,
															 wrap_binding(key_id), plain)));
}

/* Past the guard of the table, which asks provconn_keyring_is_changing(). */
static void
change_row(ProvconnTable *table, int32 key_id, const ProvconnValues *changes)
{
	Datum		key = Int32GetDatum(key_id);
	ProvconnRow row;

	if (!provconn_store_find(table, &key, PROVCONN_LOCK_WAIT, &row))
		provconn_fault_raise(PROVCONN_FAULT_CONCURRENT_UPDATE);
	changing = true;
	PG_TRY();
	{
		provconn_store_update(&row, changes);
	}
	PG_FINALLY();
	{
		changing = false;
	}
	PG_END_TRY();
	provconn_store_close(&row);
}

/* Tells keys apart without telling anything of them. */
static bytea *
check_of(const unsigned char *key, const char *label)
{
	ProvconnSpan key_span = {(const char *) key, PROVCONN_KEY_LENGTH};
	ProvconnSpan label_span = {label, strlen(label)};
	unsigned char mac[PROVCONN_CIPHER_MAC];

	provconn_cipher_hmac(key_span, label_span, mac);
	/* bytea and text share their layout */
	return (bytea *) cstring_to_text_with_len((char *) mac, CHECK_LENGTH);
}

static bool
has_check(const bytea *stored, const unsigned char *key, const char *label)
{
	return VARSIZE_ANY_EXHDR(stored) == CHECK_LENGTH &&
		provconn_secret_equal(VARDATA_ANY(stored), VARDATA_ANY(check_of(key, label)),
							  CHECK_LENGTH);
}

/* A wrapped key is bound to the table that it is in. */
static const ProvconnCipherKeys *
wrapping_keys(const ProvconnTable *table, const ProvconnMasterKey *master)
{
	ProvconnCipherKeys *keys = provconn_secret_alloc(sizeof(ProvconnCipherKeys));
	const char *purpose = psprintf("provconn.%s", table->name);
	ProvconnSpan span = {purpose, strlen(purpose)};

	provconn_cipher_derive(master->bytes, span, keys);
	return keys;
}

/* And to its id. */
static ProvconnSpan
wrap_binding(int32 key_id)
{
	char	   *bytes = palloc(4);
	ProvconnSpan binding = {bytes, 4};

	bytes[0] = (char) ((uint32) key_id >> 24);
	bytes[1] = (char) ((uint32) key_id >> 16);
	bytes[2] = (char) ((uint32) key_id >> 8);
	bytes[3] = (char) key_id;
	return binding;
}

static void
forget_keys(Oid relid)
{
	if (relid == InvalidOid || relid == data_key.relid)
		cache_stale = true;
}
