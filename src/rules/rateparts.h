/*-------------------------------------------------------------------------
 *
 * rateparts.h
 *	  What rules/rate.c and rules/bucket.c share: the ring of entries, the bucket.
 *
 * Pure, as rules/rate.h says. Of no interest to other files.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RULES_RATEPARTS_H
#define BGJOB_RULES_RATEPARTS_H

#include "rules/rate.h"

/* How far "now" may at least be behind the latest spending: the time for which a process may be held up. */
#define BGJOB_RATE_BEHIND INT64_C(1000000)

/* bgjob_rate_at returns the position of an entry in the ring; 0 is the oldest, count the next new one. */
static inline int
bgjob_rate_at(const BgjobUse *use, int i)
{
	return (use->oldest + i) % BGJOB_RATE_ENTRIES;
}

/* bgjob_rate_later returns time + microseconds, or the end of time. */
static inline int64_t
bgjob_rate_later(int64_t time, int64_t microseconds)
{
	return time > INT64_MAX - microseconds ? INT64_MAX : time + microseconds;
}

/* bgjob_rate_latest returns up to which time spending counts, where the clock shows "now". */
static inline int64_t
bgjob_rate_latest(const BgjobRate *rate, int64_t now)
{
	return bgjob_rate_later(now, rate->per > BGJOB_RATE_BEHIND ? rate->per : BGJOB_RATE_BEHIND);
}

/* bgjob_rate_sum returns the sum of two amounts of units, or the nearest that an amount can be. */
static inline int32_t
bgjob_rate_sum(int32_t amount, int64_t more)
{
	int64_t sum = amount + more;

	return sum < 0 ? 0 : sum > INT32_MAX ? INT32_MAX : (int32_t) sum;
}

/* bgjob_rate_push adds an entry; there must be room. */
static inline void
bgjob_rate_push(BgjobUse *use, int64_t time, int32_t amount)
{
	int position = bgjob_rate_at(use, use->count++);

	use->time[position] = time;
	use->amount[position] = amount;
}

/* bgjob_rate_find returns the number of the first entry that is not before a time; "count" if there is none. */
static inline int
bgjob_rate_find(const BgjobUse *use, int64_t time)
{
	int i = 0;

	while (i < use->count && use->time[bgjob_rate_at(use, i)] < time)
		i++;
	return i;
}

/* Those of bucket.c; "use" is that of a bucket of this rate. */
extern bool bgjob_bucket_fits(const BgjobUse *use, const BgjobRate *rate);
extern void bgjob_bucket_adopt(BgjobUse *use, const BgjobRate *rate);
extern int32_t bgjob_bucket_debt(const BgjobUse *use, const BgjobRate *rate, int64_t now);
extern int64_t
bgjob_bucket_when(const BgjobUse *use, const BgjobRate *rate, int units, int64_t now);
extern void bgjob_bucket_spend(BgjobUse *use, const BgjobRate *rate, int units, int64_t now);
extern void bgjob_bucket_correct(BgjobUse *use, const BgjobRate *rate, int by, int64_t started,
								 int64_t now);

#endif /* BGJOB_RULES_RATEPARTS_H */
