/*
 * module.c (layer 9): what the server calls when it loads the library.
 */
#include "postgres.h"

#include "fmgr.h"

#include "catalog.h"
#include "keyring.h"
#include "masterkey.h"
#include "settings.h"
#include "store.h"
#include "throttle.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	provconn_settings_define();
	provconn_masterkey_init();
	provconn_throttle_init();
	provconn_catalog_init();
	provconn_store_init();
	provconn_keyring_init();
}
