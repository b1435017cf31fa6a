/*-------------------------------------------------------------------------
 *
 * leases.h
 *	  Leases of external workers that are over.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_LEASES_H
#define BGJOB_PROCESS_LEASES_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void bgjob_leases_begin(void);
extern void bgjob_leases_check(void);
extern TimestampTz bgjob_leases_serve(TimestampTz now);

#endif /* BGJOB_PROCESS_LEASES_H */
