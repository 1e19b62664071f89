/*
 * attempt.c (layer 4): what becomes of commands that are rolled back.
 *
 * A session's attempts stand one after the other in a buffer of its own, each
 * with the level of the (sub)transaction that it was made in.  As that commits
 * they become its parent's; as it aborts they go to the ring.  The buffer is in
 * TopMemoryContext and grows while a command runs, never in a callback.
 *
 * The WAL tells of reads (in logical messages that no transaction's end takes
 * back) before the secret leaves: a crash hides none.  Until its transaction is
 * over, or its attempt is on record, a session holds that WAL.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "utils/memutils.h"

#include "attempt.h"
#include "compat.h"
#include "ring.h"
#include "settings.h"
#include "statement.h"

#define KEEP_BYTES (256 * 1024)
#define TEXT_COUNT 8
#define ID_COUNT 5

/* What an attempt looks like in bytes: this, the ids that it has, the texts. */
typedef struct Header
{
	TimestampTz occurred_at;
	uint64		transaction_id;
	XLogRecPtr	lsn;
	int32		version;
	int8		old_status;
	int8		new_status;
	bool		has_version;
	bool		is_read;
	bool		is_open;
	bool		is_told;
	int32		key_id;
	unsigned char mac[PROVCONN_ATTEMPT_MAC];
	bool		has_id[ID_COUNT];
	int16		length[TEXT_COUNT]; /* -1: null */
} Header;

/* One in the buffer. */
typedef struct Note
{
	size_t		at;
	uint32		size;
	int			level;			/* of nesting */
	bool		pending;		/* begun and not ended */
	int			number;			/* not used again soon */
	XLogRecPtr	lsn;
} Note;

static char *buffer = NULL;
static size_t buffer_size = 0;
static Note *notes = NULL;
static int	note_count = 0;
static int	note_room = 0;
static int	last_number = 0;
static bool has_reads = false;	/* that the WAL does not tell of yet */
static bool holding = false;	/* WAL */

static int	append_note(const ProvconnAttempt *attempt, bool pending);
static void make_room(void);
static void drop_notes(int from);
static void push_notes(int from, bool open);
static void end_transaction(XactEvent event, void *arg);
static void end_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							   void *arg);
static const ProvconnUuid **id_of(ProvconnAttempt *attempt, int i);
static ProvconnSpan *text_of(ProvconnAttempt *attempt, int i);
static bool is_read(const Note *note);
static bool is_status(int8 status);
static void push_note(int ring, const Note *note, bool open);

bool
provconn_attempt_is_noted(void)
{
	return provconn_ring_here() >= 0;
}

int
provconn_attempt_begin(const ProvconnAttempt *attempt)
{
	if (!provconn_attempt_is_noted())
		return 0;
	provconn_statement_forget_error();
	return append_note(attempt, true);
}

void
provconn_attempt_end(int number)
{
	for (int i = note_count - 1; number != 0 && i >= 0; i--)
	{
		if (notes[i].number != number)
			continue;
		notes[i].pending = false;
		notes[i].size = 0;
		if (i == note_count - 1)
			note_count--;
		return;
	}
}

/* Where others came after it, made by somebody's trigger, it stays as it was. */
void
provconn_attempt_tell(int number, const ProvconnAttempt *attempt)
{
	Note	   *note = note_count > 0 ? &notes[note_count - 1] : NULL;

	if (number == 0 || note == NULL || note->number != number)
		return;
	note->size = (uint32) provconn_attempt_encode(attempt, buffer + note->at, PROVCONN_ATTEMPT_MAX);
}

void
provconn_attempt_add(const ProvconnAttempt *attempt)
{
	if (!provconn_attempt_is_noted())
		return;
	(void) append_note(attempt, false);
	has_reads |= attempt->is_read;
}

void
provconn_attempt_flush_reads(ProvconnSigner sign)
{
	XLogRecPtr	flush = InvalidXLogRecPtr;

	if (!has_reads)
		return;
	holding = true;
	provconn_ring_hold_wal(GetXLogInsertRecPtr());
	for (int i = 0; i < note_count; i++)
	{
		Note	   *note = &notes[i];
		ProvconnSpan bytes = {buffer + note->at, note->size};
		Header		header;

		if (note->lsn != InvalidXLogRecPtr || note->size == 0 || !is_read(note))
			continue;
		memcpy(&header, buffer + note->at, sizeof(Header));
		header.key_id = sign(bytes, header.mac);
		memcpy(buffer + note->at, &header, sizeof(Header));
		note->lsn = GetXLogInsertRecPtr();
		flush = provconn_compat_log_message(PROVCONN_ATTEMPT_PREFIX, buffer + note->at, note->size);
	}
	if (flush != InvalidXLogRecPtr)
		XLogFlush(flush);
	has_reads = false;
}

size_t
provconn_attempt_signed_bytes(const ProvconnAttempt *attempt, char *bytes, size_t size)
{
	ProvconnAttempt plain = *attempt;

	plain.lsn = InvalidXLogRecPtr;
	plain.is_open = plain.is_told = false;
	plain.key_id = 0;
	memset(plain.mac, 0, sizeof(plain.mac));
	return provconn_attempt_encode(&plain, bytes, size);
}

