/*
 * token.c (layer 2): reads OAuth 2 token responses (RFC 6749) and carries
 * refresh tokens over.
 *
 * The texts are secrets.  They are read where they stand and written nowhere
 * but to the caller's buffer; a fault says what kind it is and quotes nothing.
 * expires_in is worked out in integers alone: strtod() would obey the locale,
 * and a double does not hold every microsecond.
 */
#include "token.h"

#include "json.h"

#include <string.h>

#define MAX_EXPIRES_IN_USEC UINT64_C(1000000000000000000)	/* 10^12 seconds */
#define MAX_EXPONENT INT64_C(1000000000000000)

/* A decimal number: digits * 10^scale, cut off behind 19 digits. */
typedef struct Decimal
{
	bool		negative;
	uint64_t	digits;
	int64_t		scale;
} Decimal;

static const char refresh_name[] = "refresh_token";

static bool is_object(ProvconnSpan text);
static bool has_access_token(ProvconnSpan object);
static bool is_blank(const ProvconnJsonMember *member);
static bool read_expires_in(const ProvconnJsonMember *member, int64_t *usec);
static Decimal read_decimal(ProvconnSpan number);
static void add_digit(Decimal *decimal, int digit, bool fraction);
static int64_t read_exponent(ProvconnSpan digits);
static bool is_digit(char c);
static size_t end_of_members(ProvconnSpan object);
static size_t append(char *out, size_t len, const char *data, size_t data_len);

ProvconnTokenFault
provconn_token_read(ProvconnSpan text, char *compact, ProvconnTokenResponse *response)
{
	ProvconnJsonMember member;
	ProvconnJsonKind kind;

	memset(response, 0, sizeof(*response));
	if (!provconn_json_validate(text, &kind))
		return PROVCONN_TOKEN_NOT_JSON;
	if (kind != PROVCONN_JSON_OBJECT)
		return PROVCONN_TOKEN_NOT_OBJECT;
	if (provconn_json_find(text, "error", &member))
		return PROVCONN_TOKEN_ERROR_RESPONSE;
	if (!has_access_token(text))
		return PROVCONN_TOKEN_NO_ACCESS_TOKEN;

	if (provconn_json_find(text, "expires_in", &member) &&
		member.kind != PROVCONN_JSON_NULL)
	{
		if (!read_expires_in(&member, &response->expires_in_usec))
			return PROVCONN_TOKEN_BAD_EXPIRES_IN;
		response->has_expires_in = true;
	}
	response->compact_len = provconn_json_compact(text, compact);
	return PROVCONN_TOKEN_OK;
}

bool
provconn_token_is_oauth2(ProvconnSpan secret)
{
	return is_object(secret) && has_access_token(secret);
}

bool
provconn_token_lacks_refresh(ProvconnSpan secret)
{
	ProvconnJsonMember member;

	/* Most bring one: then it does not matter what else they are. */
	if (provconn_json_find(secret, refresh_name, &member) && !is_blank(&member))
		return false;
	return provconn_token_is_oauth2(secret);
}

size_t
provconn_token_carry_over(ProvconnSpan stored, ProvconnSpan fresh, char *out)
{
	ProvconnJsonMember kept;
	ProvconnJsonMember gap;
	ProvconnJsonKind kind;
	size_t		head;
	size_t		tail;
	size_t		len;

	/* Some keep a refresh token alone: that is no less to be lost. */
	if (!provconn_token_lacks_refresh(fresh) ||
		!provconn_json_validate(stored, &kind) || kind != PROVCONN_JSON_OBJECT)
		return 0;
	if (!provconn_json_find(stored, refresh_name, &kept) || is_blank(&kept))
		return 0;

	if (provconn_json_find(fresh, refresh_name, &gap))
	{
		head = (size_t) (gap.value.data - fresh.data);
		tail = head + gap.value.len;
		len = append(out, 0, fresh.data, head);
	}
	else
	{
		/* There is an access_token before it, so a comma is always due. */
		head = tail = end_of_members(fresh);
		len = append(out, 0, fresh.data, head);
		len = append(out, len, ",\"", 2);
		len = append(out, len, refresh_name, sizeof(refresh_name) - 1);
		len = append(out, len, "\":", 2);
	}
	len = append(out, len, kept.value.data, kept.value.len);
	return append(out, len, fresh.data + tail, fresh.len - tail);
}

