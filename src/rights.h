/*
 * rights.h (layer 6): capabilities of roles.
 */
#ifndef PROVCONN_RIGHTS_H
#define PROVCONN_RIGHTS_H

#include "postgres.h"

/* Gives a role a capability, or takes it away; for the extension's owner alone. */
extern void provconn_rights_grant(Oid role, const char *capability);
extern void provconn_rights_revoke(Oid role, const char *capability);

/* Grants again what provconn.role_grant lists: after an upgrade brought functions. */
extern void provconn_rights_reapply(void);

/* Takes back what anybody but the owner has on the extension's members. */
extern void provconn_rights_withdraw_defaults(void);

#endif							/* PROVCONN_RIGHTS_H */
