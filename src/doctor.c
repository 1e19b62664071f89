/*
 * doctor.c (layer 8): provconn_doctor(), which says what is wrong with an
 * installation and the SQL that mends it.
 *
 * What SQL can find out is in the view provconn.finding; what it cannot is
 * here.  All of it only reads, so that it works on a standby, and runs as the
 * tables' owner.  Each check runs in a subtransaction: an error of one is its
 * finding, and the others are made all the same.
 *
 * Everybody with the capability operator reads what comes out of here: no path
 * of a key file, nor anything else of a key, may be in it.  A fix gets at the
 * path by current_setting(), when a superuser runs it.
 */
#include "postgres.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "catalog.h"
#include "cipher.h"
#include "compat.h"
#include "keyring.h"
#include "masterkey.h"
#include "settings.h"
#include "store.h"

PG_FUNCTION_INFO_V1(provconn_doctor);

typedef enum Health
{
	HEALTH_OK,
	HEALTH_WARNING,
	HEALTH_CRITICAL
} Health;

/* A row of the result; detail and fix are in the report's memory context. */
typedef struct Finding
{
	const char *check_name;
	Health		status;
	char	   *detail;
	char	   *fix;			/* NULL where the status is ok */
} Finding;

/* What a check of ours is run with: finding says critical until it says otherwise. */
typedef struct Examination
{
	Finding    *finding;
	MemoryContext context;
	int32		key_id;			/* for check_data_key */
	const char *check_name;		/* for run_view: NULL for all of them */
	List	   *findings;		/* what that found */
} Examination;

typedef void (*Check) (Examination *examination);

/* Whose owner we act as: of all tables the one that is least likely to be given away. */
static ProvconnTable required_trigger = {.name = "required_trigger"};

static const char *const status_names[] = {
	[HEALTH_OK] = "ok",
	[HEALTH_WARNING] = "warning",
	[HEALTH_CRITICAL] = "critical"
};

/* The checks of provconn.finding, in its order. */
static const char *const view_checks[] = {
	"extension_version", "pgcrypto", "preload", "triggers", "trigger_order", "row_security",
	"public_rights", "owners", "secret_columns", "log_parameter_max_length",
	"log_parameter_max_length_on_error", "log_statement", "log_min_duration_statement",
	"debug_print", "auto_explain", "ssl", "old_keys", "unknown_keys", "overdue",
	"expired_leases", "provider_health", "lost_providers", "gone_roles", "lost_rights",
	"capability_objects", "audit_months", "api_schema", "audit_seals", "worker", "attempts",
};

/*
 * Pieces of fixes.  Each is one line, for psql; a path is quoted for the shell.
 * A new path is beside the data directory, where only the server's user writes.
 */
#define SHELL_QUOTED(path) \
	"pg_catalog.chr(39) || pg_catalog.replace(" path ", pg_catalog.chr(39)," \
	" pg_catalog.concat(pg_catalog.chr(39), '\\', pg_catalog.chr(39), pg_catalog.chr(39))) || pg_catalog.chr(39)"
#define BESIDE_DATA(name) \
	"pg_catalog.concat(pg_catalog.regexp_replace(pg_catalog.rtrim(" \
	"pg_catalog.current_setting('data_directory'), '/'), '[^/]*$', ''), " name ")"
#define NEW_KEY_FILE "pg_catalog.current_setting('provconn_doctor.key_file', true)"
#define OLD_KEY_FILE "pg_catalog.current_setting('provconn_doctor.old_key_file', true)"
#define KEY_FILE_SOURCE \
	"(SELECT s.source FROM pg_catalog.pg_settings AS s WHERE s.name = 'provconn.key_file')"
#define RELOAD_SETTINGS "SELECT pg_catalog.pg_reload_conf();"
#define LOAD_LIBRARY "LOAD 'provconn';"
/* Where the next statement fails, those after it have no path to work on. */
#define FORGET_KEY_FILE "SET provconn_doctor.key_file = '';"

