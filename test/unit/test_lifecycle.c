/*
 * test_lifecycle.c: every cell of the state machine, written down a second time
 * as the contract's section 2 has it.
 */
#include "lifecycle.h"
#include "tap.h"

#define FIRST_STATUS PROVCONN_STATUS_NONE
#define LAST_STATUS PROVCONN_STATUS_DISCONNECTED

static const char *const event_names[PROVCONN_EVENT_COUNT] = {
	"initiate", "connect", "refresh", "record_sync", "reauthenticate",
	"mark_expired", "mark_revoked", "mark_failed", "disconnect"
};

/* A row per status from NONE on; "-" is invalid_transition, "!" not_active. */
static const char *const expected_steps[][PROVCONN_EVENT_COUNT] = {
	{"pending", "active", "!", "!", "-", "-", "-", "-", "-"},
	{"-", "active", "!", "!", "-", "-", "-", "failed", "disconnected"},
	{"-", "-", "active", "active", "-", "expired", "revoked", "-", "disconnected"},
	{"-", "-", "!", "!", "active", "-", "-", "-", "disconnected"},
	{"-", "-", "!", "!", "active", "-", "-", "-", "disconnected"},
	{"-", "-", "!", "!", "active", "-", "-", "-", "disconnected"},
	{"-", "-", "!", "!", "-", "-", "-", "-", "disconnected"}
};

/* From (a row, NONE first) to (pending, active, expired, ...). */
static const char *const expected_reaches[] = {
	"yy----", "-y--yy", "-yyy-y", "-y---y", "-y---y", "-y---y", "-----y"
};

static void
check_step(int from, int event)
{
	const char *expected = expected_steps[from + 1][event];
	const char *status = provconn_status_name((ProvconnStatus) from);
	ProvconnStatus to = (ProvconnStatus) 77;
	ProvconnRefusal refusal;

	refusal = provconn_lifecycle_step((ProvconnStatus) from, (ProvconnEvent) event, &to);
	if (expected[0] == '-')
		ok(refusal == PROVCONN_INVALID_TRANSITION && (int) to == 77,
		   "%s of %s is an invalid transition", event_names[event], status);
	else if (expected[0] == '!')
		ok(refusal == PROVCONN_NOT_ACTIVE && (int) to == 77,
		   "%s of %s: not active", event_names[event], status);
	else
		ok(refusal == PROVCONN_ACCEPTED && (int) to != 77 &&
		   strcmp(provconn_status_name(to), expected) == 0,
		   "%s of %s gives %s", event_names[event], status, expected);
}

static void
test_table(void)
{
	int			count = 0;
	const ProvconnTransition *table = provconn_lifecycle_table(&count);
	int			i;
	int			j;

	is(count, 17, "the table has 17 transitions");
	for (i = 0; i < count; i++)
	{
		ProvconnStatus to = PROVCONN_STATUS_NONE;
		bool		unique = true;

		for (j = 0; j < i; j++)
			unique = unique && (table[i].from != table[j].from ||
								table[i].event != table[j].event);
		provconn_lifecycle_step(table[i].from, table[i].event, &to);
		ok(unique && to == table[i].to && to != PROVCONN_STATUS_NONE,
		   "transition %d stands once and is the one taken", i);
	}
}

static void
test_names(void)
{
	static const char *const statuses[] = {
		"pending", "active", "expired", "revoked", "failed", "disconnected"
	};
	static const char *const types[] = {
		"oauth2", "api_key", "link_token", "certificate", "file_import", "custom"
	};
	int			i;

	ok(strcmp(provconn_status_name(PROVCONN_STATUS_NONE), "new") == 0, "no status is new");
	for (i = 0; i < PROVCONN_STATUS_COUNT; i++)
		ok(strcmp(provconn_status_name((ProvconnStatus) i), statuses[i]) == 0,
		   "status %s", statuses[i]);
	for (i = 0; i < PROVCONN_CREDENTIAL_COUNT; i++)
		ok(strcmp(provconn_credential_type_name((ProvconnCredentialType) i), types[i]) == 0,
		   "credential type %s", types[i]);
	for (i = 0; i < PROVCONN_EVENT_COUNT; i++)
		ok(strcmp(provconn_event_name((ProvconnEvent) i), event_names[i]) == 0,
		   "event %s", event_names[i]);
	ok(provconn_credential_type_name(PROVCONN_CREDENTIAL_NONE) == NULL,
	   "no credential type has no name");
	ok(provconn_status_name((ProvconnStatus) PROVCONN_STATUS_COUNT) == NULL &&
	   provconn_credential_type_name((ProvconnCredentialType) PROVCONN_CREDENTIAL_COUNT) == NULL &&
	   provconn_event_name((ProvconnEvent) PROVCONN_EVENT_COUNT) == NULL,
	   "what is no member has no name");
}

int
main(void)
{
	int			from;
	int			other;

	for (from = FIRST_STATUS; from <= LAST_STATUS; from++)
	{
		for (other = 0; other < PROVCONN_EVENT_COUNT; other++)
			check_step(from, other);
		for (other = 0; other <= LAST_STATUS; other++)
			is(provconn_lifecycle_reaches((ProvconnStatus) from, (ProvconnStatus) other),
			   expected_reaches[from + 1][other] == 'y', "from %s to %s: %c",
			   provconn_status_name((ProvconnStatus) from),
			   provconn_status_name((ProvconnStatus) other),
			   expected_reaches[from + 1][other]);
		ok(!provconn_lifecycle_reaches((ProvconnStatus) from, PROVCONN_STATUS_NONE),
		   "nothing leads from %s back to new", provconn_status_name((ProvconnStatus) from));
		is(provconn_lifecycle_is_terminal((ProvconnStatus) from),
		   from == PROVCONN_STATUS_DISCONNECTED, "is %s terminal",
		   provconn_status_name((ProvconnStatus) from));
	}
	for (other = PROVCONN_CREDENTIAL_NONE; other < PROVCONN_CREDENTIAL_COUNT; other++)
		is(provconn_credential_type_refreshes((ProvconnCredentialType) other),
		   other == PROVCONN_CREDENTIAL_OAUTH2 || other == PROVCONN_CREDENTIAL_LINK_TOKEN,
		   "does credential type %d refresh", other);
	test_table();
	test_names();
	return tap_done();
}
