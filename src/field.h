/*
 * field.h (layer 2): bytes to be hashed, as a sequence of fields.
 *
 * A field is a byte 0 for null; else a byte 1, the length as four bytes
 * big-endian, and the bytes.  Numbers are big-endian.
 */
#ifndef PROVCONN_FIELD_H
#define PROVCONN_FIELD_H

#include "postgres.h"

#include "lib/stringinfo.h"

extern void provconn_field_null(StringInfo fields);
extern void provconn_field_bytes(StringInfo fields, const void *bytes, size_t len);
extern void provconn_field_int32(StringInfo fields, int32 value);
extern void provconn_field_int64(StringInfo fields, int64 value);

/* Text of this database, as UTF-8 where its encoding is known. */
extern void provconn_field_text(StringInfo fields, const char *text, size_t len);

#endif							/* PROVCONN_FIELD_H */
