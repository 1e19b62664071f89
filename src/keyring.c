/*
 * keyring.c (layer 4): master keys and data keys.
 *
 * Credentials are sealed with data keys.  These stand in provconn.data_key,
 * each wrapped (sealed) by a master key of the key file, with a check value of
 * both, so that a wrong key is named before any data is touched.
 *
 * A master key is read from its file when a data key has to be unwrapped and
 * wiped at once.  Unwrapped data keys stay in one page of locked memory until
 * the table or a key setting changes.  A data key that the current transaction
 * made is used, but trusted no longer than that transaction (or subtransaction)
 * lives: after a rollback its id may belong to another key.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/timestamp.h"

#include "cipher.h"
#include "compat.h"
#include "fault.h"
#include "keyfile.h"
#include "keyring.h"
#include "secret.h"
#include "settings.h"
#include "store.h"

#define CHECK_LENGTH 8
#define KEY_FILE_MAX (64 * 1024)
#define CACHE_SIZE 64
#define WRAP_PURPOSE "provconn.data_key"

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

/* A data key in locked memory; id 0 marks a free place. */
typedef struct CachedKey
{
	int32		id;
	TransactionId writer;		/* ours and not yet committed, or invalid */
	unsigned char bytes[PROVCONN_KEY_LENGTH];
} CachedKey;

typedef struct Cache
{
	uint64		generation;		/* of the settings it was filled under */
	int32		current;		/* id of the current key, 0 when not known */
	TransactionId current_writer;
	int			next;			/* the place to be filled next */
	CachedKey	keys[CACHE_SIZE];
} Cache;

/* What a scan of the table is to find. */
typedef struct Search
{
	int32		wanted;			/* 0: the current one */
	int32		highest;		/* of all ids seen */
	int32		found;
	TransactionId writer;
	int32		master_key_id;
	bytea	   *master_check;
	bytea	   *wrapped;
	bytea	   *check_value;
} Search;

static Cache *cache = NULL;
static bool cache_stale = false;

static void refresh_cache(void);
static const unsigned char *cached_key(int32 key_id);
static bool still_valid(TransactionId writer);
static void search_table(int32 wanted, Search *search);
static bool visit_row(ProvconnRow *row, void *arg);
static const unsigned char *unwrap_key(const Search *search);
static const unsigned char *remember_key(int32 id, TransactionId writer, const unsigned char *bytes);
static int32 choose_key_id(void);
static void create_key(int32 key_id);
static void read_master_keys(ProvconnMasterKey *keys, int *count);
static char *read_key_file(size_t *len);
static void check_of(const unsigned char *key, const char *label, unsigned char check[CHECK_LENGTH]);
static ProvconnSpan wrap_binding(int32 key_id);
static bytea *bytea_of(const void *bytes, Size len);
static void forget_keys(Datum arg, Oid relid);

void
provconn_keyring_init(void)
{
	CacheRegisterRelcacheCallback(forget_keys, (Datum) 0);
}

const unsigned char *
provconn_keyring_current(int32 *key_id)
{
	const unsigned char *bytes = NULL;
	Search		search;

	refresh_cache();
	if (cache->current != 0 && still_valid(cache->current_writer))
	{
		*key_id = cache->current;
		bytes = provconn_keyring_get(cache->current);
		if (bytes != NULL)
			return bytes;
	}

	search_table(0, &search);
	if (search.found == 0)
	{
		create_key(choose_key_id());
		search_table(0, &search);
	}
	/* The scan took a lock, and so may have dropped the cache. */
	refresh_cache();
	cache->current = search.found;
	cache->current_writer = search.writer;
	*key_id = search.found;
	if (search.found != 0)
		bytes = provconn_keyring_get(search.found);
	/* Somebody's trigger, say, kept the new key from its table. */
	if (bytes == NULL)
		provconn_fault_raise(PROVCONN_FAULT_NO_DATA_KEY);
	return bytes;
}

const unsigned char *
provconn_keyring_get(int32 key_id)
{
	const unsigned char *bytes;
	Search		search;

	refresh_cache();
	bytes = cached_key(key_id);
	if (bytes != NULL)
		return bytes;

	search_table(key_id, &search);
	return search.found == 0 ? NULL : unwrap_key(&search);
}

/* Makes the cache at first use, and empties it where it may be out of date. */
static void
refresh_cache(void)
{
	uint64		generation = provconn_settings_key_generation();

	if (cache == NULL)
	{
		cache = provconn_secret_page(sizeof(Cache));
		cache->generation = generation;
	}
	if (cache_stale || cache->generation != generation)
	{
		provconn_secret_wipe(cache, sizeof(Cache));
		cache->generation = generation;
		cache_stale = false;
	}
}

