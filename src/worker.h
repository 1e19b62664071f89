/*
 * worker.h (layer 8): the background workers, where the library is preloaded.
 */
#ifndef PROVCONN_WORKER_H
#define PROVCONN_WORKER_H

/* Registers the launcher; called once, from _PG_init. */
extern void provconn_worker_init(void);

#endif							/* PROVCONN_WORKER_H */
