/*-------------------------------------------------------------------------
 *
 * clockset.h
 *	  Notices that the clock was set, and sets right what was computed by it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_CLOCKSET_H
#define BGJOB_PROCESS_CLOCKSET_H

#include "postgres.h"

#include "base/registry.h"

extern void bgjob_clockset_begin(BgjobDatabase *database);
extern bool bgjob_clockset_watch(TimestampTz now);
extern TimestampTz bgjob_clockset_serve(TimestampTz now);

#endif /* BGJOB_PROCESS_CLOCKSET_H */
