/*
 * import.h (layer 5): what came into the tables past their guards.
 */
#ifndef PROVCONN_IMPORT_H
#define PROVCONN_IMPORT_H

#include "postgres.h"

/*
 * Leaves the trace of a copy into that table: one for each statement of a
 * restore, one for each life of a logical replication worker.
 */
extern void provconn_import_record(const char *table);

#endif							/* PROVCONN_IMPORT_H */
