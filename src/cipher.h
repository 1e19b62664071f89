/*
 * cipher.h (layer 3): authenticated encryption, by pgcrypto alone.
 */
#ifndef PROVCONN_CIPHER_H
#define PROVCONN_CIPHER_H

#include "postgres.h"

#include "envelope.h"

#define PROVCONN_CIPHER_MAC 32

/* HMAC-SHA-256 of data under key. */
extern void provconn_cipher_hmac(ProvconnSpan key, ProvconnSpan data,
								 unsigned char mac[PROVCONN_CIPHER_MAC]);

/*
 * Seals plaintext: an envelope under the key, with keys derived for purpose and
 * a tag that covers associated too.  In CurrentMemoryContext.
 */
extern bytea *provconn_cipher_seal(const unsigned char *key, int32 key_id,
								   ProvconnSpan purpose, ProvconnSpan associated,
								   ProvconnSpan plaintext);

/*
 * Opens an envelope; false when it was not sealed under this key, purpose and
 * associated data.  The plaintext is wiped with CurrentMemoryContext.
 */
extern bool provconn_cipher_open(const unsigned char *key, const ProvconnEnvelope *envelope,
								 ProvconnSpan purpose, ProvconnSpan associated,
								 ProvconnSpan *plaintext);

#endif							/* PROVCONN_CIPHER_H */
