/*-------------------------------------------------------------------------
 *
 * session.h
 *	  What the worker says to the server, and hears: see session.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_SESSION_H
#define BGJOB_WORKER_SESSION_H

#include "worker/job.h"

extern void session_open(void);
extern void session_turn(void);
extern void session_answer(Answer *answer);
extern int session_unanswered(void);
extern bool session_is_ready(void);
extern bool session_found_none(void);
extern void session_expect_work(void);
extern void session_cancel(int pid);
extern void session_close(void);

#endif
