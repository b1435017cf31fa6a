/*-------------------------------------------------------------------------
 *
 * histogram.c
 *	  How often durations of each magnitude have occurred.
 *
 * BUCKETS are bounded by the powers of 2^(1/4): bucket k > 0 has the durations from
 * 2^((k-1)/4) microseconds up to, but without, 2^(k/4). So the room is the same for
 * any number of durations, histograms of several hours or queues can be added, and
 * each bound of a power of two is exact. Bucket 0 has the durations below a
 * microsecond, the last one those of 2^42 microseconds (51 days) and more.
 *
 * THE ERROR OF A PERCENTILE. A bucket stands for the geometric mean of its bounds.
 * The duration of that rank is in the bucket, so it differs from the answer by a factor of
 * 2^(1/8) at most: 9.1 % more, or 8.3 % less. In the first bucket, which stands for 0,
 * it differs by a microsecond; in the last one the answer is its lower bound. The
 * sum, and so the mean, is exact.
 *
 * AS BYTES a histogram has, for each bucket that is not empty, the distance from the
 * one before and the number, both as 7 bits a byte, the lowest first, with the eighth
 * bit set if more follow. Durations that spread over a factor of a hundred take some 60
 * bytes. The number and the sum of the durations are not among them.
 *
 * Pure: no shared memory, no allocation, no errors; linked by the unit tests
 * without a server.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/histogram.h"

#include <math.h>
#include <stddef.h>

#define LAST (BGJOB_HISTOGRAM_BUCKETS - 1)

/* 2^(k/4), of which the bounds between two powers of two are multiples; as multiples of 2^-62, rounded up. */
static const uint64_t roots[BGJOB_HISTOGRAM_STEPS] = {
	UINT64_C(0x4000000000000000), UINT64_C(0x4c1bf828c6dc54b8), UINT64_C(0x5a827999fcef3243),
	UINT64_C(0x6ba27e656b4eb57b)};

/* Returns the position of the highest bit that is set in a number above 0. */
static int
highest_bit(uint64_t number)
{
	return 63 - __builtin_clzll(number);
}

/* bgjob_histogram_bucket returns the bucket of a duration in microseconds; a negative one counts as 0. */
int
bgjob_histogram_bucket(int64_t duration)
{
	int power;
	uint64_t scaled;
	int step = 0;

	if (duration <= 0)
		return 0;
	power = highest_bit((uint64_t) duration);
	if (power >= BGJOB_HISTOGRAM_DOUBLES)
		return LAST;
	scaled = (uint64_t) duration << (62 - power);
	while (step + 1 < BGJOB_HISTOGRAM_STEPS && scaled >= roots[step + 1])
		step++;
	return 1 + power * BGJOB_HISTOGRAM_STEPS + step;
}

/* bgjob_histogram_bound returns the upper bound of a bucket, in microseconds; that of the last is infinite. */
double
bgjob_histogram_bound(int bucket)
{
	return bucket == LAST ? HUGE_VAL : exp2((double) bucket / BGJOB_HISTOGRAM_STEPS);
}

/* bgjob_histogram_value returns the duration that a bucket stands for, in microseconds. */
double
bgjob_histogram_value(int bucket)
{
	if (bucket == 0)
		return 0;
	if (bucket == LAST)
		return bgjob_histogram_bound(bucket - 1);
	return exp2((bucket - 0.5) / BGJOB_HISTOGRAM_STEPS);
}

/* bgjob_histogram_add adds a duration, in microseconds; a negative one counts as 0. */
void
bgjob_histogram_add(BgjobHistogram *histogram, int64_t duration)
{
	histogram->n++;
	histogram->sum += duration > 0 ? duration : 0;
	histogram->buckets[bgjob_histogram_bucket(duration)]++;
}