static bool
is_object(ProvconnSpan text)
{
	ProvconnJsonKind kind;

	return provconn_json_validate(text, &kind) && kind == PROVCONN_JSON_OBJECT;
}

static bool
has_access_token(ProvconnSpan object)
{
	ProvconnJsonMember member;

	return provconn_json_find(object, "access_token", &member) &&
		member.kind == PROVCONN_JSON_STRING && !is_blank(&member);
}

/* Null or the empty string, which some providers send for "none". */
static bool
is_blank(const ProvconnJsonMember *member)
{
	return member->kind == PROVCONN_JSON_NULL ||
		(member->kind == PROVCONN_JSON_STRING && member->value.len == 2);
}

/* Cut off to the microsecond, so that a token never seems to last longer. */
static bool
read_expires_in(const ProvconnJsonMember *member, int64_t *usec)
{
	ProvconnSpan number = member->value;
	ProvconnJsonKind kind = member->kind;
	Decimal		decimal;

	if (kind == PROVCONN_JSON_STRING)
	{
		number.data++;
		number.len -= 2;
		if (!provconn_json_validate(number, &kind))
			return false;
	}
	if (kind != PROVCONN_JSON_NUMBER)
		return false;

	decimal = read_decimal(number);
	if (decimal.negative && decimal.digits != 0)
		return false;
	decimal.scale += 6;
	for (; decimal.scale < 0 && decimal.digits > 0; decimal.scale++)
		decimal.digits /= 10;

	/* Leaves off above the limit, where another step might overflow. */
	for (; decimal.scale > 0 && decimal.digits > 0; decimal.scale--)
	{
		if (decimal.digits > MAX_EXPIRES_IN_USEC)
			return false;
		decimal.digits *= 10;
	}
	if (decimal.digits > MAX_EXPIRES_IN_USEC)
		return false;
	*usec = (int64_t) decimal.digits;
	return true;
}

/*
 * number is a valid JSON number; blanks, which may surround it inside a
 * string, are passed over.
 */
static Decimal
read_decimal(ProvconnSpan number)
{
	Decimal		decimal = {false, 0, 0};
	bool		fraction = false;
	size_t		i;

	for (i = 0; i < number.len; i++)
	{
		char		c = number.data[i];

		if (is_digit(c))
			add_digit(&decimal, c - '0', fraction);
		else if (c == '-')
			decimal.negative = true;
		else if (c == '.')
			fraction = true;
		else if (c == 'e' || c == 'E')
		{
			ProvconnSpan rest = {number.data + i + 1, number.len - i - 1};

			decimal.scale += read_exponent(rest);
			break;
		}
	}
	return decimal;
}

static void
add_digit(Decimal *decimal, int digit, bool fraction)
{
	/* 19 digits fit, and they reach from above the limit down to its unit. */
	if (decimal->digits < UINT64_C(1000000000000000000))
	{
		decimal->digits = decimal->digits * 10 + (uint64_t) digit;
		if (fraction)
			decimal->scale--;
	}
	else if (!fraction)
		decimal->scale++;
}

/* Saturates far above the length of any text, which is what can offset it. */
static int64_t
read_exponent(ProvconnSpan digits)
{
	bool		negative = false;
	int64_t		exponent = 0;
	size_t		i;

	for (i = 0; i < digits.len; i++)
	{
		char		c = digits.data[i];

		if (c == '-')
			negative = true;
		else if (is_digit(c) && exponent < MAX_EXPONENT)
			exponent = exponent * 10 + (c - '0');
	}
	return negative ? -exponent : exponent;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The place behind the last member's value. */
static size_t
end_of_members(ProvconnSpan object)
{
	size_t		end = object.len;

	while (object.data[end - 1] != '}')
		end--;
	end--;
	while (strchr(" \t\r\n", object.data[end - 1]) != NULL)
		end--;
	return end;
}

static size_t
append(char *out, size_t len, const char *data, size_t data_len)
{
	memcpy(out + len, data, data_len);
	return len + data_len;
}
