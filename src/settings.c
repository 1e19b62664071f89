/*
 * settings.c (layer 2): the provconn.* settings, in alphabetical order.
 *
 * All are for superusers.  Before the library is loaded the server takes them
 * from anybody, as placeholders.  What an ordinary user has SET is dropped when
 * they are defined.  What came with the connection has replaced the value from
 * the configuration, which cannot be had again: then the library is not loaded.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "compat.h"
#include "settings.h"

static int attempt_buffers = 8 * 1024;
static int backoff_base = 30 * 1000;
static int backoff_cap = 60 * 60 * 1000;
static int breaker_interval = 60 * 1000;
static int breaker_limit = 1000;
static int breaker_threshold = 10;
static char *databases = NULL;
static int expire_after = 30 * 24 * 60;
static int give_up_after = 3 * 24 * 60 * 60 * 1000;
static int give_up_failures = 20;
static int idempotency_retention = 7 * 24 * 60 * 60;
static char *key_command = NULL;
static char *key_file = NULL;
static bool keep_wal = true;
static bool notify = false;
static int reencrypt_delay = 5;
static int reveal_limit = 0;
static int seal_interval = 60;
static uint64 key_generation = 0;

static GucContext shared_context(GucContext context);
static bool check_databases(char **newval, void **extra, GucSource source);
static bool check_key_file(char **newval, void **extra, GucSource source);
static void assign_key_file(const char *newval, void *extra);

const char *
provconn_settings_taken(void)
{
	static const char *const names[] = {
		"provconn.attempt_buffers", "provconn.backoff_base", "provconn.backoff_cap",
		"provconn.breaker_interval", "provconn.breaker_limit", "provconn.breaker_threshold",
		"provconn.databases", "provconn.expire_after", "provconn.give_up_after",
		"provconn.give_up_failures", "provconn.idempotency_retention", "provconn.keep_wal",
		"provconn.key_command", "provconn.key_file", "provconn.notify",
		"provconn.reencrypt_delay", "provconn.reveal_limit", "provconn.seal_interval"
	};

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		struct config_generic *setting = provconn_compat_find_setting(names[i]);

		if (setting != NULL && setting->reset_source >= PGC_S_CLIENT)
			return names[i];
	}
	return NULL;
}

void
provconn_settings_define(void)
{
	DefineCustomIntVariable("provconn.attempt_buffers",
							"Shared memory for each database, for attempts that were rolled back and are not on record yet.",
							"What finds no room in it goes to the server log.",
							&attempt_buffers,
							8 * 1024, 64, 1024 * 1024,
							shared_context(PGC_POSTMASTER), GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.backoff_base",
							"The shortest time between a failure and the next attempt.",
							NULL,
							&backoff_base,
							30 * 1000, 1, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.backoff_cap",
							"The longest time between a failure and the next attempt.",
							"Delays are drawn evenly between the base and a ceiling that doubles with each failure up to this.",
							&backoff_cap,
							60 * 60 * 1000, 1, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.breaker_interval",
							"The time between two probes of a provider that fails.",
							NULL,
							&breaker_interval,
							60 * 1000, 1, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.breaker_limit",
							"How many connections of a provider that has come back are claimed at most per sixtieth of provconn.breaker_interval.",
							NULL,
							&breaker_limit,
							1000, 2, INT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.breaker_threshold",
							"How many connections have to fail in a row until claims of their provider are held back.",
							"0 never holds them back.",
							&breaker_threshold,
							10, 0, INT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomStringVariable("provconn.databases",
							   "The databases that the background worker serves, separated by commas.",
							   NULL,
							   &databases,
							   "postgres",
							   shared_context(PGC_POSTMASTER), GUC_LIST_INPUT,
							   check_databases, NULL, NULL);
	DefineCustomIntVariable("provconn.expire_after",
							"How long after their expiry the background worker moves connections to expired that nobody refreshed.",
							"-1 leaves them alone.",
							&expire_after,
							30 * 24 * 60, -1, INT_MAX,
							shared_context(PGC_SIGHUP), GUC_UNIT_MIN,
							NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.give_up_after",
							"How long a connection has to fail until it is given up.",
							NULL,
							&give_up_after,
							3 * 24 * 60 * 60 * 1000, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.give_up_failures",
							"How many times in a row a connection has to fail until it is given up.",
							"0 never gives up.",
							&give_up_failures,
							20, 0, INT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.idempotency_retention",
							"How long provconn_connect remembers an idempotency key.",
							NULL,
							&idempotency_retention,
							7 * 24 * 60 * 60, 1, 365 * 24 * 60 * 60,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("provconn.keep_wal",
							 "Whether a replication slot keeps the WAL that tells of reveals whose outcome is not on record yet.",
							 NULL,
							 &keep_wal,
							 true,
							 shared_context(PGC_SIGHUP), 0,
							 NULL, NULL, NULL);
	/* Without preloading it can't be run; that is said when a key is needed. */
	DefineCustomStringVariable("provconn.key_command",
							   "Program that prints the master keys, run once at server start.",
							   "It prints the lines of a key file; provconn.key_file, where set, is used instead.",
							   &key_command,
							   "",
							   process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("provconn.key_file",
							   "Path of the file that holds the master keys.",
							   "Lines of \"id:\" and 64 hexadecimal digits; the last one is current.",
							   &key_file,
							   "",
							   PGC_SUSET, GUC_SUPERUSER_ONLY,
							   check_key_file, assign_key_file, NULL);
	DefineCustomBoolVariable("provconn.notify",
							 "Whether each row of the audit is told to who listens to \"provconn\".",
							 NULL,
							 &notify,
							 false,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.reencrypt_delay",
							"How long provconn_reencrypt sleeps after a quarter of a millisecond of work.",
							"0 does not sleep.",
							&reencrypt_delay,
							5, 0, 10 * 1000,
							PGC_SUSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.reveal_limit",
							"How many credentials a role may reveal a minute.",
							"0 sets no limit.",
							&reveal_limit,
							0, 0, INT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("provconn.seal_interval",
							"How often the background worker seals the audit.",
							"0 does not seal it.",
							&seal_interval,
							60, 0, 24 * 60 * 60,
							shared_context(PGC_SIGHUP), GUC_UNIT_S,
							NULL, NULL, NULL);
	MarkGUCPrefixReserved("provconn");
}

size_t
provconn_settings_attempt_buffers(void)
{
	return (size_t) attempt_buffers * 1024;
}

const char *
provconn_settings_databases(void)
{
	return databases;
}

int64
provconn_settings_expire_after(void)
{
	return expire_after * INT64CONST(60000000);
}

bool
provconn_settings_keep_wal(void)
{
	return keep_wal;
}

bool
provconn_settings_notify(void)
{
	return notify;
}

int
provconn_settings_seal_interval(void)
{
	return seal_interval;
}

int64
provconn_settings_backoff_base(void)
{
	return backoff_base * INT64CONST(1000);
}

int64
provconn_settings_backoff_cap(void)
{
	return backoff_cap * INT64CONST(1000);
}

ProvconnBreakerRules
provconn_settings_breaker(void)
{
	ProvconnBreakerRules rules;

	rules.threshold = breaker_threshold;
	rules.interval = breaker_interval * INT64CONST(1000);
	rules.limit = breaker_limit;
	return rules;
}

int64
provconn_settings_give_up_after(void)
{
	return give_up_after * INT64CONST(1000);
}

int
provconn_settings_give_up_failures(void)
{
	return give_up_failures;
}

int
provconn_settings_idempotency_retention(void)
{
	return idempotency_retention;
}

const char *
provconn_settings_key_command(void)
{
	return key_command;
}

const char *
provconn_settings_key_file(void)
{
	return key_file;
}

int
provconn_settings_reencrypt_delay(void)
{
	return reencrypt_delay;
}

int
provconn_settings_reveal_limit(void)
{
	return reveal_limit;
}

uint64
provconn_settings_key_generation(void)
{
	return key_generation;
}

/* What is for the worker, and fixed for all, does nothing where the library is loaded later. */
static GucContext
shared_context(GucContext context)
{
	return process_shared_preload_libraries_in_progress ? context : PGC_SUSET;
}

static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *names = pstrdup(*newval);
	List	   *list;

	if (!SplitIdentifierString(names, ',', &list))
	{
		GUC_check_errdetail("It must be a list of names, separated by commas.");
		return false;
	}
	if (list_length(list) > PROVCONN_SETTINGS_MAX_DATABASES)
	{
		GUC_check_errdetail("There must be no more than %d databases.", PROVCONN_SETTINGS_MAX_DATABASES);
		return false;
	}
	return true;
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
