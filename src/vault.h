/*
 * vault.h (layer 5): credentials, sealed and opened.
 */
#ifndef PROVCONN_VAULT_H
#define PROVCONN_VAULT_H

#include "postgres.h"

#include "envelope.h"

/* Seals a secret with the current data key, in CurrentMemoryContext. */
extern bytea *provconn_vault_seal(const ProvconnBinding *binding, ProvconnSpan secret);

/*
 * Opens a sealed credential; false when it was changed, or is not this row's.
 * The plaintext is wiped with CurrentMemoryContext.  Faults of keys are raised.
 */
extern bool provconn_vault_open(const ProvconnBinding *binding, const bytea *sealed,
								ProvconnSpan *secret);

#endif							/* PROVCONN_VAULT_H */
