/*-------------------------------------------------------------------------
 *
 * listen.h
 *	  Where a program listens: see listen.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_LISTEN_H
#define BGJOB_CLIENT_LISTEN_H

#include <netdb.h>
#include <stdbool.h>

extern struct addrinfo *listen_find(const char *text);
extern bool listen_is_loopback(const struct addrinfo *address);
extern int listen_log(int socket);

#endif
