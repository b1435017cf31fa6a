/*-------------------------------------------------------------------------
 *
 * await.h
 *	  Waiting for work: see await.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_AWAIT_H
#define BGJOB_WORKER_AWAIT_H

extern void await_turn(void);
extern void await_worked(void);
extern void await_close(void);

#endif
