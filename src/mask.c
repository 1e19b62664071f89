/*
 * mask.c (layer 4): the datum of type provconn_secret.
 *
 *	offset	length	what
 *	0		8		tag of the process that made it
 *	8		8		where its keystream begins, in blocks
 *	16		n		the bytes, XOR the keystream
 *
 * The executor copies datums as it likes: into sorts and hashes that spill to
 * disk, plans, tuplestores, and a table or a view where somebody puts one there.
 * So a datum never holds the bytes as they are.  The keystream is AES-256 in
 * counter mode under a key that this process made and keeps in locked memory,
 * and no two values have a part of it in common.  What is stored is of no use to
 * another process, and comparing two datums tells at most which was made first.
 * The keystream is made in stretches, the last of which is kept beside the key.
 *
 * This is no encryption at rest: that is the vault's, under other keys.
 */
#include "postgres.h"

#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "cipher.h"
#include "compat.h"
#include "fault.h"
#include "mask.h"
#include "random.h"
#include "secret.h"
#include "statement.h"

#define TAG_LENGTH 8
#define START_LENGTH 8
#define HEAD_LENGTH (TAG_LENGTH + START_LENGTH)
#define BLOCK PROVCONN_ENVELOPE_BLOCK
#define STRETCH 1024			/* blocks that are made at once */

typedef struct Process
{
	unsigned char tag[TAG_LENGTH];
	unsigned char key[PROVCONN_KEY_LENGTH];
	uint64		next;			/* where the keystream of the next value begins */
	bool		at_hand;		/* there is a stretch */
	uint64		stretch;		/* where it begins */
	char		keystream[STRETCH * BLOCK];
} Process;

static Process *this_process(void);
static void apply_keystream(Process *process, uint64 start, ProvconnSpan in, char *out);

/* Where a secret arises, it may stand as a literal in the statement. */
Datum
provconn_mask_make(ProvconnSpan bytes)
{
	Process    *process = this_process();
	struct varlena *datum;
	char	   *at;
	uint64		start = process->next;

	provconn_statement_hide();
	if (bytes.len > MaxAllocSize - VARHDRSZ - HEAD_LENGTH)
		provconn_fault_raise(PROVCONN_FAULT_SECRET_TOO_LONG);
	datum = palloc(VARHDRSZ + HEAD_LENGTH + bytes.len);
	SET_VARSIZE(datum, VARHDRSZ + HEAD_LENGTH + bytes.len);
	at = VARDATA(datum);
	memcpy(at, process->tag, TAG_LENGTH);
	memcpy(at + TAG_LENGTH, &start, START_LENGTH);
	/* Of empty ones, too, no two are the same. */
	process->next += bytes.len / BLOCK + 1;
	apply_keystream(process, start, bytes, at + HEAD_LENGTH);
	return PointerGetDatum(datum);
}

ProvconnSpan
provconn_mask_open(Datum secret)
{
	Process    *process = this_process();
	struct varlena *datum = PG_DETOAST_DATUM_PACKED(secret);
	ProvconnSpan masked;
	ProvconnSpan bytes;
	uint64		start;
	char	   *opened;

	if (VARSIZE_ANY_EXHDR(datum) < HEAD_LENGTH ||
		memcmp(VARDATA_ANY(datum), process->tag, TAG_LENGTH) != 0)
		provconn_fault_raise(PROVCONN_FAULT_FOREIGN_SECRET);
	memcpy(&start, VARDATA_ANY(datum) + TAG_LENGTH, START_LENGTH);
	masked.data = VARDATA_ANY(datum) + HEAD_LENGTH;
	masked.len = VARSIZE_ANY_EXHDR(datum) - HEAD_LENGTH;
	opened = provconn_secret_alloc(Max(masked.len, 1));
	apply_keystream(process, start, masked, opened);
	bytes.data = opened;
	bytes.len = masked.len;
	return bytes;
}

/* Made at first use, so never before the process is forked. */
static Process *
this_process(void)
{
	static Process *process = NULL;

	if (process == NULL)
	{
		Process    *fresh = provconn_secret_pages(sizeof(Process), false);

		provconn_random_key(fresh->tag, sizeof(fresh->tag));
		provconn_random_key(fresh->key, sizeof(fresh->key));
		process = fresh;
	}
	return process;
}

/* The stretch at hand serves what lies wholly within; else one is made that begins here. */
static void
apply_keystream(Process *process, uint64 start, ProvconnSpan in, char *out)
{
	for (size_t done = 0; done < in.len;)
	{
		uint64		block = start + done / BLOCK;
		size_t		part = Min(in.len - done, STRETCH * BLOCK);
		size_t		offset;

		if (!process->at_hand || block - process->stretch >= STRETCH ||
			(block - process->stretch) * BLOCK + part > STRETCH * BLOCK)
		{
			unsigned char counter[BLOCK] = {0};
			uint64		number = pg_hton64(block);

			memcpy(counter + sizeof(number), &number, sizeof(number));
			process->at_hand = false;
			provconn_cipher_keystream(process->key, counter, process->keystream, STRETCH * BLOCK);
			process->stretch = block;
			process->at_hand = true;
		}
		offset = (block - process->stretch) * BLOCK;
		provconn_cipher_xor(out + done, in.data + done, process->keystream + offset, part);
		done += part;
	}
}