#define NARROW_KEY_FILE \
	"SELECT pg_catalog.format('COPY (SELECT WHERE false) TO PROGRAM %L', 'chmod 0600 -- ' || " SHELL_QUOTED("pg_catalog.current_setting('provconn.key_file')") ") \\gexec"

#define MAKE_KEY_FILE \
	LOAD_LIBRARY "\n" FORGET_KEY_FILE "\nDO $do$ DECLARE path text := COALESCE(NULLIF(pg_catalog.current_setting('provconn.key_file'), '')," \
	" " BESIDE_DATA("'provconn_key'") "); BEGIN" \
	" EXECUTE pg_catalog.format('COPY (SELECT WHERE false) TO PROGRAM %L'," \
	" pg_catalog.format('umask 077; test -e %1$s || openssl rand -hex 32 >%1$s', " SHELL_QUOTED("path") "));" \
	" PERFORM pg_catalog.set_config('provconn_doctor.key_file', path, false); END $do$;\n" \
	"SELECT pg_catalog.format('ALTER SYSTEM SET provconn.key_file = %L', " NEW_KEY_FILE ")" \
	" WHERE " NEW_KEY_FILE " <> ALL (ARRAY['', pg_catalog.current_setting('provconn.key_file')]) \\gexec\n" RELOAD_SETTINGS "\n" \
	"-- Keep a copy of the key file where no backup of this database is."

#define MOVE_KEY_FILE \
	LOAD_LIBRARY "\n" FORGET_KEY_FILE "\nDO $do$ DECLARE old text := pg_catalog.current_setting('provconn.key_file');" \
	" new text := " BESIDE_DATA("'provconn_' || pg_catalog.regexp_replace(old, '^.*/', '')") "; BEGIN" \
	" EXECUTE pg_catalog.format('COPY (SELECT WHERE false) TO PROGRAM %L'," \
	" pg_catalog.format('set -e; umask 077; test ! -e %2$s; cp -- %1$s %2$s; cmp -s -- %1$s %2$s'," \
	" " SHELL_QUOTED("old") ", " SHELL_QUOTED("new") "));" \
	" PERFORM pg_catalog.set_config('provconn_doctor.old_key_file', old, false)," \
	" pg_catalog.set_config('provconn_doctor.key_file', new, false); END $do$;\n" \
	"SELECT pg_catalog.format(CASE " KEY_FILE_SOURCE " WHEN 'database'" \
	" THEN 'ALTER DATABASE %2$I SET provconn.key_file = %1$L'" \
	" ELSE 'ALTER SYSTEM SET provconn.key_file = %1$L' END, " NEW_KEY_FILE "," \
	" pg_catalog.current_database()) WHERE " NEW_KEY_FILE " <> '' \\gexec\n" RELOAD_SETTINGS "\n" \
	"SELECT pg_catalog.set_config('provconn.key_file', " NEW_KEY_FILE ", false) IS NOT NULL AS moved" \
	" WHERE " NEW_KEY_FILE " <> '' AND " KEY_FILE_SOURCE " IN ('database', 'session');\n" \
	"SELECT pg_catalog.pg_sleep(1);\n" \
	"SELECT pg_catalog.format('COPY (SELECT WHERE false) TO PROGRAM %L'," \
	" pg_catalog.format('rm -f -- \"$(readlink -f -- %1$s)\" %1$s', " SHELL_QUOTED(OLD_KEY_FILE) "))" \
	" WHERE pg_catalog.current_setting('provconn.key_file') = " NEW_KEY_FILE \
	" AND " OLD_KEY_FILE " <> " NEW_KEY_FILE " \\gexec"

#define LIMIT_CORES \
	"SELECT pg_catalog.format('COPY (SELECT WHERE false) TO PROGRAM %L'," \
	" pg_catalog.format('for pid in $(head -n 1 postmaster.pid) %s; do prlimit --core=0 --pid $pid 2>/dev/null; done; true'," \
	" pg_catalog.string_agg(a.pid::text, ' '))) FROM pg_catalog.pg_stat_activity AS a \\gexec"

