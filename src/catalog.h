/*
 * catalog.h (layer 3): provconn's types as this database has them.
 */
#ifndef PROVCONN_CATALOG_H
#define PROVCONN_CATALOG_H

#include "postgres.h"

#include "access/htup.h"

#include "model.h"

#define PROVCONN_MAX_FIELDS 12

/* The type of a composite's field; the last four are types of provconn's own. */
typedef enum ProvconnFieldType
{
	PROVCONN_FIELD_BOOL,
	PROVCONN_FIELD_BYTEA,
	PROVCONN_FIELD_INT4,
	PROVCONN_FIELD_TEXT,
	PROVCONN_FIELD_TIMESTAMPTZ,
	PROVCONN_FIELD_UUID,
	PROVCONN_FIELD_SECRET,
	PROVCONN_FIELD_CREDENTIALS,
	PROVCONN_FIELD_CREDENTIAL_TYPE,
	PROVCONN_FIELD_STATUS
} ProvconnFieldType;

typedef struct ProvconnField
{
	const char *name;
	ProvconnFieldType type;
} ProvconnField;

typedef enum ProvconnComposite
{
	PROVCONN_TYPE_CREDENTIALS,
	PROVCONN_TYPE_CONNECT,
	PROVCONN_TYPE_DISCONNECT,
	PROVCONN_TYPE_REFRESH,
	PROVCONN_TYPE_RESULT,
	PROVCONN_TYPE_REVEALED,
	PROVCONN_TYPE_CLAIMED
} ProvconnComposite;

#define PROVCONN_COMPOSITE_COUNT 7

/* The schema that holds the public API. */
extern Oid	provconn_catalog_api_schema(void);

/* The enum provconn_credential_type, for statements that take one. */
extern Oid	provconn_catalog_credential_type_type(void);

/* Datums of the two enums, and back; NONE has no datum. */
extern Datum provconn_catalog_status_datum(ProvconnStatus status);
extern ProvconnStatus provconn_catalog_status(Datum label);
extern Datum provconn_catalog_credential_type_datum(ProvconnCredentialType type);
extern ProvconnCredentialType provconn_catalog_credential_type(Datum label);

/*
 * Takes a composite apart: values and nulls in the order of the type's fields
 * in catalog.c.  An ALTER TYPE that took a field away or changed its type is a
 * clear error; added attributes are passed over.
 */
extern void provconn_catalog_deform(ProvconnComposite composite, Datum datum,
									Datum	   *values, bool *nulls);

/* Builds a composite; attributes that provconn does not know become null. */
extern Datum provconn_catalog_form(ProvconnComposite composite, const Datum *values,
								   const bool *nulls);

/* How many fields the composite has. */
extern int	provconn_catalog_field_count(ProvconnComposite composite);

/* Registers the invalidation callbacks; called once, from _PG_init. */
extern void provconn_catalog_init(void);

#endif							/* PROVCONN_CATALOG_H */
