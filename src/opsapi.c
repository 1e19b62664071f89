/*
 * opsapi.c (layer 8): entry points for who runs the database.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/pquery.h"
#include "utils/uuid.h"

#include "arguments.h"
#include "compat.h"
#include "erasure.h"
#include "fault.h"
#include "rotation.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(provconn_rotate_key);
PG_FUNCTION_INFO_V1(provconn_reencrypt);
PG_FUNCTION_INFO_V1(provconn_retire_key);
PG_FUNCTION_INFO_V1(provconn_rewrap_keys);
PG_FUNCTION_INFO_V1(provconn_erase_user);

static Datum run_rotate_key(PG_FUNCTION_ARGS);
static Datum run_retire_key(PG_FUNCTION_ARGS);
static Datum run_rewrap_keys(PG_FUNCTION_ARGS);
static Datum run_erase_user(PG_FUNCTION_ARGS);
static void commit_and_go_on(void);

Datum
provconn_rotate_key(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_rotate_key, fcinfo);
}

static Datum
run_rotate_key(PG_FUNCTION_ARGS)
{
	provconn_call_require_writable("provconn_rotate_key");
	PG_RETURN_INT32(provconn_rotation_rotate(GetUserId()));
}

/* A procedure: it commits as it goes. */
Datum
provconn_reencrypt(PG_FUNCTION_ARGS)
{
	CallContext *context = (CallContext *) fcinfo->context;

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "batch_size");
	provconn_call_require_writable("provconn_reencrypt");
	if (context == NULL || !IsA(context, CallContext) || context->atomic)
		provconn_fault_raise(PROVCONN_FAULT_IN_TRANSACTION, "provconn_reencrypt");

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	provconn_rotation_reencrypt(GetUserId(), PG_GETARG_INT32(0), commit_and_go_on);
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
provconn_retire_key(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_retire_key, fcinfo);
}

static Datum
run_retire_key(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "key_id");
	provconn_call_require_writable("provconn_retire_key");
	provconn_rotation_retire(GetUserId(), PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}

Datum
provconn_rewrap_keys(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_rewrap_keys, fcinfo);
}

static Datum
run_rewrap_keys(PG_FUNCTION_ARGS)
{
	provconn_call_require_writable("provconn_rewrap_keys");
	PG_RETURN_INT32(provconn_rotation_rewrap(GetUserId()));
}

Datum
provconn_erase_user(PG_FUNCTION_ARGS)
{
	return provconn_statement_watch(run_erase_user, fcinfo);
}

static Datum
run_erase_user(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "user_id");
	provconn_call_require_writable("provconn_erase_user");
	PG_RETURN_INT32(provconn_erasure_erase_user(GetUserId(), UUID_ARGUMENT(0)));
}

/*
 * The new transaction needs a snapshot, as the first one had from the portal; it
 * must not be one that a row which was waited for is too new for.
 */
static void
commit_and_go_on(void)
{
	SPI_commit();
	XactIsoLevel = XACT_READ_COMMITTED;
	EnsurePortalSnapshotExists();
}
