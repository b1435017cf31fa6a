/*-------------------------------------------------------------------------
 *
 * queuelist.h
 *	  An array of queues, in the order of taking.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_QUEUELIST_H
#define BGJOB_API_QUEUELIST_H

#include "postgres.h"

#include "fmgr.h"

extern void bgjob_arg_queues(FunctionCallInfo fcinfo, int arg, const char *of, char *list);

#endif /* BGJOB_API_QUEUELIST_H */
