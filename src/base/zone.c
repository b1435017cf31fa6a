/*-------------------------------------------------------------------------
 *
 * zone.c
 *	  The server's time zones, in the form that rules/cron.h takes.
 *
 * The server keeps every zone that was ever asked for in memory, so a zone,
 * once found, stays valid for the life of the process. Therefore the zones of recurring
 * jobs, for which the scheduler asks, must be those of the server's files: there are
 * some hundred of these, but any number of POSIX specifications, at 24 kB each. A
 * job's next occurrence may change when the operating system gets new files and the
 * server is restarted.
 *
 * Any process may call this; no transaction is needed, nothing is locked.
 * The offset comes from pg_localtime(), which is what the server itself shows
 * times by; pg_next_dst_boundary() differs from it before a zone's first
 * change, and returns where the next one is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/zone.h"

/* Returns the offset of a BgjobZone (rules/cron.h). The last span is cached, since most times asked for are near it. */
static int32_t
server_offset(void *data, int64_t second, int64_t *change)
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

/* Tells whether a zone is one of the server's files, and no POSIX specification. */
static bool
has_file(pg_tz *tz)
{
	const char *name = pg_get_timezone_name(tz);
	pg_tzenum *files;
	bool found = false;
	pg_tz *file;

	/* A specification is kept in upper case; so are few of the files. */
	for (const char *c = name; *c != '\0'; c++)
		if (*c >= 'a' && *c <= 'z')
			return true;
	if (strcmp(name, "UTC") == 0 || strcmp(name, "GMT") == 0)
		return true;
	files = pg_tzenumerate_start();
	while (!found && (file = pg_tzenumerate_next(files)) != NULL)
		found = strcmp(pg_get_timezone_name(file), name) == 0;
	pg_tzenumerate_end(files);
	return found;
}

/* bgjob_time_zone_exists returns whether there is a time zone that may be stored; see zone.h. */
bool
bgjob_time_zone_exists(const char *name)
{
	pg_tz *tz = pg_tzset(name);

	return tz != NULL && pg_strcasecmp(pg_get_timezone_name(tz), name) == 0 &&
		   pg_tz_acceptable(tz) && has_file(tz);
}

/* bgjob_time_zone_open looks a time zone up; see zone.h. */
void
bgjob_time_zone_open(BgjobTimeZone *zone, const char *name, const char *setting)
{
	bool by_setting = name == NULL;

	if (by_setting)
		name = setting;
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
	zone->zone.offset_at = server_offset;
	zone->zone.data = zone;
}
