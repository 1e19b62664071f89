/*
 * reportapi.c (layer 8): the entry point of the audit's report.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "fault.h"
#include "report.h"

PG_FUNCTION_INFO_V1(provconn_audit_report);

Datum
provconn_audit_report(PG_FUNCTION_ARGS)
{
	StringInfoData page;

	if (PG_ARGISNULL(0))
		provconn_fault_raise(PROVCONN_FAULT_NULL_ARGUMENT, "user_id");
	initStringInfo(&page);
	provconn_report_make(GetUserId(), (const ProvconnUuid *) PG_GETARG_UUID_P(0), &page);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(page.data, page.len));
}
