/*
 * test_merkle.c: Merkle trees, against the recursive definition of RFC 6962,
 * section 2.1, and the check of an audit path of its section 2.1.1.  A hash that
 * is quick and tells order and length will do: with SHA-256 there are the
 * vectors in sql/audit_seal.sql.
 */
#include "merkle.h"
#include "tap.h"

#define MOST 70

static size_t hashed;

/* FNV-1a, once for each byte of the hash. */
static void
hash_quickly(const void *bytes, size_t len, unsigned char *hash)
{
	size_t		i;
	size_t		k;

	hashed++;
	for (k = 0; k < PROVCONN_MERKLE_HASH; k++)
	{
		uint64_t	state = UINT64_C(14695981039346656037) + k;

		for (i = 0; i < len; i++)
			state = (state ^ ((const unsigned char *) bytes)[i]) * UINT64_C(1099511628211);
		hash[k] = (unsigned char) (state >> 32);
	}
}

static unsigned char *
make_leaves(size_t count)
{
	unsigned char *leaves = (unsigned char *) tap_alloc(count * PROVCONN_MERKLE_HASH);
	size_t		i;

	for (i = 0; i < count; i++)
		hash_quickly(&i, sizeof(i), leaves + i * PROVCONN_MERKLE_HASH);
	return leaves;
}

static void
hash_pair(const unsigned char *left, const unsigned char *right, unsigned char *node)
{
	unsigned char bytes[1 + 2 * PROVCONN_MERKLE_HASH];

	bytes[0] = 1;
	memcpy(bytes + 1, left, PROVCONN_MERKLE_HASH);
	memcpy(bytes + 1 + PROVCONN_MERKLE_HASH, right, PROVCONN_MERKLE_HASH);
	hash_quickly(bytes, sizeof(bytes), node);
}

/* MTH(D[n]): k is the largest power of two smaller than n. */
static void
define_root(const unsigned char *leaves, size_t count, unsigned char *root)
{
	unsigned char left[PROVCONN_MERKLE_HASH];
	unsigned char right[PROVCONN_MERKLE_HASH];
	size_t		k = 1;

	if (count == 1)
	{
		memcpy(root, leaves, PROVCONN_MERKLE_HASH);
		return;
	}
	while (k * 2 < count)
		k *= 2;
	define_root(leaves, k, left);
	define_root(leaves + k * PROVCONN_MERKLE_HASH, count - k, right);
	hash_pair(left, right, root);
}

/* PATH(m, D[n]); returns its length. */
static size_t
define_path(const unsigned char *leaves, size_t count, size_t index,
			unsigned char path[][PROVCONN_MERKLE_HASH])
{
	size_t		k = 1;
	size_t		length;

	if (count == 1)
		return 0;
	while (k * 2 < count)
		k *= 2;
	if (index < k)
	{
		length = define_path(leaves, k, index, path);
		define_root(leaves + k * PROVCONN_MERKLE_HASH, count - k, path[length]);
	}
	else
	{
		length = define_path(leaves + k * PROVCONN_MERKLE_HASH, count - k, index - k, path);
		define_root(leaves, k, path[length]);
	}
	return length + 1;
}

/* The check that doc/audit.md describes. */
static bool
leads_to(const unsigned char *leaf, size_t index, size_t count,
		 unsigned char path[][PROVCONN_MERKLE_HASH], size_t length, const unsigned char *root)
{
	unsigned char hash[PROVCONN_MERKLE_HASH];
	size_t		used = 0;

	memcpy(hash, leaf, sizeof(hash));
	for (; count > 1; count = (count + 1) / 2, index /= 2)
	{
		if (index % 2 == 0 && index + 1 >= count)
			continue;
		if (used == length)
			return false;
		if (index % 2 == 1)
			hash_pair(path[used], hash, hash);
		else
			hash_pair(hash, path[used], hash);
		used++;
	}
	return used == length && memcmp(hash, root, sizeof(hash)) == 0;
}

static void
test_root(size_t count)
{
	const unsigned char *leaves = make_leaves(count);
	unsigned char *scratch = make_leaves(count);
	unsigned char expected[PROVCONN_MERKLE_HASH];
	unsigned char root[PROVCONN_MERKLE_HASH];

	define_root(leaves, count, expected);
	hashed = 0;
	provconn_merkle_root(scratch, count, hash_quickly, root);
	ok(memcmp(root, expected, sizeof(root)) == 0, "root of %d leaves", (int) count);
	is(hashed, count - 1, "root of %d leaves: a hash for each node", (int) count);
}

/* All paths of a tree at once: whether each is right, and leads nowhere else. */
static void
test_paths(size_t count)
{
	const unsigned char *leaves = make_leaves(count);
	unsigned char root[PROVCONN_MERKLE_HASH];
	bool		same = true;
	bool		leads = true;
	bool		strays = false;
	size_t		i;

	define_root(leaves, count, root);
	for (i = 0; i < count; i++)
	{
		unsigned char expected[PROVCONN_MERKLE_MAX_PATH][PROVCONN_MERKLE_HASH];
		unsigned char path[PROVCONN_MERKLE_MAX_PATH][PROVCONN_MERKLE_HASH];
		unsigned char found[PROVCONN_MERKLE_HASH];
		size_t		expected_length = define_path(leaves, count, i, expected);
		size_t		length = provconn_merkle_path(make_leaves(count), count, i, hash_quickly, path, found);
		const unsigned char *leaf = leaves + i * PROVCONN_MERKLE_HASH;

		same = same && length == expected_length &&
			memcmp(path, expected, length * PROVCONN_MERKLE_HASH) == 0 &&
			memcmp(found, root, sizeof(root)) == 0;
		leads = leads && leads_to(leaf, i, count, path, length, root);
		if (count > 1)
			strays = strays || leads_to(leaf, i ^ 1, count, path, length, root) ||
				leads_to(leaf, i, count, path, length - 1, root) ||
				leads_to(leaves + (i + 1) % count * PROVCONN_MERKLE_HASH, i, count, path, length, root);
	}
	ok(same, "paths of %d leaves", (int) count);
	ok(leads, "paths of %d leaves lead to the root", (int) count);
	ok(!strays, "paths of %d leaves lead there from no other leaf or place", (int) count);
}

int
main(void)
{
	size_t		count;

	for (count = 1; count <= MOST; count++)
	{
		test_root(count);
		test_paths(count);
	}
	test_root(1000);
	test_root(65536);
	return tap_done();
}
