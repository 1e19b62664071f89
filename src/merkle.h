/*
 * merkle.h (layer 1): Merkle trees as in RFC 6962, section 2.1; pure.
 *
 * Leaves come in as their hashes, SHA-256(0x00 ‖ entry), which are their
 * owners' to compute.  The hash of the nodes is the caller's to lend.
 */
#ifndef PROVCONN_MERKLE_H
#define PROVCONN_MERKLE_H

#include <stddef.h>

#define PROVCONN_MERKLE_HASH 32
#define PROVCONN_MERKLE_MAX_PATH 32 /* for up to 2^32 leaves */

/* SHA-256 of len bytes. */
typedef void (*ProvconnHasher) (const void *bytes, size_t len, unsigned char *hash);

/*
 * The root over count leaves, at least one, each of 32 bytes; they are
 * overwritten.
 */
extern void provconn_merkle_root(unsigned char *leaves, size_t count, ProvconnHasher hasher,
								 unsigned char root[PROVCONN_MERKLE_HASH]);

/*
 * The audit path of the leaf at index, from the leaf's sibling up, and the
 * root; the leaves are overwritten.  Returns the number of hashes in path.
 */
extern size_t provconn_merkle_path(unsigned char *leaves, size_t count, size_t index,
								   ProvconnHasher hasher,
								   unsigned char path[][PROVCONN_MERKLE_HASH],
								   unsigned char root[PROVCONN_MERKLE_HASH]);

#endif							/* PROVCONN_MERKLE_H */
