/*
 * catalog.c (layer 3): provconn's types as this database has them.
 *
 * The API's schema is found through the type of provconn.connection.status:
 * every type of ours lives in the same schema.  Oids are cached for the life of
 * the backend and dropped whenever a type, an enum label or a relation of that
 * name changes.  The shape of a composite is checked again whenever the type
 * cache gives it a new identifier, so an ALTER TYPE can't mislead us.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "compat.h"
#include "fault.h"
#include "lifecycle.h"

typedef struct CompositeShape
{
	const char *type_name;
	int			nfields;
	ProvconnField fields[PROVCONN_MAX_FIELDS];
} CompositeShape;

typedef struct CompositeMap
{
	uint64		tupdesc_identifier; /* 0: not checked yet */
	AttrNumber	attnums[PROVCONN_MAX_FIELDS];
} CompositeMap;

typedef struct TypeOids
{
	bool		valid;
	Oid			schema;
	Oid			secret;
	Oid			status;
	Oid			credential_type;
	Oid			status_labels[PROVCONN_STATUS_COUNT];
	Oid			credential_labels[PROVCONN_CREDENTIAL_COUNT];
	Oid			composites[PROVCONN_COMPOSITE_COUNT];
} TypeOids;

static const CompositeShape shapes[PROVCONN_COMPOSITE_COUNT] = {
	[PROVCONN_TYPE_CREDENTIALS] = {"provconn_credentials", 3, {
		{"secret", PROVCONN_FIELD_SECRET},
		{"credential_type", PROVCONN_FIELD_CREDENTIAL_TYPE},
		{"expires_at", PROVCONN_FIELD_TIMESTAMPTZ},
	}},
	[PROVCONN_TYPE_CONNECT] = {"provconn_connect_command", 5, {
		{"user_id", PROVCONN_FIELD_UUID},
		{"provider_id", PROVCONN_FIELD_UUID},
		{"provider_slug", PROVCONN_FIELD_TEXT},
		{"credentials", PROVCONN_FIELD_CREDENTIALS},
		{"alias", PROVCONN_FIELD_TEXT},
	}},
	[PROVCONN_TYPE_DISCONNECT] = {"provconn_disconnect_command", 2, {
		{"user_id", PROVCONN_FIELD_UUID},
		{"connection_id", PROVCONN_FIELD_UUID},
	}},
	[PROVCONN_TYPE_REFRESH] = {"provconn_refresh_command", 2, {
		{"connection_id", PROVCONN_FIELD_UUID},
		{"credentials", PROVCONN_FIELD_CREDENTIALS},
	}},
	[PROVCONN_TYPE_RESULT] = {"provconn_result", 7, {
		{"ok", PROVCONN_FIELD_BOOL},
		{"connection_id", PROVCONN_FIELD_UUID},
		{"status", PROVCONN_FIELD_STATUS},
		{"version", PROVCONN_FIELD_INT4},
		{"error_code", PROVCONN_FIELD_TEXT},
		{"message", PROVCONN_FIELD_TEXT},
		{"needs_user_action", PROVCONN_FIELD_BOOL},
	}},
	[PROVCONN_TYPE_REVEALED] = {"provconn_revealed", 9, {
															{"ok", PROVCONN_FIELD_BOOL},
															{"connection_id", PROVCONN_FIELD_UUID},
															{"version", PROVCONN_FIELD_INT4},
															{"secret", PROVCONN_FIELD_BYTEA},
															{"secret_text", PROVCONN_FIELD_TEXT},
															{"credential_type", PROVCONN_FIELD_CREDENTIAL_TYPE},
															{"expires_at", PROVCONN_FIELD_TIMESTAMPTZ},
															{"error_code", PROVCONN_FIELD_TEXT},
															{"message", PROVCONN_FIELD_TEXT},
														}},
	[PROVCONN_TYPE_CLAIMED] = {"provconn_claimed", 12, {
														   {"connection_id", PROVCONN_FIELD_UUID},
														   {"user_id", PROVCONN_FIELD_UUID},
														   {"provider_id", PROVCONN_FIELD_UUID},
														   {"provider_slug", PROVCONN_FIELD_TEXT},
														   {"secret", PROVCONN_FIELD_BYTEA},
														   {"secret_text", PROVCONN_FIELD_TEXT},
														   {"credential_type", PROVCONN_FIELD_CREDENTIAL_TYPE},
														   {"expires_at", PROVCONN_FIELD_TIMESTAMPTZ},
														   {"version", PROVCONN_FIELD_INT4},
														   {"attempt", PROVCONN_FIELD_INT4},
														   {"lease", PROVCONN_FIELD_UUID},
														   {"leased_until", PROVCONN_FIELD_TIMESTAMPTZ},
													   }},
};

