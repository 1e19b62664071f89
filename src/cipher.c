/*
 * cipher.c (layer 3): authenticated encryption, by pgcrypto alone.
 *
 * Encrypt-then-MAC.  For each envelope a random salt; HKDF (RFC 5869) with
 * SHA-256 makes of key and salt, with the purpose as info, an AES-256 key and a
 * MAC key, so that the key itself never reaches the block cipher.  AES-256-CBC
 * with PKCS#7 padding; HMAC-SHA-256 over the associated data and the whole
 * envelope before the tag, compared in constant time before anything is
 * decrypted, so that padding errors tell nothing.
 *
 * pgcrypto is called by its library's symbols: no search path can put another
 * function in its place.  It reads short keys and IVs without complaint, so the
 * lengths are ours to keep: the types here have no others.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/memutils.h"

#include "cipher.h"
#include "compat.h"
#include "fault.h"
#include "secret.h"

#define KEYSTREAM_PART (64 * 1024) /* bytes, whole blocks */

typedef struct Library
{
	PGFunction	encrypt;
	PGFunction	encrypt_iv;
	PGFunction	decrypt_iv;
	PGFunction	hmac;
} Library;

static const Library *load_library(void);
static void derive_keys(const unsigned char *key, const unsigned char *salt,
						ProvconnSpan purpose, unsigned char *derived);
static void compute_tag(const unsigned char *mac_key, ProvconnSpan associated,
						const unsigned char *sealed, size_t sealed_len, unsigned char *tag);
static void wipe_freed(void);
static void wipe_chunks(MemoryContext context, Size size);
static void xor_bytes(char *out, const char *a, const char *b, size_t len);
static bytea *new_buffer(size_t len);
static bytea *copy_buffer(const void *bytes, size_t len);
static text *name_buffer(const char *name);
static void fill_random(unsigned char *bytes, size_t len);

void
provconn_cipher_hmac(ProvconnSpan key, ProvconnSpan data,
					 unsigned char mac[PROVCONN_CIPHER_MAC])
{
	bytea	   *key_buffer = copy_buffer(key.data, key.len);
	bytea	   *data_buffer = copy_buffer(data.data, data.len);
	bytea	   *result;

	result = DatumGetByteaPP(DirectFunctionCall3(load_library()->hmac,
												 PointerGetDatum(data_buffer),
												 PointerGetDatum(key_buffer),
												 PointerGetDatum(name_buffer("sha256"))));
	if (VARSIZE_ANY_EXHDR(result) != PROVCONN_CIPHER_MAC)
		provconn_fault_raise(PROVCONN_FAULT_PGCRYPTO_FAILED, "authenticate");
	memcpy(mac, VARDATA_ANY(result), PROVCONN_CIPHER_MAC);
	provconn_secret_wipe(VARDATA_ANY(result), PROVCONN_CIPHER_MAC);
}

bytea *
provconn_cipher_seal(const unsigned char *key, int32 key_id, ProvconnSpan purpose,
					 ProvconnSpan associated, ProvconnSpan plaintext)
{
	unsigned char head[PROVCONN_ENVELOPE_HEAD];
	unsigned char derived[PROVCONN_CIPHER_DERIVED];
	unsigned char *salt = head + 1 + 4;
	unsigned char *iv = salt + PROVCONN_ENVELOPE_SALT;
	bytea	   *input = copy_buffer(plaintext.data, plaintext.len);
	bytea	   *ciphertext;
	bytea	   *sealed;
	size_t		ciphertext_len;
	unsigned char *at;

	provconn_envelope_start(head, key_id);
	fill_random(salt, PROVCONN_ENVELOPE_SALT + PROVCONN_ENVELOPE_IV);
	derive_keys(key, salt, purpose, derived);

	ciphertext = DatumGetByteaPP(DirectFunctionCall4(load_library()->encrypt_iv,
													 PointerGetDatum(input),
													 PointerGetDatum(copy_buffer(derived, PROVCONN_KEY_LENGTH)),
													 PointerGetDatum(copy_buffer(iv, PROVCONN_ENVELOPE_IV)),
													 PointerGetDatum(name_buffer("aes-cbc/pad:pkcs"))));
	wipe_freed();
	ciphertext_len = VARSIZE_ANY_EXHDR(ciphertext);
	if (ciphertext_len != (plaintext.len / PROVCONN_ENVELOPE_BLOCK + 1) * PROVCONN_ENVELOPE_BLOCK)
		provconn_fault_raise(PROVCONN_FAULT_PGCRYPTO_FAILED, "encrypt");

	sealed = palloc(VARHDRSZ + PROVCONN_ENVELOPE_OVERHEAD + ciphertext_len);
	SET_VARSIZE(sealed, VARHDRSZ + PROVCONN_ENVELOPE_OVERHEAD + ciphertext_len);
	at = (unsigned char *) VARDATA(sealed);
	memcpy(at, head, sizeof(head));
	memcpy(at + sizeof(head), VARDATA_ANY(ciphertext), ciphertext_len);
	compute_tag(derived + PROVCONN_KEY_LENGTH, associated,
				at, sizeof(head) + ciphertext_len, at + sizeof(head) + ciphertext_len);

	provconn_secret_wipe(derived, sizeof(derived));
	return sealed;
}

