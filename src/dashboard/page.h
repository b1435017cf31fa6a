/*-------------------------------------------------------------------------
 *
 * page.h
 *	  The data of a page: see page.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_PAGE_H
#define BGJOB_DASHBOARD_PAGE_H

#include "dashboard/request.h"

extern void page_request(Request *request, const char *name);

#endif
