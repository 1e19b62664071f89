/*
 * cipher.h (layer 3): authenticated encryption, by pgcrypto alone.
 */
#ifndef PROVCONN_CIPHER_H
#define PROVCONN_CIPHER_H

#include "postgres.h"

#include "envelope.h"

#define PROVCONN_CIPHER_MAC 32

/* What is derived of a key: one for AES-CTR, one for AES-CMAC and its subkeys. */
typedef struct ProvconnCipherKeys
{
	unsigned char encryption[PROVCONN_KEY_LENGTH];
	unsigned char authentication[PROVCONN_KEY_LENGTH];
	unsigned char subkeys[2][PROVCONN_ENVELOPE_BLOCK];
	uint64		serial;			/* of the derivation: no other of this process has it */
} ProvconnCipherKeys;

/* HMAC-SHA-256 of data under key. */
extern void provconn_cipher_hmac(ProvconnSpan key, ProvconnSpan data,
								 unsigned char mac[PROVCONN_CIPHER_MAC]);

/* The keys that a key gives for a purpose. */
extern void provconn_cipher_derive(const unsigned char *key, ProvconnSpan purpose,
								   ProvconnCipherKeys *keys);

/* Seals plaintext: an envelope whose tag covers associated too.  In CurrentMemoryContext. */
extern bytea *provconn_cipher_seal(const ProvconnCipherKeys *keys, int32 key_id,
								   ProvconnSpan associated, ProvconnSpan plaintext);

/* Wipes the keystream that was made ahead. */
extern void provconn_cipher_forget(void);

/* Whether an envelope was sealed with these keys and associated data. */
extern bool provconn_cipher_check(const ProvconnCipherKeys *keys, const ProvconnEnvelope *envelope,
								  ProvconnSpan associated);

/* The plaintext of an envelope that was checked; wiped with CurrentMemoryContext. */
extern void provconn_cipher_decrypt(const ProvconnCipherKeys *keys, const ProvconnEnvelope *envelope,
									ProvconnSpan *plaintext);

/* Both at once; false where the first is. */
extern bool provconn_cipher_open(const ProvconnCipherKeys *keys, const ProvconnEnvelope *envelope,
								 ProvconnSpan associated, ProvconnSpan *plaintext);

/*
 * The keystream of AES-256 in counter mode (NIST SP 800-38A, section 6.5) from
 * the counter block start on; len is a multiple of a block's length.
 */
extern void provconn_cipher_keystream(const unsigned char *key,
									  const unsigned char start[PROVCONN_ENVELOPE_BLOCK],
									  char *out, size_t len);

/* out = a XOR b */
extern void provconn_cipher_xor(char *restrict out, const char *restrict a,
								const char *restrict b, size_t len);

/* Raises a fault where pgcrypto is not there, or what it makes is not what the standards have. */
extern void provconn_cipher_test(void);

#endif							/* PROVCONN_CIPHER_H */
