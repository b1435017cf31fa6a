/*-------------------------------------------------------------------------
 *
 * oneshot.h
 *	  A handler for each job: see oneshot.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_ONESHOT_H
#define BGJOB_WORKER_ONESHOT_H

#include "worker/slot.h"

extern char **oneshot_environment(const Slot *slot);
extern char **environment_make(const Slot *slot, char **own);
extern void oneshot_free_environment(char **environment);
extern void oneshot_send(Slot *slot);

#endif
