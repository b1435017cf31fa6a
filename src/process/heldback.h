/*-------------------------------------------------------------------------
 *
 * heldback.h
 *	  Jobs that a restore has brought, and that wait for bgjob_adopt().
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_HELDBACK_H
#define BGJOB_PROCESS_HELDBACK_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void bgjob_heldback_count_anew(TimestampTz at);
extern TimestampTz bgjob_heldback_serve(TimestampTz now);

#endif /* BGJOB_PROCESS_HELDBACK_H */
