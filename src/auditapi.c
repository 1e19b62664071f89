/*
 * auditapi.c (layer 8): entry points of the audit: seals, verification, proofs.
 *
 * Verification is SQL (src/install/verify.sql) over functions from here that
 * compute the hashes.  It all runs in the snapshot of the calling statement, as
 * the owner of the tables.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "archive.h"
#include "arguments.h"
#include "compat.h"
#include "entry.h"
#include "fault.h"
#include "keyring.h"
#include "ring.h"
#include "seal.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(provconn_seal_audit);
PG_FUNCTION_INFO_V1(provconn_verify_audit);
PG_FUNCTION_INFO_V1(provconn_audit_proof);
PG_FUNCTION_INFO_V1(provconn_events);
PG_FUNCTION_INFO_V1(provconn_attempts_lost);
PG_FUNCTION_INFO_V1(provconn_archive_audit);
PG_FUNCTION_INFO_V1(provconn_attach_audit);
PG_FUNCTION_INFO_V1(provconn_audit_origin);
PG_FUNCTION_INFO_V1(provconn_audit_entry_hash);
PG_FUNCTION_INFO_V1(provconn_audit_personal_hash);
PG_FUNCTION_INFO_V1(provconn_audit_seal_leaves);
PG_FUNCTION_INFO_V1(provconn_audit_seal_root);
PG_FUNCTION_INFO_V1(provconn_audit_seal_hash);
PG_FUNCTION_INFO_V1(provconn_audit_seal_is_authentic);

#define FINDING_COLUMNS 7
#define EVENT_COLUMNS 16

#define FINDINGS "SELECT * FROM provconn."

static ProvconnStatement verify_triggers = {
	.sql = FINDINGS "verify_triggers()",
	.custom = true
};

static ProvconnStatement verify_seals = {
	.sql = FINDINGS "verify_seals($1)",
	.nargs = 1,
	.types = {BOOLOID},
	.custom = true
};

static ProvconnStatement verify_digest = {
	.sql = FINDINGS "verify_digest($1)",
	.nargs = 1,
	.types = {JSONBOID},
	.custom = true
};

static ProvconnStatement verify_rows = {
	.sql = FINDINGS "verify_rows($1, $2)",
	.nargs = 2,
	.types = {UUIDOID, UUIDOID},
	.custom = true
};

static ProvconnStatement verify_erasures = {
	.sql = FINDINGS "verify_erasures($1, $2)",
	.nargs = 2,
	.types = {UUIDOID, UUIDOID},
	.custom = true
};

static ProvconnStatement verify_chains = {
	.sql = FINDINGS "verify_chains($1, $2)",
	.nargs = 2,
	.types = {UUIDOID, UUIDOID},
	.custom = true
};

static ProvconnStatement verify_archives = {
	.sql = FINDINGS "verify_archives()",
	.custom = true
};

static ProvconnStatement verify_imports = {
	.sql = FINDINGS "verify_imports()",
	.custom = true
};

static ProvconnStatement events_after = {
	.sql = "SELECT * FROM provconn.events_after($1, $2, $3, $4)",
	.nargs = 4,
	.types = {INT8OID, INT4OID, INT8OID, INT4OID},
	.custom = true
};

static ProvconnStatement is_position = {
	.sql = "SELECT FROM provconn.seal AS s WHERE s.seal_id OPERATOR(pg_catalog.=) $1"
	" AND pg_catalog.left(provconn.hex(s.seal_hash), 8) OPERATOR(pg_catalog.=) $2",
	.nargs = 2,
	.types = {INT8OID, TEXTOID}
};

static void read_position(const char *text, int64 *seal, int32 *leaf);
static bool put_event(HeapTuple tuple, TupleDesc tupdesc, void *arg);
static void put_row(ReturnSetInfo *result, HeapTuple tuple, TupleDesc tupdesc, int columns);
static void find_problems(ReturnSetInfo *result, ProvconnStatement *statement,
						  const Datum *values, const char *nulls);
static bool put_finding(HeapTuple tuple, TupleDesc tupdesc, void *arg);
static bool try_seal_key(ReturnSetInfo *result);
static Datum id_floor(FunctionCallInfo fcinfo, int argument);
static void read_row(FunctionCallInfo fcinfo, const int *columns, ProvconnValues *row);
static ProvconnSpan bytes_argument(FunctionCallInfo fcinfo, int argument);
static Datum json_datum(StringInfo json);

Datum
provconn_seal_audit(PG_FUNCTION_ARGS)
{
	StringInfoData json;

	provconn_call_require_writable("provconn_seal_audit");
	(void) provconn_seal_make(false);
	initStringInfo(&json);
	if (!provconn_seal_digest(&json))
		PG_RETURN_NULL();
	return json_datum(&json);
}

Datum
provconn_verify_audit(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		range[2];
	char		nulls[3] = "  ";
	Datum		value;

	InitMaterializedSRF(fcinfo, 0);
	find_problems(result, &verify_triggers, NULL, NULL);
	value = BoolGetDatum(try_seal_key(result));
	find_problems(result, &verify_seals, &value, NULL);
	if (!PG_ARGISNULL(0))
	{
		value = PG_GETARG_DATUM(0);
		find_problems(result, &verify_digest, &value, NULL);
	}
	for (int i = 0; i < 2; i++)
	{
		bool		is_open = PG_ARGISNULL(1 + i) ||
			(i == 0 ? TIMESTAMP_IS_NOBEGIN(PG_GETARG_TIMESTAMPTZ(1)) : TIMESTAMP_IS_NOEND(PG_GETARG_TIMESTAMPTZ(2)));

		nulls[i] = is_open ? 'n' : ' ';
		range[i] = is_open ? (Datum) 0 : id_floor(fcinfo, 1 + i);
	}
	find_problems(result, &verify_rows, range, nulls);
	find_problems(result, &verify_erasures, range, nulls);
	find_problems(result, &verify_chains, range, nulls);
	find_problems(result, &verify_archives, NULL, NULL);
	find_problems(result, &verify_imports, NULL, NULL);
	return (Datum) 0;
}

Datum
provconn_audit_proof(PG_FUNCTION_ARGS)
{
	StringInfoData json;

	initStringInfo(&json);
	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "audit_id");
	if (!provconn_seal_prove((const ProvconnUuid *) PG_GETARG_UUID_P(0), &json))
		provconn_fault_raise(PROVCONN_FAULT_NOT_SEALED);
	return json_datum(&json);
}

/*
 * The feed is what committed seals are over: a position must not be taken back by
 * a rollback.  Then what is new is sealed, for the next call, where that can be
 * done here; somebody else who is at it does as well.
 */
