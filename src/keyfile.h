/*
 * keyfile.h (layer 1): the text of a key file.
 */
#ifndef PROVCONN_KEYFILE_H
#define PROVCONN_KEYFILE_H

#include "model.h"

#define PROVCONN_KEYFILE_MAX_KEYS 64

typedef struct ProvconnMasterKey
{
	int32_t		id;				/* 1 or more */
	unsigned char bytes[PROVCONN_KEY_LENGTH];
} ProvconnMasterKey;

typedef enum ProvconnKeyfileFault
{
	PROVCONN_KEYFILE_OK,
	PROVCONN_KEYFILE_EMPTY,		/* no key in it */
	PROVCONN_KEYFILE_BAD_ID,	/* not a whole number from 1 to 2147483647 */
	PROVCONN_KEYFILE_BAD_KEY,	/* not exactly 64 hexadecimal digits */
	PROVCONN_KEYFILE_DUPLICATE_ID,
	PROVCONN_KEYFILE_TOO_MANY
} ProvconnKeyfileFault;

/*
 * Reads lines "id:64 hex digits" or "64 hex digits" (id 1) into keys, which has
 * room for PROVCONN_KEYFILE_MAX_KEYS; the last one is the current key.  Blank
 * lines, lines that begin with #, surrounding blanks and CR LF are passed over.
 * On a fault *line is the line it stands in (0 for EMPTY), *key_count is 0 and all
 * of keys is zeroed.
 */
extern ProvconnKeyfileFault provconn_keyfile_parse(ProvconnSpan text,
												   ProvconnMasterKey *keys,
												   int *key_count, int *line);

/* What is wrong, for an error message: lower case, no secret. */
extern const char *provconn_keyfile_fault_text(ProvconnKeyfileFault fault);

#endif							/* PROVCONN_KEYFILE_H */
