/*
 * report.h (layer 7): what the audit has of one user, as a page to be read.
 */
#ifndef PROVCONN_REPORT_H
#define PROVCONN_REPORT_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "model.h"

/*
 * Appends a page of HTML that needs nothing else, in ASCII, of what the calling
 * statement's snapshot shows; caller is the role that asks.
 */
extern void provconn_report_make(Oid caller, const ProvconnUuid *user_id, StringInfo page);

#endif							/* PROVCONN_REPORT_H */
