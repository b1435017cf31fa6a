/*-------------------------------------------------------------------------
 *
 * afterlocks.h
 *	  A call when the locks of a committed transaction have been released.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_AFTERLOCKS_H
#define BGJOB_BASE_AFTERLOCKS_H

#include "postgres.h"

extern void bgjob_after_locks_init(void);
extern void bgjob_after_locks(void (*call)(void));

#endif /* BGJOB_BASE_AFTERLOCKS_H */
