/*
 * random.c (layer 2): random bytes, from the server's strong generator.
 *
 * A call of that generator costs thousands of instructions, however few bytes
 * are asked of it.  So what is no key comes out of a stock, which is kept in
 * locked memory, wiped as it is handed out, and never that of a parent process.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "random.h"
#include "secret.h"

#define STOCK_SIZE 2048

static unsigned char *stock = NULL;
static Size left = 0;
static int	owner = 0;			/* the process that drew it */

void
provconn_random_key(void *out, Size len)
{
	if (!pg_strong_random(out, len))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values"),
				 errhidestmt(true), errhidecontext(true)));
}

void
provconn_random_bytes(void *out, Size len)
{
	if (len > STOCK_SIZE)
	{
		provconn_random_key(out, len);
		return;
	}
	if (stock == NULL)
		stock = provconn_secret_pages(STOCK_SIZE, false);
	if (left < len || owner != MyProcPid)
	{
		left = 0;
		provconn_random_key(stock, STOCK_SIZE);
		left = STOCK_SIZE;
		owner = MyProcPid;
	}
	left -= len;
	memcpy(out, stock + left, len);
	provconn_secret_wipe(stock + left, len);
}
