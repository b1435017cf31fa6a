/*-------------------------------------------------------------------------
 *
 * persistent.h
 *	  A handler for many jobs: see persistent.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_PERSISTENT_H
#define BGJOB_WORKER_PERSISTENT_H

#include "worker/slot.h"

extern char **persistent_environment(const Slot *slot);
extern void persistent_send(Slot *slot);
extern void persistent_lines(Slot *slot);

#endif
