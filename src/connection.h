/*
 * connection.h (layer 5): connection rows.
 */
#ifndef PROVCONN_CONNECTION_H
#define PROVCONN_CONNECTION_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "envelope.h"
#include "model.h"
#include "store.h"

/* The columns of provconn.connection that the library reads or writes. */
enum
{
	CONNECTION_SHARD_KEY,
	CONNECTION_ID,
	CONNECTION_USER_ID,
	CONNECTION_PROVIDER_ID,
	CONNECTION_STATUS,
	CONNECTION_VERSION,
	CONNECTION_CREDENTIAL_TYPE,
	CONNECTION_EXPIRES_AT,
	CONNECTION_ALIAS,
	CONNECTION_METADATA,
	CONNECTION_CONNECTED_AT,
	CONNECTION_LAST_SYNC_AT,
	CONNECTION_CREATED_AT,
	CONNECTION_UPDATED_AT,
	CONNECTION_FAILURE_COUNT,
	CONNECTION_FAILING_SINCE,
	CONNECTION_LAST_FAILURE,
	CONNECTION_NEXT_ATTEMPT_AT,
	CONNECTION_LEASED_BY,
	CONNECTION_LEASE,
	CONNECTION_LEASED_UNTIL,
	CONNECTION_HELD_UNTIL,
	CONNECTION_DUE_AT,
	CONNECTION_AUDIT_ID,
	CONNECTION_AUDIT_SEQ,
	CONNECTION_AUDIT_AT,
	CONNECTION_AUDIT_HASH,
	CONNECTION_CREDENTIAL,
	CONNECTION_COLUMN_COUNT
};

/* Shared with the triggers, which are handed tuples of it. */
extern ProvconnTable provconn_connection_table;

/* A connection's row, found and, for commands, locked. */
typedef struct ProvconnConnection
{
	ProvconnRow row;
	ProvconnUuid id;
	ProvconnUuid user_id;
	ProvconnUuid provider_id;
	ProvconnStatus status;
	int32		version;
	bool		has_lease;
	ProvconnUuid lease;
	int32		failure_count;
} ProvconnConnection;

/* What a new row starts with. */
typedef struct ProvconnNewConnection
{
	ProvconnUuid id;
	ProvconnUuid user_id;
	ProvconnUuid provider_id;
	ProvconnStatus status;
	ProvconnSpan alias;
	TimestampTz now;
} ProvconnNewConnection;

/* Credentials as they are stored. */
typedef struct ProvconnStoredCredentials
{
	ProvconnCredentialType type;
	bool		expires;
	TimestampTz expires_at;
	ProvconnSpan secret;
} ProvconnStoredCredentials;

/* Finds a connection by id; open until provconn_connection_close(). */
extern bool provconn_connection_find(const ProvconnUuid *id, ProvconnLock lock,
									 ProvconnConnection *connection);
extern void provconn_connection_close(ProvconnConnection *connection);

/*
 * Finds and locks the pending connection that a connect with this alias
 * completes, or returns false.
 */
extern bool provconn_connection_find_pending(const ProvconnUuid *user_id,
											 const ProvconnUuid *provider_id,
											 ProvconnSpan alias,
											 ProvconnConnection *connection);

/* Whether the row has its alias, and whether it was ever active. */
extern bool provconn_connection_is_null(ProvconnConnection *connection, int column);

/* The sealed credential and what it is bound to; false when there is none. */
extern bool provconn_connection_credential(ProvconnConnection *connection,
										   ProvconnBinding *binding, bytea **sealed);

/* Begins the changes of a row: updated_at. */
extern void provconn_connection_touch(ProvconnValues *changes, TimestampTz now);

/* The columns that a write of credentials sets, status and version among them. */
extern void provconn_connection_set_credentials(ProvconnValues *changes,
												const ProvconnBinding *binding, bytea *sealed);

/* The columns that change when a connection stops being active, but lives on. */
extern void provconn_connection_set_inactive(ProvconnValues *changes, ProvconnStatus status);

/* The columns that a disconnect sets. */
extern void provconn_connection_set_disconnected(ProvconnValues *changes);

/* The columns that a claim sets. */
extern void provconn_connection_set_lease(ProvconnValues *changes, ProvconnSpan worker,
										  const ProvconnUuid *lease, TimestampTz until);

/* The columns that a failure sets; it ends the lease. */
extern void provconn_connection_set_failure(ProvconnValues *changes,
											ProvconnConnection *connection,
											ProvconnSpan reason, TimestampTz now);

/* Whether this is the current lease; none (NULL) never is. */
extern bool provconn_connection_is_leased(const ProvconnConnection *connection,
										  const ProvconnUuid *lease);

/* The type of its credentials; NONE where there are none. */
extern ProvconnCredentialType provconn_connection_type(ProvconnConnection *connection);

/* A time of the row; false where it is null. */
extern bool provconn_connection_time(ProvconnConnection *connection, int column,
									 TimestampTz *time);

/* The columns of a lease and of failures, as after a success. */
extern void provconn_connection_clear_lease(ProvconnValues *changes);
extern void provconn_connection_clear_failures(ProvconnValues *changes);

extern void provconn_connection_set_alias(ProvconnValues *changes, ProvconnSpan alias);

/* Erases what its user called it, and what others noted of it. */
extern void provconn_connection_erase(ProvconnValues *changes);

/* Puts the row to its right place in the queue; no change that the audit knows. */
extern void provconn_connection_requeue(ProvconnConnection *connection);

/* Writes the changes, or a new row; the triggers do the rest. */
extern void provconn_connection_update(ProvconnConnection *connection,
									   const ProvconnValues *changes);
extern void provconn_connection_insert(const ProvconnNewConnection *fresh,
									   ProvconnValues *values);

/* All connections of a user, in the order of their ids; *count is how many. */
extern Datum *provconn_connection_list(const ProvconnUuid *user_id, int *count);

/* A stretch of the table, in the order of its primary key. */
typedef struct ProvconnStretch
{
	int			count;
	Datum	   *ids;
	Datum	   *key_ids;
} ProvconnStretch;

/* The next ones with a credential after that id; after zeros, the first ones. */
extern void provconn_connection_walk(const ProvconnUuid *id, int limit,
									 ProvconnStretch *stretch);

/* How many credentials another data key has sealed; whether this one has sealed any. */
extern int64 provconn_connection_count_other(int32 key_id);
extern bool provconn_connection_uses_key(int32 key_id);

#endif							/* PROVCONN_CONNECTION_H */
