/*-------------------------------------------------------------------------
 *
 * status.h
 *	  Health and metrics: see status.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_STATUS_H
#define BGJOB_WORKER_STATUS_H

extern void status_open(void);
extern void status_close(void);

#endif
