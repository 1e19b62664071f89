/*
 * cipher.h (layer 3): authenticated encryption, by pgcrypto alone.
 */
#ifndef PROVCONN_CIPHER_H
#define PROVCONN_CIPHER_H

#include "postgres.h"

#include "envelope.h"

#define PROVCONN_CIPHER_MAC 32
#define PROVCONN_CIPHER_DERIVED (2 * PROVCONN_KEY_LENGTH)

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
 * Whether an envelope was sealed under this key, purpose and associated data.
 * If so its own keys go to derived, for provconn_cipher_decrypt(), which wipes
 * them; until then nothing of the plaintext exists.
 */
extern bool provconn_cipher_check(const unsigned char *key, const ProvconnEnvelope *envelope,
								  ProvconnSpan purpose, ProvconnSpan associated,
								  unsigned char derived[PROVCONN_CIPHER_DERIVED]);

/* The plaintext of an envelope that was checked; wiped with CurrentMemoryContext. */
extern void provconn_cipher_decrypt(unsigned char derived[PROVCONN_CIPHER_DERIVED],
									const ProvconnEnvelope *envelope, ProvconnSpan *plaintext);

/* Both at once; false where the first is. */
extern bool provconn_cipher_open(const unsigned char *key, const ProvconnEnvelope *envelope,
								 ProvconnSpan purpose, ProvconnSpan associated,
								 ProvconnSpan *plaintext);

/*
 * data XOR a keystream, to out: AES-256 in counter mode (NIST SP 800-38A,
 * section 6.5), the counter block being nonce, then the block's number.  Under
 * one key no nonce may be used for two texts.
 */
extern void provconn_cipher_xor(const unsigned char *key, uint64 nonce, ProvconnSpan data,
								char *out);

#endif							/* PROVCONN_CIPHER_H */