static TypeOids oids;
static uint64 oids_generation = 0;
static CompositeMap maps[PROVCONN_COMPOSITE_COUNT];

static const TypeOids *load_oids(void);
static Oid	find_type(Oid schema, const char *name);
static Oid	find_label(Oid enum_type, const char *label);
static TupleDesc pin_shape(ProvconnComposite composite);
static Oid	field_type_oid(const TypeOids *types, ProvconnFieldType type);
static void forget_oids(Datum arg, int cache_id, uint32 hash_value);

void
provconn_catalog_init(void)
{
	CacheRegisterSyscacheCallback(TYPEOID, forget_oids, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMOID, forget_oids, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, forget_oids, (Datum) 0);
}

Oid
provconn_catalog_api_schema(void)
{
	return load_oids()->schema;
}

Oid
provconn_catalog_credential_type_type(void)
{
	return load_oids()->credential_type;
}

Datum
provconn_catalog_status_datum(ProvconnStatus status)
{
	return ObjectIdGetDatum(load_oids()->status_labels[status]);
}

ProvconnStatus
provconn_catalog_status(Datum label)
{
	const TypeOids *types = load_oids();

	for (int i = 0; i < PROVCONN_STATUS_COUNT; i++)
		if (types->status_labels[i] == DatumGetObjectId(label))
			return (ProvconnStatus) i;
	provconn_fault_raise(PROVCONN_FAULT_TYPE_CHANGED, "provconn_status", "a label");
}

Datum
provconn_catalog_credential_type_datum(ProvconnCredentialType type)
{
	return ObjectIdGetDatum(load_oids()->credential_labels[type]);
}

ProvconnCredentialType
provconn_catalog_credential_type(Datum label)
{
	const TypeOids *types = load_oids();

	for (int i = 0; i < PROVCONN_CREDENTIAL_COUNT; i++)
		if (types->credential_labels[i] == DatumGetObjectId(label))
			return (ProvconnCredentialType) i;
	provconn_fault_raise(PROVCONN_FAULT_TYPE_CHANGED, "provconn_credential_type", "a label");
}

int
provconn_catalog_field_count(ProvconnComposite composite)
{
	return shapes[composite].nfields;
}

void
provconn_catalog_deform(ProvconnComposite composite, Datum datum, Datum *values, bool *nulls)
{
	/* Detoasting may process invalidations: first, lest it take the shape away. */
	HeapTupleHeader header = DatumGetHeapTupleHeader(datum);
	TupleDesc	tupdesc = pin_shape(composite);
	HeapTupleData tuple;
	Datum	   *all_values = palloc(sizeof(Datum) * tupdesc->natts);
	bool	   *all_nulls = palloc(sizeof(bool) * tupdesc->natts);

	if (HeapTupleHeaderGetTypeId(header) != tupdesc->tdtypeid)
		elog(ERROR, "composite of type %u where %s is expected",
			 HeapTupleHeaderGetTypeId(header), shapes[composite].type_name);

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, tupdesc, all_values, all_nulls);

	for (int i = 0; i < shapes[composite].nfields; i++)
	{
		int			at = maps[composite].attnums[i] - 1;

		values[i] = all_values[at];
		nulls[i] = all_nulls[at];
	}
	ReleaseTupleDesc(tupdesc);
}

Datum
provconn_catalog_form(ProvconnComposite composite, const Datum *values, const bool *nulls)
{
	TupleDesc	tupdesc = pin_shape(composite);
	Datum	   *all_values = palloc0(sizeof(Datum) * tupdesc->natts);
	bool	   *all_nulls = palloc(sizeof(bool) * tupdesc->natts);
	HeapTuple	tuple;

	memset(all_nulls, true, sizeof(bool) * tupdesc->natts);
	for (int i = 0; i < shapes[composite].nfields; i++)
	{
		int			at = maps[composite].attnums[i] - 1;

		all_values[at] = values[i];
		all_nulls[at] = nulls[i];
	}
	tuple = heap_form_tuple(tupdesc, all_values, all_nulls);
	ReleaseTupleDesc(tupdesc);
	return HeapTupleGetDatum(tuple);
}

