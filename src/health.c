/*
 * health.c (layer 5): how providers do, by their circuit breakers.
 *
 * The rows are of this server alone: they are neither dumped nor replicated
 * with the registry, and made when a provider comes into it, so that no two
 * sessions ever meet in making one.  A row that is missing counts as closed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "health.h"
#include "settings.h"

enum
{
	COLUMN_PROVIDER_ID,
	COLUMN_FAILURES,
	COLUMN_ALLOWANCE,
	COLUMN_TAKEN,
	COLUMN_OPENED_AT,
	COLUMN_NEXT_CLAIM_AT,
	COLUMN_COUNT
};

static const ProvconnColumn columns[COLUMN_COUNT] = {
	[COLUMN_PROVIDER_ID] = {"provider_id", UUIDOID},
	[COLUMN_FAILURES] = {"failures", INT4OID},
	[COLUMN_ALLOWANCE] = {"allowance", INT4OID},
	[COLUMN_TAKEN] = {"taken", INT4OID},
	[COLUMN_OPENED_AT] = {"opened_at", TIMESTAMPTZOID},
	[COLUMN_NEXT_CLAIM_AT] = {"next_claim_at", TIMESTAMPTZOID},
};

static ProvconnTable provider_health = {
	.name = "provider_health",
	.key_columns = 1,
	.column_count = COLUMN_COUNT,
	.columns = columns};

static ProvconnStatement insert_health = {
	.sql = "INSERT INTO provconn.provider_health (provider_id) VALUES ($1) ON CONFLICT DO NOTHING",
	.nargs = 1,
	.types = {UUIDOID}};

static bool find_health(const ProvconnUuid *provider_id, ProvconnLock lock,
						ProvconnHealth *health);
static int64 get_time(ProvconnRow *row, int column);
static void set_time(ProvconnValues *changes, int column, bool has, int64 time);

bool
provconn_health_lock(const ProvconnUuid *provider_id, ProvconnHealth *health)
{
	return find_health(provider_id, PROVCONN_LOCK_SKIP, health);
}

void
provconn_health_save(ProvconnHealth *health)
{
	const ProvconnBreaker *breaker = &health->breaker;
	bool		limited = breaker->allowance != 0;
	ProvconnValues changes = {0};

	provconn_values_set(&changes, COLUMN_FAILURES, Int32GetDatum(breaker->failures));
	if (limited)
		provconn_values_set(&changes, COLUMN_ALLOWANCE, Int32GetDatum(breaker->allowance));
	else
		provconn_values_set_null(&changes, COLUMN_ALLOWANCE);
	provconn_values_set(&changes, COLUMN_TAKEN, Int32GetDatum(limited ? breaker->taken : 0));
	set_time(&changes, COLUMN_OPENED_AT, limited, breaker->opened_at);
	set_time(&changes, COLUMN_NEXT_CLAIM_AT, limited, breaker->next_claim_at);
	provconn_store_update(&health->row, &changes);
}

void
provconn_health_close(ProvconnHealth *health)
{
	provconn_store_close(&health->row);
}

/* Mostly there is nothing to write; then nothing is locked either. */
void
provconn_health_succeeded(const ProvconnUuid *provider_id, TimestampTz now)
{
	ProvconnBreakerRules rules = provconn_settings_breaker();
	ProvconnHealth health;
	bool		changes;

	if (!find_health(provider_id, PROVCONN_LOCK_NONE, &health))
		return;
	changes = provconn_breaker_success(&health.breaker, &rules, now);
	provconn_health_close(&health);
	if (!changes || !provconn_health_lock(provider_id, &health))
		return;
	if (provconn_breaker_success(&health.breaker, &rules, now))
		provconn_health_save(&health);
	provconn_health_close(&health);
}