Datum
provconn_events(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		seal = 0;
	int32		leaf = -1;
	int32		max_events = PG_ARGISNULL(1) ? PG_INT32_MAX : PG_GETARG_INT32(1);
	Datum		values[4];

	if (max_events < 0)
		provconn_fault_raise(PROVCONN_FAULT_INVALID_ARGUMENT, "max_events must not be negative");
	if (!PG_ARGISNULL(0))
		read_position(text_to_cstring(PG_GETARG_TEXT_PP(0)), &seal, &leaf);
	InitMaterializedSRF(fcinfo, 0);
	values[0] = Int64GetDatum(seal);
	values[1] = Int32GetDatum(leaf);
	values[2] = Int64GetDatum(provconn_seal_limit());
	values[3] = Int32GetDatum(max_events);
	provconn_store_query(&provconn_seal_table, &events_after, values, NULL, false, put_event, result);
	/* Not where the lock of who seals would be held for as long as a client likes. */
	if (!IsTransactionBlock() && provconn_seal_is_possible())
		(void) provconn_seal_make(true);
	return (Datum) 0;
}

Datum
provconn_attempts_lost(PG_FUNCTION_ARGS)
{
	int			ring = provconn_ring_here();

	PG_RETURN_INT64(ring >= 0 ? (int64) provconn_ring_losses(ring) : 0);
}

/* Midnight of a day is in its month, in UTC, as months are. */
Datum
provconn_archive_audit(PG_FUNCTION_ARGS)
{
	DateADT		day;

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "month");
	provconn_call_require_writable("provconn_archive_audit");
	day = PG_GETARG_DATEADT(0);
	if (DATE_NOT_FINITE(day))
		provconn_fault_raise(PROVCONN_FAULT_NO_MONTH, "month must be finite");
	PG_RETURN_OID(provconn_archive_detach(GetUserId(), (TimestampTz) day * USECS_PER_DAY));
}

