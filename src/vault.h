/*
 * vault.h (layer 5): credentials, sealed and opened.
 */
#ifndef PROVCONN_VAULT_H
#define PROVCONN_VAULT_H

#include "postgres.h"

#include "cipher.h"
#include "envelope.h"

/* Seals a secret with the current data key, in CurrentMemoryContext. */
extern bytea *provconn_vault_seal(const ProvconnBinding *binding, ProvconnSpan secret);

/* The data key that a sealed credential names. */
extern int32 provconn_vault_key_id(const bytea *sealed);

/* A credential that was found genuine, and is not open yet. */
typedef struct ProvconnOpening
{
	ProvconnEnvelope envelope;
	ProvconnCipherKeys keys;
} ProvconnOpening;

/*
 * The two halves of opening, for who has something to write in between.  The
 * first returns NULL where provconn_vault_open() returns false; what it returns
 * points into sealed and is wiped with CurrentMemoryContext.
 */
extern ProvconnOpening *provconn_vault_check(const ProvconnBinding *binding, const bytea *sealed);
extern void provconn_vault_decrypt(ProvconnOpening *opening, ProvconnSpan *secret);

/*
 * Opens a sealed credential; false when it was changed, or is not this row's.
 * The plaintext is wiped with CurrentMemoryContext.  Faults of keys are raised.
 */
extern bool provconn_vault_open(const ProvconnBinding *binding, const bytea *sealed,
								ProvconnSpan *secret);

/*
 * Signs bytes with the current data key, whose id is returned, and tells what was
 * signed; false as well where there is no such key any more.
 */
extern int32 provconn_vault_sign(ProvconnSpan bytes, unsigned char mac[PROVCONN_CIPHER_MAC]);
extern bool provconn_vault_has_signed(int32 key_id, ProvconnSpan bytes,
									  const unsigned char mac[PROVCONN_CIPHER_MAC]);

#endif							/* PROVCONN_VAULT_H */