void
provconn_health_failed(const ProvconnUuid *provider_id, bool newly, TimestampTz now)
{
	ProvconnBreakerRules rules = provconn_settings_breaker();
	ProvconnHealth health;

	if (!provconn_health_lock(provider_id, &health))
		return;
	if (provconn_breaker_failure(&health.breaker, &rules, newly, now))
		provconn_health_save(&health);
	provconn_health_close(&health);
}

void
provconn_health_released(const ProvconnUuid *provider_id, TimestampTz now)
{
	ProvconnBreakerRules rules = provconn_settings_breaker();
	ProvconnHealth health;

	if (!provconn_health_is_limited(provider_id) || !provconn_health_lock(provider_id, &health))
		return;
	if (provconn_breaker_released(&health.breaker, &rules, now))
		provconn_health_save(&health);
	provconn_health_close(&health);
}

bool
provconn_health_is_limited(const ProvconnUuid *provider_id)
{
	ProvconnHealth health;

	if (!find_health(provider_id, PROVCONN_LOCK_NONE, &health))
		return false;
	provconn_health_close(&health);
	return health.breaker.allowance != 0;
}

bool
provconn_health_is_failing(const ProvconnUuid *provider_id, TimestampTz now)
{
	ProvconnBreakerRules rules = provconn_settings_breaker();
	ProvconnHealth health;

	if (!find_health(provider_id, PROVCONN_LOCK_NONE, &health))
		return false;
	provconn_health_close(&health);
	return provconn_breaker_is_failing(&health.breaker, &rules, now);
}

int
provconn_health_allowance(const ProvconnUuid *provider_id, TimestampTz now)
{
	ProvconnBreakerRules rules = provconn_settings_breaker();
	ProvconnHealth health;

	if (!find_health(provider_id, PROVCONN_LOCK_NONE, &health))
		return PROVCONN_BREAKER_NO_LIMIT;
	provconn_health_close(&health);
	return provconn_breaker_allowance(&health.breaker, &rules, now);
}

void
provconn_health_reset(const ProvconnUuid *provider_id)
{
	ProvconnHealth health;

	provconn_health_begin(provider_id);
	if (!find_health(provider_id, PROVCONN_LOCK_WAIT, &health))
		return;
	memset(&health.breaker, 0, sizeof(health.breaker));
	provconn_health_save(&health);
	provconn_health_close(&health);
}

void
provconn_health_begin(const ProvconnUuid *provider_id)
{
	Datum		value = UUIDPGetDatum((const pg_uuid_t *) provider_id);

	(void) provconn_store_run(&provider_health, &insert_health, &value, NULL, 0, NULL, NULL);
}

static bool
find_health(const ProvconnUuid *provider_id, ProvconnLock lock, ProvconnHealth *health)
{
	Datum		key = UUIDPGetDatum((const pg_uuid_t *) provider_id);
	ProvconnRow *row = &health->row;
	Datum		value;
	bool		isnull;

	if (!provconn_store_find(&provider_health, &key, lock, row))
		return false;
	value = provconn_store_get(row, COLUMN_FAILURES, &isnull);
	health->breaker.failures = isnull ? 0 : DatumGetInt32(value);
	value = provconn_store_get(row, COLUMN_ALLOWANCE, &isnull);
	health->breaker.allowance = isnull ? 0 : DatumGetInt32(value);
	value = provconn_store_get(row, COLUMN_TAKEN, &isnull);
	health->breaker.taken = isnull ? 0 : DatumGetInt32(value);
	health->breaker.opened_at = get_time(row, COLUMN_OPENED_AT);
	health->breaker.next_claim_at = get_time(row, COLUMN_NEXT_CLAIM_AT);
	return true;
}

static int64
get_time(ProvconnRow *row, int column)
{
	bool		isnull;
	Datum		value = provconn_store_get(row, column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

static void
set_time(ProvconnValues *changes, int column, bool has, int64 time)
{
	if (has)
		provconn_values_set(changes, column, TimestampTzGetDatum(time));
	else
		provconn_values_set_null(changes, column);
}
