/*-------------------------------------------------------------------------
 *
 * config.h
 *	  What the command line asks for: see config.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_CONFIG_H
#define BGJOB_DASHBOARD_CONFIG_H

#include "client/target.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Config
{
	Target target;
	const char *listen;
	char *base_path; /* "", or a path without a slash at its end */
	bool read_only;
	bool hide_arguments;
	bool insecure;
	const char *title;  /* null: none */
	const char *colour; /* null: none */
	char *tls_cert;     /* what is in the files; null: no TLS */
	char *tls_key;
	char **databases;        /* null: all */
	int64_t session_timeout; /* microseconds */
} Config;

extern Config config;

extern void config_read(int argc, char **argv);
extern void config_free(void);

#endif