static void check_key_source(Examination *examination);
static void check_key_location(Examination *examination);
static void check_keys(MemoryContext context, Finding *master_keys, Finding *data_keys);
static void check_data_key(Examination *examination);
static void list_keys(Examination *examination);
static void check_pgcrypto_library(Examination *examination);
static void check_core_dumps(Examination *examination);
static char *key_source_fix(void);
static List *examine_view(MemoryContext context);
static void run_view(Examination *examination);
static char *copy_column(MemoryContext context, int row, int column);
static void examine(Check check, Examination *examination);
static ErrorData *run_guarded(Check check, Examination *examination);
static void pass(Finding *finding, const char *detail);
static char *then_ask_again(const char *what);
static void put_finding(ReturnSetInfo *result, const Finding *finding);

Datum
provconn_doctor(PG_FUNCTION_ARGS)
{
	static const struct
	{
		const char *name;
		Check		check;
	}			checks[] = {
		{"key_source", check_key_source},
		{"key_location", check_key_location},
		{"pgcrypto_library", check_pgcrypto_library},
		{"core_dumps", check_core_dumps},
	};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Finding		master_keys = {.check_name = "master_keys"};
	Finding		data_keys = {.check_name = "data_keys"};
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < (int) lengthof(checks); i++)
	{
		Finding		finding = {.check_name = checks[i].name};
		Examination examination = {.finding = &finding, .context = CurrentMemoryContext};

		examine(checks[i].check, &examination);
		put_finding(result, &finding);
	}
	check_keys(CurrentMemoryContext, &master_keys, &data_keys);
	put_finding(result, &master_keys);
	put_finding(result, &data_keys);
	foreach(cell, examine_view(CurrentMemoryContext))
		put_finding(result, lfirst(cell));
	return (Datum) 0;
}

/* Whether the master keys can be read, from wherever they are to come. */
static void
check_key_source(Examination *examination)
{
	int			count;

	examination->finding->fix = key_source_fix();
	(void) provconn_masterkey_read(&count);
	pass(examination->finding, "the master keys can be read, and by the server's user alone");
}

/* A key file in the data directory is in each base backup. */
static void
check_key_location(Examination *examination)
{
	const char *path = provconn_settings_key_file();
	char		file[PATH_MAX];
	char		folder[PATH_MAX];
	size_t		len;

	if (path == NULL || *path == '\0' || realpath(path, file) == NULL || realpath(DataDir, folder) == NULL)
	{
		pass(examination->finding, "there is no key file to look at");
		return;
	}
	len = strlen(folder);
	if (strncmp(file, folder, len) != 0 || (file[len] != '/' && strcmp(folder, "/") != 0))
	{
		pass(examination->finding, "the key file is outside of the data directory");
		return;
	}
	examination->finding->status = HEALTH_CRITICAL;
	examination->finding->detail = "the key file is in the data directory, so each base backup has the keys to its own secrets";
	examination->finding->fix = MOVE_KEY_FILE;
}

/*
 * Opens each data key anew.  Where the master keys cannot be read, or pgcrypto
 * fails, nothing is known of the data keys; those have findings of their own.
 */
