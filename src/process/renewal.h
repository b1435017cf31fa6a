/*-------------------------------------------------------------------------
 *
 * renewal.h
 *	  Processes that follow the settings of their database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_RENEWAL_H
#define BGJOB_PROCESS_RENEWAL_H

#include "postgres.h"

#include "base/registry.h"
#include "datatype/timestamp.h"

extern void bgjob_renewal_begin(void);
extern void bgjob_renewal_anew(void);
extern TimestampTz bgjob_renewal_serve(TimestampTz now);
extern bool bgjob_renewal_is_due(void);
extern void
bgjob_renewal_leave(BgjobDatabase *entry, TimestampTz serving_since, const char *database);

#endif /* BGJOB_PROCESS_RENEWAL_H */
