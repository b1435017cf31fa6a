/*-------------------------------------------------------------------------
 *
 * throttle.h
 *	  Guessing passwords takes time: see throttle.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_THROTTLE_H
#define BGJOB_DASHBOARD_THROTTLE_H

#include <stdbool.h>

struct sockaddr;

extern void throttle_open(void);
extern int throttle_seconds(const struct sockaddr *peer, const char *role);
extern void throttle_count(const struct sockaddr *peer, const char *role);
extern void throttle_forgive(const struct sockaddr *peer, const char *role, bool succeeded);

#endif
