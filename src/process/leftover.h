/*-------------------------------------------------------------------------
 *
 * leftover.h
 *	  Removing what is configured of functions that have gone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_LEFTOVER_H
#define BGJOB_PROCESS_LEFTOVER_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern TimestampTz bgjob_leftover_serve(TimestampTz now);

#endif /* BGJOB_PROCESS_LEFTOVER_H */
