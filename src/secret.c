/*
 * secret.c (layer 1): memory for secrets.
 *
 * Memory from provconn_secret_alloc() belongs to the context that was current
 * and is wiped with it, also when a transaction aborts; it is no palloc chunk,
 * so nobody may pfree it.  Memory from provconn_secret_pages() belongs to its
 * caller for the life of the process.
 */
#include "postgres.h"

#include <sys/mman.h>
#include <unistd.h>

#include "utils/memutils.h"

#include "compat.h"
#include "secret.h"

typedef struct WipedChunk
{
	MemoryContextCallback callback;
	Size		size;
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} WipedChunk;

static Size whole_pages(Size size);
static void wipe_chunk(void *arg);

void *
provconn_secret_alloc(Size size)
{
	WipedChunk *chunk = palloc(offsetof(WipedChunk, bytes) + size);

	chunk->size = size;
	chunk->callback.func = wipe_chunk;
	chunk->callback.arg = chunk;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &chunk->callback);
	return chunk->bytes;
}

void
provconn_secret_wipe(void *memory, Size size)
{
	explicit_bzero(memory, size);
}

bool
provconn_secret_equal(const void *a, const void *b, Size size)
{
	const volatile unsigned char *x = a;
	const volatile unsigned char *y = b;
	unsigned char difference = 0;

	for (Size i = 0; i < size; i++)
		difference |= x[i] ^ y[i];
	return difference == 0;
}

void *
provconn_secret_pages(Size size, bool shared)
{
	Size		length = whole_pages(size);
	void	   *memory;

	memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
				  (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errhidestmt(true), errhidecontext(true)));

	/* RLIMIT_MEMLOCK may forbid it; the key still works, but may be swapped. */
	(void) mlock(memory, length);
#ifdef MADV_DONTDUMP
	(void) madvise(memory, length, MADV_DONTDUMP);
#endif
#ifdef MADV_WIPEONFORK
	if (!shared)
		(void) madvise(memory, length, MADV_WIPEONFORK);
#endif
	return memory;
}

void
provconn_secret_protect_pages(void *memory, Size size)
{
	(void) mprotect(memory, whole_pages(size), PROT_READ);
}

static Size
whole_pages(Size size)
{
	return TYPEALIGN((Size) sysconf(_SC_PAGESIZE), size);
}

static void
wipe_chunk(void *arg)
{
	WipedChunk *chunk = arg;

	explicit_bzero(chunk->bytes, chunk->size);
}
