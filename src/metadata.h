/*
 * metadata.h (layer 2): how long a JSON value is as text.
 */
#ifndef PROVCONN_METADATA_H
#define PROVCONN_METADATA_H

#include "postgres.h"

#include "utils/jsonb.h"

/*
 * Whether the value's text, as PostgreSQL prints it, has at most so many bytes.
 * Looks at no more of it than that needs: a number may be longer printed than
 * stored, a hundred thousand times.
 */
extern bool provconn_metadata_fits(Jsonb *metadata, size_t limit);

#endif /* PROVCONN_METADATA_H */
