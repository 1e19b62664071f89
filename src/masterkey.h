/*
 * masterkey.h (layer 3): where the master keys come from.
 */
#ifndef PROVCONN_MASTERKEY_H
#define PROVCONN_MASTERKEY_H

#include "postgres.h"

#include "keyfile.h"

/*
 * The master keys, the last one current, in memory that is wiped with
 * CurrentMemoryContext.  Raises PV100 and PV101.
 */
extern const ProvconnMasterKey *provconn_masterkey_read(int *count);

/*
 * Runs provconn.key_command, if there is one and the server is starting; called
 * once, from _PG_init.  Where it fails the server does not start.
 */
extern void provconn_masterkey_init(void);

#endif /* PROVCONN_MASTERKEY_H */
