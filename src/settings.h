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

#define PROVCONN_SETTINGS_MAX_DATABASES 64

/* How many bytes of shared memory each database has for attempts. */
extern size_t provconn_settings_attempt_buffers(void);

/* The databases that the worker serves: a list of names. */
extern const char *provconn_settings_databases(void);

/* How long, in microseconds, after their expiry it expires connections; below 0: never. */
extern int64 provconn_settings_expire_after(void);

/* Whether a slot keeps the WAL that tells of reveals. */
extern bool provconn_settings_keep_wal(void);

/* Whether rows of the audit are told by NOTIFY. */
extern bool provconn_settings_notify(void);

/* How often the worker seals the audit, in seconds; 0: never. */
extern int	provconn_settings_seal_interval(void);

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