Datum
provconn_attach_audit(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "archive");
	provconn_call_require_writable("provconn_attach_audit");
	provconn_archive_attach(GetUserId(), PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

Datum
provconn_audit_origin(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(provconn_entry_origin());
}

/* The columns in the order of the hash, after the hash of the row before. */
Datum
provconn_audit_entry_hash(PG_FUNCTION_ARGS)
{
	ProvconnValues row = {0};
	unsigned char hash[PROVCONN_DIGEST_LENGTH];

	if (!PG_ARGISNULL(0))
		provconn_values_set(&row, ENTRY_PREVIOUS_HASH, PG_GETARG_DATUM(0));
	for (int i = 0; provconn_entry_hashed[i] >= 0; i++)
		if (!PG_ARGISNULL(1 + i))
			provconn_values_set(&row, provconn_entry_hashed[i], PG_GETARG_DATUM(1 + i));
	provconn_entry_hash(&row, hash);
	return provconn_digest_datum(hash);
}

Datum
provconn_audit_personal_hash(PG_FUNCTION_ARGS)
{
	static const int columns[] = {
		ENTRY_PERSONAL_SALT, ENTRY_USER_ID, ENTRY_OWNER_ID, ENTRY_REASON, ENTRY_APPLICATION_NAME,
		ENTRY_CLIENT_ADDRESS, -1
	};
	ProvconnValues row = {0};
	unsigned char hash[PROVCONN_DIGEST_LENGTH];

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	read_row(fcinfo, columns, &row);
	provconn_entry_personal_hash(&row, hash);
	return provconn_digest_datum(hash);
}

Datum
provconn_audit_seal_leaves(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	ProvconnSpan leaves;
	const char *leaf;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;
		ProvconnSpan *kept;

		context = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		kept = palloc(sizeof(ProvconnSpan));
		*kept = bytes_argument(fcinfo, 0);
		context->user_fctx = kept;
		context->max_calls = kept->len / PROVCONN_SEAL_LEAF;
		if (get_call_result_type(fcinfo, NULL, &context->tuple_desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		BlessTupleDesc(context->tuple_desc);
		MemoryContextSwitchTo(caller);
	}
	context = SRF_PERCALL_SETUP();
	if (context->call_cntr >= context->max_calls)
		SRF_RETURN_DONE(context);
	leaves = *(ProvconnSpan *) context->user_fctx;
	leaf = leaves.data + context->call_cntr * PROVCONN_SEAL_LEAF;
	values[0] = Int32GetDatum((int32) context->call_cntr);
	values[1] = UUIDPGetDatum((const pg_uuid_t *) leaf);
	values[2] = provconn_digest_datum((const unsigned char *) leaf + sizeof(ProvconnUuid));
	SRF_RETURN_NEXT(context, HeapTupleGetDatum(heap_form_tuple(context->tuple_desc, values, nulls)));
}

Datum
provconn_audit_seal_root(PG_FUNCTION_ARGS)
{
	unsigned char root[PROVCONN_DIGEST_LENGTH];

	provconn_seal_root(bytes_argument(fcinfo, 0), bytes_argument(fcinfo, 1), root);
	return provconn_digest_datum(root);
}

Datum
provconn_audit_seal_hash(PG_FUNCTION_ARGS)
{
	ProvconnSeal seal = {0};
	unsigned char hash[PROVCONN_DIGEST_LENGTH];
	ProvconnSpan root;

	for (int i = 1; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	if (!PG_ARGISNULL(0))
	{
		ProvconnSpan previous = bytes_argument(fcinfo, 0);

		memcpy(seal.previous, previous.data, Min(previous.len, sizeof(seal.previous)));
	}
	seal.seal_id = PG_GETARG_INT64(1);
	seal.sealed_at = PG_GETARG_TIMESTAMPTZ(2);
	seal.origin = PG_GETARG_INT32(3);
	seal.row_count = PG_GETARG_INT32(4);
	seal.head_count = PG_GETARG_INT32(5);
	memcpy(&seal.first_id, PG_GETARG_UUID_P(6), sizeof(seal.first_id));
	memcpy(&seal.last_id, PG_GETARG_UUID_P(7), sizeof(seal.last_id));
	seal.settled = OidOutputFunctionCall(F_PG_SNAPSHOT_OUT, PG_GETARG_DATUM(8));
	root = bytes_argument(fcinfo, 9);
	memcpy(seal.root, root.data, Min(root.len, sizeof(seal.root)));
	provconn_seal_hash(&seal, hash);
	return provconn_digest_datum(hash);
}

Datum
provconn_audit_seal_is_authentic(PG_FUNCTION_ARGS)
{
	ProvconnSpan hash = bytes_argument(fcinfo, 1);

	if (hash.len != PROVCONN_DIGEST_LENGTH)
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(provconn_seal_is_authentic(PG_GETARG_INT32(0), (const unsigned char *) hash.data,
											  bytes_argument(fcinfo, 2)));
}

static void
find_problems(ReturnSetInfo *result, ProvconnStatement *statement,
			  const Datum *values, const char *nulls)
{
	provconn_store_query(&provconn_seal_table, statement, values, nulls, true, put_finding, result);
}

static bool
put_finding(HeapTuple tuple, TupleDesc tupdesc, void *arg)
{
	put_row(arg, tuple, tupdesc, FINDING_COLUMNS);
	return true;
}

static bool
put_event(HeapTuple tuple, TupleDesc tupdesc, void *arg)
{
	put_row(arg, tuple, tupdesc, EVENT_COLUMNS);
	return true;
}

static void
put_row(ReturnSetInfo *result, HeapTuple tuple, TupleDesc tupdesc, int columns)
{
	Datum		values[EVENT_COLUMNS];
	bool		nulls[EVENT_COLUMNS];

	for (int i = 0; i < columns; i++)
		values[i] = SPI_getbinval(tuple, tupdesc, i + 1, &nulls[i]);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * The number of a seal, the place of a row in it, and how the seal's hash begins:
 * one that a crash or a failover has taken away, and its number with it, is not
 * taken for the next one of that number.
 */
static void
read_position(const char *text, int64 *seal, int32 *leaf)
{
	Datum		values[2];
	char	   *end;
	long		place;

	errno = 0;
	*seal = strtoi64(text, &end, 10);
	if (errno == 0 && end != text && *end == ':' && end[1] >= '0' && end[1] <= '9')
	{
		place = strtol(end + 1, &end, 10);
		*leaf = (int32) place;
		values[0] = Int64GetDatum(*seal);
		values[1] = CStringGetTextDatum(*end == ':' ? end + 1 : "");
		if (errno == 0 && *seal > 0 && place <= PG_INT32_MAX &&
			provconn_store_run(&provconn_seal_table, &is_position, values, NULL, 0, NULL, NULL) > 0)
			return;
	}
	provconn_fault_raise(PROVCONN_FAULT_INVALID_ARGUMENT,
						 "after must be a position that provconn_events returned, of a seal that is still there");
}

/* Whether the newest key of seals opens; if not, that is a finding, and the rest goes on. */
static bool
try_seal_key(ReturnSetInfo *result)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool opens = false;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		opens = provconn_keyring_check_seal_keys();
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;
		Datum		values[FINDING_COLUMNS] = {0};
		bool		nulls[FINDING_COLUMNS] = {false, false, true, true, true, true, false};

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		values[0] = CStringGetTextDatum("problem");
		values[1] = CStringGetTextDatum("seal_key");
		values[6] = CStringGetTextDatum(psprintf("seals cannot be authenticated: %s", error->message));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		opens = false;
	}
	PG_END_TRY();
	return opens;
}

/* The least id of a time; ids begin in 1970, and their time saturates. */
static Datum
id_floor(FunctionCallInfo fcinfo, int argument)
{
	ProvconnUuid *floor = palloc(sizeof(ProvconnUuid));
	TimestampTz time = PG_GETARG_TIMESTAMPTZ(argument);
	uint64		unix_ms = 0;

	if (TIMESTAMP_IS_NOEND(time))
		unix_ms = PG_UINT64_MAX;
	else if (!TIMESTAMP_IS_NOBEGIN(time) && provconn_entry_time(time) > 0)
		unix_ms = (uint64) provconn_entry_time(time) / 1000;
	*floor = provconn_uuid7_floor(unix_ms);
	return UUIDPGetDatum((pg_uuid_t *) floor);
}

static void
read_row(FunctionCallInfo fcinfo, const int *columns, ProvconnValues *row)
{
	for (int i = 0; columns[i] >= 0; i++)
		if (!PG_ARGISNULL(i))
			provconn_values_set(row, columns[i], PG_GETARG_DATUM(i));
}

static ProvconnSpan
bytes_argument(FunctionCallInfo fcinfo, int argument)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(argument);
	ProvconnSpan span = {VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)};

	return span;
}

static Datum
json_datum(StringInfo json)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json->data));
}
