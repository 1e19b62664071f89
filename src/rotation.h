/*
 * rotation.h (layer 7): changing keys, and sealing anew what others sealed.
 */
#ifndef PROVCONN_ROTATION_H
#define PROVCONN_ROTATION_H

#include "postgres.h"

/* As the commands of command.h: one audit row each. */
extern int32 provconn_rotation_rotate(Oid caller);
extern int	provconn_rotation_rewrap(Oid caller);
extern void provconn_rotation_retire(Oid caller, int32 key_id);

/*
 * Seals everything with the current data key, at most batch_size connections in
 * a transaction.  commit ends one and begins the next; nothing of a transaction
 * is held across it.
 */
extern void provconn_rotation_reencrypt(Oid caller, int batch_size, void (*commit)(void));

#endif /* PROVCONN_ROTATION_H */
