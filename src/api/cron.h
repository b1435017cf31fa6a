/*-------------------------------------------------------------------------
 *
 * cron.h
 *	  Parses schedules that users have written.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_CRON_H
#define BGJOB_API_CRON_H

#include "postgres.h"

#include "rules/cron.h"

extern void bgjob_read_schedule(const char *schedule, BgjobDayMatch day_match, const char *name,
								BgjobCron *cron);

#endif /* BGJOB_API_CRON_H */
