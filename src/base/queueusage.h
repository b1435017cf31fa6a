/*-------------------------------------------------------------------------
 *
 * queueusage.h
 *	  The CPU time and the WAL that a worker uses for each queue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_QUEUEUSAGE_H
#define BGJOB_BASE_QUEUEUSAGE_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void bgjob_queue_usage_begin(Oid role, const char *queue, TimestampTz now);
extern void bgjob_queue_usage_end(void);

#endif /* BGJOB_BASE_QUEUEUSAGE_H */
