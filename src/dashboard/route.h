/*-------------------------------------------------------------------------
 *
 * route.h
 *	  Which part of the program answers a request: see route.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_ROUTE_H
#define BGJOB_DASHBOARD_ROUTE_H

#include "dashboard/request.h"

extern void route_header(Request *request);
extern void route_request(Request *request);

#endif
