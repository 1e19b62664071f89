/*
 * secret.h (layer 1): memory for secrets, and what a secret shows of itself.
 */
#ifndef PROVCONN_SECRET_H
#define PROVCONN_SECRET_H

#include "postgres.h"

/* What a secret shows of itself wherever it is printed. */
#define PROVCONN_SECRET_REDACTED "[redacted]"

/* Memory in CurrentMemoryContext that is wiped when that is reset or deleted. */
extern void *provconn_secret_alloc(Size size);

/* Overwrites what a compiler may not optimise away. */
extern void provconn_secret_wipe(void *memory, Size size);

/* Takes the same time wherever the bytes differ. */
extern bool provconn_secret_equal(const void *a, const void *b, Size size);

/*
 * Memory for keys: locked into RAM where the limits allow, left out of core
 * dumps; never freed.  A forked child finds it wiped or, where it is shared, as
 * it is.
 */
extern void *provconn_secret_pages(Size size, bool shared);

/* From here on such memory is read only, in forked children too. */
extern void provconn_secret_protect_pages(void *memory, Size size);

#endif							/* PROVCONN_SECRET_H */
