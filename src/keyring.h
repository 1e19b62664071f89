/*
 * keyring.h (layer 4): data keys.
 */
#ifndef PROVCONN_KEYRING_H
#define PROVCONN_KEYRING_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "cipher.h"

/* A data key, and what is derived of it for credentials. */
typedef struct ProvconnDataKey
{
	int32		id;
	unsigned char bytes[PROVCONN_KEY_LENGTH];
	ProvconnCipherKeys keys;
} ProvconnDataKey;

/*
 * The data key that new credentials are sealed with; where the database has
 * none yet, one is made and wrapped by the current master key.  It stays the
 * keyring's, and where it is until the next call.  Raises the faults of keys.
 */
extern const ProvconnDataKey *provconn_keyring_current(void);

/* The data key of that id, current or not; NULL where there is none, or it is retired. */
extern const ProvconnDataKey *provconn_keyring_get(int32 key_id);

/*
 * Until the transaction ends no key is retired that is not retired now.  Who
 * opens a credential without locking its row calls this before reading it.
 */
extern void provconn_keyring_hold(void);

/* The ids of the data keys that are not retired. */
extern List *provconn_keyring_list(void);

/* Opens a data key anew, past what is cached; raises what is wrong with it. */
extern void provconn_keyring_verify(int32 key_id);

/* Makes the next current data key, for use from the commit on; returns its id. */
extern int32 provconn_keyring_rotate(void);

/*
 * The key that seals are authenticated with, by its id, or, where that is 0, the
 * newest, made where there is none; the caller lets one at a time do that.  NULL
 * where there is no such key; wiped with CurrentMemoryContext.
 */
extern const unsigned char *provconn_keyring_seal_key(int32 *key_id);

/* Opens all keys of seals, past nothing; raises what is wrong with one.  False: there are none. */
extern bool provconn_keyring_check_seal_keys(void);

/* Wraps all keys by the current master key; returns how many data keys were not yet. */
extern int	provconn_keyring_rewrap(void);

/*
 * Retires a data key in two steps; what it has sealed is to be looked for in
 * between.  The first raises what speaks against it, waits for transactions that
 * may have sealed with it, and returns false where it is retired already.  The
 * second destroys the key.
 */
extern bool provconn_keyring_begin_retiring(int32 key_id);
extern void provconn_keyring_retire(int32 key_id, TimestampTz now);

/*
 * Waits for all transactions that hold keys now, having sealed something, say.
 * Who seals later knows of every key that is committed now.
 */
extern void provconn_keyring_wait_for_sealers(void);

/* Whether the change of provconn.data_key under way is the keyring's. */
extern bool provconn_keyring_is_changing(void);

/* Registers the invalidation callback; called once, from _PG_init. */
extern void provconn_keyring_init(void);

#endif							/* PROVCONN_KEYRING_H */
