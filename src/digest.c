/*
 * digest.c (layer 2): SHA-256 (FIPS 180-4), by the server's own implementation.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "utils/builtins.h"

#include "compat.h"
#include "digest.h"

StaticAssertDecl(PROVCONN_DIGEST_LENGTH == PG_SHA256_DIGEST_LENGTH, "a digest is one of SHA-256");

void
provconn_digest_sha256(const void *bytes, size_t len, unsigned char digest[PROVCONN_DIGEST_LENGTH])
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, bytes, len) < 0 ||
		pg_cryptohash_final(context, digest, PROVCONN_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute a SHA-256 hash");
	pg_cryptohash_free(context);
}

Datum
provconn_digest_datum(const unsigned char digest[PROVCONN_DIGEST_LENGTH])
{
	/* bytea and text share their layout */
	return PointerGetDatum(cstring_to_text_with_len((const char *) digest, PROVCONN_DIGEST_LENGTH));
}
