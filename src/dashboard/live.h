/*-------------------------------------------------------------------------
 *
 * live.h
 *	  What goes on, as it happens: see live.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_LIVE_H
#define BGJOB_DASHBOARD_LIVE_H

#include "dashboard/request.h"
#include "dashboard/session.h"

extern void live_request(Request *request);
extern void live_session_ended(Session *session);
extern void live_close(void);

#endif
