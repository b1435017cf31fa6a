/*-------------------------------------------------------------------------
 *
 * notify.h
 *	  Telling systemd how the program is: see notify.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_NOTIFY_H
#define BGJOB_CLIENT_NOTIFY_H

#include <stdbool.h>

extern void notify_open(void);
extern bool notify_is_open(void);
extern void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
