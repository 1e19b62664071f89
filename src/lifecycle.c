/*
 * lifecycle.c (layer 1): the state machine of a connection.
 *
 * The table below is the only place where the states' rules stand: commands,
 * the trigger, the state diagram and the view of transitions all read it.  At
 * most one row has a given (from, event).  PROVCONN_STATUS_NONE, a connection
 * not yet made, appears as a source only.
 */
#include "lifecycle.h"

static const ProvconnTransition transitions[] = {
	{PROVCONN_STATUS_NONE, PROVCONN_EVENT_INITIATE, PROVCONN_STATUS_PENDING},
	{PROVCONN_STATUS_NONE, PROVCONN_EVENT_CONNECT, PROVCONN_STATUS_ACTIVE},
	{PROVCONN_STATUS_PENDING, PROVCONN_EVENT_CONNECT, PROVCONN_STATUS_ACTIVE},
	{PROVCONN_STATUS_PENDING, PROVCONN_EVENT_MARK_FAILED, PROVCONN_STATUS_FAILED},
	{PROVCONN_STATUS_PENDING, PROVCONN_EVENT_DISCONNECT, PROVCONN_STATUS_DISCONNECTED},
	{PROVCONN_STATUS_ACTIVE, PROVCONN_EVENT_REFRESH, PROVCONN_STATUS_ACTIVE},
	{PROVCONN_STATUS_ACTIVE, PROVCONN_EVENT_RECORD_SYNC, PROVCONN_STATUS_ACTIVE},
	{PROVCONN_STATUS_ACTIVE, PROVCONN_EVENT_MARK_EXPIRED, PROVCONN_STATUS_EXPIRED},
	{PROVCONN_STATUS_ACTIVE, PROVCONN_EVENT_MARK_REVOKED, PROVCONN_STATUS_REVOKED},
	{PROVCONN_STATUS_ACTIVE, PROVCONN_EVENT_DISCONNECT, PROVCONN_STATUS_DISCONNECTED},
	{PROVCONN_STATUS_EXPIRED, PROVCONN_EVENT_REAUTHENTICATE, PROVCONN_STATUS_ACTIVE},
	{PROVCONN_STATUS_EXPIRED, PROVCONN_EVENT_DISCONNECT, PROVCONN_STATUS_DISCONNECTED},
	{PROVCONN_STATUS_REVOKED, PROVCONN_EVENT_REAUTHENTICATE, PROVCONN_STATUS_ACTIVE},
	{PROVCONN_STATUS_REVOKED, PROVCONN_EVENT_DISCONNECT, PROVCONN_STATUS_DISCONNECTED},
	{PROVCONN_STATUS_FAILED, PROVCONN_EVENT_REAUTHENTICATE, PROVCONN_STATUS_ACTIVE},
	{PROVCONN_STATUS_FAILED, PROVCONN_EVENT_DISCONNECT, PROVCONN_STATUS_DISCONNECTED},
	{PROVCONN_STATUS_DISCONNECTED, PROVCONN_EVENT_DISCONNECT, PROVCONN_STATUS_DISCONNECTED}
};

#define TRANSITION_COUNT ((int) (sizeof(transitions) / sizeof(transitions[0])))

const ProvconnTransition *
provconn_lifecycle_table(int *count)
{
	*count = TRANSITION_COUNT;
	return transitions;
}

ProvconnRefusal
provconn_lifecycle_step(ProvconnStatus from, ProvconnEvent event, ProvconnStatus *to)
{
	int			i;

	for (i = 0; i < TRANSITION_COUNT; i++)
	{
		if (transitions[i].from == from && transitions[i].event == event)
		{
			*to = transitions[i].to;
			return PROVCONN_ACCEPTED;
		}
	}

	/* These two work with an active connection; the others change a state. */
	if (event == PROVCONN_EVENT_REFRESH || event == PROVCONN_EVENT_RECORD_SYNC)
		return PROVCONN_NOT_ACTIVE;
	return PROVCONN_INVALID_TRANSITION;
}

bool
provconn_lifecycle_reaches(ProvconnStatus from, ProvconnStatus to)
{
	int			i;

	for (i = 0; i < TRANSITION_COUNT; i++)
	{
		if (transitions[i].from == from && transitions[i].to == to)
			return true;
	}
	return false;
}

bool
provconn_lifecycle_is_terminal(ProvconnStatus status)
{
	int			i;

	for (i = 0; i < TRANSITION_COUNT; i++)
	{
		if (transitions[i].from == status && transitions[i].to != status)
			return false;
	}
	return true;
}

const char *
provconn_status_name(ProvconnStatus status)
{
	switch (status)
	{
		case PROVCONN_STATUS_NONE:
			return "new";
		case PROVCONN_STATUS_PENDING:
			return "pending";
		case PROVCONN_STATUS_ACTIVE:
			return "active";
		case PROVCONN_STATUS_EXPIRED:
			return "expired";
		case PROVCONN_STATUS_REVOKED:
			return "revoked";
		case PROVCONN_STATUS_FAILED:
			return "failed";
		case PROVCONN_STATUS_DISCONNECTED:
			return "disconnected";
	}
	return NULL;
}

const char *
provconn_credential_type_name(ProvconnCredentialType type)
{
	switch (type)
	{
		case PROVCONN_CREDENTIAL_NONE:
			return NULL;
		case PROVCONN_CREDENTIAL_OAUTH2:
			return "oauth2";
		case PROVCONN_CREDENTIAL_API_KEY:
			return "api_key";
		case PROVCONN_CREDENTIAL_LINK_TOKEN:
			return "link_token";
		case PROVCONN_CREDENTIAL_CERTIFICATE:
			return "certificate";
		case PROVCONN_CREDENTIAL_FILE_IMPORT:
			return "file_import";
		case PROVCONN_CREDENTIAL_CUSTOM:
			return "custom";
	}
	return NULL;
}

const char *
provconn_event_name(ProvconnEvent event)
{
	switch (event)
	{
		case PROVCONN_EVENT_INITIATE:
			return "initiate";
		case PROVCONN_EVENT_CONNECT:
			return "connect";
		case PROVCONN_EVENT_REFRESH:
			return "refresh";
		case PROVCONN_EVENT_RECORD_SYNC:
			return "record_sync";
		case PROVCONN_EVENT_REAUTHENTICATE:
			return "reauthenticate";
		case PROVCONN_EVENT_MARK_EXPIRED:
			return "mark_expired";
		case PROVCONN_EVENT_MARK_REVOKED:
			return "mark_revoked";
		case PROVCONN_EVENT_MARK_FAILED:
			return "mark_failed";
		case PROVCONN_EVENT_DISCONNECT:
			return "disconnect";
	}
	return NULL;
}

bool
provconn_credential_type_refreshes(ProvconnCredentialType type)
{
	return type == PROVCONN_CREDENTIAL_OAUTH2 || type == PROVCONN_CREDENTIAL_LINK_TOKEN;
}