/* bgjob_histogram_merge adds the durations of one histogram to another. */
void
bgjob_histogram_merge(BgjobHistogram *into, const BgjobHistogram *from)
{
	into->n += from->n;
	into->sum += from->sum;
	for (int i = 0; i < BGJOB_HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

/* bgjob_histogram_subtract takes durations that were added to a histogram out of it. */
void
bgjob_histogram_subtract(BgjobHistogram *from, const BgjobHistogram *what)
{
	from->n -= what->n;
	from->sum -= what->sum;
	for (int i = 0; i < BGJOB_HISTOGRAM_BUCKETS; i++)
		from->buckets[i] -= what->buckets[i];
}

/* bgjob_histogram_at_most returns how many durations were below 2^doubles microseconds, exactly. */
int64_t
bgjob_histogram_at_most(const BgjobHistogram *histogram, int doubles)
{
	int64_t n = 0;

	for (int i = 0; i <= doubles * BGJOB_HISTOGRAM_STEPS && i < BGJOB_HISTOGRAM_BUCKETS; i++)
		n += histogram->buckets[i];
	return n;
}

/* Returns how many durations a bucket has. Those of a histogram that was made by hand may be anything. */
static uint64_t
count_in(const BgjobHistogram *histogram, int bucket)
{
	return histogram->buckets[bucket] > 0 ? (uint64_t) histogram->buckets[bucket] : 0;
}

/*
 * bgjob_histogram_percentile returns the duration, in microseconds, that a fraction of
 * all do not exceed (0.95: the 95th percentile, that of the nearest rank); -1 if there are none.
 * Says nothing of the number and the sum, which a histogram that was packed lacks.
 */
double
bgjob_histogram_percentile(const BgjobHistogram *histogram, double fraction)
{
	uint64_t sum = 0;
	int64_t total;
	int64_t rank;
	int bucket = 0;

	for (int i = 0; i < BGJOB_HISTOGRAM_BUCKETS; i++)
		sum += count_in(histogram, i);
	total = (int64_t) sum;
	if (total <= 0)
		return -1;
	rank = (int64_t) ceil(fraction * (double) total);
	if (rank < 1)
		rank = 1;
	if (rank > total)
		rank = total;
	while (bucket < LAST && rank > (int64_t) count_in(histogram, bucket))
		rank -= (int64_t) count_in(histogram, bucket++);
	return bgjob_histogram_value(bucket);
}

/* ---- as bytes ---- */

/* Writes a number, and returns where the next byte goes. */
static uint8_t *
write_number(uint8_t *to, uint64_t number)
{
	for (; number >= 0x80; number >>= 7)
		*to++ = (uint8_t) (number | 0x80);
	*to++ = (uint8_t) number;
	return to;
}

/* Reads a number of at most 63 bits, and returns where the next byte is; NULL: there is none. */
static const uint8_t *
read_number(const uint8_t *from, const uint8_t *end, uint64_t *number)
{
	*number = 0;
	for (int shift = 0; shift < 63 && from < end; shift += 7)
	{
		*number |= (uint64_t) (*from & 0x7f) << shift;
		if ((*from++ & 0x80) == 0)
			return from;
	}
	return NULL;
}

/* bgjob_histogram_pack writes a histogram as bytes, BGJOB_HISTOGRAM_PACKED_MAX at most, and returns their number. */
int
bgjob_histogram_pack(const BgjobHistogram *histogram, uint8_t *bytes)
{
	uint8_t *to = bytes;
	int next = 0;

	for (int i = 0; i < BGJOB_HISTOGRAM_BUCKETS; i++)
	{
		if (histogram->buckets[i] <= 0)
			continue;
		to = write_number(to, (uint64_t) (i - next));
		to = write_number(to, (uint64_t) histogram->buckets[i]);
		next = i + 1;
	}
	return (int) (to - bytes);
}

/*
 * bgjob_histogram_merge_packed adds the durations of a histogram that was written as
 * bytes. False: these bytes are none; what was understood of them has been added.
 */
bool
bgjob_histogram_merge_packed(BgjobHistogram *into, const uint8_t *bytes, int length)
{
	const uint8_t *from = bytes;
	const uint8_t *end = bytes + length;
	uint64_t next = 0;

	while (from < end)
	{
		uint64_t distance;
		uint64_t number;

		from = read_number(from, end, &distance);
		if (from == NULL || distance >= BGJOB_HISTOGRAM_BUCKETS - next)
			return false;
		from = read_number(from, end, &number);
		if (from == NULL)
			return false;
		next += distance;
		into->buckets[next] = (int64_t) ((uint64_t) into->buckets[next] +
										 number); /* hand-made ones may overflow */
		into->n = (int64_t) ((uint64_t) into->n + number);
		next++;
	}
	return true;
}