size_t
provconn_attempt_encode(const ProvconnAttempt *attempt, char *bytes, size_t size)
{
	ProvconnAttempt copy = *attempt;
	Header		header;
	char	   *at = bytes + sizeof(Header);

	/* Padding and all: it is signed. */
	memset(&header, 0, sizeof(header));
	header.occurred_at = attempt->occurred_at;
	header.transaction_id = attempt->transaction_id;
	header.lsn = attempt->lsn;
	header.version = attempt->version;
	header.old_status = (int8) attempt->old_status;
	header.new_status = (int8) attempt->new_status;
	header.has_version = attempt->has_version;
	header.is_read = attempt->is_read;
	header.is_open = attempt->is_open;
	header.is_told = attempt->is_told;
	header.key_id = attempt->key_id;
	memcpy(header.mac, attempt->mac, sizeof(header.mac));
	for (int i = 0; i < ID_COUNT; i++)
	{
		const ProvconnUuid *id = *id_of(&copy, i);

		header.has_id[i] = id != NULL;
		if (id == NULL)
			continue;
		memcpy(at, id, sizeof(ProvconnUuid));
		at += sizeof(ProvconnUuid);
	}
	for (int i = 0; i < TEXT_COUNT; i++)
	{
		ProvconnSpan text = *text_of(&copy, i);

		header.length[i] = -1;
		if (text.data == NULL || text.len > (size_t) (bytes + size - at))
			continue;
		header.length[i] = (int16) text.len;
		memcpy(at, text.data, text.len);
		at += text.len;
	}
	memcpy(bytes, &header, sizeof(Header));
	return at - bytes;
}

bool
provconn_attempt_decode(const char *bytes, size_t len, ProvconnAttempt *attempt)
{
	Header		header;
	const char *at = bytes + sizeof(Header);

	memset(attempt, 0, sizeof(*attempt));
	if (len < sizeof(Header))
		return false;
	memcpy(&header, bytes, sizeof(Header));
	attempt->occurred_at = header.occurred_at;
	attempt->transaction_id = header.transaction_id;
	attempt->lsn = header.lsn;
	attempt->version = header.version;
	attempt->old_status = (ProvconnStatus) header.old_status;
	attempt->new_status = (ProvconnStatus) header.new_status;
	attempt->has_version = header.has_version;
	attempt->is_read = header.is_read;
	attempt->is_open = header.is_open;
	attempt->is_told = header.is_told;
	attempt->key_id = header.key_id;
	memcpy(attempt->mac, header.mac, sizeof(header.mac));
	if (!is_status(header.old_status) || !is_status(header.new_status))
		return false;
	for (int i = 0; i < ID_COUNT; i++)
	{
		if (!header.has_id[i])
			continue;
		if ((size_t) (bytes + len - at) < sizeof(ProvconnUuid))
			return false;
		*id_of(attempt, i) = (const ProvconnUuid *) at;
		at += sizeof(ProvconnUuid);
	}
	for (int i = 0; i < TEXT_COUNT; i++)
	{
		if (header.length[i] < 0)
			continue;
		if ((bytes + len - at) < header.length[i])
			return false;
		text_of(attempt, i)->data = at;
		text_of(attempt, i)->len = header.length[i];
		at += header.length[i];
	}
	return attempt->action.data != NULL;
}

/* Ids as they are, in hexadecimal: nothing here may allocate much, or fail. */
void
provconn_attempt_lose(int ring, const ProvconnAttempt *attempt)
{
	char		hex[2][33] = {"", ""};
	const ProvconnUuid *ids[2];

	ids[0] = attempt->connection_id;
	ids[1] = attempt->user_id;
	for (int i = 0; i < 2; i++)
		for (int j = 0; ids[i] != NULL && j < (int) sizeof(ProvconnUuid); j++)
			snprintf(hex[i] + 2 * j, 3, "%02x", ids[i]->bytes[j]);
	if (!attempt->is_open)
		provconn_ring_count_loss(ring);
	ereport(LOG,
			(errmsg(attempt->is_open ? "provconn could not note an attempt of a prepared transaction" :
					"provconn could not put an attempt on record that was rolled back"),
			 errdetail("Action %.*s, connection %s, user %s, role %.*s, error code %.*s, transaction %llu.",
					   (int) attempt->action.len, attempt->action.data,
					   ids[0] != NULL ? hex[0] : "none", ids[1] != NULL ? hex[1] : "none",
					   (int) attempt->caller_role.len, attempt->caller_role.data != NULL ? attempt->caller_role.data : "",
					   (int) attempt->error_code.len, attempt->error_code.data != NULL ? attempt->error_code.data : "",
					   (unsigned long long) attempt->transaction_id),
			 errhidestmt(true), errhidecontext(true)));
}

