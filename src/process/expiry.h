/*-------------------------------------------------------------------------
 *
 * expiry.h
 *	  Removing finished jobs that have expired, and settings that no job uses.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_EXPIRY_H
#define BGJOB_PROCESS_EXPIRY_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void bgjob_expiry_begin(void);
extern void bgjob_expiry_end(void);
extern void bgjob_expiry_anew(void);
extern void bgjob_expiry_advance(void);
extern TimestampTz bgjob_expiry_serve(TimestampTz now);
extern TimestampTz bgjob_expiry_serve_composed(TimestampTz now);
extern TimestampTz bgjob_expiry_serve_unused(TimestampTz now);

#endif /* BGJOB_PROCESS_EXPIRY_H */
