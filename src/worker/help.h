/*-------------------------------------------------------------------------
 *
 * help.h
 *	  What bgjob-worker --help says: see help.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_HELP_H
#define BGJOB_WORKER_HELP_H

extern void help_show(void);

#endif
