/*-------------------------------------------------------------------------
 *
 * mapping.h
 *	  Keeping the map of jobs, by which bgjob_list() finds them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_MAPPING_H
#define BGJOB_PROCESS_MAPPING_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern TimestampTz bgjob_mapping_serve(TimestampTz now);
extern void bgjob_mapping_fill(bool (*must_stop)(void));

#endif /* BGJOB_PROCESS_MAPPING_H */
