/*
 * settings.h (layer 2): the provconn.* settings.
 */
#ifndef PROVCONN_SETTINGS_H
#define PROVCONN_SETTINGS_H

#include "postgres.h"

/* Defines the settings; called once, from _PG_init. */
extern void provconn_settings_define(void);

/* How long an idempotency key is kept, in seconds. */
extern int	provconn_settings_idempotency_retention(void);

/* The path of the key file; NULL or empty where none is set. */
extern const char *provconn_settings_key_file(void);

/* Grows by one whenever a setting that concerns keys was assigned. */
extern uint64 provconn_settings_key_generation(void);

#endif							/* PROVCONN_SETTINGS_H */
