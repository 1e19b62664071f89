/*
 * settings.h (layer 2): the provconn.* settings.
 */
#ifndef PROVCONN_SETTINGS_H
#define PROVCONN_SETTINGS_H

#include "postgres.h"

#include "breaker.h"

/*
 * Before they are defined: the one that the client has set as it connected, in
 * place of what is configured; NULL: none.
 */
extern const char *provconn_settings_taken(void);

/* Defines the settings; called once, from _PG_init. */
extern void provconn_settings_define(void);

/* The least and the most time between a failure and the next attempt, microseconds. */
extern int64 provconn_settings_backoff_base(void);
extern int64 provconn_settings_backoff_cap(void);

/* When claims of a provider are held back. */
extern ProvconnBreakerRules provconn_settings_breaker(void);

/* How long, in microseconds, and how often a connection fails until it is given up. */
extern int64 provconn_settings_give_up_after(void);
extern int	provconn_settings_give_up_failures(void);

/* How long an idempotency key is kept, in seconds. */
extern int	provconn_settings_idempotency_retention(void);

/* The program that prints the master keys; NULL or empty where none is set. */
extern const char *provconn_settings_key_command(void);

/* The path of the key file; NULL or empty where none is set. */
extern const char *provconn_settings_key_file(void);

/* How long re-encryption sleeps between two batches, milliseconds. */
extern int	provconn_settings_reencrypt_delay(void);

/* How many credentials a role may reveal a minute; 0: any number. */
extern int	provconn_settings_reveal_limit(void);

/* Grows by one whenever a setting that concerns keys was assigned. */
extern uint64 provconn_settings_key_generation(void);

#endif							/* PROVCONN_SETTINGS_H */
