/*-------------------------------------------------------------------------
 *
 * bucket.c
 *	  Token buckets: one of the algorithms of rules/rate.h.
 *
 * A bucket is kept as what lacks in it: its debt at a time, whole units and a fraction. The fraction's
 * denominator is the period in microseconds, so all arithmetic is exact, and nothing drifts.
 *
 * Where units return that were not used after all, it matters what happened since: a bucket that has been
 * full meanwhile has lost what would have flowed into it, so it cannot get that back. Units may return as far
 * as the debt was never below them since they were taken. For that, the entries of the use are low-water marks:
 * "amount" is at most the lowest debt since any moment between the entry before and "time". Both grow from entry
 * to entry. Lows that differ by less than 1 / 128 of the capacity share an entry, with the lower one.
 *
 * Pure: no shared memory, no locks, no allocation, no errors; any process runs it. Linked by the unit tests
 * without a server.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/rateparts.h"

/* Lows that differ by less than this part of the capacity share an entry. */
#define LOWS 128

/* divide returns a * b / d, rounded down, and the remainder; without overflow, where b < d < 2^62. */
static int64_t
divide(int32_t a, int64_t b, int64_t d, int64_t *remainder)
{
	int64_t quotient = 0;
	int64_t rest = 0;

	if (b <= INT64_MAX / a)
	{
		*remainder = a * b % d;
		return a * b / d;
	}
	for (int bit = 30; bit >= 0; bit--)
	{
		quotient *= 2;
		rest *= 2;
		if (a >> bit & 1)
			rest += b;
		quotient += rest / d; /* 0, 1 or 2 */
		rest %= d;
	}
	*remainder = rest;
	return quotient;
}

/* flow takes from a debt what flows back within some time. */
static void
flow(int32_t *debt, int64_t *part, const BgjobRate *rate, int64_t microseconds)
{
	int64_t whole = microseconds / rate->per;
	int64_t units = 0;
	int64_t remainder = 0;

	if (microseconds <= 0 || (*debt == 0 && *part == 0))
		return;
	if (whole <= *debt)
	{
		units = rate->units * whole +
				divide(rate->units, microseconds % rate->per, rate->per, &remainder);
		*part -= remainder;
		if (*part < 0)
		{
			*part += rate->per;
			units++;
		}
	}
	if (whole > *debt || units > *debt)
		*debt = *part = 0;
	else
		*debt -= (int32_t) units;
}

/* debt_at returns the whole units of the debt and sets "part" to the fraction. */
static int32_t
debt_at(const BgjobUse *use, const BgjobRate *rate, int64_t now, int64_t *part)
{
	int32_t debt = use->debt;

	*part = use->part;
	if (use->at > bgjob_rate_latest(rate, now))
		return *part = 0;
	if (now > use->at)
		flow(&debt, part, rate, now - use->at);
	return debt;
}

/* settle has the use say what the debt is now. */
static void
settle(BgjobUse *use, const BgjobRate *rate, int64_t now)
{
	bool ahead = use->count > 0 && use->at > now && use->at <= bgjob_rate_latest(rate, now);

	use->debt = debt_at(use, rate, now, &use->part);
	if (!ahead)
		use->at = now;
}

/* note_low adds a low-water mark: so low is the debt at the use's time. */
static void
note_low(BgjobUse *use, const BgjobRate *rate, int32_t low)
{
	int newest = -1;

	while (use->count > 0)
	{
		newest = bgjob_rate_at(use, use->count - 1);
		if (use->amount[newest] < low)
			break;
		use->count--;
	}
	if (use->count > 0 &&
		(low - use->amount[newest] < rate->units / LOWS || use->count == BGJOB_RATE_ENTRIES))
		use->time[newest] = use->at;
	else
		bgjob_rate_push(use, use->at, low);
}

/* sink_lows lowers what was noted after a time, since less was taken then. */
static void
sink_lows(BgjobUse *use, int64_t since, int64_t by)
{
	int32_t next = INT32_MAX;

	for (int i = use->count - 1; i >= 0; i--)
	{
		int position = bgjob_rate_at(use, i);

		if (use->time[position] > since)
			use->amount[position] = bgjob_rate_sum(use->amount[position], -by);
		if (use->amount[position] > next)
			use->amount[position] = next;
		next = use->amount[position];
	}
}

