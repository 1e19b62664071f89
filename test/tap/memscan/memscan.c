/*
 * memscan.c: how often some bytes occur in the memory of this backend.
 *
 * For tests alone.  The bytes are given as their complement, so that neither the
 * statement nor anything made of it is a copy of them.  What is searched are the
 * writable private mappings: heap, stack, anonymous memory and the data of the
 * program and its libraries, freed memory included.  They are read through
 * /proc/self/mem into a mapping of our own, which is not searched itself and is
 * gone when the function returns.
 */
#include "postgres.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access/htup_details.h"	/* varatt.h, from 16 on */
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#define SCRATCH (1024 * 1024)
#define MAPS (256 * 1024)
#define CONTEXT 16

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(memscan);
PG_FUNCTION_INFO_V1(memscan_places);
PG_FUNCTION_INFO_V1(memscan_page);

typedef struct Scan
{
	const unsigned char *complement;
	size_t		len;
	int			memory;			/* /proc/self/mem */
	unsigned char *scratch;
	int			count;
	StringInfo	places;			/* or NULL */
	bytea	   *behind;			/* or NULL; what stands behind a copy at the start of a page */
} Scan;

static int	scan_memory(bytea *complement, StringInfo places, bytea *behind);
static size_t read_maps(char *maps);
static void scan_mapping(Scan *scan, unsigned long start, unsigned long end, const char *name);
static void scan_part(Scan *scan, unsigned long address, size_t len, const char *name);
static bool matches(const Scan *scan, const unsigned char *at);

/* memscan(bytea) returns int */
Datum
memscan(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(scan_memory(PG_GETARG_BYTEA_PP(0), NULL, NULL));
}

/* memscan_places(bytea) returns text: address, mapping and what stands before each copy */
Datum
memscan_places(PG_FUNCTION_ARGS)
{
	StringInfoData places;

	initStringInfo(&places);
	(void) scan_memory(PG_GETARG_BYTEA_PP(0), &places, NULL);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(places.data, places.len));
}

/*
 * memscan_page(bytea, int) returns bytea: of the page that begins with these bytes,
 * so many of those that follow, as their complement; all zeros if there is none
 */
Datum
memscan_page(PG_FUNCTION_ARGS)
{
	int			len = PG_GETARG_INT32(1);
	bytea	   *behind = palloc0(VARHDRSZ + len);

	SET_VARSIZE(behind, VARHDRSZ + len);
	(void) scan_memory(PG_GETARG_BYTEA_PP(0), NULL, behind);
	PG_RETURN_BYTEA_P(behind);
}

static int
scan_memory(bytea *complement, StringInfo places, bytea *behind)
{
	Scan		scan = {0};
	char	   *maps;
	char	   *line;
	char	   *next;

	scan.complement = (const unsigned char *) VARDATA_ANY(complement);
	scan.len = VARSIZE_ANY_EXHDR(complement);
	scan.places = places;
	scan.behind = behind;
	if (scan.len == 0 || scan.len > SCRATCH / 2)
		elog(ERROR, "a pattern of %zu bytes", scan.len);
	scan.scratch = mmap(NULL, SCRATCH + MAPS, PROT_READ | PROT_WRITE,
						MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (scan.scratch == MAP_FAILED)
		elog(ERROR, "mmap: %m");
	scan.memory = open("/proc/self/mem", O_RDONLY);
	if (scan.memory < 0)
		elog(ERROR, "/proc/self/mem: %m");

	maps = (char *) scan.scratch + SCRATCH;
	maps[read_maps(maps)] = '\0';
	for (line = maps; *line != '\0'; line = next)
	{
		unsigned long start;
		unsigned long end;
		char		access[5];
		int			name = 0;

		next = strchr(line, '\n');
		if (next == NULL)
			elog(ERROR, "there are too many mappings");
		*next++ = '\0';
		if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %n", &start, &end, access, &name) != 3)
			elog(ERROR, "/proc/self/maps: %s", line);
		if (access[0] == 'r' && access[1] == 'w' && access[3] == 'p')
			scan_mapping(&scan, start, end, line + name);
	}
	close(scan.memory);
	munmap(scan.scratch, SCRATCH + MAPS);
	return scan.count;
}

static size_t
read_maps(char *maps)
{
	int			fd = open("/proc/self/maps", O_RDONLY);
	size_t		len = 0;
	ssize_t		got;

	if (fd < 0)
		elog(ERROR, "/proc/self/maps: %m");
	while (len < MAPS - 1 && (got = read(fd, maps + len, MAPS - 1 - len)) > 0)
		len += got;
	close(fd);
	return len;
}

/* The scratch memory may have been merged with a neighbour: what is before and behind it counts. */
static void
scan_mapping(Scan *scan, unsigned long start, unsigned long end, const char *name)
{
	unsigned long own = (unsigned long) scan->scratch;
	unsigned long own_end = own + SCRATCH + MAPS;

	if (start <= own && own_end <= end)
	{
		scan_mapping(scan, start, own, name);
		scan_mapping(scan, own_end, end, name);
		return;
	}
	for (unsigned long at = start; at + scan->len <= end; at += SCRATCH - scan->len + 1)
		scan_part(scan, at, Min(end - at, SCRATCH), name);
}

static void
scan_part(Scan *scan, unsigned long address, size_t len, const char *name)
{
	const unsigned char *at = scan->scratch;
	const unsigned char *end;
	ssize_t		got = pread(scan->memory, scan->scratch, len, (off_t) address);

	if (got < (ssize_t) scan->len)
		return;
	end = scan->scratch + got - scan->len + 1;
	while (at < end &&
		   (at = memchr(at, (unsigned char) ~scan->complement[0], end - at)) != NULL)
	{
		if (matches(scan, at))
		{
			scan->count++;
			if (scan->places != NULL)
			{
				appendStringInfo(scan->places, "%lx %s ",
								 address + (unsigned long) (at - scan->scratch), name);
				for (const unsigned char *c = Max(at - CONTEXT, scan->scratch); c < at; c++)
					appendStringInfo(scan->places, "%02x", *c);
				appendStringInfoChar(scan->places, '\n');
			}
			if (scan->behind != NULL && (address + (unsigned long) (at - scan->scratch)) % 4096 == 0)
			{
				for (size_t i = 0; i < VARSIZE_ANY_EXHDR(scan->behind); i++)
					VARDATA_ANY(scan->behind)[i] = (char) ~at[scan->len + i];
			}
		}
		at++;
	}
}

static bool
matches(const Scan *scan, const unsigned char *at)
{
	for (size_t i = 0; i < scan->len; i++)
		if (at[i] != (unsigned char) ~scan->complement[i])
			return false;
	return true;
}
