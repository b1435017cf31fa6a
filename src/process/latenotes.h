/*-------------------------------------------------------------------------
 *
 * latenotes.h
 *	  Noting late answers of external workers in the history of their jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_LATENOTES_H
#define BGJOB_PROCESS_LATENOTES_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern TimestampTz bgjob_latenotes_serve(TimestampTz now);

#endif /* BGJOB_PROCESS_LATENOTES_H */
