/*
 * random.h (layer 2): random bytes, from the server's strong generator.
 */
#ifndef PROVCONN_RANDOM_H
#define PROVCONN_RANDOM_H

#include "postgres.h"

/* Random bytes for a key. */
extern void provconn_random_key(void *out, Size len);

/*
 * Random bytes for what is not secret but must not be foretold, as ids and
 * initialization vectors: drawn in bulk, which costs a tenth.
 */
extern void provconn_random_bytes(void *out, Size len);

#endif							/* PROVCONN_RANDOM_H */
