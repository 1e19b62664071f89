/*
 * envelope.c (layer 1): the layout of a sealed credential and of the associated
 * data that its tag covers.
 *
 * Both are frozen with format 1: rows of years ago must open.  A change of
 * either is a new format number, and the old one goes on being read.  Integers
 * are big-endian, so that the bytes are the same on every machine.
 *
 * The associated data, each field behind its length in one byte:
 *
 *	19		the label "provconn.credential", so that no other use of the key
 *			gives the same bytes
 *	1		format
 *	4		data key id
 *	16		connection_id
 *	16		user_id
 *	16		provider_id
 *	1		credential type: its place in the enum plus 1
 *	0 or 8	expires_at, two's complement; length 0 when it never expires
 *	4		version
 */
#include "envelope.h"

#include <string.h>

static void put_field(unsigned char *out, size_t *len, const void *bytes, size_t count);
static void put_number(unsigned char *out, size_t *len, uint64_t number, size_t count);
static void store_number(unsigned char *out, uint64_t number, size_t count);

bool
provconn_envelope_parse(const unsigned char *bytes, size_t len,
						ProvconnEnvelope *envelope)
{
	int32_t		key_id = provconn_envelope_key_id(bytes, len);

	if (len <= PROVCONN_ENVELOPE_OVERHEAD)
		return false;
	if (bytes[0] != PROVCONN_ENVELOPE_FORMAT)
		return false;
	if (key_id <= 0)
		return false;

	envelope->key_id = key_id;
	envelope->iv = bytes + 5;
	envelope->ciphertext = bytes + PROVCONN_ENVELOPE_HEAD;
	envelope->ciphertext_len = len - PROVCONN_ENVELOPE_OVERHEAD;
	envelope->tag = envelope->ciphertext + envelope->ciphertext_len;
	return true;
}

int32_t
provconn_envelope_key_id(const unsigned char *bytes, size_t len)
{
	if (len < 5)
		return 0;
	return (int32_t) ((uint32_t) bytes[1] << 24 | (uint32_t) bytes[2] << 16 |
					  (uint32_t) bytes[3] << 8 | (uint32_t) bytes[4]);
}

void
provconn_envelope_start(unsigned char *bytes, int32_t key_id)
{
	bytes[0] = PROVCONN_ENVELOPE_FORMAT;
	store_number(bytes + 1, (uint32_t) key_id, 4);
}

size_t
provconn_envelope_associated(const ProvconnBinding *binding, int32_t key_id,
							 unsigned char *out)
{
	static const char label[] = "provconn.credential";
	size_t		len = 0;

	put_field(out, &len, label, sizeof(label) - 1);
	put_number(out, &len, PROVCONN_ENVELOPE_FORMAT, 1);
	put_number(out, &len, (uint32_t) key_id, 4);
	put_field(out, &len, binding->connection_id.bytes, sizeof(binding->connection_id.bytes));
	put_field(out, &len, binding->user_id.bytes, sizeof(binding->user_id.bytes));
	put_field(out, &len, binding->provider_id.bytes, sizeof(binding->provider_id.bytes));

	/*
	 * A code rather than the SQL label, which belongs to a sibling module.
	 * It is frozen: new members of the enum are added at its end only.
	 */
	put_number(out, &len, (uint64_t) ((int) binding->credential_type + 1), 1);
	if (binding->expires)
		put_number(out, &len, (uint64_t) binding->expires_at, 8);
	else
		put_field(out, &len, NULL, 0);
	put_number(out, &len, (uint32_t) binding->version, 4);
	return len;
}

static void
put_field(unsigned char *out, size_t *len, const void *bytes, size_t count)
{
	out[(*len)++] = (unsigned char) count;
	if (count > 0)
		memcpy(out + *len, bytes, count);
	*len += count;
}

static void
put_number(unsigned char *out, size_t *len, uint64_t number, size_t count)
{
	unsigned char bytes[8];

	store_number(bytes, number, count);
	put_field(out, len, bytes, count);
}

static void
store_number(unsigned char *out, uint64_t number, size_t count)
{
	while (count-- > 0)
	{
		out[count] = (unsigned char) (number & 0xff);
		number >>= 8;
	}
}
