/*-------------------------------------------------------------------------
 *
 * bulk.h
 *	  Actions on many jobs, in the background: see bulk.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_BULK_H
#define BGJOB_DASHBOARD_BULK_H

#include "dashboard/request.h"
#include "dashboard/session.h"

extern void bulk_request(Request *request, const char *number);
extern void bulk_session_ended(Session *session);
extern void bulks_close(void);

#endif
