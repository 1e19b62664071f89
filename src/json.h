/*
 * json.h (layer 1): reading JSON text (RFC 8259) in place.
 */
#ifndef PROVCONN_JSON_H
#define PROVCONN_JSON_H

#include "model.h"

#define PROVCONN_JSON_MAX_DEPTH 256

typedef enum ProvconnJsonKind
{
	PROVCONN_JSON_OBJECT,
	PROVCONN_JSON_ARRAY,
	PROVCONN_JSON_STRING,
	PROVCONN_JSON_NUMBER,
	PROVCONN_JSON_TRUE,
	PROVCONN_JSON_FALSE,
	PROVCONN_JSON_NULL
} ProvconnJsonKind;

typedef struct ProvconnJsonMember
{
	ProvconnSpan name;			/* with its quotes, as it stands in the text */
	ProvconnSpan value;			/* as it stands in the text */
	ProvconnJsonKind kind;		/* of the value */
} ProvconnJsonMember;

/*
 * Whether text is one valid JSON value; its kind goes to *kind (may be NULL).
 * Deeper nesting than PROVCONN_JSON_MAX_DEPTH is not valid.
 */
extern bool provconn_json_validate(ProvconnSpan text, ProvconnJsonKind *kind);

/*
 * The member of a valid JSON object that counts for name: the last one, as
 * jsonb has it.  name is ASCII; escapes in the member's name are decoded for the
 * comparison.  *member is untouched when there is none.  Other text is read
 * within its bounds, as far as it looks like an object.
 */
extern bool provconn_json_find(ProvconnSpan object, const char *name,
							   ProvconnJsonMember *member);

/* Valid JSON without the whitespace outside strings; out takes text.len bytes. */
extern size_t provconn_json_compact(ProvconnSpan text, char *out);

/*
 * text as a JSON string with its quotes; with out NULL only the length.
 * text must be valid in an ASCII-safe encoding.
 */
extern size_t provconn_json_quote(ProvconnSpan text, char *out);

#endif							/* PROVCONN_JSON_H */
