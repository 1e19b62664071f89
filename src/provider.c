/*
 * provider.c (layer 5): the registry of providers.
 *
 * Providers are never deleted, so a connection needs no foreign key to keep its
 * provider there; a foreign key would make every connect lock the provider's
 * row, and connects of many users meet on the same few rows.
 *
 * Every command asks for its provider, and they hardly ever change: a session
 * keeps what it has read until a trigger of the table, which tells of every
 * change, has it read them anew.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "compat.h"
#include "fault.h"
#include "news.h"
#include "provider.h"
#include "store.h"

#define KEPT 64

enum
{
	COLUMN_PROVIDER_ID,
	COLUMN_SLUG,
	COLUMN_IS_ACTIVE,
	COLUMN_UPDATED_AT,
	COLUMN_COUNT
};

static const ProvconnColumn columns[COLUMN_COUNT] = {
	[COLUMN_PROVIDER_ID] = {"provider_id", UUIDOID},
	[COLUMN_SLUG] = {"slug", TEXTOID},
	[COLUMN_IS_ACTIVE] = {"is_active", BOOLOID},
	[COLUMN_UPDATED_AT] = {"updated_at", TIMESTAMPTZOID},
};

static ProvconnTable provider_table = {
	.name = "provider", .key_columns = 1, .column_count = COLUMN_COUNT, .columns = columns
};

/* A provider that was read; another may take its place. */
typedef struct KeptProvider
{
	bool		valid;
	bool		is_active;
	ProvconnUuid id;
	size_t		slug_len;
	char		slug[PROVCONN_SLUG_MAX];
} KeptProvider;

static ProvconnStatement insert_provider = {
	.sql =
	"INSERT INTO provconn.provider"
	" (provider_id, slug, name, credential_type, category, is_active, created_at, updated_at)"
	" VALUES ($1, $2, $3, $4, $5, true, $6, $6) ON CONFLICT DO NOTHING",
	.nargs = 6,
	.types = {UUIDOID, TEXTOID, TEXTOID, InvalidOid, TEXTOID, TIMESTAMPTZOID}
};

static KeptProvider kept[KEPT];

static bool read_provider(const ProvconnUuid *id, ProvconnProvider *provider);
static void forget_providers(Oid relid);

void
provconn_provider_init(void)
{
	provconn_news_listen(forget_providers);
}

bool
provconn_provider_find(const ProvconnUuid *id, ProvconnProvider *provider)
{
	KeptProvider *place = &kept[id->bytes[sizeof(id->bytes) - 1] % KEPT];
	uint64		before;

	/* What the transaction's snapshot shows is not for other transactions. */
	if (IsolationUsesXactSnapshot())
		return read_provider(id, provider);

	AcceptInvalidationMessages();
	if (place->valid && memcmp(&place->id, id, sizeof(*id)) == 0)
	{
		provider->id = *id;
		provider->is_active = place->is_active;
		provider->slug.data = pnstrdup(place->slug, place->slug_len);
		provider->slug.len = place->slug_len;
		return true;
	}

	before = provconn_news_count();
	if (!read_provider(id, provider))
		return false;
	if (provider->slug.len <= sizeof(place->slug))
	{
		place->id = *id;
		place->is_active = provider->is_active;
		place->slug_len = provider->slug.len;
		memcpy(place->slug, provider->slug.data, provider->slug.len);
		place->valid = before == provconn_news_count();
	}
	return true;
}

void
provconn_provider_insert(const ProvconnUuid *id, ProvconnSpan slug, ProvconnSpan name,
						 ProvconnCredentialType credential_type, ProvconnSpan category,
						 TimestampTz now)
{
	Datum		values[6];
	char		nulls[] = "      ";

	insert_provider.types[3] = provconn_catalog_credential_type_type();
	values[0] = UUIDPGetDatum((const pg_uuid_t *) id);
	values[1] = PointerGetDatum(cstring_to_text_with_len(slug.data, slug.len));
	values[2] = PointerGetDatum(cstring_to_text_with_len(name.data, name.len));
	values[3] = provconn_catalog_credential_type_datum(credential_type);
	values[4] = (Datum) 0;
	if (category.data != NULL)
		values[4] = PointerGetDatum(cstring_to_text_with_len(category.data, category.len));
	else
		nulls[4] = 'n';
	values[5] = TimestampTzGetDatum(now);

	if (provconn_store_run(&provider_table, &insert_provider, values, nulls, 0, NULL, NULL) == 0)
		provconn_fault_raise(PROVCONN_FAULT_DUPLICATE_PROVIDER);
}

bool
provconn_provider_set_active(const ProvconnUuid *id, bool active, TimestampTz now)
{
	Datum		key = UUIDPGetDatum((const pg_uuid_t *) id);
	ProvconnRow row;
	ProvconnValues changes = {0};

	if (!provconn_store_find(&provider_table, &key, PROVCONN_LOCK_WAIT, &row))
		return false;
	provconn_values_set(&changes, COLUMN_IS_ACTIVE, BoolGetDatum(active));
	provconn_values_set(&changes, COLUMN_UPDATED_AT, TimestampTzGetDatum(now));
	provconn_store_update(&row, &changes);
	provconn_store_close(&row);
	return true;
}

bool
provconn_provider_slug_is_valid(ProvconnSpan slug)
{
	if (slug.data == NULL || slug.len < 1 || slug.len > PROVCONN_SLUG_MAX)
		return false;
	for (size_t i = 0; i < slug.len; i++)
	{
		char		c = slug.data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return true;
}

static bool
read_provider(const ProvconnUuid *id, ProvconnProvider *provider)
{
	Datum		key = UUIDPGetDatum((const pg_uuid_t *) id);
	ProvconnRow row;
	text	   *slug;
	bool		isnull;

	if (!provconn_store_find(&provider_table, &key, PROVCONN_LOCK_NONE, &row))
		return false;
	slug = DatumGetTextPCopy(provconn_store_get(&row, COLUMN_SLUG, &isnull));
	provider->id = *id;
	provider->slug.data = VARDATA(slug);
	provider->slug.len = VARSIZE(slug) - VARHDRSZ;
	provider->is_active = DatumGetBool(provconn_store_get(&row, COLUMN_IS_ACTIVE, &isnull));
	provconn_store_close(&row);
	return true;
}

static void
forget_providers(Oid relid)
{
	if (OidIsValid(relid) && relid != provider_table.relid)
		return;
	for (int i = 0; i < KEPT; i++)
		kept[i].valid = false;
}
