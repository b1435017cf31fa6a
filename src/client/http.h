/*-------------------------------------------------------------------------
 *
 * http.h
 *	  Pages by HTTP: see http.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_HTTP_H
#define BGJOB_CLIENT_HTTP_H

#include "client/buffer.h"

#include <stdbool.h>

/* Writes a page for a path, and returns the status; *type is its media type. */
typedef int (*HttpServe)(const char *path, Buffer *page, const char **type);

extern bool http_open(const char *address, HttpServe serve);
extern void http_close(void);

#endif
