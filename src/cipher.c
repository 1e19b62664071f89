/*
 * cipher.c (layer 3): authenticated encryption, by pgcrypto alone.
 *
 * Encrypt-then-MAC.  HKDF (RFC 5869) with SHA-256 makes of a key, with the
 * purpose as info, an AES-256 key and a MAC key, so that the key itself never
 * reaches the block cipher.  AES-256 in counter mode (NIST SP 800-38A, section
 * 6.5) under an initial counter block that no other envelope has in its range;
 * AES-256-CMAC (NIST SP 800-38B) over the associated data and the whole envelope
 * before the tag, compared in constant time before anything is decrypted.
 *
 * pgcrypto has no counter mode: it encrypts the counters, and sees no secret.
 * So the keystream can be made ahead, for many envelopes at once, which saves
 * each of them a call.  What is ahead is in locked memory, is wiped as it is
 * used, and no part of it is used twice, whatever becomes of the transaction.
 *
 * pgcrypto is called by its library's symbols: no search path can put another
 * function in its place.  It reads short keys without complaint, so the lengths
 * are ours to keep: the types here have no others.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "cipher.h"
#include "compat.h"
#include "fault.h"
#include "random.h"
#include "secret.h"

#define BLOCK PROVCONN_ENVELOPE_BLOCK
#define PIECE 1024				/* bytes that are copied and wiped at once */
#define PART (64 * 1024)		/* bytes of keystream that are made at once, of a long one */
#define STOCK 1024				/* blocks that are made ahead */
#define CHUNK 32

typedef struct Library
{
	PGFunction	encrypt;
	PGFunction	hmac;
} Library;

/* Keystream that was made ahead, under one key, of which it has no copy. */
typedef struct Stock
{
	uint64		serial;			/* of the keys that it was made with */
	unsigned char start[BLOCK]; /* its first counter block */
	size_t		used;			/* blocks that are not there any more; STOCK: all */
	int			owner;			/* the process that made it */
	char		bytes[STOCK * BLOCK];
} Stock;

static Stock *stock = NULL;

static const Library *load_library(void);
static void encrypt_text(const ProvconnCipherKeys *keys, ProvconnSpan plaintext,
						 unsigned char iv[BLOCK], char *out);
static void make_stock(const ProvconnCipherKeys *keys);
static void apply_keystream(const unsigned char *key, const unsigned char iv[BLOCK],
							const char *in, size_t len, char *out);
static void add_to_counter(const unsigned char counter[BLOCK], uint64 number,
						   unsigned char sum[BLOCK]);
static void compute_tag(const ProvconnCipherKeys *keys, ProvconnSpan associated,
						const unsigned char *sealed, size_t sealed_len,
						unsigned char tag[PROVCONN_ENVELOPE_TAG]);
static bytea *encrypt_blocks(const unsigned char *key, const char *mode, const bytea *blocks);
static void make_subkeys(ProvconnCipherKeys *keys);
static void double_block(const unsigned char *in, unsigned char *out);
static void wipe_freed(void);
static void wipe_chunks(MemoryContext context, Size size);
static bytea *copy_buffer(const void *bytes, size_t len);
static text *name_buffer(const char *name);

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

/* HKDF-Extract(0, key), then HKDF-Expand(., purpose, 64): RFC 5869, section 2. */
void
provconn_cipher_derive(const unsigned char *key, ProvconnSpan purpose, ProvconnCipherKeys *keys)
{
	static const char no_salt[PROVCONN_CIPHER_MAC] = {0};
	static uint64 serial = 0;
	unsigned char extracted[PROVCONN_CIPHER_MAC];
	size_t		block_len = PROVCONN_CIPHER_MAC + purpose.len + 1;
	char	   *block = provconn_secret_alloc(block_len);
	ProvconnSpan extract_key = {no_salt, sizeof(no_salt)};
	ProvconnSpan input = {(const char *) key, PROVCONN_KEY_LENGTH};
	ProvconnSpan expand_key = {(const char *) extracted, sizeof(extracted)};
	ProvconnSpan first = {block + PROVCONN_CIPHER_MAC, purpose.len + 1};
	ProvconnSpan second = {block, block_len};

	provconn_cipher_hmac(extract_key, input, extracted);
	memcpy(block + PROVCONN_CIPHER_MAC, purpose.data, purpose.len);
	block[block_len - 1] = 1;
	provconn_cipher_hmac(expand_key, first, keys->encryption);
	memcpy(block, keys->encryption, PROVCONN_CIPHER_MAC);
	block[block_len - 1] = 2;
	provconn_cipher_hmac(expand_key, second, keys->authentication);
	provconn_secret_wipe(extracted, sizeof(extracted));
	make_subkeys(keys);
	keys->serial = ++serial;
}

