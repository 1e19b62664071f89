/*
 * lifecycle.h (layer 1): the state machine of a connection, once.
 */
#ifndef PROVCONN_LIFECYCLE_H
#define PROVCONN_LIFECYCLE_H

#include "model.h"

typedef struct ProvconnTransition
{
	ProvconnStatus from;
	ProvconnEvent event;
	ProvconnStatus to;
} ProvconnTransition;

/* The whole table; *count is set to its length. */
extern const ProvconnTransition *provconn_lifecycle_table(int *count);

/*
 * Where event leads from status.  PROVCONN_ACCEPTED with *to set, or the
 * refusal, *to untouched.
 */
extern ProvconnRefusal provconn_lifecycle_step(ProvconnStatus from, ProvconnEvent event,
											   ProvconnStatus *to);

/* Whether any event leads from one status to the other; from may be NONE. */
extern bool provconn_lifecycle_reaches(ProvconnStatus from, ProvconnStatus to);

/* Whether no event leads from this status to another one. */
extern bool provconn_lifecycle_is_terminal(ProvconnStatus status);

/*
 * SQL labels; "new" for PROVCONN_STATUS_NONE.  NULL for PROVCONN_CREDENTIAL_NONE
 * and for what is no member of the enum.
 */
extern const char *provconn_status_name(ProvconnStatus status);
extern const char *provconn_credential_type_name(ProvconnCredentialType type);
extern const char *provconn_event_name(ProvconnEvent event);

/* Whether credentials of this type are renewed without their user. */
extern bool provconn_credential_type_refreshes(ProvconnCredentialType type);

#endif /* PROVCONN_LIFECYCLE_H */