static void
check_keys(MemoryContext context, Finding *master_keys, Finding *data_keys)
{
	Examination examination = {.finding = master_keys, .context = context};
	StringInfoData masters;
	StringInfoData damaged;
	const char *unchecked = NULL;
	ListCell   *cell;
	ErrorData  *error;

	initStringInfo(&masters);
	initStringInfo(&damaged);
	error = run_guarded(list_keys, &examination);
	if (error != NULL)
		unchecked = error->message;
	foreach(cell, examination.findings)
	{
		StringInfo	target = &damaged;

		examination.key_id = lfirst_int(cell);
		error = run_guarded(check_data_key, &examination);
		if (error == NULL)
			continue;
		if (error->sqlerrcode == MAKE_SQLSTATE('P', 'V', '1', '0', '2'))
			target = &masters;
		else if (error->sqlerrcode != MAKE_SQLSTATE('P', 'V', '1', '0', '3'))
		{
			unchecked = error->message;
			break;
		}
		appendStringInfo(target, "%s%s", target->len > 0 ? "; " : "", error->message);
	}

	pass(master_keys, "the master keys that wrapped the data keys are there");
	pass(data_keys, "all data keys open");
	if (masters.len > 0)
	{
		master_keys->status = HEALTH_CRITICAL;
		master_keys->detail = masters.data;
		master_keys->fix = then_ask_again("Put these master keys back, from the copy of the key file that belongs to this database");
	}
	if (damaged.len > 0)
	{
		data_keys->status = HEALTH_CRITICAL;
		data_keys->detail = damaged.data;
		data_keys->fix = then_ask_again("Restore these rows of provconn.data_key from a backup of this database");
	}
	for (int i = 0; i < 2 && unchecked != NULL; i++)
	{
		Finding    *finding = i == 0 ? master_keys : data_keys;

		if (finding->status != HEALTH_OK)
			continue;
		finding->status = HEALTH_WARNING;
		finding->detail = psprintf("not known: %s", unchecked);
		finding->fix = then_ask_again("Mend what key_source and pgcrypto_library say");
	}
}

static void
check_data_key(Examination *examination)
{
	provconn_keyring_verify(examination->key_id);
}

static void
list_keys(Examination *examination)
{
	MemoryContext caller = MemoryContextSwitchTo(examination->context);

	examination->findings = provconn_keyring_list();
	MemoryContextSwitchTo(caller);
}

static void
check_pgcrypto_library(Examination *examination)
{
	examination->finding->fix =
		then_ask_again("Install pgcrypto's library of this server's version");
	provconn_cipher_test();
	pass(examination->finding, "pgcrypto's library works");
}

/* As it is for this session; the others have it from the postmaster, too. */
static void
check_core_dumps(Examination *examination)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0)
	{
		pass(examination->finding, "the server's processes dump no core");
		return;
	}
	examination->finding->status = HEALTH_WARNING;
	examination->finding->detail = "a server process that crashes dumps its memory, with secrets in it; for good, set LimitCORE=0 in the server's systemd unit, or start it after \"ulimit -c 0\"";
	examination->finding->fix = LIMIT_CORES;
}

/*
 * What helps against the error that reading the master keys is about to raise.
 * A new key file is made only where nothing depends on a lost one.
 */
static char *
key_source_fix(void)
{
	const char *path = provconn_settings_key_file();
	const char *command = GetConfigOption("provconn.key_command", true, false);
	bool		is_set = path != NULL && *path != '\0';
	struct stat status;
	bool		exists = is_set && stat(path, &status) == 0;

	if (exists && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
		(status.st_mode & 07777 & ~(S_IRUSR | S_IWUSR)) != 0)
		return NARROW_KEY_FILE;
	if (!is_set && command != NULL && *command != '\0')
		return then_ask_again("Add provconn to shared_preload_libraries, see the check preload, and restart the server");
	if (!exists && provconn_keyring_list() == NIL)
		return MAKE_KEY_FILE;
	if (!is_set)
		return "-- Set provconn.key_file in postgresql.conf to the key file that belongs to this database, then:\n" RELOAD_SETTINGS;
	return then_ask_again("Restore the key file that belongs to this database, owned by the server's user and with mode 0600");
}

