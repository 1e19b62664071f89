/*
 * queueapi.c (layer 8): the entry points of refreshing, and of the refresh queue.
 *
 * As in sqlapi.c, nothing is decided here.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "arguments.h"
#include "catalog.h"
#include "compat.h"
#include "fault.h"
#include "queue.h"
#include "refresh.h"
#include "secret.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(provconn_refresh);
PG_FUNCTION_INFO_V1(provconn_refresh_batch);
PG_FUNCTION_INFO_V1(provconn_claim_due);
PG_FUNCTION_INFO_V1(provconn_report_failure);
PG_FUNCTION_INFO_V1(provconn_release);
PG_FUNCTION_INFO_V1(provconn_expire_overdue);
PG_FUNCTION_INFO_V1(provconn_reset_provider);

static Datum run_refresh(PG_FUNCTION_ARGS);
static Datum run_refresh_batch(PG_FUNCTION_ARGS);
static Datum run_claim_due(PG_FUNCTION_ARGS);
static Datum run_report_failure(PG_FUNCTION_ARGS);
static Datum run_release(PG_FUNCTION_ARGS);
static Datum run_expire_overdue(PG_FUNCTION_ARGS);
static void read_refresh(Datum command, ProvconnRefreshCommand *refresh);
static Tuplestorestate *begin_rows(FunctionCallInfo fcinfo);
static void put_row(Tuplestorestate *rows, Datum composite);
static Datum form_claimed(const ProvconnClaimed *claimed);
static void require_arguments(FunctionCallInfo fcinfo, int count, const char *const *names);

Datum
provconn_refresh(PG_FUNCTION_ARGS)
{
	return provconn_statement_shield(run_refresh, fcinfo);
}

static Datum
run_refresh(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnRefreshCommand command = {0};
	ProvconnOutcome outcome;

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "command");
	provconn_call_require_writable("provconn_refresh");

	read_refresh(PG_GETARG_DATUM(0), &command);
	command.lease = UUID_ARGUMENT(1);
	command.has_expected_version = !PG_ARGISNULL(2);
	command.expected_version = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);

	provconn_command_refresh(caller, &command, &outcome);
	PG_RETURN_DATUM(provconn_form_result(&outcome));
}

Datum
provconn_refresh_batch(PG_FUNCTION_ARGS)
{
	return provconn_statement_shield(run_refresh_batch, fcinfo);
}

static Datum
run_refresh_batch(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	Tuplestorestate *rows;
	ProvconnRefreshCommand *commands;
	ProvconnOutcome *outcomes;
	Datum	   *elements;
	Datum	   *leases;
	Datum	   *versions;
	bool	   *nulls;
	bool	   *lease_nulls;
	bool	   *version_nulls;
	int			count;

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "commands");
	provconn_call_require_writable("provconn_refresh_batch");

	elements = provconn_read_array(fcinfo, 0, InvalidOid, "commands", -1, &nulls, &count);
	leases = provconn_read_array(fcinfo, 1, UUIDOID, "leases", count, &lease_nulls, NULL);
	versions = provconn_read_array(fcinfo, 2, INT4OID, "expected_versions", count, &version_nulls, NULL);

	commands = palloc0(sizeof(ProvconnRefreshCommand) * Max(count, 1));
	outcomes = palloc0(sizeof(ProvconnOutcome) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "an element of commands");
		read_refresh(elements[i], &commands[i]);
		if (leases != NULL)
			commands[i].lease = provconn_uuid_argument(leases[i], lease_nulls[i]);
		if (versions != NULL && !version_nulls[i])
		{
			commands[i].has_expected_version = true;
			commands[i].expected_version = DatumGetInt32(versions[i]);
		}
	}
	provconn_command_refresh_batch(caller, count, commands, outcomes);

	rows = begin_rows(fcinfo);
	for (int i = 0; i < count; i++)
		put_row(rows, provconn_form_result(&outcomes[i]));
	return (Datum) 0;
}

Datum
provconn_claim_due(PG_FUNCTION_ARGS)
{
	return provconn_statement_shield(run_claim_due, fcinfo);
}

static Datum
run_claim_due(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"worker", "within", "max_connections", "lease_for"};
	Oid			caller = GetUserId();
	Tuplestorestate *rows;
	MemoryContext caller_context;
	MemoryContext row_context;
	List	   *claimed;
	ListCell   *cell;

	require_arguments(fcinfo, lengthof(names), names);
	provconn_call_require_writable("provconn_claim_due");
	claimed = provconn_queue_claim(caller, TEXT_ARGUMENT(0), PG_GETARG_INTERVAL_P(1),
								   PG_GETARG_INT32(2), PG_GETARG_INTERVAL_P(3));
	rows = begin_rows(fcinfo);
	row_context = AllocSetContextCreate(CurrentMemoryContext, "provconn claimed row",
										ALLOCSET_DEFAULT_SIZES);
	caller_context = MemoryContextSwitchTo(row_context);
	foreach(cell, claimed)
	{
		Datum		row = form_claimed(lfirst(cell));

		put_row(rows, row);
		provconn_secret_wipe(DatumGetPointer(row), VARSIZE(DatumGetPointer(row)));
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(row_context);
	return (Datum) 0;
}

Datum
provconn_report_failure(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_report_failure, fcinfo);
}

static Datum
run_report_failure(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnOutcome outcome;

	if (PG_ARGISNULL(3))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "permanent");
	provconn_call_require_writable("provconn_report_failure");
	provconn_queue_report_failure(caller, UUID_ARGUMENT(0), UUID_ARGUMENT(1), TEXT_ARGUMENT(2),
								  PG_GETARG_BOOL(3), &outcome);
	PG_RETURN_DATUM(provconn_form_result(&outcome));
}

Datum
provconn_release(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_release, fcinfo);
}

static Datum
run_release(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	ProvconnOutcome outcome;

	provconn_call_require_writable("provconn_release");
	provconn_queue_release(caller, UUID_ARGUMENT(0), UUID_ARGUMENT(1), &outcome);
	PG_RETURN_DATUM(provconn_form_result(&outcome));
}

Datum
provconn_expire_overdue(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_expire_overdue, fcinfo);
}

static Datum
run_expire_overdue(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"grace", "max_connections"};
	Oid			caller = GetUserId();

	require_arguments(fcinfo, lengthof(names), names);
	provconn_call_require_writable("provconn_expire_overdue");
	PG_RETURN_INT32(provconn_queue_expire_overdue(caller, PG_GETARG_INTERVAL_P(0),
												  PG_GETARG_INT32(1)));
}

Datum
provconn_reset_provider(PG_FUNCTION_ARGS)
{
	provconn_call_require_writable("provconn_reset_provider");
	provconn_queue_reset_provider(UUID_ARGUMENT(0));
	PG_RETURN_VOID();
}

static void
read_refresh(Datum command, ProvconnRefreshCommand *refresh)
{
	Datum		values[2];
	bool		nulls[2];

	provconn_catalog_deform(PROVCONN_TYPE_REFRESH, command, values, nulls);
	refresh->connection_id = provconn_uuid_argument(values[0], nulls[0]);
	provconn_read_credentials(values[1], nulls[1], &refresh->credentials);
}

/*
 * The result of a function that returns rows.  They may hold secrets, so they
 * stay in memory: no temporary file gets them from here.
 */
