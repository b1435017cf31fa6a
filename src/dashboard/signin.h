/*-------------------------------------------------------------------------
 *
 * signin.h
 *	  Signing in and out: see signin.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_SIGNIN_H
#define BGJOB_DASHBOARD_SIGNIN_H

#include "dashboard/request.h"

extern void signin_request(Request *request);
extern void signin_show(Request *request);
extern void signout_request(Request *request);

#endif
