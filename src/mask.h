/*
 * mask.h (layer 4): the datum of type provconn_secret.
 */
#ifndef PROVCONN_MASK_H
#define PROVCONN_MASK_H

#include "postgres.h"

#include "model.h"

/* A datum of type provconn_secret, in CurrentMemoryContext. */
extern Datum provconn_mask_make(ProvconnSpan bytes);

/*
 * The bytes of such a datum, wiped with CurrentMemoryContext.  One that another
 * process made is an error.
 */
extern ProvconnSpan provconn_mask_open(Datum secret);

#endif /* PROVCONN_MASK_H */