bytea *
provconn_cipher_seal(const ProvconnCipherKeys *keys, int32 key_id, ProvconnSpan associated,
					 ProvconnSpan plaintext)
{
	size_t		len = PROVCONN_ENVELOPE_OVERHEAD + plaintext.len;
	bytea	   *sealed = palloc(VARHDRSZ + len);
	unsigned char *head = (unsigned char *) VARDATA(sealed);
	unsigned char *ciphertext = head + PROVCONN_ENVELOPE_HEAD;

	SET_VARSIZE(sealed, VARHDRSZ + len);
	provconn_envelope_start(head, key_id);
	encrypt_text(keys, plaintext, ciphertext - PROVCONN_ENVELOPE_IV, (char *) ciphertext);
	compute_tag(keys, associated, head, PROVCONN_ENVELOPE_HEAD + plaintext.len,
				ciphertext + plaintext.len);
	return sealed;
}

void
provconn_cipher_forget(void)
{
	if (stock != NULL)
		provconn_secret_wipe(stock, sizeof(*stock));
}

bool
provconn_cipher_check(const ProvconnCipherKeys *keys, const ProvconnEnvelope *envelope,
					  ProvconnSpan associated)
{
	unsigned char tag[PROVCONN_ENVELOPE_TAG];

	compute_tag(keys, associated, envelope->ciphertext - PROVCONN_ENVELOPE_HEAD,
				PROVCONN_ENVELOPE_HEAD + envelope->ciphertext_len, tag);
	return provconn_secret_equal(tag, envelope->tag, sizeof(tag));
}

void
provconn_cipher_decrypt(const ProvconnCipherKeys *keys, const ProvconnEnvelope *envelope,
						ProvconnSpan *plaintext)
{
	char	   *bytes = provconn_secret_alloc(envelope->ciphertext_len);

	apply_keystream(keys->encryption, envelope->iv, (const char *) envelope->ciphertext,
					envelope->ciphertext_len, bytes);
	plaintext->data = bytes;
	plaintext->len = envelope->ciphertext_len;
}

bool
provconn_cipher_open(const ProvconnCipherKeys *keys, const ProvconnEnvelope *envelope,
					 ProvconnSpan associated, ProvconnSpan *plaintext)
{
	if (!provconn_cipher_check(keys, envelope, associated))
		return false;
	provconn_cipher_decrypt(keys, envelope, plaintext);
	return true;
}

void
provconn_cipher_keystream(const unsigned char *key, const unsigned char start[BLOCK],
						  char *out, size_t len)
{
	bytea	   *counters = palloc(VARHDRSZ + len);
	bytea	   *encrypted;
	char	   *from;

	SET_VARSIZE(counters, VARHDRSZ + len);
	for (size_t done = 0; done < len; done += BLOCK)
		add_to_counter(start, done / BLOCK, (unsigned char *) VARDATA(counters) + done);
	encrypted = encrypt_blocks(key, "aes-ecb/pad:none", counters);
	/* Taken and wiped piece by piece, while it is in the processor's cache. */
	from = VARDATA_ANY(encrypted);
	for (size_t done = 0; done < len; done += PIECE)
	{
		size_t		piece = Min(len - done, PIECE);

		memcpy(out + done, from + done, piece);
		provconn_secret_wipe(from + done, piece);
	}
	pfree(encrypted);
	pfree(counters);
}

/* In chunks of a fixed length, which a compiler turns into a few instructions. */
void
provconn_cipher_xor(char *restrict out, const char *restrict a, const char *restrict b, size_t len)
{
	for (; len >= CHUNK; out += CHUNK, a += CHUNK, b += CHUNK, len -= CHUNK)
		for (int i = 0; i < CHUNK; i++)
			out[i] = a[i] ^ b[i];
	for (size_t i = 0; i < len; i++)
		out[i] = a[i] ^ b[i];
}

/*
 * Of the examples of NIST SP 800-38B with AES-256 one for each subkey; of SP 800-38A
 * two blocks of that with a counter (F.5.5), which has the same key and message.
 */