bool
provconn_cipher_check(const unsigned char *key, const ProvconnEnvelope *envelope,
					  ProvconnSpan purpose, ProvconnSpan associated,
					  unsigned char derived[PROVCONN_CIPHER_DERIVED])
{
	unsigned char tag[PROVCONN_ENVELOPE_TAG];
	const unsigned char *sealed = envelope->ciphertext - PROVCONN_ENVELOPE_HEAD;

	derive_keys(key, envelope->salt, purpose, derived);
	compute_tag(derived + PROVCONN_KEY_LENGTH, associated,
				sealed, PROVCONN_ENVELOPE_HEAD + envelope->ciphertext_len, tag);
	if (provconn_secret_equal(tag, envelope->tag, sizeof(tag)))
		return true;
	provconn_secret_wipe(derived, PROVCONN_CIPHER_DERIVED);
	return false;
}

void
provconn_cipher_decrypt(unsigned char derived[PROVCONN_CIPHER_DERIVED],
						const ProvconnEnvelope *envelope, ProvconnSpan *plaintext)
{
	bytea	   *output;
	char	   *bytes;

	output = DatumGetByteaPP(DirectFunctionCall4(load_library()->decrypt_iv,
												 PointerGetDatum(copy_buffer(envelope->ciphertext,
																			 envelope->ciphertext_len)),
												 PointerGetDatum(copy_buffer(derived, PROVCONN_KEY_LENGTH)),
												 PointerGetDatum(copy_buffer(envelope->iv,
																			 PROVCONN_ENVELOPE_IV)),
												 PointerGetDatum(name_buffer("aes-cbc/pad:pkcs"))));
	wipe_freed();
	provconn_secret_wipe(derived, PROVCONN_CIPHER_DERIVED);

	plaintext->len = VARSIZE_ANY_EXHDR(output);
	bytes = provconn_secret_alloc(plaintext->len);
	memcpy(bytes, VARDATA_ANY(output), plaintext->len);
	provconn_secret_wipe(VARDATA_ANY(output), plaintext->len);
	plaintext->data = bytes;
}

bool
provconn_cipher_open(const unsigned char *key, const ProvconnEnvelope *envelope,
					 ProvconnSpan purpose, ProvconnSpan associated, ProvconnSpan *plaintext)
{
	unsigned char derived[PROVCONN_CIPHER_DERIVED];

	if (!provconn_cipher_check(key, envelope, purpose, associated, derived))
		return false;
	provconn_cipher_decrypt(derived, envelope, plaintext);
	return true;
}

/* pgcrypto offers no counter mode; it encrypts the counters, and sees no data. */
void
provconn_cipher_xor(const unsigned char *key, uint64 nonce, ProvconnSpan data, char *out)
{
	bytea	   *key_buffer = copy_buffer(key, PROVCONN_KEY_LENGTH);
	text	   *name = name_buffer("aes-ecb/pad:none");
	uint64		block = 0;

	for (size_t done = 0; done < data.len;)
	{
		size_t		part = Min(data.len - done, KEYSTREAM_PART);
		size_t		len = TYPEALIGN(PROVCONN_ENVELOPE_BLOCK, part);
		bytea	   *counters = palloc(VARHDRSZ + len);
		bytea	   *keystream;

		SET_VARSIZE(counters, VARHDRSZ + len);
		for (char *at = VARDATA(counters); at < VARDATA(counters) + len;
			 at += PROVCONN_ENVELOPE_BLOCK, block++)
		{
			memcpy(at, &nonce, sizeof(nonce));
			memcpy(at + sizeof(nonce), &block, sizeof(block));
		}
		keystream = DatumGetByteaPP(DirectFunctionCall3(load_library()->encrypt,
														PointerGetDatum(counters),
														PointerGetDatum(key_buffer),
														PointerGetDatum(name)));
		if (VARSIZE_ANY_EXHDR(keystream) != len)
			provconn_fault_raise(PROVCONN_FAULT_PGCRYPTO_FAILED, "encrypt");
		xor_bytes(out + done, data.data + done, VARDATA_ANY(keystream), part);
		provconn_secret_wipe(keystream, VARSIZE_ANY(keystream));
		pfree(keystream);
		pfree(counters);
		done += part;
	}
	wipe_freed();
}

/*
 * pgcrypto frees two copies of a key as they are: in its cipher's state, in
 * TopMemoryContext, and in a buffer of the key's length.  A freed chunk is the
 * first that is given out again for its size.
 */
