/*
 * merkle.c (layer 1): Merkle trees as in RFC 6962, section 2.1; pure.
 *
 * RFC 6962 splits n leaves at the largest power of two below n.  The same tree
 * is built from below: neighbours are paired, level by level, and the last one
 * of an odd level goes up as it is.
 */
#include "merkle.h"

#include <string.h>

static void hash_node(const unsigned char *left, const unsigned char *right,
					  ProvconnHasher hasher, unsigned char *node);

void
provconn_merkle_root(unsigned char *leaves, size_t count, ProvconnHasher hasher,
					 unsigned char root[PROVCONN_MERKLE_HASH])
{
	(void) provconn_merkle_path(leaves, count, count, hasher, NULL, root);
}

size_t
provconn_merkle_path(unsigned char *leaves, size_t count, size_t index, ProvconnHasher hasher,
					 unsigned char path[][PROVCONN_MERKLE_HASH],
					 unsigned char root[PROVCONN_MERKLE_HASH])
{
	size_t		length = 0;

	for (; count > 1; count = (count + 1) / 2, index /= 2)
	{
		/* The last one of an odd level has no sibling there. */
		if (path != NULL && (index ^ 1) < count)
			memcpy(path[length++], leaves + (index ^ 1) * PROVCONN_MERKLE_HASH,
				   PROVCONN_MERKLE_HASH);
		for (size_t i = 0; i < count; i += 2)
		{
			unsigned char *at = leaves + i * PROVCONN_MERKLE_HASH;
			unsigned char *node = leaves + i / 2 * PROVCONN_MERKLE_HASH;

			if (i + 1 < count)
				hash_node(at, at + PROVCONN_MERKLE_HASH, hasher, node);
			else
				memmove(node, at, PROVCONN_MERKLE_HASH);
		}
	}
	memcpy(root, leaves, PROVCONN_MERKLE_HASH);
	return length;
}

static void
hash_node(const unsigned char *left, const unsigned char *right, ProvconnHasher hasher,
		  unsigned char *node)
{
	unsigned char bytes[1 + 2 * PROVCONN_MERKLE_HASH];

	bytes[0] = 1;
	memcpy(bytes + 1, left, PROVCONN_MERKLE_HASH);
	memcpy(bytes + 1 + PROVCONN_MERKLE_HASH, right, PROVCONN_MERKLE_HASH);
	hasher(bytes, sizeof(bytes), node);
}
