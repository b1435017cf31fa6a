/*-------------------------------------------------------------------------
 *
 * module.c
 *	  Where the library begins.
 *
 * Loaded by the postmaster (shared_preload_libraries = 'bgjob') it defines
 * the settings, asks for shared memory, hooks the commands that it must know
 * of and registers the launcher. Loaded by a session only (a function was
 * called, the library is not preloaded) it defines the settings: jobs can be
 * enqueued and seen, but do not run.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/creationfilters.h"
#include "api/utility.h"
#include "api/viewplan.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "process/launcher.h"
#include "store/settle.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

/* _PG_init is called when the library is loaded. */
void
_PG_init(void)
{
	bgjob_define_settings();
	bgjob_filters_install();
	bgjob_settle_install();
	if (!process_shared_preload_libraries_in_progress)
		return;
	bgjob_shmem_install();
	bgjob_utility_install();
	bgjob_viewplan_install();
	if (!IsBinaryUpgrade) /* nothing runs while pg_upgrade is at work */
		bgjob_launcher_register();
}