static const TypeOids *
load_oids(void)
{
	TypeOids	found;
	uint64		generation = oids_generation;
	Oid			tables_schema;
	Oid			connection;

	if (oids.valid)
		return &oids;

	tables_schema = get_namespace_oid("provconn", true);
	connection = OidIsValid(tables_schema) ?
		get_relname_relid("connection", tables_schema) : InvalidOid;
	if (!OidIsValid(connection))
		provconn_fault_raise(PROVCONN_FAULT_NOT_INSTALLED, "connection");
	found.status = get_atttype(connection, get_attnum(connection, "status"));
	if (!OidIsValid(found.status))
		provconn_fault_raise(PROVCONN_FAULT_TABLE_CHANGED, "connection", "status");

	{
		HeapTuple	type = SearchSysCache1(TYPEOID, ObjectIdGetDatum(found.status));

		if (!HeapTupleIsValid(type))
			elog(ERROR, "cache lookup failed for type %u", found.status);
		found.schema = ((Form_pg_type) GETSTRUCT(type))->typnamespace;
		ReleaseSysCache(type);
	}

	found.secret = find_type(found.schema, "provconn_secret");
	found.credential_type = find_type(found.schema, "provconn_credential_type");
	for (int i = 0; i < PROVCONN_STATUS_COUNT; i++)
		found.status_labels[i] = find_label(found.status,
											provconn_status_name((ProvconnStatus) i));
	for (int i = 0; i < PROVCONN_CREDENTIAL_COUNT; i++)
		found.credential_labels[i] = find_label(found.credential_type,
												provconn_credential_type_name((ProvconnCredentialType) i));
	for (int i = 0; i < PROVCONN_COMPOSITE_COUNT; i++)
		found.composites[i] = find_type(found.schema, shapes[i].type_name);

	/* News that came meanwhile may concern what was just read. */
	found.valid = generation == oids_generation;
	oids = found;
	return &oids;
}

static Oid
find_type(Oid schema, const char *name)
{
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
									   CStringGetDatum(name), ObjectIdGetDatum(schema));

	if (!OidIsValid(type))
		provconn_fault_raise(PROVCONN_FAULT_TYPE_CHANGED, name, "*");
	return type;
}

static Oid
find_label(Oid enum_type, const char *label)
{
	Oid			found = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
										ObjectIdGetDatum(enum_type), CStringGetDatum(label));

	if (!OidIsValid(found))
		provconn_fault_raise(PROVCONN_FAULT_TYPE_CHANGED, format_type_be(enum_type), label);
	return found;
}

/* The composite's shape, its map brought up to date; the caller releases it. */
static TupleDesc
pin_shape(ProvconnComposite composite)
{
	const TypeOids *types = load_oids();
	const CompositeShape *shape = &shapes[composite];
	CompositeMap *map = &maps[composite];
	TypeCacheEntry *entry = lookup_type_cache(types->composites[composite], TYPECACHE_TUPDESC);

	if (entry->tupDesc == NULL)
		provconn_fault_raise(PROVCONN_FAULT_TYPE_CHANGED, shape->type_name, "*");
	PinTupleDesc(entry->tupDesc);
	if (map->tupdesc_identifier == entry->tupDesc_identifier)
		return entry->tupDesc;

	map->tupdesc_identifier = 0;
	for (int i = 0; i < shape->nfields; i++)
	{
		map->attnums[i] = InvalidAttrNumber;
		for (int at = 0; at < entry->tupDesc->natts; at++)
		{
			Form_pg_attribute attribute = TupleDescAttr(entry->tupDesc, at);

			if (!attribute->attisdropped &&
				strcmp(NameStr(attribute->attname), shape->fields[i].name) == 0 &&
				attribute->atttypid == field_type_oid(types, shape->fields[i].type))
				map->attnums[i] = attribute->attnum;
		}
		if (map->attnums[i] == InvalidAttrNumber)
			provconn_fault_raise(PROVCONN_FAULT_TYPE_CHANGED, shape->type_name,
								 shape->fields[i].name);
	}
	map->tupdesc_identifier = entry->tupDesc_identifier;
	return entry->tupDesc;
}

static Oid
field_type_oid(const TypeOids *types, ProvconnFieldType type)
{
	switch (type)
	{
		case PROVCONN_FIELD_BOOL:
			return BOOLOID;
		case PROVCONN_FIELD_BYTEA:
			return BYTEAOID;
		case PROVCONN_FIELD_INT4:
			return INT4OID;
		case PROVCONN_FIELD_TEXT:
			return TEXTOID;
		case PROVCONN_FIELD_TIMESTAMPTZ:
			return TIMESTAMPTZOID;
		case PROVCONN_FIELD_UUID:
			return UUIDOID;
		case PROVCONN_FIELD_SECRET:
			return types->secret;
		case PROVCONN_FIELD_CREDENTIALS:
			return types->composites[PROVCONN_TYPE_CREDENTIALS];
		case PROVCONN_FIELD_CREDENTIAL_TYPE:
			return types->credential_type;
		case PROVCONN_FIELD_STATUS:
			return types->status;
	}
	return InvalidOid;
}

static void
forget_oids(Datum arg, int cache_id, uint32 hash_value)
{
	oids.valid = false;
	oids_generation++;
}
