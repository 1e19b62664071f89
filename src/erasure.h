/*
 * erasure.h (layer 7): what is known of a user, erased.
 */
#ifndef PROVCONN_ERASURE_H
#define PROVCONN_ERASURE_H

#include "postgres.h"

#include "model.h"

/* As the commands of command.h; returns how many connections the user had. */
extern int	provconn_erasure_erase_user(Oid caller, const ProvconnUuid *user_id);

#endif /* PROVCONN_ERASURE_H */
