/*
 * arguments.h (layer 7): what the entry points do with SQL values.
 */
#ifndef PROVCONN_ARGUMENTS_H
#define PROVCONN_ARGUMENTS_H

#include "postgres.h"

#include "fmgr.h"

#include "call.h"
#include "model.h"

/* An argument of a function that is not strict. */
#define UUID_ARGUMENT(n) \
	provconn_uuid_argument(PG_ARGISNULL(n) ? (Datum) 0 : PG_GETARG_DATUM(n), PG_ARGISNULL(n))
#define TEXT_ARGUMENT(n) \
	provconn_text_argument(PG_ARGISNULL(n) ? (Datum) 0 : PG_GETARG_DATUM(n), PG_ARGISNULL(n))

extern const ProvconnUuid *provconn_uuid_argument(Datum value, bool isnull);
extern ProvconnSpan provconn_text_argument(Datum value, bool isnull);

/* Takes credentials apart; a secret that is too long is an error. */
extern void provconn_read_credentials(Datum value, bool isnull,
									  ProvconnCredentials *credentials);

/* A provconn_result. */
extern Datum provconn_form_result(const ProvconnOutcome *outcome);

/*
 * An array argument's elements; NULL for SQL NULL.  element_type InvalidOid:
 * the array's own; expected < 0: any number of them.
 */
extern Datum *provconn_read_array(FunctionCallInfo fcinfo, int argument, Oid element_type,
								  const char *name, int expected, bool **nulls, int *count);

/* Text holds no NUL byte, and is valid in the database's encoding. */
extern bool provconn_is_valid_text(ProvconnSpan bytes);

#endif /* PROVCONN_ARGUMENTS_H */
