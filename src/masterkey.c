/*
 * masterkey.c (layer 3): where the master keys come from.
 *
 * A key file is read whenever a data key has to be unwrapped, and what was read
 * is wiped with the caller's memory context.
 *
 * A key command is run once, as the server starts and by its user.  What it
 * prints stays in one page that all sessions inherit: locked into RAM by the
 * postmaster, left out of core dumps, and read only from then on.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "compat.h"
#include "fault.h"
#include "masterkey.h"
#include "secret.h"
#include "settings.h"

#define TEXT_MAX (64 * 1024)

/* What the key command printed. */
typedef struct Printed
{
	int			count;
	ProvconnMasterKey keys[PROVCONN_KEYFILE_MAX_KEYS];
} Printed;

static Printed *printed = NULL;

static char *read_key_file(const char *path, size_t *len);
static char *run_key_command(const char *command, size_t *len);
static size_t read_text(int fd, char *buffer);

const ProvconnMasterKey *
provconn_masterkey_read(int *count)
{
	const char *path = provconn_settings_key_file();
	const char *command = provconn_settings_key_command();
	ProvconnMasterKey *keys;
	ProvconnKeyfileFault fault;
	ProvconnSpan text;
	int			line;
	char	   *buffer;

	if (path == NULL || *path == '\0')
	{
		if (printed != NULL)
		{
			*count = printed->count;
			return printed->keys;
		}
		provconn_fault_raise(command != NULL && *command != '\0' ?
							 PROVCONN_FAULT_KEY_COMMAND_NOT_RUN :
							 PROVCONN_FAULT_KEY_NOT_CONFIGURED);
	}

	keys = provconn_secret_alloc(sizeof(ProvconnMasterKey) * PROVCONN_KEYFILE_MAX_KEYS);
	text.data = buffer = read_key_file(path, &text.len);
	fault = provconn_keyfile_parse(text, keys, count, &line);
	provconn_secret_wipe(buffer, text.len);
	if (fault == PROVCONN_KEYFILE_EMPTY)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_EMPTY);
	if (fault != PROVCONN_KEYFILE_OK)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_MALFORMED, line,
							 provconn_keyfile_fault_text(fault));
	return keys;
}

void
provconn_masterkey_init(void)
{
	const char *command = provconn_settings_key_command();
	const char *path = provconn_settings_key_file();
	ProvconnKeyfileFault fault;
	ProvconnSpan text;
	Printed    *page;
	int			line;
	char	   *buffer;

	if (!process_shared_preload_libraries_in_progress || command == NULL || *command == '\0')
		return;
	/* A file is used instead. */
	if (path != NULL && *path != '\0')
		return;
	page = provconn_secret_pages(sizeof(Printed), true);
	text.data = buffer = run_key_command(command, &text.len);
	fault = provconn_keyfile_parse(text, page->keys, &page->count, &line);
	provconn_secret_wipe(buffer, text.len);
	if (fault == PROVCONN_KEYFILE_EMPTY)
		provconn_fault_raise(PROVCONN_FAULT_KEY_COMMAND_EMPTY);
	if (fault != PROVCONN_KEYFILE_OK)
		provconn_fault_raise(PROVCONN_FAULT_KEY_COMMAND_MALFORMED, line,
							 provconn_keyfile_fault_text(fault));
	provconn_secret_protect_pages(page, sizeof(Printed));
	printed = page;
}

/*
 * Opened without the server's book-keeping, whose errors name the path; so it is
 * closed before anything is raised.
 */
static char *
read_key_file(const char *path, size_t *len)
{
	char	   *buffer = provconn_secret_alloc(TEXT_MAX);
	const char *unsafe = NULL;
	struct stat status;
	int			error = 0;
	int			fd;

	/* O_NONBLOCK: a FIFO put there must not hang the backend. */
	fd = BasicOpenFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_UNREADABLE, strerror(errno));
	if (fstat(fd, &status) != 0)
		error = errno;
	else if (!S_ISREG(status.st_mode))
		unsafe = "not a regular file";
	else if (status.st_uid != geteuid())
		unsafe = "owned by another user";
	else if ((status.st_mode & 07777 & ~(S_IRUSR | S_IWUSR)) != 0)
		unsafe = "mode wider than 0600";
	else
	{
		*len = read_text(fd, buffer);
		if (*len == (size_t) -1)
			error = errno;
		else if (*len == TEXT_MAX)
			unsafe = "64 kB or larger";
	}
	(void) close(fd);
	if (error != 0)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_UNREADABLE, strerror(error));
	if (unsafe != NULL)
		provconn_fault_raise(PROVCONN_FAULT_KEY_FILE_UNSAFE, unsafe);
	return buffer;
}

/* Read from its descriptor, so that no stream keeps a buffer of it. */
static char *
run_key_command(const char *command, size_t *len)
{
	char	   *buffer = provconn_secret_alloc(TEXT_MAX);
	FILE	   *pipe;
	int			status;

	fflush(NULL);
	pipe = OpenPipeStream(command, PG_BINARY_R);
	if (pipe == NULL)
		provconn_fault_raise(PROVCONN_FAULT_KEY_COMMAND_FAILED, strerror(errno));
	*len = read_text(fileno(pipe), buffer);
	if (*len == (size_t) -1)
		provconn_fault_raise(PROVCONN_FAULT_KEY_COMMAND_FAILED, strerror(errno));
	status = ClosePipeStream(pipe);
	if (status == -1)
		provconn_fault_raise(PROVCONN_FAULT_KEY_COMMAND_FAILED, strerror(errno));
	if (*len == TEXT_MAX)
		provconn_fault_raise(PROVCONN_FAULT_KEY_COMMAND_FAILED, "it printed 64 kB or more");
	if (status != 0)
		provconn_fault_raise(PROVCONN_FAULT_KEY_COMMAND_FAILED, wait_result_to_str(status));
	return buffer;
}

/* Up to TEXT_MAX bytes to the end; (size_t) -1 where that failed. */
static size_t
read_text(int fd, char *buffer)
{
	size_t		total = 0;
	ssize_t		got;

	while (total < TEXT_MAX)
	{
		got = read(fd, buffer + total, TEXT_MAX - total);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return (size_t) -1;
		if (got == 0)
			break;
		total += got;
	}
	return total;
}
