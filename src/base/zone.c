/*-------------------------------------------------------------------------
 *
 * zone.c
 *	  The server's time zones, as rules/cron.h wants to be told about them.
 *
 * The server keeps every zone that was ever asked for in memory, so a zone,
 * once found, stays valid for the life of the process. Its data is read from
 * files; a job's next occurrence may therefore change when the operating
 * system brings new rules and the server is restarted.
 *
 * Any process may call this; no transaction is needed, nothing is locked.
 * The offset comes from pg_localtime(), which is what the server itself shows
 * times by; pg_next_dst_boundary() differs from it before a zone's first
 * change, and tells where the next one is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "base/zone.h"

/* The callback of a BgjobZone: see there. The last answer is kept, for most questions are near. */
static int32_t
told_by_server(void *data, int64_t second, int64_t *change)
{
	BgjobTimeZone *zone = data;
	pg_time_t when = second;
	pg_time_t boundary;
	long before;
	long after;
	int before_isdst;
	int after_isdst;
	const struct pg_tm *tm;

	if (second < zone->from || second >= zone->to)
	{
		tm = pg_localtime(&when, zone->tz);
		zone->offset = tm != NULL ? (int32) tm->tm_gmtoff : 0;
		zone->from = second;
		zone->to = PG_INT64_MAX;
		if (pg_next_dst_boundary(&when, &before, &before_isdst, &boundary, &after, &after_isdst,
								 zone->tz) == 1 &&
			boundary > second)
			zone->to = boundary;
	}
	*change = zone->to;
	return zone->offset;
}

/* bgjob_time_zone_open looks a time zone up; see zone.h. */
void
bgjob_time_zone_open(BgjobTimeZone *zone, const char *name)
{
	bool by_setting = name == NULL;

	if (by_setting)
		name = bgjob_time_zone;
	zone->tz = pg_tzset(name);
	if (zone->tz == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized", name),
				 by_setting ? errdetail("It is the value of the setting bgjob.time_zone.")
							: errdetail("The server does not know a time zone of that name."),
				 errhint("The names are in the view pg_timezone_names.")));
	if (!pg_tz_acceptable(zone->tz))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("time zone \"%s\" appears to use leap seconds", name),
						errdetail("PostgreSQL does not support leap seconds."),
						errhint("The names are in the view pg_timezone_names.")));
	zone->from = zone->to = 0;
	zone->zone.told_by = told_by_server;
	zone->zone.data = zone;
}
