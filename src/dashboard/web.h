/*-------------------------------------------------------------------------
 *
 * web.h
 *	  The HTTP server: see web.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_WEB_H
#define BGJOB_DASHBOARD_WEB_H

#include "dashboard/request.h"

#include <stdbool.h>

extern bool web_open(void);
extern int web_port(void);
extern void web_resume(Request *request);
extern void web_stop(void);
extern void web_close(void);

#endif
