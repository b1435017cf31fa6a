/*-------------------------------------------------------------------------
 *
 * rate.h
 *	  Limits in time: so many units per so long, and what has been spent of them.
 *
 * Three algorithms:
 *
 * fixed window	  Windows follow each other; they begin at the multiples of "per" since 2000-01-01 00:00
 *				  UTC. In none is more spent than the units.
 * sliding window In no interval of the length "per" (its end is not part of it) is more spent than
 *				  the units, wherever it begins.
 * token bucket	  The bucket holds as many units as the rate has. What is taken out flows back, evenly
 *				  over time: all units in "per". So in an interval of the length t, at most units * (1 + t / per)
 *				  are spent.
 *
 * A rate may be changed at any time, also its algorithm: what has been spent before goes on to count
 * by the new one, as far as it is still known.
 *
 * Pure: no shared memory, no locks, no allocation, no errors. Any process may call it, and the unit tests
 * link it without a server. The caller owns the BgjobUse and locks it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RULES_RATE_H
#define BGJOB_RULES_RATE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum BgjobRateAlgorithm
{
	BGJOB_RATE_NONE = 0, /* everything is free, nothing is counted */
	BGJOB_RATE_FIXED_WINDOW,
	BGJOB_RATE_SLIDING_WINDOW,
	BGJOB_RATE_TOKEN_BUCKET
} BgjobRateAlgorithm;

/* A rate. Unless the algorithm is NONE, units and per are at least 1, and per is below 2^61. */
typedef struct BgjobRate
{
	BgjobRateAlgorithm algorithm;
	int units;
	int64_t per; /* microseconds */
} BgjobRate;

/* 128 spans of per / 128, the one that is just leaving, and the one that has just begun. */
#define BGJOB_RATE_ENTRIES 130

/*
 * What has been spent of a rate: private to rules/rate.c and rules/bucket.c. All zero: nothing. There are no
 * pointers in it, so it may be copied and may live in shared memory.
 *
 * For both kinds of windows the entries are spans: "amount" units were spent until "time", and none of them
 * before the entry before. For a bucket they are low-water marks; rules/bucket.c says which.
 */
typedef struct BgjobUse
{
	int64_t total; /* windows: the sum of the amounts */
	int64_t first; /* windows: when the newest span began */
	int64_t per;   /* bucket: that of the rate for which the debt is kept */
	int64_t at;    /* bucket: the time of the debt */
	int64_t part;  /* bucket: the debt is debt + part / per units */
	int32_t debt;
	int32_t capacity; /* bucket: the units of that rate; 0: the entries are spans */
	int32_t oldest;   /* the position of the oldest entry */
	int32_t count;    /* how many entries there are */
	int64_t time[BGJOB_RATE_ENTRIES];   /* never less than that of the entry before */
	int32_t amount[BGJOB_RATE_ENTRIES]; /* units */
} BgjobUse;

/*
 * All times are microseconds since 2000, as those of PostgreSQL's TimestampTz; bgjob_now() returns them.
 *
 * "now" need not grow from call to call. A "now" before the latest spending (of another process, or of a
 * clock that was set back) is taken for the time of that spending. But what was spent more than one period
 * ahead of "now", and at least a second, does not count any more: so a clock that was set back far delays
 * nothing by more than two periods, and lets through one period's units more.
 */

/* bgjob_rate_free returns how many units may be spent now; never less than 0. */
extern int bgjob_rate_free(const BgjobUse *use, const BgjobRate *rate, int64_t now);

/*
 * bgjob_rate_when returns the earliest time at which so many units are free, if nothing else is spent until
 * then: "now" if they are. More units than the rate has are free when all of the rate's are. INT64_MAX: never.
 */
extern int64_t
bgjob_rate_when(const BgjobUse *use, const BgjobRate *rate, int units, int64_t now);

/* bgjob_rate_spend spends units, also more than are free: then none is free until that is made up for. */
extern void bgjob_rate_spend(BgjobUse *use, const BgjobRate *rate, int units, int64_t now);

/*
 * bgjob_rate_correct has "by" units more (negative: less) count as spent at "started", the "now" of an earlier
 * call of bgjob_rate_spend. What does not count any more is not changed. Units return only as far as it is
 * certain that no more could have been spent since then if they had not been taken.
 */
extern void
bgjob_rate_correct(BgjobUse *use, const BgjobRate *rate, int by, int64_t started, int64_t now);

/* bgjob_rate_is_clear says whether nothing counts any more: the use may be replaced by one that is all zero. */
extern bool bgjob_rate_is_clear(const BgjobUse *use, const BgjobRate *rate, int64_t now);

/* bgjob_rate_used returns the units that count as spent now; they may be more than the rate has. */
extern int bgjob_rate_used(const BgjobUse *use, const BgjobRate *rate, int64_t now);

#endif /* BGJOB_RULES_RATE_H */
