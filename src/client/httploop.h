/*-------------------------------------------------------------------------
 *
 * httploop.h
 *	  libmicrohttpd within the program's loop: see httploop.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_HTTPLOOP_H
#define BGJOB_CLIENT_HTTPLOOP_H

struct MHD_Daemon;

extern int httploop_begin(struct MHD_Daemon *daemon);
extern void httploop_soon(void);
extern void httploop_end(void);

#endif
