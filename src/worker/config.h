/*-------------------------------------------------------------------------
 *
 * config.h
 *	  What the command line asks for: see config.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_CONFIG_H
#define BGJOB_WORKER_CONFIG_H

#include "client/target.h"

#include <stdbool.h>
#include <stdint.h>

/* Durations are in microseconds. */
typedef struct Config
{
	Target target;
	int64_t connect_timeout;

	char **queues;
	char *queue_array; /* the same, as PostgreSQL writes an array */
	char *name;
	int concurrency;
	bool persistent;
	char **handler;     /* ends with null */
	char *handler_path; /* the executable that handler[0] means */
	char **jobs;        /* names that the handler knows; null: all */
	char **labels;      /* name=value; null: none */
	const char *listen; /* null: no HTTP */

	int64_t lease;
	char *lease_text; /* the same, as PostgreSQL reads an interval */
	int64_t heartbeat;
	bool pooled;
	int64_t unknown_delay;
	int64_t grace;
	int64_t kill_after;
	int64_t max_output; /* bytes */
	int log_lines;      /* of a job */

	bool once;
	bool drain;
	int max_jobs; /* 0: no limit */
} Config;

extern Config config;

extern void config_read(int argc, char **argv);
extern void config_free(void);

#endif
