/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  The settings of bgjob, all of them.
 *
 * Every process may read the variables; only the server's GUC machinery
 * writes them. What each means is in doc/ and in guc.c, where it is defined.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_GUC_H
#define BGJOB_BASE_GUC_H

#include "postgres.h"

extern bool bgjob_enabled;
extern char *bgjob_databases;
extern int bgjob_workers;
extern int bgjob_max_workers; /* -1: as max_worker_processes allows */
extern char *bgjob_queues;
extern int bgjob_worker_idle_timeout; /* seconds */
extern int bgjob_max_retries;
extern int bgjob_job_timeout;      /* milliseconds, 0 = none */
extern int bgjob_shutdown_timeout; /* milliseconds */
extern bool bgjob_bind_leases;
extern int bgjob_max_crashes;
extern int bgjob_retention;        /* seconds, -1 = for ever */
extern int bgjob_retention_failed; /* seconds, -1 = for ever */
extern char *bgjob_time_zone;
extern char *bgjob_capture_settings;
extern int bgjob_function_stats_max;
extern int bgjob_inflight_cell; /* internal, -1 = none */
extern int bgjob_list_memory;   /* kilobytes */
extern int bgjob_max_leases;

extern bool bgjob_setting_is_database_wide(const char *name);

/* bgjob_define_settings defines them; called once, by _PG_init. */
extern void bgjob_define_settings(void);

#endif /* BGJOB_BASE_GUC_H */