/* All at once; where that fails, check by check, so that one spoils no other. */
static List *
examine_view(MemoryContext context)
{
	Examination all = {.context = context};
	List	   *findings = NIL;

	if (run_guarded(run_view, &all) == NULL)
		return all.findings;
	for (int i = 0; i < (int) lengthof(view_checks); i++)
	{
		Finding    *finding = palloc0(sizeof(Finding));
		Examination one = {.finding = finding, .context = context};

		finding->check_name = one.check_name = view_checks[i];
		examine(run_view, &one);
		findings = list_concat(findings, one.findings != NIL ? one.findings : list_make1(finding));
	}
	return findings;
}

static void
run_view(Examination *examination)
{
	StringInfoData sql;
	SPIPlanPtr	plan;
	int			settings = NewGUCNestLevel();

	/* To compile so many expressions takes far longer than to evaluate them. */
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT check_name, status, detail, fix FROM provconn.finding");
	/* A constant, so that the planner leaves the other checks out. */
	if (examination->check_name != NULL)
		appendStringInfo(&sql, " WHERE check_name OPERATOR(pg_catalog.=) '%s'", examination->check_name);

	SPI_connect();
	plan = SPI_prepare(sql.data, 0, NULL);
	if (plan == NULL || SPI_execute_plan(plan, NULL, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run a statement: %s", SPI_result_code_string(SPI_result));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Finding    *finding = MemoryContextAllocZero(examination->context, sizeof(Finding));
		MemoryContext spi;
		const char *status = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);

		finding->check_name = copy_column(examination->context, i, 1);
		finding->status = strcmp(status, "ok") == 0 ? HEALTH_OK :
			strcmp(status, "warning") == 0 ? HEALTH_WARNING : HEALTH_CRITICAL;
		finding->detail = copy_column(examination->context, i, 3);
		finding->fix = copy_column(examination->context, i, 4);
		spi = MemoryContextSwitchTo(examination->context);
		examination->findings = lappend(examination->findings, finding);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	AtEOXact_GUC(true, settings);
}

static char *
copy_column(MemoryContext context, int row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value == NULL ? NULL : MemoryContextStrdup(context, value);
}

/* Runs a check; an error makes it critical, with the fix that it has left. */
static void
examine(Check check, Examination *examination)
{
	Finding    *finding = examination->finding;
	ErrorData  *error = run_guarded(check, examination);

	if (error == NULL)
		return;
	finding->status = HEALTH_CRITICAL;
	finding->detail = error->message;
	if (finding->fix == NULL)
		finding->fix = then_ask_again(error->hint != NULL ? error->hint : "Mend what the detail says");
}

/*
 * Runs a check as the tables' owner, in a subtransaction of its own, and
 * returns its error or NULL.  What stops the whole statement is passed on.
 */
static ErrorData *
run_guarded(Check check, Examination *examination)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		ProvconnIdentity saved;

		provconn_store_enter(&required_trigger, &saved);
		check(examination);
		provconn_store_leave(&saved);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;

	if (error != NULL &&
		(ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION ||
		 ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK))
		ReThrowError(error);
	return error;
}

static void
pass(Finding *finding, const char *detail)
{
	finding->status = HEALTH_OK;
	finding->detail = unconstify(char *, detail);
	finding->fix = NULL;
}

/* For what no SQL can mend. */
static char *
then_ask_again(const char *what)
{
	int			len = strlen(what);

	while (len > 0 && what[len - 1] == '.')
		len--;
	return psprintf("-- %.*s, then:\nSELECT * FROM %s.provconn_doctor();", len, what,
					quote_identifier(get_namespace_name(provconn_catalog_api_schema())));
}

static void
put_finding(ReturnSetInfo *result, const Finding *finding)
{
	Datum		values[4];
	bool		nulls[4] = {false};

	values[0] = CStringGetTextDatum(finding->check_name);
	values[1] = CStringGetTextDatum(status_names[finding->status]);
	values[2] = CStringGetTextDatum(finding->detail);
	values[3] = finding->fix == NULL ? (Datum) 0 : CStringGetTextDatum(finding->fix);
	nulls[3] = finding->fix == NULL;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}
