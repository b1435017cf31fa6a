/*-------------------------------------------------------------------------
 *
 * metrics.h
 *	  Metrics for Prometheus: see metrics.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_METRICS_H
#define BGJOB_DASHBOARD_METRICS_H

#include "dashboard/login.h"
#include "dashboard/request.h"

extern void metrics_answer(Request *request, Login *own);

#endif
