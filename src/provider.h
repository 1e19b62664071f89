/*
 * provider.h (layer 5): the registry of providers.
 */
#ifndef PROVCONN_PROVIDER_H
#define PROVCONN_PROVIDER_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "model.h"

typedef struct ProvconnProvider
{
	ProvconnUuid id;
	ProvconnSpan slug;			/* in the memory context of the call that found it */
	bool		is_active;
} ProvconnProvider;

extern bool provconn_provider_find(const ProvconnUuid *id, ProvconnProvider *provider);

/* Adds one; the arguments are valid by now.  A duplicate is an error. */
extern void provconn_provider_insert(const ProvconnUuid *id, ProvconnSpan slug, ProvconnSpan name,
									 ProvconnCredentialType credential_type,
									 ProvconnSpan category, TimestampTz now);

/* False where there is no such provider. */
extern bool provconn_provider_set_active(const ProvconnUuid *id, bool active, TimestampTz now);

/* Lowercase letters, digits, - and _, 1 to 50. */
extern bool provconn_provider_slug_is_valid(ProvconnSpan slug);

/* Registers the invalidation callback; called once, from _PG_init. */
extern void provconn_provider_init(void);

#endif							/* PROVCONN_PROVIDER_H */
