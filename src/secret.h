/*
 * secret.h (layer 2): the datum of type provconn_secret, and memory for secrets.
 */
#ifndef PROVCONN_SECRET_H
#define PROVCONN_SECRET_H

#include "postgres.h"

#include "model.h"

/* What a secret shows of itself wherever it is printed. */
#define PROVCONN_SECRET_REDACTED "[redacted]"

/* A datum of type provconn_secret, in CurrentMemoryContext. */
extern Datum provconn_secret_make(ProvconnSpan bytes);

/* The bytes of such a datum; they live as long as CurrentMemoryContext. */
extern ProvconnSpan provconn_secret_open(Datum secret);

/* Memory in CurrentMemoryContext that is wiped when that is reset or deleted. */
extern void *provconn_secret_alloc(Size size);

/* Overwrites what a compiler may not optimise away. */
extern void provconn_secret_wipe(void *memory, Size size);

/* Takes the same time wherever the bytes differ. */
extern bool provconn_secret_equal(const void *a, const void *b, Size size);

/*
 * Memory for keys: locked into RAM where the limits allow, left out of core
 * dumps, wiped in a forked child; never freed.  size is at most one page.
 */
extern void *provconn_secret_page(Size size);

#endif							/* PROVCONN_SECRET_H */
