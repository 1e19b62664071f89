/*
 * markup.h (layer 2): text for a page of HTML that is XML as well.
 */
#ifndef PROVCONN_MARKUP_H
#define PROVCONN_MARKUP_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

/*
 * Appends text in the database's encoding so that it is shown as it is, in an
 * element or an attribute, whatever it holds: markup is escaped; characters
 * that cannot be seen, or change how others are shown, become their number.
 * What is appended is ASCII.  NULL appends nothing.
 */
extern void provconn_markup_text(StringInfo page, const char *text);

typedef enum ProvconnMarkupTime
{
	PROVCONN_MARKUP_YEAR,
	PROVCONN_MARKUP_MONTH,
	PROVCONN_MARKUP_DAY,
	PROVCONN_MARKUP_MINUTE, /* without the year */
	PROVCONN_MARKUP_SECOND, /* of the day */
	PROVCONN_MARKUP_TIME    /* all of it, to the second */
} ProvconnMarkupTime;

/* Appends a finite time, in UTC. */
extern void provconn_markup_time(StringInfo page, TimestampTz time, ProvconnMarkupTime how);

#endif							/* PROVCONN_MARKUP_H */
