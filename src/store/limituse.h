/*-------------------------------------------------------------------------
 *
 * limituse.h
 *	  What was spent of rates, kept over a restart: bgjob_internal.limit_use.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_LIMITUSE_H
#define BGJOB_STORE_LIMITUSE_H

#include "postgres.h"

#include "base/gateuse.h"
#include "datatype/timestamp.h"

extern void bgjob_limituse_save(const BgjobGateUse *use);
extern void bgjob_limituse_load(TimestampTz now);

#endif /* BGJOB_STORE_LIMITUSE_H */
