/*
 * module.c (layer 9): what the server calls when it loads the library.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"

#include "catalog.h"
#include "fault.h"
#include "keyring.h"
#include "masterkey.h"
#include "partition.h"
#include "provider.h"
#include "ring.h"
#include "settings.h"
#include "store.h"
#include "throttle.h"
#include "worker.h"
#include "writer.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/*
 * Where it is not preloaded, it must find the settings as they are configured:
 * the limits among them are not for the client to lift.
 */
static void
require_configuration(void)
{
	const char *taken;

	/* A worker has its leader's settings, and runs nothing that depends on them. */
	if (process_shared_preload_libraries_in_progress || IsParallelWorker())
		return;
	if (IsInParallelMode())
		provconn_fault_raise(PROVCONN_FAULT_LOADED_LATE);
	taken = provconn_settings_taken();
	if (taken != NULL && !superuser_arg(GetSessionUserId()))
		provconn_fault_raise(PROVCONN_FAULT_SETTING_TAKEN, taken);
}

void
_PG_init(void)
{
	require_configuration();
	provconn_settings_define();
	provconn_masterkey_init();
	provconn_throttle_init();
	provconn_ring_init();
	provconn_worker_init();
	provconn_catalog_init();
	provconn_store_init();
	provconn_writer_init();
	provconn_partition_init();
	provconn_provider_init();
	provconn_keyring_init();
}