void
provconn_cipher_test(void)
{
	static const unsigned char key[PROVCONN_KEY_LENGTH] = {
		0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe, 0x2b, 0x73, 0xae, 0xf0, 0x85, 0x7d, 0x77, 0x81,
		0x1f, 0x35, 0x2c, 0x07, 0x3b, 0x61, 0x08, 0xd7, 0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4
	};
	static const unsigned char message[40] = {
		0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a,
		0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c, 0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51,
		0x30, 0xc8, 0x1c, 0x46, 0xa3, 0x5c, 0xe4, 0x11
	};
	static const unsigned char tags[2][PROVCONN_ENVELOPE_TAG] = {
		{0x28, 0xa7, 0x02, 0x3f, 0x45, 0x2e, 0x8f, 0x82, 0xbd, 0x4b, 0xf2, 0x8d, 0x8c, 0x37, 0xc3, 0x5c},
		{0xaa, 0xf3, 0xd8, 0xf1, 0xde, 0x56, 0x40, 0xc2, 0x32, 0xf5, 0xb1, 0x69, 0xb9, 0xc9, 0x11, 0xe6}
	};
	static const unsigned char counter[BLOCK] = {
		0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff
	};
	static const unsigned char ciphertext[2 * BLOCK] = {
		0x60, 0x1e, 0xc3, 0x13, 0x77, 0x57, 0x89, 0xa5, 0xb7, 0xa7, 0xf5, 0x04, 0xbb, 0xf3, 0xd2, 0x28,
		0xf4, 0x43, 0xe3, 0xca, 0x4d, 0x62, 0xb5, 0x9a, 0xca, 0x84, 0xe9, 0x90, 0xca, 0xca, 0xf5, 0xc5
	};
	/* The number of the second block is one whose lower half is 0. */
	static const unsigned char carrying[2][BLOCK] = {
		{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	};
	ProvconnSpan nothing = {"", 0};
	ProvconnCipherKeys keys = {0};
	unsigned char mac[PROVCONN_CIPHER_MAC];
	char		text[2 * BLOCK];
	char		carried[BLOCK];

	provconn_cipher_hmac(nothing, nothing, mac);
	memcpy(keys.authentication, key, sizeof(key));
	make_subkeys(&keys);
	for (int i = 0; i < (int) lengthof(tags); i++)
	{
		compute_tag(&keys, nothing, message, i == 0 ? BLOCK : sizeof(message), mac);
		if (memcmp(mac, tags[i], PROVCONN_ENVELOPE_TAG) != 0)
			provconn_fault_raise(PROVCONN_FAULT_PGCRYPTO_FAILED, "authenticate");
	}
	apply_keystream(key, counter, (const char *) message, sizeof(text), text);
	if (memcmp(text, ciphertext, sizeof(text)) != 0)
		provconn_fault_raise(PROVCONN_FAULT_PGCRYPTO_FAILED, "encrypt");
	provconn_cipher_keystream(key, carrying[0], text, sizeof(text));
	provconn_cipher_keystream(key, carrying[1], carried, sizeof(carried));
	if (memcmp(text + BLOCK, carried, sizeof(carried)) != 0)
		provconn_fault_raise(PROVCONN_FAULT_PGCRYPTO_FAILED, "encrypt");
}

/* From the stock; a text that is longer than that, from a random counter block on. */
static void
encrypt_text(const ProvconnCipherKeys *keys, ProvconnSpan plaintext, unsigned char iv[BLOCK],
			 char *out)
{
	size_t		blocks = (plaintext.len + BLOCK - 1) / BLOCK;
	char	   *keystream;

	if (blocks > STOCK)
	{
		provconn_random_bytes(iv, BLOCK);
		apply_keystream(keys->encryption, iv, plaintext.data, plaintext.len, out);
		return;
	}
	if (stock == NULL || stock->owner != MyProcPid || stock->serial != keys->serial ||
		stock->used + blocks > STOCK)
		make_stock(keys);
	add_to_counter(stock->start, stock->used, iv);
	keystream = stock->bytes + stock->used * BLOCK;
	/* Nothing that happens to the envelope brings it back. */
	stock->used += blocks;
	provconn_cipher_xor(out, plaintext.data, keystream, plaintext.len);
	provconn_secret_wipe(keystream, blocks * BLOCK);
}

static void
make_stock(const ProvconnCipherKeys *keys)
{
	if (stock == NULL)
		stock = provconn_secret_pages(sizeof(Stock), false);
	/* Should this fail, there is none. */
	stock->owner = 0;
	provconn_random_bytes(stock->start, sizeof(stock->start));
	provconn_cipher_keystream(keys->encryption, stock->start, stock->bytes, sizeof(stock->bytes));
	stock->serial = keys->serial;
	stock->used = 0;
	stock->owner = MyProcPid;
}

static void
apply_keystream(const unsigned char *key, const unsigned char iv[BLOCK],
				const char *in, size_t len, char *out)
{
	char	   *keystream = provconn_secret_alloc(TYPEALIGN(BLOCK, Min(len, PART)));

	for (size_t done = 0; done < len; done += PART)
	{
		size_t		part = Min(len - done, PART);
		unsigned char counter[BLOCK];

		CHECK_FOR_INTERRUPTS();
		add_to_counter(iv, done / BLOCK, counter);
		provconn_cipher_keystream(key, counter, keystream, TYPEALIGN(BLOCK, part));
		provconn_cipher_xor(out + done, in + done, keystream, part);
	}
	provconn_secret_wipe(keystream, TYPEALIGN(BLOCK, Min(len, PART)));
}

/* All 128 bits are the counter, big-endian: NIST SP 800-38A, appendix B.1. */
static void
add_to_counter(const unsigned char counter[BLOCK], uint64 number, unsigned char sum[BLOCK])
{
	uint64		halves[2];
	uint64		low;

	memcpy(halves, counter, sizeof(halves));
	low = pg_ntoh64(halves[1]) + number;
	if (low < number)
		halves[0] = pg_hton64(pg_ntoh64(halves[0]) + 1);
	halves[1] = pg_hton64(low);
	memcpy(sum, halves, sizeof(halves));
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

/*
 * CMAC (NIST SP 800-38B, section 6.2): what CBC makes of the last block, into
 * which a subkey goes: the first where the message fills its blocks, else the
 * second, behind a one bit and zeros.
 */
static void
compute_tag(const ProvconnCipherKeys *keys, ProvconnSpan associated,
			const unsigned char *sealed, size_t sealed_len,
			unsigned char tag[PROVCONN_ENVELOPE_TAG])
{
	size_t		len = associated.len + sealed_len;
	size_t		padded = TYPEALIGN(BLOCK, Max(len, 1));
	bytea	   *message = palloc(VARHDRSZ + padded);
	unsigned char *bytes = (unsigned char *) VARDATA(message);
	const unsigned char *subkey = keys->subkeys[len == padded ? 0 : 1];
	bytea	   *encrypted;

	SET_VARSIZE(message, VARHDRSZ + padded);
	memcpy(bytes, associated.data, associated.len);
	memcpy(bytes + associated.len, sealed, sealed_len);
	if (len < padded)
	{
		bytes[len] = 0x80;
		memset(bytes + len + 1, 0, padded - len - 1);
	}
	for (int i = 0; i < BLOCK; i++)
		bytes[padded - BLOCK + i] ^= subkey[i];
	encrypted = encrypt_blocks(keys->authentication, "aes-cbc/pad:none", message);
	memcpy(tag, VARDATA_ANY(encrypted) + padded - BLOCK, PROVCONN_ENVELOPE_TAG);
	pfree(encrypted);
	pfree(message);
}

/* Whole blocks; an initialization vector, where the mode has one, is of zeros. */
static bytea *
encrypt_blocks(const unsigned char *key, const char *mode, const bytea *blocks)
{
	bytea	   *output;

	output = DatumGetByteaPP(DirectFunctionCall3(load_library()->encrypt,
												 PointerGetDatum(blocks),
												 PointerGetDatum(copy_buffer(key, PROVCONN_KEY_LENGTH)),
												 PointerGetDatum(name_buffer(mode))));
	wipe_freed();
	if (VARSIZE_ANY_EXHDR(output) != VARSIZE_ANY_EXHDR(blocks))
		provconn_fault_raise(PROVCONN_FAULT_PGCRYPTO_FAILED, "encrypt");
	return output;
}

/* NIST SP 800-38B, section 6.1. */
static void
make_subkeys(ProvconnCipherKeys *keys)
{
	bytea	   *zeros = palloc0(VARHDRSZ + BLOCK);
	bytea	   *encrypted;

	SET_VARSIZE(zeros, VARHDRSZ + BLOCK);
	encrypted = encrypt_blocks(keys->authentication, "aes-ecb/pad:none", zeros);
	double_block((const unsigned char *) VARDATA_ANY(encrypted), keys->subkeys[0]);
	double_block(keys->subkeys[0], keys->subkeys[1]);
	provconn_secret_wipe(VARDATA_ANY(encrypted), BLOCK);
	pfree(encrypted);
	pfree(zeros);
}

/* In GF(2^128), modulo x^128 + x^7 + x^2 + x + 1, the first bit the highest. */
static void
double_block(const unsigned char *in, unsigned char *out)
{
	unsigned char carry = in[0] >> 7;

	for (int i = 0; i < BLOCK - 1; i++)
		out[i] = (unsigned char) (in[i] << 1 | in[i + 1] >> 7);
	out[BLOCK - 1] = (unsigned char) (in[BLOCK - 1] << 1 ^ carry * 0x87);
}

/* A bytea that is wiped with its memory context. */
static bytea *
copy_buffer(const void *bytes, size_t len)
{
	bytea	   *buffer = provconn_secret_alloc(VARHDRSZ + len);

	SET_VARSIZE(buffer, VARHDRSZ + len);
	memcpy(VARDATA(buffer), bytes, len);
	return buffer;
}

static text *
name_buffer(const char *name)
{
	return (text *) copy_buffer(name, strlen(name));
}
