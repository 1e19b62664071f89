/*
 * digest.h (layer 2): SHA-256 (FIPS 180-4), by the server's own implementation.
 */
#ifndef PROVCONN_DIGEST_H
#define PROVCONN_DIGEST_H

#include "postgres.h"

#define PROVCONN_DIGEST_LENGTH 32

/* The digest of bytes; raises an error where the server can't compute it. */
extern void provconn_digest_sha256(const void *bytes, size_t len,
								   unsigned char digest[PROVCONN_DIGEST_LENGTH]);

/* A digest as a bytea, in CurrentMemoryContext. */
extern Datum provconn_digest_datum(const unsigned char digest[PROVCONN_DIGEST_LENGTH]);

#endif							/* PROVCONN_DIGEST_H */
