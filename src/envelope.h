/*
 * envelope.h (layer 1): the bytes of a sealed credential.
 *
 *	offset	length	what
 *	0		1		format, 1
 *	1		4		data key id, big-endian, 1 or more
 *	5		16		initial counter block
 *	21		n		ciphertext, AES-256-CTR, n >= 1
 *	21+n	16		tag, AES-256-CMAC
 *
 * The tag covers the associated data, which is not stored but known from the
 * row: see provconn_envelope_associated().
 */
#ifndef PROVCONN_ENVELOPE_H
#define PROVCONN_ENVELOPE_H

#include "model.h"

#define PROVCONN_ENVELOPE_FORMAT 1
#define PROVCONN_ENVELOPE_IV 16
#define PROVCONN_ENVELOPE_TAG 16
#define PROVCONN_ENVELOPE_BLOCK 16
#define PROVCONN_ENVELOPE_HEAD (1 + 4 + PROVCONN_ENVELOPE_IV)
#define PROVCONN_ENVELOPE_OVERHEAD (PROVCONN_ENVELOPE_HEAD + PROVCONN_ENVELOPE_TAG)
#define PROVCONN_ENVELOPE_ASSOCIATED_MAX 256

/* Pointers go into the caller's buffer. */
typedef struct ProvconnEnvelope
{
	int32_t		key_id;
	const unsigned char *iv;	/* the initial counter block */
	const unsigned char *ciphertext;
	size_t		ciphertext_len;
	const unsigned char *tag;
} ProvconnEnvelope;

/* What a sealed credential is bound to. */
typedef struct ProvconnBinding
{
	ProvconnUuid connection_id;
	ProvconnUuid user_id;
	ProvconnUuid provider_id;
	ProvconnCredentialType credential_type;
	bool		expires;
	int64_t		expires_at;		/* microseconds since 2000-01-01 UTC */
	int32_t		version;
} ProvconnBinding;

/* False when the bytes are no envelope of this format. */
extern bool provconn_envelope_parse(const unsigned char *bytes, size_t len,
									ProvconnEnvelope *envelope);

/* The data key that the bytes name; 0 when they are too short. */
extern int32_t provconn_envelope_key_id(const unsigned char *bytes, size_t len);

/* Writes format and key id to the head; the counter block is the caller's to fill. */
extern void provconn_envelope_start(unsigned char *bytes, int32_t key_id);

/*
 * The associated data, to out (PROVCONN_ENVELOPE_ASSOCIATED_MAX bytes); returns
 * its length.  Each field is its length as one byte, then its bytes.
 */
extern size_t provconn_envelope_associated(const ProvconnBinding *binding, int32_t key_id,
										   unsigned char *out);

#endif							/* PROVCONN_ENVELOPE_H */
