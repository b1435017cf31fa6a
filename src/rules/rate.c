/*-------------------------------------------------------------------------
 *
 * rate.c
 *	  Limits in time: the interface, and windows. Buckets are in rules/bucket.c.
 *
 * What has been spent is kept as spans: so many units between two times. A span counts until its last unit
 * leaves: one window or period after its end. So none of its units leaves too early, and at worst all of them
 * leave late by the span's length. Fixed and sliding windows differ only in when a span leaves, and in which
 * units share one:
 *
 * - fixed: those of one window, so there is one span.
 * - sliding: those of per / 128. A rate of up to 128 units has a span for each spending: it is exact. For the
 *   others, what a span loses is the time between its units; under saturation they are spent together, since
 *   they return together. So less than 1 / 128 is lost.
 *
 * Always: the times of the spans do not decrease; what they hold is "total"; no more than
 * BGJOB_RATE_ENTRIES count at the same time. Each call of bgjob_rate_spend removes what does not count any more,
 * so it takes a time that is constant on average; the others change nothing but what they say.
 *
 * Pure: no shared memory, no locks, no allocation, no errors; any process runs it. Linked by the unit tests
 * without a server.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/rate.h"
#include "rules/rateparts.h"

/* The spans of a sliding window; a rate of so many units is exact. */
#define SPANS 128

/* leaves returns when what was spent at a time ceases to count. */
static int64_t
leaves(const BgjobRate *rate, int64_t time)
{
	int64_t since = 0;

	if (rate->algorithm == BGJOB_RATE_FIXED_WINDOW)
	{
		since = time % rate->per;
		if (since < 0)
			since += rate->per;
	}
	return bgjob_rate_later(time, rate->per - since);
}

/* counts says whether what was spent at a time counts now. */
static bool
counts(const BgjobRate *rate, int64_t time, int64_t now)
{
	return leaves(rate, time) > now && time <= bgjob_rate_latest(rate, now);
}

static int64_t
time_of(const BgjobUse *use, int i)
{
	return use->time[bgjob_rate_at(use, i)];
}

/* change_amount changes the amount of a span, as far as that goes. */
static void
change_amount(BgjobUse *use, int i, int64_t by)
{
	int32_t *amount = &use->amount[bgjob_rate_at(use, i)];
	int32_t before = *amount;

	*amount = bgjob_rate_sum(before, by);
	use->total += (int64_t) *amount - before;
}

/* adopt has a use be kept for a window: the debt of a bucket becomes a span. */
static void
adopt(BgjobUse *use)
{
	int32_t debt = bgjob_rate_sum(use->debt, use->part > 0);
	int64_t at = use->at;

	*use = (BgjobUse){0};
	if (debt == 0)
		return;
	bgjob_rate_push(use, at, debt);
	use->first = at;
	use->total = debt;
}

static bool
is_bucket(const BgjobRate *rate)
{
	return rate->algorithm == BGJOB_RATE_TOKEN_BUCKET;
}

/* fits says whether a use is kept for this rate. */
static bool
fits(const BgjobUse *use, const BgjobRate *rate)
{
	return is_bucket(rate) ? bgjob_bucket_fits(use, rate) : use->capacity == 0;
}

/* keep_for has a use be kept for this rate. */
static void
keep_for(BgjobUse *use, const BgjobRate *rate)
{
	if (fits(use, rate))
		return;
	if (is_bucket(rate))
		bgjob_bucket_adopt(use, rate);
	else
		adopt(use);
}

/* kept_for returns the use as it is kept for this rate: itself, or else a copy. */
static const BgjobUse *
kept_for(const BgjobUse *use, const BgjobRate *rate, BgjobUse *copy)
{
	if (fits(use, rate) || (use->count == 0 && use->capacity == 0))
		return use;
	*copy = *use;
	keep_for(copy, rate);
	return copy;
}

/* counted returns the units in the spans that count now. "from" is set to the oldest of them. */
static int64_t
counted(const BgjobUse *use, const BgjobRate *rate, int64_t now, int *from)
{
	int64_t latest = bgjob_rate_latest(rate, now);
	int64_t sum = use->total;
	int i = 0;
	int n = use->count;

	while (i < n && leaves(rate, time_of(use, i)) <= now)
		sum -= use->amount[bgjob_rate_at(use, i++)];
	while (n > i && time_of(use, n - 1) > latest)
		sum -= use->amount[bgjob_rate_at(use, --n)];
	*from = i;
	return sum;
}

/* trim removes the spans that do not count any more. */
static void
trim(BgjobUse *use, const BgjobRate *rate, int64_t now)
{
	while (use->count > 0 && leaves(rate, time_of(use, 0)) <= now)
	{
		use->total -= use->amount[use->oldest];
		use->oldest = bgjob_rate_at(use, 1);
		use->count--;
	}
	while (use->count > 0 && time_of(use, use->count - 1) > bgjob_rate_latest(rate, now))
	{
		use->total -= use->amount[bgjob_rate_at(use, --use->count)];
		if (use->count > 0)
			use->first = time_of(use, use->count - 1);
	}
}

