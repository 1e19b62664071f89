/*
 * token.h (layer 2): what an OAuth 2 token response says (RFC 6749, section 5).
 */
#ifndef PROVCONN_TOKEN_H
#define PROVCONN_TOKEN_H

#include "model.h"

typedef enum ProvconnTokenFault
{
	PROVCONN_TOKEN_OK,
	PROVCONN_TOKEN_NOT_JSON,	/* not one valid JSON value */
	PROVCONN_TOKEN_NOT_OBJECT,
	PROVCONN_TOKEN_ERROR_RESPONSE,	/* section 5.2: has a member "error" */
	PROVCONN_TOKEN_NO_ACCESS_TOKEN, /* absent, not a string, or empty */
	PROVCONN_TOKEN_BAD_EXPIRES_IN	/* not a number of seconds, or negative */
} ProvconnTokenFault;

typedef struct ProvconnTokenResponse
{
	size_t		compact_len;
	bool		has_expires_in;
	int64_t		expires_in_usec;
} ProvconnTokenResponse;

/*
 * Reads a token response and writes it compact (all members, in order) to
 * compact, which takes text.len bytes.  expires_in may be a number or, as some
 * providers send it, a string that holds one; null counts as absent, more than
 * 10^12 seconds as bad.  On a fault nothing is written to compact.
 */
extern ProvconnTokenFault provconn_token_read(ProvconnSpan text, char *compact,
											  ProvconnTokenResponse *response);

/* A JSON object with a non-empty string access_token. */
extern bool provconn_token_is_oauth2(ProvconnSpan secret);

/* An OAuth 2 object whose refresh_token is absent, null or empty. */
extern bool provconn_token_lacks_refresh(ProvconnSpan secret);

/*
 * RFC 6749, section 6: fresh with the refresh_token of stored, to out; returns
 * the length, 0 when there is nothing to carry over.  fresh must lack one; out
 * takes fresh.len + stored.len + 20 bytes.  The value is copied as it stands, into
 * the place of fresh's null or empty one, else behind fresh's last member.
 */
extern size_t provconn_token_carry_over(ProvconnSpan stored, ProvconnSpan fresh,
										char *out);

#endif							/* PROVCONN_TOKEN_H */
