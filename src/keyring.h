/*
 * keyring.h (layer 4): master keys and data keys.
 */
#ifndef PROVCONN_KEYRING_H
#define PROVCONN_KEYRING_H

#include "postgres.h"

#include "model.h"

/*
 * The data key that new credentials are sealed with; where the database has
 * none yet, one is made and wrapped by the current master key.  The bytes stay
 * the keyring's.  Raises the faults of keys.
 */
extern const unsigned char *provconn_keyring_current(int32 *key_id);

/* The data key of that id, current or not; NULL where there is none. */
extern const unsigned char *provconn_keyring_get(int32 key_id);

/* Registers the invalidation callback; called once, from _PG_init. */
extern void provconn_keyring_init(void);

#endif							/* PROVCONN_KEYRING_H */
