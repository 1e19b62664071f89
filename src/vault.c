/*
 * vault.c (layer 5): credentials, sealed and opened.
 *
 * A credential is bound to its row: the tag covers connection, user, provider,
 * credential type, expiry and version (envelope.c).  A ciphertext that is
 * changed, moved to another row, or put back after a refresh does not open.
 */
#include "postgres.h"

#include "cipher.h"
#include "compat.h"
#include "keyring.h"
#include "secret.h"
#include "vault.h"

#define SIGN_LABEL "provconn.read"

static ProvconnSpan describe_row(const ProvconnBinding *binding, int32 key_id, unsigned char *out);
static void compute_signature(const unsigned char *key, ProvconnSpan bytes,
							  unsigned char mac[PROVCONN_CIPHER_MAC]);

bytea *
provconn_vault_seal(const ProvconnBinding *binding, ProvconnSpan secret)
{
	unsigned char associated[PROVCONN_ENVELOPE_ASSOCIATED_MAX];
	const ProvconnDataKey *key = provconn_keyring_current();

	return provconn_cipher_seal(&key->keys, key->id, describe_row(binding, key->id, associated), secret);
}

int32
provconn_vault_key_id(const bytea *sealed)
{
	return provconn_envelope_key_id((const unsigned char *) VARDATA_ANY(sealed),
									VARSIZE_ANY_EXHDR(sealed));
}

ProvconnOpening *
provconn_vault_check(const ProvconnBinding *binding, const bytea *sealed)
{
	unsigned char associated[PROVCONN_ENVELOPE_ASSOCIATED_MAX];
	ProvconnOpening *opening = provconn_secret_alloc(sizeof(ProvconnOpening));
	const ProvconnDataKey *key;

	if (!provconn_envelope_parse((const unsigned char *) VARDATA_ANY(sealed),
								 VARSIZE_ANY_EXHDR(sealed), &opening->envelope))
		return NULL;
	/* An id that no key has may be a damaged one: that is one fault, not two. */
	key = provconn_keyring_get(opening->envelope.key_id);
	if (key == NULL ||
		!provconn_cipher_check(&key->keys, &opening->envelope,
							   describe_row(binding, key->id, associated)))
		return NULL;
	opening->keys = key->keys;
	return opening;
}

void
provconn_vault_decrypt(ProvconnOpening *opening, ProvconnSpan *secret)
{
	provconn_cipher_decrypt(&opening->keys, &opening->envelope, secret);
}

bool
provconn_vault_open(const ProvconnBinding *binding, const bytea *sealed, ProvconnSpan *secret)
{
	ProvconnOpening *opening = provconn_vault_check(binding, sealed);

	if (opening == NULL)
		return false;
	provconn_vault_decrypt(opening, secret);
	return true;
}

static ProvconnSpan
describe_row(const ProvconnBinding *binding, int32 key_id, unsigned char *out)
{
	ProvconnSpan associated;

	associated.data = (const char *) out;
	associated.len = provconn_envelope_associated(binding, key_id, out);
	return associated;
}

int32
provconn_vault_sign(ProvconnSpan bytes, unsigned char mac[PROVCONN_CIPHER_MAC])
{
	const ProvconnDataKey *key = provconn_keyring_current();

	compute_signature(key->bytes, bytes, mac);
	return key->id;
}

bool
provconn_vault_has_signed(int32 key_id, ProvconnSpan bytes,
						  const unsigned char mac[PROVCONN_CIPHER_MAC])
{
	const ProvconnDataKey *key = key_id > 0 ? provconn_keyring_get(key_id) : NULL;
	unsigned char expected[PROVCONN_CIPHER_MAC];

	if (key == NULL)
		return false;
	compute_signature(key->bytes, bytes, expected);
	return provconn_secret_equal(expected, mac, sizeof(expected));
}

/* A label first: other values are made with the key, too. */
static void
compute_signature(const unsigned char *key, ProvconnSpan bytes, unsigned char mac[PROVCONN_CIPHER_MAC])
{
	ProvconnSpan key_span = {(const char *) key, PROVCONN_KEY_LENGTH};
	ProvconnSpan data;
	char	   *labelled = palloc(sizeof(SIGN_LABEL) + bytes.len);

	memcpy(labelled, SIGN_LABEL, sizeof(SIGN_LABEL));
	memcpy(labelled + sizeof(SIGN_LABEL), bytes.data, bytes.len);
	data.data = labelled;
	data.len = sizeof(SIGN_LABEL) + bytes.len;
	provconn_cipher_hmac(key_span, data, mac);
	pfree(labelled);
}
