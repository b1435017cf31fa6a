/*-------------------------------------------------------------------------
 *
 * unused.h
 *	  Removing settings that nothing refers to any more.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_UNUSED_H
#define BGJOB_STORE_UNUSED_H

#include "postgres.h"

#include "base/registry.h"
#include "datatype/timestamp.h"

extern void bgjob_unused_reset(BgjobDatabase *entry);
extern bool bgjob_unused_is_due(const BgjobDatabase *entry, TimestampTz now, TimestampTz *wake);
extern TimestampTz bgjob_unused_step(BgjobDatabase *entry, TimestampTz now, int max);

#endif /* BGJOB_STORE_UNUSED_H */
