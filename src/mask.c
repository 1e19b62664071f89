/*
 * mask.c (layer 4): the datum of type provconn_secret.
 *
 *	offset	length	what
 *	0		8		tag of the process that made it
 *	8		8		nonce
 *	16		n		the bytes, XOR the keystream
 *
 * The executor copies datums as it likes: into sorts and hashes that spill to
 * disk, plans, tuplestores, and a table or a view where somebody puts one there.
 * So a datum never holds the bytes as they are.  The keystream is AES-256 in
 * counter mode under a key that this process made and keeps in locked memory;
 * no two values have a nonce in common.  What is stored is of no use to another
 * process, and comparing two datums tells at most which was made first.
 *
 * This is no encryption at rest: that is the vault's, under other keys.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "cipher.h"
#include "compat.h"
#include "fault.h"
#include "mask.h"
#include "secret.h"
#include "statement.h"

#define TAG_LENGTH 8
#define NONCE_LENGTH 8
#define HEAD_LENGTH (TAG_LENGTH + NONCE_LENGTH)

typedef struct Process
{
	unsigned char tag[TAG_LENGTH];
	unsigned char key[PROVCONN_KEY_LENGTH];
	uint64		nonce;			/* of the next value */
} Process;

static Process *this_process(void);

/* Where a secret arises, it may stand as a literal in the statement. */
Datum
provconn_mask_make(ProvconnSpan bytes)
{
	Process    *process = this_process();
	struct varlena *datum;
	char	   *at;
	uint64		nonce = process->nonce++;

	provconn_statement_hide();
	if (bytes.len > MaxAllocSize - VARHDRSZ - HEAD_LENGTH)
		provconn_fault_raise(PROVCONN_FAULT_SECRET_TOO_LONG);
	datum = palloc(VARHDRSZ + HEAD_LENGTH + bytes.len);
	SET_VARSIZE(datum, VARHDRSZ + HEAD_LENGTH + bytes.len);
	at = VARDATA(datum);
	memcpy(at, process->tag, TAG_LENGTH);
	memcpy(at + TAG_LENGTH, &nonce, NONCE_LENGTH);
	provconn_cipher_xor(process->key, nonce, bytes, at + HEAD_LENGTH);
	return PointerGetDatum(datum);
}

ProvconnSpan
provconn_mask_open(Datum secret)
{
	Process    *process = this_process();
	struct varlena *datum = PG_DETOAST_DATUM_PACKED(secret);
	ProvconnSpan masked;
	ProvconnSpan bytes;
	uint64		nonce;
	char	   *opened;

	if (VARSIZE_ANY_EXHDR(datum) < HEAD_LENGTH ||
		memcmp(VARDATA_ANY(datum), process->tag, TAG_LENGTH) != 0)
		provconn_fault_raise(PROVCONN_FAULT_FOREIGN_SECRET);
	memcpy(&nonce, VARDATA_ANY(datum) + TAG_LENGTH, NONCE_LENGTH);
	masked.data = VARDATA_ANY(datum) + HEAD_LENGTH;
	masked.len = VARSIZE_ANY_EXHDR(datum) - HEAD_LENGTH;
	opened = provconn_secret_alloc(Max(masked.len, 1));
	provconn_cipher_xor(process->key, nonce, masked, opened);
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
		Process    *fresh = provconn_secret_page(sizeof(Process), false);

		if (!pg_strong_random(fresh, sizeof(*fresh)))
			elog(ERROR, "could not generate random values");
		process = fresh;
	}
	return process;
}
