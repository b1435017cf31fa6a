/*-------------------------------------------------------------------------
 *
 * refusal.h
 *	  What the server says when it refuses a connection: see refusal.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_REFUSAL_H
#define BGJOB_CLIENT_REFUSAL_H

extern void refusal_read(char *message, char sqlstate[6]);

#endif