static int
append_note(const ProvconnAttempt *attempt, bool pending)
{
	Note	   *note;
	size_t		used;

	make_room();
	used = note_count > 0 ? notes[note_count - 1].at + notes[note_count - 1].size : 0;
	note = &notes[note_count];
	note->at = used;
	note->size = (uint32) provconn_attempt_encode(attempt, buffer + used, PROVCONN_ATTEMPT_MAX);
	note->level = GetCurrentTransactionNestLevel();
	note->pending = pending;
	note->lsn = InvalidXLogRecPtr;
	note->number = last_number = last_number < PG_INT32_MAX ? last_number + 1 : 1;
	note_count++;
	return note->number;
}

/* For one more, before anything is changed; the callbacks come with the first. */
static void
make_room(void)
{
	size_t		used = note_count > 0 ? notes[note_count - 1].at + notes[note_count - 1].size : 0;

	if (notes == NULL)
	{
		note_room = 64;
		notes = MemoryContextAlloc(TopMemoryContext, note_room * sizeof(Note));
		RegisterXactCallback(end_transaction, NULL);
		RegisterSubXactCallback(end_subtransaction, NULL);
	}
	if (buffer == NULL)
	{
		buffer = MemoryContextAlloc(TopMemoryContext, 2 * PROVCONN_ATTEMPT_MAX);
		buffer_size = 2 * PROVCONN_ATTEMPT_MAX;
	}
	if (note_count == note_room)
	{
		notes = repalloc_huge(notes, 2 * note_room * sizeof(Note));
		note_room *= 2;
	}
	if (buffer_size - used < PROVCONN_ATTEMPT_MAX)
	{
		buffer = repalloc_huge(buffer, 2 * buffer_size);
		buffer_size *= 2;
	}
}

static void
drop_notes(int from)
{
	note_count = from;
	if (from > 0)
		return;
	has_reads = false;
	if (buffer_size <= KEEP_BYTES)
		return;
	pfree(buffer);
	buffer = NULL;
	buffer_size = 0;
}

/*
 * To the ring, reads first; open: what becomes of them is for its reader to find
 * out.
 */
static void
push_notes(int from, bool open)
{
	int			ring = provconn_ring_here();

	for (int i = from; i < note_count; i++)
		if (notes[i].size > 0 && notes[i].lsn != InvalidXLogRecPtr)
			push_note(ring, &notes[i], open);
	for (int i = from; i < note_count; i++)
		if (notes[i].size > 0 && notes[i].lsn == InvalidXLogRecPtr)
			push_note(ring, &notes[i], open);
	drop_notes(from);
}

/* A read for which there is no room will be read from the WAL, which is kept for it. */
static void
push_note(int ring, const Note *note, bool open)
{
	static char bytes[PROVCONN_ATTEMPT_MAX];
	const char *error = provconn_statement_error();
	ProvconnAttempt attempt;
	size_t		size;

	if (!provconn_attempt_decode(buffer + note->at, note->size, &attempt))
		return;
	attempt.is_open = open;
	attempt.lsn = note->lsn;
	if (note->pending && error != NULL)
	{
		attempt.error_code.data = error;
		attempt.error_code.len = strlen(error);
	}
	size = provconn_attempt_encode(&attempt, bytes, sizeof(bytes));
	if (!provconn_ring_push(ring, bytes, (uint32) size, note->lsn) &&
		(note->lsn == InvalidXLogRecPtr || !provconn_settings_keep_wal()))
		provconn_attempt_lose(ring, &attempt);
}

static void
end_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_ABORT:
			push_notes(0, false);
			break;
		case XACT_EVENT_PREPARE:
			push_notes(0, true);
			break;
		case XACT_EVENT_COMMIT:
			drop_notes(0);
			break;
		default:
			return;
	}
	if (holding)
		provconn_ring_let_wal_go();
	holding = false;
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	int			from = note_count;

	while (from > 0 && notes[from - 1].level >= level)
		from--;
	if (from == note_count)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		push_notes(from, false);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = from; i < note_count; i++)
			notes[i].level = level - 1;
}

static const ProvconnUuid **
id_of(ProvconnAttempt *attempt, int i)
{
	const ProvconnUuid **const ids[ID_COUNT] = {
		&attempt->audit_id, &attempt->connection_id, &attempt->user_id, &attempt->owner_id,
		&attempt->provider_id
	};

	return ids[i];
}

static ProvconnSpan *
text_of(ProvconnAttempt *attempt, int i)
{
	ProvconnSpan *const texts[TEXT_COUNT] = {
		&attempt->action, &attempt->error_code, &attempt->provider_slug, &attempt->session_role,
		&attempt->caller_role, &attempt->application_name, &attempt->client_address,
		&attempt->reason
	};

	return texts[i];
}

static bool
is_status(int8 status)
{
	return status >= PROVCONN_STATUS_NONE && status < PROVCONN_STATUS_COUNT;
}

static bool
is_read(const Note *note)
{
	Header		header;

	memcpy(&header, buffer + note->at, sizeof(Header));
	return header.is_read;
}
