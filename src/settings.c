/*
 * settings.c (layer 2): the provconn.* settings, in alphabetical order.
 *
 * All are for superusers: an ordinary user who set a placeholder before the
 * library was loaded gets a warning and no effect.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "settings.h"

static int	idempotency_retention = 7 * 24 * 60 * 60;
static char *key_file = NULL;
static uint64 key_generation = 0;

static bool check_key_file(char **newval, void **extra, GucSource source);
static void assign_key_file(const char *newval, void *extra);

void
provconn_settings_define(void)
{
	DefineCustomIntVariable("provconn.idempotency_retention",
							"How long provconn_connect remembers an idempotency key.",
							NULL,
							&idempotency_retention,
							7 * 24 * 60 * 60, 1, 365 * 24 * 60 * 60,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomStringVariable("provconn.key_file",
							   "Path of the file that holds the master keys.",
							   "Lines of \"id:\" and 64 hexadecimal digits; the last one is current.",
							   &key_file,
							   "",
							   PGC_SUSET, GUC_SUPERUSER_ONLY,
							   check_key_file, assign_key_file, NULL);
	MarkGUCPrefixReserved("provconn");
}

int
provconn_settings_idempotency_retention(void)
{
	return idempotency_retention;
}

const char *
provconn_settings_key_file(void)
{
	return key_file;
}

uint64
provconn_settings_key_generation(void)
{
	return key_generation;
}

/* The file itself is looked at when a key is needed: it may come later. */
static bool
check_key_file(char **newval, void **extra, GucSource source)
{
	if (*newval != NULL && **newval != '\0' && !is_absolute_path(*newval))
	{
		GUC_check_errdetail("The path must be absolute.");
		return false;
	}
	return true;
}

static void
assign_key_file(const char *newval, void *extra)
{
	key_generation++;
}
