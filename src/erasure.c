/*
 * erasure.c (layer 7): what is known of a user, erased.
 *
 * Connections are disconnected and lose alias and metadata; the audit loses the
 * personal values of the user's rows and the salt of their commitments, which
 * stay.  What is left are ids, states and times.  The erasure is on record by a
 * row of its own, which keeps the user's id: without it nobody could be told
 * that they were erased.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit.h"
#include "call.h"
#include "compat.h"
#include "connection.h"
#include "erasure.h"
#include "fault.h"
#include "idempotency.h"
#include "lifecycle.h"
#include "ring.h"

#define ACTION "erase_user"
#define ATTEMPTS_WAIT 10		/* seconds */

static void wait_for_attempts(void);
static void erase_connection(ProvconnCall *call, const ProvconnUuid *id);

int
provconn_erasure_erase_user(Oid caller, const ProvconnUuid *user_id)
{
	ProvconnCall call;
	Datum	   *ids;
	int			count;
	uint64		rows;

	provconn_call_begin(&call, ACTION, caller);
	call.user_id = user_id;
	if (IsolationUsesXactSnapshot())
		provconn_fault_raise(PROVCONN_FAULT_OLD_SNAPSHOT, "provconn_erase_user");
	/* What is under way may be the user's, and so may be what was rolled back. */
	provconn_audit_wait_for_writers();
	wait_for_attempts();
	ids = provconn_connection_list(user_id, &count);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		erase_connection(&call, (ProvconnUuid *) DatumGetUUIDP(ids[i]));
	}
	provconn_idempotency_forget_user(user_id);
	rows = provconn_audit_erase(user_id);
	call.connection_id = NULL;
	provconn_call_note(&call, "%d connections, %llu audit rows", count, (unsigned long long) rows);
	return count;
}

/* They are on record in a moment, or the worker is in trouble, which is said. */
static void
wait_for_attempts(void)
{
	int			ring = provconn_ring_here();

	if (ring < 0 || provconn_ring_wait(ring, ATTEMPTS_WAIT))
		return;
	ereport(WARNING,
			(errmsg("attempts that were rolled back are not on record yet, and may be of this user"),
			 errhint("Erase the user once more, when provconn_doctor() finds the background worker at work."),
			 errhidestmt(true), errhidecontext(true)));
}

static void
erase_connection(ProvconnCall *call, const ProvconnUuid *id)
{
	ProvconnConnection connection;
	ProvconnValues changes = {0};
	ProvconnStatus status;

	if (!provconn_connection_find(id, PROVCONN_LOCK_WAIT, &connection))
		return;
	call->connection_id = id;
	call->now = GetCurrentTimestamp();
	status = provconn_call_status_after(connection.status, PROVCONN_EVENT_DISCONNECT);
	provconn_connection_touch(&changes, call->now);
	if (connection.status != status)
		provconn_connection_set_disconnected(&changes);
	provconn_connection_erase(&changes);
	provconn_call_write(call, &connection, NULL, &changes);
	provconn_connection_close(&connection);
}
