/*-------------------------------------------------------------------------
 *
 * zone.h
 *	  The server's time zones, in the form that rules/cron.h takes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_ZONE_H
#define BGJOB_BASE_ZONE_H

#include "postgres.h"

#include "pgtime.h"
#include "rules/cron.h"

/* A time zone in use. It must stay where it is: "zone" points into it. */
typedef struct BgjobTimeZone
{
	BgjobZone zone; /* for bgjob_cron_next() */

	/* Private: the zone, and the last answer: the offset from "from" up to "to". */
	pg_tz *tz;
	int64 from;
	int64 to;
	int32 offset;
} BgjobTimeZone;

/*
 * bgjob_time_zone_open looks a time zone up, by a name that the setting
 * TimeZone would take: one of pg_timezone_names, in any case, or a POSIX
 * specification. NULL: the one of "setting", which is the value of
 * bgjob.time_zone. 22023: there is none, or it counts leap seconds. Nothing needs to be closed.
 */
extern void bgjob_time_zone_open(BgjobTimeZone *zone, const char *name, const char *setting);

/*
 * bgjob_time_zone_exists returns whether there is a time zone that a recurring
 * job may have: one of pg_timezone_names, in any case.
 */
extern bool bgjob_time_zone_exists(const char *name);

#endif /* BGJOB_BASE_ZONE_H */