static void
wipe_freed(void)
{
	wipe_chunks(CurrentMemoryContext, PROVCONN_KEY_LENGTH);
	for (Size size = 128; size <= 512; size *= 2)
		wipe_chunks(TopMemoryContext, size);
}

static void
wipe_chunks(MemoryContext context, Size size)
{
	void	   *chunks[4];

	for (int i = 0; i < (int) lengthof(chunks); i++)
	{
		chunks[i] = MemoryContextAlloc(context, size);
		provconn_secret_wipe(chunks[i], size);
	}
	for (int i = lengthof(chunks) - 1; i >= 0; i--)
		pfree(chunks[i]);
}

/*
 * Loaded at first use and kept.  A library that can't be loaded is reported as
 * such, without the path the server looked in.
 */
static const Library *
load_library(void)
{
	static Library library;
	static bool loaded = false;
	MemoryContext caller = CurrentMemoryContext;

	if (loaded)
		return &library;

	PG_TRY();
	{
		const char *path = "$libdir/pgcrypto";

		library.encrypt = load_external_function(path, "pg_encrypt", true, NULL);
		library.encrypt_iv = load_external_function(path, "pg_encrypt_iv", true, NULL);
		library.decrypt_iv = load_external_function(path, "pg_decrypt_iv", true, NULL);
		library.hmac = load_external_function(path, "pg_hmac", true, NULL);
		loaded = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		FlushErrorState();
	}
	PG_END_TRY();

	if (!loaded)
		provconn_fault_raise(PROVCONN_FAULT_PGCRYPTO_MISSING);
	return &library;
}

/* HKDF-Extract(salt, key), then HKDF-Expand(., purpose, 64): RFC 5869, section 2. */
static void
derive_keys(const unsigned char *key, const unsigned char *salt, ProvconnSpan purpose,
			unsigned char *derived)
{
	unsigned char extracted[PROVCONN_CIPHER_MAC];
	size_t		block_len = PROVCONN_CIPHER_MAC + purpose.len + 1;
	char	   *block = provconn_secret_alloc(block_len);
	ProvconnSpan extract_key = {(const char *) salt, PROVCONN_ENVELOPE_SALT};
	ProvconnSpan input = {(const char *) key, PROVCONN_KEY_LENGTH};
	ProvconnSpan expand_key = {(const char *) extracted, sizeof(extracted)};
	ProvconnSpan first = {block + PROVCONN_CIPHER_MAC, purpose.len + 1};
	ProvconnSpan second = {block, block_len};

	provconn_cipher_hmac(extract_key, input, extracted);
	memcpy(block + PROVCONN_CIPHER_MAC, purpose.data, purpose.len);
	block[block_len - 1] = 1;
	provconn_cipher_hmac(expand_key, first, derived);
	memcpy(block, derived, PROVCONN_CIPHER_MAC);
	block[block_len - 1] = 2;
	provconn_cipher_hmac(expand_key, second, derived + PROVCONN_CIPHER_MAC);
	provconn_secret_wipe(extracted, sizeof(extracted));
}

static void
compute_tag(const unsigned char *mac_key, ProvconnSpan associated,
			const unsigned char *sealed, size_t sealed_len, unsigned char *tag)
{
	ProvconnSpan key = {(const char *) mac_key, PROVCONN_KEY_LENGTH};
	ProvconnSpan covered;
	char	   *bytes = palloc(associated.len + sealed_len);

	memcpy(bytes, associated.data, associated.len);
	memcpy(bytes + associated.len, sealed, sealed_len);
	covered.data = bytes;
	covered.len = associated.len + sealed_len;
	provconn_cipher_hmac(key, covered, tag);
	pfree(bytes);
}

/* A word at a time, wherever the bytes lie. */
static void
xor_bytes(char *out, const char *a, const char *b, size_t len)
{
	size_t		i = 0;

	for (; i + sizeof(uint64) <= len; i += sizeof(uint64))
	{
		uint64		x;
		uint64		y;

		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		x ^= y;
		memcpy(out + i, &x, sizeof(x));
	}
	for (; i < len; i++)
		out[i] = a[i] ^ b[i];
}

/* A bytea that is wiped with its memory context. */
static bytea *
new_buffer(size_t len)
{
	bytea	   *buffer = provconn_secret_alloc(VARHDRSZ + len);

	SET_VARSIZE(buffer, VARHDRSZ + len);
	return buffer;
}

static bytea *
copy_buffer(const void *bytes, size_t len)
{
	bytea	   *buffer = new_buffer(len);

	memcpy(VARDATA(buffer), bytes, len);
	return buffer;
}

static text *
name_buffer(const char *name)
{
	return (text *) copy_buffer(name, strlen(name));
}

static void
fill_random(unsigned char *bytes, size_t len)
{
	if (!pg_strong_random(bytes, len))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values"),
				 errhidestmt(true), errhidecontext(true)));
}
