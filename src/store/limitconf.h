/*-------------------------------------------------------------------------
 *
 * limitconf.h
 *	  What administrators have configured of limits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_LIMITCONF_H
#define BGJOB_STORE_LIMITCONF_H

#include "postgres.h"

#include "base/patterns.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "rules/rate.h"

/* Longest name of a limit, in bytes. */
#define BGJOB_LIMIT_NAME_MAX BGJOB_PATTERN_MAX

/* A limit, or a pattern of limits. */
typedef struct BgjobLimitConf
{
	const char *name;
	bool pattern;             /* each key with its prefix is a limit of its own */
	int max_running;          /* -1: any number */
	BgjobRate rate;           /* BGJOB_RATE_NONE: no rate */
	const Interval *per;      /* as it was given; NULL: no rate */
	bool deletes;             /* a job that may not start now is deleted */
	TimestampTz closed_until; /* 0: not closed */
	int64 version;            /* grows with every change, of any limit */
} BgjobLimitConf;

/* The longest "per" of a rate, in microseconds: 100 years, with months of 30 days. */
#define BGJOB_LIMIT_PER_MAX (100 * MONTHS_PER_YEAR * DAYS_PER_MONTH * USECS_PER_DAY)

/* What bgjob_limit() sets. */
typedef struct BgjobLimitChange
{
	int max_running; /* -1: any number */
	int rate;        /* 0: none */
	Interval *per;   /* NULL: none */
	BgjobRateAlgorithm algorithm;
	bool deletes;
} BgjobLimitChange;

/* The most limits that a job may be under. */
#define BGJOB_LIMITS_MAX 16

extern int bgjob_limit_units(const char *text, int *name_length);
extern const BgjobLimitConf *bgjob_limitconf_find(const char *name);
extern void bgjob_limitconf_set(const char *name, const BgjobLimitChange *change);
extern bool bgjob_limitconf_remove(const char *name);
extern bool bgjob_limitconf_close(const char *name, TimestampTz until);
extern List *bgjob_limitconf_list(void);

#endif /* BGJOB_STORE_LIMITCONF_H */
