/*-------------------------------------------------------------------------
 *
 * health.h
 *	  For those that watch the program: see health.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_HEALTH_H
#define BGJOB_DASHBOARD_HEALTH_H

#include "dashboard/request.h"

extern void health_open(void);
extern void health_request(Request *request);
extern void ready_request(Request *request);
extern void metrics_request(Request *request);
extern void health_close(void);

#endif
