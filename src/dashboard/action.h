/*-------------------------------------------------------------------------
 *
 * action.h
 *	  What a user can do: see action.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_ACTION_H
#define BGJOB_DASHBOARD_ACTION_H

#include "dashboard/request.h"

extern void action_request(Request *request, const char *name);

#endif