static const unsigned char *
cached_key(int32 key_id)
{
	for (int i = 0; i < CACHE_SIZE; i++)
	{
		CachedKey  *key = &cache->keys[i];

		if (key->id != key_id || key_id == 0)
			continue;
		if (still_valid(key->writer))
			return key->bytes;
		provconn_secret_wipe(key, sizeof(*key));
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
search_table(int32 wanted, Search *search)
{
	memset(search, 0, sizeof(*search));
	search->wanted = wanted;
	provconn_store_each(&data_key, visit_row, search);
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
	if (search->wanted != 0 ? key_id != search->wanted : (retired || key_id < search->found))
		return true;

	search->found = key_id;
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

static const unsigned char *
unwrap_key(const Search *search)
{
	ProvconnMasterKey *masters = provconn_secret_alloc(sizeof(ProvconnMasterKey) *
													   PROVCONN_KEYFILE_MAX_KEYS);
	ProvconnSpan purpose = {WRAP_PURPOSE, strlen(WRAP_PURPOSE)};
	ProvconnEnvelope envelope;
	ProvconnSpan plain;
	unsigned char check[CHECK_LENGTH];
	const unsigned char *key;
	const ProvconnMasterKey *master = NULL;
	int			count;

	read_master_keys(masters, &count);
	for (int i = 0; i < count; i++)
		if (masters[i].id == search->master_key_id)
			master = &masters[i];
	if (master == NULL)
		provconn_fault_raise(PROVCONN_FAULT_MASTER_KEY_MISSING, search->master_key_id,
							 search->found);

	check_of(master->bytes, "provconn.master_check", check);
	if (VARSIZE_ANY_EXHDR(search->master_check) != CHECK_LENGTH ||
		!provconn_secret_equal(check, VARDATA_ANY(search->master_check), CHECK_LENGTH))
		provconn_fault_raise(PROVCONN_FAULT_MASTER_KEY_WRONG, search->master_key_id,
							 search->found);

	if (!provconn_envelope_parse((const unsigned char *) VARDATA_ANY(search->wrapped),
								 VARSIZE_ANY_EXHDR(search->wrapped), &envelope) ||
		envelope.key_id != search->master_key_id ||
		!provconn_cipher_open(master->bytes, &envelope, purpose,
							  wrap_binding(search->found), &plain) ||
		plain.len != PROVCONN_KEY_LENGTH)
		provconn_fault_raise(PROVCONN_FAULT_DATA_KEY_DAMAGED, search->found);

	check_of((const unsigned char *) plain.data, "provconn.data_check", check);
	if (VARSIZE_ANY_EXHDR(search->check_value) != CHECK_LENGTH ||
		!provconn_secret_equal(check, VARDATA_ANY(search->check_value), CHECK_LENGTH))
		provconn_fault_raise(PROVCONN_FAULT_DATA_KEY_DAMAGED, search->found);

	key = remember_key(search->found, search->writer, (const unsigned char *) plain.data);
	provconn_secret_wipe(masters, sizeof(ProvconnMasterKey) * PROVCONN_KEYFILE_MAX_KEYS);
	provconn_secret_wipe(unconstify(char *, plain.data), plain.len);
	return key;
}

static const unsigned char *
remember_key(int32 id, TransactionId writer, const unsigned char *bytes)
{
	CachedKey  *key = &cache->keys[cache->next];

	cache->next = (cache->next + 1) % CACHE_SIZE;
	key->id = id;
	key->writer = writer;
	memcpy(key->bytes, bytes, PROVCONN_KEY_LENGTH);
	return key->bytes;
}

/*
 * The next id; or, where another session is making a key and has not committed,
 * one that it won't choose.  Nobody waits for the other's transaction, which may
 * be long and may roll back; two first keys do no harm.
 */
static int32
choose_key_id(void)
{
	Search		search;

	if (!ConditionalLockRelationOid(provconn_store_relid(&data_key),
									ShareUpdateExclusiveLock))
	{
		uint32		random;

		if (!pg_strong_random(&random, sizeof(random)))
			elog(ERROR, "could not generate random values");
		return 1000 + (int32) (random % 1000000);
	}
	search_table(0, &search);
	return search.highest + 1;
}

static void
create_key(int32 key_id)
{
	ProvconnMasterKey *masters = provconn_secret_alloc(sizeof(ProvconnMasterKey) *
													   PROVCONN_KEYFILE_MAX_KEYS);
	unsigned char *fresh = provconn_secret_alloc(PROVCONN_KEY_LENGTH);
	ProvconnSpan purpose = {WRAP_PURPOSE, strlen(WRAP_PURPOSE)};
	ProvconnSpan plain = {(const char *) fresh, PROVCONN_KEY_LENGTH};
	const ProvconnMasterKey *master;
	ProvconnValues row = {0};
	unsigned char check[CHECK_LENGTH];
	int			count;

	read_master_keys(masters, &count);
	master = &masters[count - 1];
	if (!pg_strong_random(fresh, PROVCONN_KEY_LENGTH))
		elog(ERROR, "could not generate random values");

	provconn_values_set(&row, COLUMN_KEY_ID, Int32GetDatum(key_id));
	provconn_values_set(&row, COLUMN_MASTER_KEY_ID, Int32GetDatum(master->id));
	check_of(master->bytes, "provconn.master_check", check);
	provconn_values_set(&row, COLUMN_MASTER_CHECK,
						PointerGetDatum(bytea_of(check, CHECK_LENGTH)));
	provconn_values_set(&row, COLUMN_WRAPPED,
						PointerGetDatum(provconn_cipher_seal(master->bytes, master->id, purpose,
															 wrap_binding(key_id), plain)));
	check_of(fresh, "provconn.data_check", check);
	provconn_values_set(&row, COLUMN_CHECK_VALUE,
						PointerGetDatum(bytea_of(check, CHECK_LENGTH)));
	provconn_values_set(&row, COLUMN_CREATED_AT, TimestampTzGetDatum(GetCurrentTimestamp()));

	provconn_store_insert(&data_key, InvalidOid, &row);
	CacheInvalidateRelcacheByRelid(provconn_store_relid(&data_key));
	provconn_secret_wipe(masters, sizeof(ProvconnMasterKey) * PROVCONN_KEYFILE_MAX_KEYS);
	provconn_secret_wipe(fresh, PROVCONN_KEY_LENGTH);
}

static void
read_master_keys(ProvconnMasterKey *keys, int *count)
{
	ProvconnKeyfileFault fault;
	ProvconnSpan text;
	int			line;
	char	   *buffer = read_key_file(&text.len);

	text.data = buffer;
	fault = provconn_keyfile_parse(text, keys, count, &line);
	provconn_secret_wipe(buffer, text.len);
	if (fault == PROVCONN_KEYFILE_EMPTY)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_EMPTY);
	if (fault != PROVCONN_KEYFILE_OK)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_MALFORMED, line,
							 provconn_keyfile_fault_text(fault));
}

static char *
read_key_file(size_t *len)
{
	const char *path = provconn_settings_key_file();
	char	   *buffer = provconn_secret_alloc(KEY_FILE_MAX);
	struct stat status;
	int			fd;
	ssize_t		got = 0;
	size_t		total = 0;

	if (path == NULL || *path == '\0')
		provconn_fault_raise(PROVCONN_FAULT_KEY_NOT_CONFIGURED);

	/* O_NONBLOCK: a FIFO put there must not hang the backend. */
	fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_UNREADABLE, strerror(errno));
	if (fstat(fd, &status) != 0)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_UNREADABLE, strerror(errno));
	if (!S_ISREG(status.st_mode))
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_UNSAFE, "not a regular file");
	if (status.st_uid != geteuid())
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_UNSAFE, "owned by another user");
	if ((status.st_mode & 07777 & ~(S_IRUSR | S_IWUSR)) != 0)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_UNSAFE, "mode wider than 0600");

	while (total < KEY_FILE_MAX &&
		   (got = read(fd, buffer + total, KEY_FILE_MAX - total)) > 0)
		total += got;
	if (got < 0)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_UNREADABLE, strerror(errno));
	if (total == KEY_FILE_MAX)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_UNSAFE, "64 kB or larger");
	CloseTransientFile(fd);
	*len = total;
	return buffer;
}

/* Tells keys apart without telling anything of them. */
static void
check_of(const unsigned char *key, const char *label, unsigned char check[CHECK_LENGTH])
{
	ProvconnSpan key_span = {(const char *) key, PROVCONN_KEY_LENGTH};
	ProvconnSpan label_span = {label, strlen(label)};
	unsigned char mac[PROVCONN_CIPHER_MAC];

	provconn_cipher_hmac(key_span, label_span, mac);
	memcpy(check, mac, CHECK_LENGTH);
}

/* What a wrapped data key is bound to: its id. */
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

static bytea *
bytea_of(const void *bytes, Size len)
{
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return result;
}

static void
forget_keys(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == data_key.relid)
		cache_stale = true;
}
