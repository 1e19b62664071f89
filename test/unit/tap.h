/*
 * tap.h: a harness for unit tests that speaks the Test Anything Protocol.
 *
 * One program per module: call ok() and is() as often as you like, then return
 * tap_done().  Input comes from span_of() and the like, which allocate exactly
 * the bytes given, so that AddressSanitizer sees a read one byte too far; it is
 * freed by tap_done().
 */
#ifndef TAP_H
#define TAP_H

#include "model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define countof(array) (sizeof(array) / sizeof((array)[0]))

/* Does condition hold?  Then a name for the test, as for printf. */
#define ok(condition, ...) \
	tap_ok((condition) ? true : false, __FILE__, __LINE__, __VA_ARGS__)

/* Are two integers equal? */
#define is(got, expected, ...) \
	tap_is((int64_t) (got), (int64_t) (expected), __FILE__, __LINE__, __VA_ARGS__)

/* Are these bytes those of the C string expected? */
#define is_text(got, got_len, expected, ...) \
	tap_is_text((got), (got_len), (expected), __FILE__, __LINE__, __VA_ARGS__)

typedef struct TapBlock
{
	struct TapBlock *next;
	void	   *memory;
} TapBlock;

static int	tap_count = 0;
static int	tap_failures = 0;
static TapBlock *tap_blocks = NULL;

static inline bool
tap_result(bool passed, const char *file, int line, const char *format, va_list args)
{
	char		name[200];
	char	   *c;

	/* A # would begin a directive, a line break the next line. */
	vsnprintf(name, sizeof(name), format, args);
	for (c = name; *c != '\0'; c++)
	{
		if (*c == '#' || (unsigned char) *c < 0x20)
			*c = '.';
	}
	tap_count++;
	printf("%sok %d - %s\n", passed ? "" : "not ", tap_count, name);
	if (!passed)
	{
		tap_failures++;
		fprintf(stderr, "#   failed: %s\n#   at %s line %d\n", name, file, line);
	}
	return passed;
}

static inline bool
tap_ok(bool passed, const char *file, int line, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	tap_result(passed, file, line, format, args);
	va_end(args);
	return passed;
}

static inline bool
tap_is(int64_t got, int64_t expected, const char *file, int line,
	   const char *format,...)
{
	va_list		args;

	va_start(args, format);
	tap_result(got == expected, file, line, format, args);
	va_end(args);
	if (got != expected)
		fprintf(stderr, "#   got %" PRId64 ", expected %" PRId64 "\n", got, expected);
	return got == expected;
}

static inline bool
tap_is_text(const char *got, size_t got_len, const char *expected, const char *file,
			int line, const char *format,...)
{
	bool		passed = got_len == strlen(expected) &&
		memcmp(got, expected, got_len) == 0;
	va_list		args;

	va_start(args, format);
	tap_result(passed, file, line, format, args);
	va_end(args);
	if (!passed)
		fprintf(stderr, "#   got %.*s\n#   expected %s\n", (int) got_len, got, expected);
	return passed;
}

/* Memory until tap_done(). */
static inline char *
tap_alloc(size_t len)
{
	TapBlock   *block = malloc(sizeof(TapBlock));
	char	   *memory = malloc(len > 0 ? len : 1);

	if (block == NULL || memory == NULL)
		abort();
	block->next = tap_blocks;
	block->memory = memory;
	tap_blocks = block;

	/* malloc(0) may well be readable; behind the end of one byte is not. */
	return len > 0 ? memory : memory + 1;
}

static inline void
tap_free_all(void)
{
	while (tap_blocks != NULL)
	{
		TapBlock   *block = tap_blocks;

		tap_blocks = block->next;
		free(block->memory);
		free(block);
	}
}

static inline ProvconnSpan
span_of_bytes(const void *bytes, size_t len)
{
	char	   *copy = tap_alloc(len);
	ProvconnSpan span = {copy, len};

	if (len > 0)
		memcpy(copy, bytes, len);
	return span;
}

static inline ProvconnSpan
span_of(const char *text)
{
	return span_of_bytes(text, strlen(text));
}

/* Prints the plan; the program's exit status. */
static inline int
tap_done(void)
{
	tap_free_all();
	printf("1..%d\n", tap_count);
	return tap_failures == 0 ? 0 : 1;
}

#endif							/* TAP_H */