static Tuplestorestate *
begin_rows(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller_context;
	Tuplestorestate *memory_rows;

	InitMaterializedSRF(fcinfo, 0);
	caller_context = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	memory_rows = tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0,
										false, MAX_KILOBYTES);
	MemoryContextSwitchTo(caller_context);
	tuplestore_end(result->setResult);
	result->setResult = memory_rows;
	return memory_rows;
}

static void
put_row(Tuplestorestate *rows, Datum composite)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(composite);
	HeapTupleData tuple;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	tuplestore_puttuple(rows, &tuple);
}

static Datum
form_claimed(const ProvconnClaimed *claimed)
{
	Datum		values[12] = {0};
	bool		nulls[12] = {false};
	ProvconnSpan secret = claimed->credentials.secret;
	Datum		row;

	values[0] = UUIDPGetDatum((const pg_uuid_t *) &claimed->connection_id);
	values[1] = UUIDPGetDatum((const pg_uuid_t *) &claimed->user_id);
	values[2] = UUIDPGetDatum((const pg_uuid_t *) &claimed->provider_id);
	values[3] = PointerGetDatum(cstring_to_text_with_len(claimed->provider_slug.data,
														 claimed->provider_slug.len));
	/* bytea and text share their layout */
	values[4] = values[5] = PointerGetDatum(cstring_to_text_with_len(secret.data, secret.len));
	nulls[5] = !provconn_is_valid_text(secret);
	values[6] = provconn_catalog_credential_type_datum(claimed->credentials.type);
	values[7] = TimestampTzGetDatum(claimed->credentials.expires_at);
	nulls[7] = !claimed->credentials.expires;
	values[8] = Int32GetDatum(claimed->version);
	values[9] = Int32GetDatum(claimed->attempt);
	values[10] = UUIDPGetDatum((const pg_uuid_t *) &claimed->lease);
	values[11] = TimestampTzGetDatum(claimed->leased_until);
	row = provconn_catalog_form(PROVCONN_TYPE_CLAIMED, values, nulls);
	provconn_secret_wipe(DatumGetPointer(values[4]), VARSIZE(DatumGetPointer(values[4])));
	return row;
}

static void
require_arguments(FunctionCallInfo fcinfo, int count, const char *const *names)
{
	for (int i = 0; i < count; i++)
		if (PG_ARGISNULL(i))
			provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, names[i]);
}
