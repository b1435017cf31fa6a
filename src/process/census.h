/*-------------------------------------------------------------------------
 *
 * census.h
 *	  Counting the jobs of a database in the background.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_CENSUS_H
#define BGJOB_PROCESS_CENSUS_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern TimestampTz bgjob_census_serve(TimestampTz now);
extern bool bgjob_census_is_running(void);
extern void bgjob_census_end(void);
extern PGDLLEXPORT void bgjob_census_main(Datum arg);

#endif /* BGJOB_PROCESS_CENSUS_H */