/* share_span says whether what is spent at a time, not before the newest span, becomes a part of it. */
static bool
share_span(const BgjobUse *use, const BgjobRate *rate, int64_t time)
{
	int64_t newest;

	if (use->count == 0 || use->count == BGJOB_RATE_ENTRIES)
		return use->count > 0;
	newest = time_of(use, use->count - 1);
	if (rate->algorithm == BGJOB_RATE_FIXED_WINDOW)
		return leaves(rate, newest) == leaves(rate, time);
	return time == newest || (rate->units > SPANS && time - use->first <= rate->per / SPANS);
}

/* spend adds units to the spans that are left after trim. */
static void
spend(BgjobUse *use, const BgjobRate *rate, int units, int64_t time)
{
	if (use->count > 0 && time < time_of(use, use->count - 1))
		time = time_of(use, use->count - 1);
	if (share_span(use, rate, time))
		use->time[bgjob_rate_at(use, use->count - 1)] = time;
	else
	{
		bgjob_rate_push(use, time, 0);
		use->first = time;
	}
	change_amount(use, use->count - 1, units);
}

/*
 * correct changes the span of what was spent at "started". If that span has less than is to be taken from
 * it, the rest is taken from older ones: they leave earlier, so that is never too much.
 */
static void
correct(BgjobUse *use, const BgjobRate *rate, int by, int64_t started, int64_t now)
{
	int64_t rest = by;
	int i;

	if (!counts(rate, started, now))
		return;
	trim(use, rate, now);
	i = bgjob_rate_find(use, started);
	if (i == use->count)
	{
		if (by > 0)
			spend(use, rate, by, started);
		return;
	}
	if (by > 0)
		change_amount(use, i, by);
	for (; rest < 0 && i >= 0; i--)
	{
		int64_t before = use->total;

		change_amount(use, i, rest);
		rest += before - use->total;
	}
}

/* when is bgjob_rate_when for windows: spans leave until enough units are free. */
static int64_t
when(const BgjobUse *use, const BgjobRate *rate, int units, int64_t now)
{
	int i;
	int64_t lacking = counted(use, rate, now, &i) + units - rate->units;

	if (lacking <= 0)
		return now;
	while (lacking > use->amount[bgjob_rate_at(use, i)])
		lacking -= use->amount[bgjob_rate_at(use, i++)];
	return leaves(rate, time_of(use, i));
}

int
bgjob_rate_free(const BgjobUse *use, const BgjobRate *rate, int64_t now)
{
	int used;

	if (rate->algorithm == BGJOB_RATE_NONE)
		return INT32_MAX;
	used = bgjob_rate_used(use, rate, now);
	return used < rate->units ? rate->units - used : 0;
}

int64_t
bgjob_rate_when(const BgjobUse *use, const BgjobRate *rate, int units, int64_t now)
{
	BgjobUse copy;

	if (rate->algorithm == BGJOB_RATE_NONE || units <= 0)
		return now;
	if (units > rate->units)
		units = rate->units;
	use = kept_for(use, rate, &copy);
	return is_bucket(rate) ? bgjob_bucket_when(use, rate, units, now)
						   : when(use, rate, units, now);
}

void
bgjob_rate_spend(BgjobUse *use, const BgjobRate *rate, int units, int64_t now)
{
	if (rate->algorithm == BGJOB_RATE_NONE || units <= 0)
		return;
	keep_for(use, rate);
	if (is_bucket(rate))
	{
		bgjob_bucket_spend(use, rate, units, now);
		return;
	}
	trim(use, rate, now);
	spend(use, rate, units, now);
}

void
bgjob_rate_correct(BgjobUse *use, const BgjobRate *rate, int by, int64_t started, int64_t now)
{
	if (rate->algorithm == BGJOB_RATE_NONE || by == 0)
		return;
	if (started > now)
		started = now;
	keep_for(use, rate);
	if (is_bucket(rate))
		bgjob_bucket_correct(use, rate, by, started, now);
	else
		correct(use, rate, by, started, now);
}

bool
bgjob_rate_is_clear(const BgjobUse *use, const BgjobRate *rate, int64_t now)
{
	return bgjob_rate_used(use, rate, now) == 0;
}

int
bgjob_rate_used(const BgjobUse *use, const BgjobRate *rate, int64_t now)
{
	BgjobUse copy;
	int64_t used;
	int from;

	if (rate->algorithm == BGJOB_RATE_NONE)
		return 0;
	use = kept_for(use, rate, &copy);
	used = is_bucket(rate) ? bgjob_bucket_debt(use, rate, now) : counted(use, rate, now, &from);
	return used > INT32_MAX ? INT32_MAX : (int) used;
}