/*
 * returnable returns how many units may return that were taken at "started": the lowest debt since. What was
 * noted at that very time was before they were taken, or is not below them.
 */
static int32_t
returnable(const BgjobUse *use, int64_t started)
{
	int i = bgjob_rate_find(use, bgjob_rate_later(started, 1));
	int32_t low = i < use->count ? use->amount[bgjob_rate_at(use, i)] : use->debt;

	return low < use->debt ? low : use->debt;
}

/* bgjob_bucket_fits says whether a use is that of a bucket of this rate. */
bool
bgjob_bucket_fits(const BgjobUse *use, const BgjobRate *rate)
{
	return use->capacity == rate->units && use->per == rate->per;
}

/*
 * bgjob_bucket_adopt has a use be kept for a bucket of this rate. What windows have counted is taken out of a
 * full bucket again, at its times. A bucket that is smaller than the debt is empty. What was before returns
 * nothing any more.
 */
void
bgjob_bucket_adopt(BgjobUse *use, const BgjobRate *rate)
{
	BgjobUse bucket = {.per = rate->per, .capacity = rate->units};

	if (use->capacity > 0)
	{
		bucket.at = use->at;
		bucket.debt = bgjob_rate_sum(use->debt, use->part > 0);
	}
	else
		for (int i = 0; i < use->count; i++)
		{
			int position = bgjob_rate_at(use, i);

			flow(&bucket.debt, &bucket.part, rate, i > 0 ? use->time[position] - bucket.at : 0);
			bucket.at = use->time[position];
			bucket.debt = bgjob_rate_sum(bucket.debt, use->amount[position]);
			if (bucket.debt >= rate->units)
			{
				bucket.debt = rate->units;
				bucket.part = 0;
			}
		}
	if (bucket.debt > rate->units)
		bucket.debt = rate->units;
	if (bucket.debt > 0)
		bgjob_rate_push(&bucket, bucket.at, 0);
	*use = bucket;
}

/* bgjob_bucket_debt returns how many units lack in the bucket, rounded up. */
int32_t
bgjob_bucket_debt(const BgjobUse *use, const BgjobRate *rate, int64_t now)
{
	int64_t part;
	int32_t debt = debt_at(use, rate, now, &part);

	return bgjob_rate_sum(debt, part > 0);
}

/*
 * bgjob_bucket_when returns when so many units, at most the capacity, are in the bucket: "lacking" units and a
 * fraction have to flow back before.
 */
int64_t
bgjob_bucket_when(const BgjobUse *use, const BgjobRate *rate, int units, int64_t now)
{
	int64_t lacking = (int64_t) use->debt + units - rate->units;
	int64_t whole = rate->per / rate->units; /* microseconds for each unit, rounded down */
	int64_t rest, time;

	if (lacking < 0 || (lacking == 0 && use->part == 0) ||
		use->at > bgjob_rate_latest(rate, now))
		return now;
	if (lacking > 0 && whole > INT64_MAX / 2 / lacking)
		return INT64_MAX;
	rest = lacking * (rate->per % rate->units) + use->part;
	time = lacking * whole + rest / rate->units + (rest % rate->units > 0);
	time = bgjob_rate_later(use->at, time);
	return time > now ? time : now;
}

/* bgjob_bucket_spend takes units out of the bucket. */
void
bgjob_bucket_spend(BgjobUse *use, const BgjobRate *rate, int units, int64_t now)
{
	settle(use, rate, now);
	note_low(use, rate, use->debt);
	use->debt = bgjob_rate_sum(use->debt, units);
}

/*
 * bgjob_bucket_correct takes more out of the bucket at the latest spending, or earlier units back. The debt at
 * the latest spending flows back until now, so what was taken long ago does not count.
 */
void
bgjob_bucket_correct(BgjobUse *use, const BgjobRate *rate, int by, int64_t started, int64_t now)
{
	int32_t back;

	if (by > 0)
	{
		if (started > use->at || use->at > bgjob_rate_latest(rate, now))
			settle(use, rate, started);
		note_low(use, rate, use->debt);
		use->debt = bgjob_rate_sum(use->debt, by);
		return;
	}
	settle(use, rate, now);
	back = returnable(use, started);
	if (back > -(int64_t) by)
		back = -by;
	use->debt -= back;
	sink_lows(use, started, -(int64_t) by);
}
