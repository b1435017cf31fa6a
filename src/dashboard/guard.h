/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  Requests that another site has made a browser send: see guard.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_GUARD_H
#define BGJOB_DASHBOARD_GUARD_H

#include "dashboard/request.h"

#include <stdbool.h>

extern bool guard_site(Request *request);
extern bool guard_token(Request *request);
extern bool guard_json(Request *request);

#endif
