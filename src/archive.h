/*
 * archive.h (layer 7): months of the audit, put away and taken back.
 */
#ifndef PROVCONN_ARCHIVE_H
#define PROVCONN_ARCHIVE_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * Detaches the month of that time, which must be over, sealed and without a
 * problem; what its seals are over goes to a table beside it.  Returns the
 * month's table.
 */
extern Oid	provconn_archive_detach(Oid caller, TimestampTz month);

/* Attaches a month that was detached, and takes its leaves back. */
extern void provconn_archive_attach(Oid caller, Oid table);

/* Whether the update of provconn.seal under way is one of these. */
extern bool provconn_archive_is_moving(void);

#endif							/* PROVCONN_ARCHIVE_H */
