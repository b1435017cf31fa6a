/*-------------------------------------------------------------------------
 *
 * composed.h
 *	  Removing batches and signals that have expired.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_COMPOSED_H
#define BGJOB_STORE_COMPOSED_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern int64 bgjob_batches_expire(TimestampTz before, int64 *after, int max);
extern int64 bgjob_signals_expire(TimestampTz before, int max);

#endif /* BGJOB_STORE_COMPOSED_H */
