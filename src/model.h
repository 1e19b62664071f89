/*
 * model.h (layer 0): the nouns of provconn, as plain C.
 *
 * No PostgreSQL type appears here, so that the layers above it that need no
 * server either can be compiled, tested and fuzzed on their own.
 */
#ifndef PROVCONN_MODEL_H
#define PROVCONN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROVCONN_SHARD_COUNT 4096
#define PROVCONN_KEY_LENGTH 32
#define PROVCONN_SLUG_MAX 50                   /* characters */
#define PROVCONN_NAME_MAX 100                  /* characters */
#define PROVCONN_ALIAS_MAX 100                 /* characters */
#define PROVCONN_METADATA_MAX (16 * 1024)      /* bytes as text */
#define PROVCONN_WORKER_MAX 100                /* characters */
#define PROVCONN_SECRET_MAX (16 * 1024 * 1024) /* bytes */
#define PROVCONN_REASON_MAX 1000               /* characters; what is longer is cut off */

/* A stretch of bytes that somebody else owns; data is NULL for SQL NULL. */
typedef struct ProvconnSpan
{
	const char *data;
	size_t		len;
} ProvconnSpan;

typedef struct ProvconnUuid
{
	unsigned char bytes[16];
} ProvconnUuid;

/* In the order of the SQL enum; NONE stands for a connection not yet made. */
typedef enum ProvconnStatus
{
	PROVCONN_STATUS_NONE = -1,
	PROVCONN_STATUS_PENDING,
	PROVCONN_STATUS_ACTIVE,
	PROVCONN_STATUS_EXPIRED,
	PROVCONN_STATUS_REVOKED,
	PROVCONN_STATUS_FAILED,
	PROVCONN_STATUS_DISCONNECTED
} ProvconnStatus;

#define PROVCONN_STATUS_COUNT 6

/* In the order of the SQL enum. */
typedef enum ProvconnCredentialType
{
	PROVCONN_CREDENTIAL_NONE = -1,
	PROVCONN_CREDENTIAL_OAUTH2,
	PROVCONN_CREDENTIAL_API_KEY,
	PROVCONN_CREDENTIAL_LINK_TOKEN,
	PROVCONN_CREDENTIAL_CERTIFICATE,
	PROVCONN_CREDENTIAL_FILE_IMPORT,
	PROVCONN_CREDENTIAL_CUSTOM
} ProvconnCredentialType;

#define PROVCONN_CREDENTIAL_COUNT 6

/* What may happen to a connection's state. */
typedef enum ProvconnEvent
{
	PROVCONN_EVENT_INITIATE,
	PROVCONN_EVENT_CONNECT,
	PROVCONN_EVENT_REFRESH,
	PROVCONN_EVENT_RECORD_SYNC,
	PROVCONN_EVENT_REAUTHENTICATE,
	PROVCONN_EVENT_MARK_EXPIRED,
	PROVCONN_EVENT_MARK_REVOKED,
	PROVCONN_EVENT_MARK_FAILED,
	PROVCONN_EVENT_DISCONNECT
} ProvconnEvent;

#define PROVCONN_EVENT_COUNT 9

/* Why a command was refused; their codes, SQLSTATEs and texts are fault.c's. */
typedef enum ProvconnRefusal
{
	PROVCONN_ACCEPTED,
	PROVCONN_INVALID_USER,
	PROVCONN_INVALID_CREDENTIALS,
	PROVCONN_INVALID_PROVIDER_SLUG,
	PROVCONN_INVALID_ALIAS,
	PROVCONN_INVALID_METADATA,
	PROVCONN_PROVIDER_NOT_FOUND,
	PROVCONN_PROVIDER_INACTIVE,
	PROVCONN_CONNECTION_NOT_FOUND,
	PROVCONN_NOT_OWNED_BY_USER,
	PROVCONN_NOT_ACTIVE,
	PROVCONN_INVALID_TRANSITION,
	PROVCONN_STALE_VERSION,
	PROVCONN_LEASE_LOST,
	PROVCONN_IDEMPOTENCY_CONFLICT,
	PROVCONN_REVEAL_LIMITED
} ProvconnRefusal;

#define PROVCONN_REFUSAL_COUNT 16

#endif							/* PROVCONN_MODEL_H */
