/*-------------------------------------------------------------------------
 *
 * histogram.c
 *	  Unit tests of rules/histogram: the bucket of a duration, percentiles, the form as bytes.
 *
 * What is stated in rules/histogram.c is tried with durations around each bound, and with
 * series whose percentiles are known exactly.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/histogram.h"
#include "tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LAST (BGJOB_HISTOGRAM_BUCKETS - 1)

/* Returns numbers that look random, the same ones in each run. */
static uint64_t
next_random(void)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Returns a duration of a random magnitude below 2^doubles microseconds. */
static int64_t
random_duration(int doubles)
{
	return (int64_t) (next_random() >> (64 - 1 - next_random() % (unsigned) doubles));
}

/* ---- buckets ---- */

/* Returns whether a duration is within the bounds of its bucket. */
static bool
is_in_its_bucket(int64_t duration)
{
	int bucket = bgjob_histogram_bucket(duration);
	double low = bucket == 0 ? 0 : bgjob_histogram_bound(bucket - 1);

	return bucket >= 0 && bucket <= LAST && (double) duration < bgjob_histogram_bound(bucket) &&
		   (double) duration >= low;
}

static void
test_bounds(void)
{
	bool all = true;
	bool sorted = true;
	int64_t before = 0;

	for (int i = 1; i < LAST; i++)
	{
		int64_t at = (int64_t) ceil(bgjob_histogram_bound(i));

		for (int64_t near = at > 2 ? at - 2 : 0; near <= at + 2; near++)
			all &= is_in_its_bucket(near);
	}
	is_true(all, "the durations next to each bound are within those of their buckets");
	for (int64_t i = 0; i < 300000; i++)
		all &= is_in_its_bucket(i) && is_in_its_bucket(random_duration(42));
	is_true(all, "so are small ones, and ones of any magnitude");
	for (int power = 0; power < BGJOB_HISTOGRAM_DOUBLES; power++)
	{
		int64_t at = INT64_C(1) << power;

		all &= bgjob_histogram_bucket(at) == 1 + BGJOB_HISTOGRAM_STEPS * power;
		all &= bgjob_histogram_bound(BGJOB_HISTOGRAM_STEPS * power) == (double) at;
		sorted &= bgjob_histogram_bucket(at) > before;
		before = bgjob_histogram_bucket(at);
	}
	is_true(all, "a bucket begins at each power of two, exactly");
	is_true(sorted, "longer durations have higher buckets");
	is_number(bgjob_histogram_bucket(0), 0, "no time is in the first bucket");
	is_number(bgjob_histogram_bucket(-1), 0,
			  "so is a negative one, of a clock that was set back");
	is_number(bgjob_histogram_bucket(INT64_MIN), 0, "however far");
	is_number(bgjob_histogram_bucket((INT64_C(1) << 42) - 1), LAST - 1,
			  "51 days are just within the bounds");
	is_number(bgjob_histogram_bucket(INT64_C(1) << 42), LAST, "more is in the last bucket");
	is_number(bgjob_histogram_bucket(INT64_MAX), LAST, "however long it is");
	is_true(isinf(bgjob_histogram_bound(LAST)), "which has no bound");
}

/* ---- percentiles ---- */

static int
compare(const void *a, const void *b)
{
	int64_t one = *(const int64_t *) a;
	int64_t other = *(const int64_t *) b;

	return (one > other) - (one < other);
}

/* Returns the largest ratio of a percentile and the duration of that rank, in either direction, of a random series. */
static double
worst_error(int n, int doubles)
{
	static const double fractions[] = {0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1};
	int64_t *durations = malloc(n * sizeof(int64_t));
	BgjobHistogram histogram = {0};
	double worst = 1;

	for (int i = 0; i < n; i++)
	{
		durations[i] = 1 + random_duration(doubles);
		bgjob_histogram_add(&histogram, durations[i]);
	}
	qsort(durations, n, sizeof(int64_t), compare);
	for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++)
	{
		int rank = (int) ceil(fractions[i] * n);
		double exact = (double) durations[rank < 1 ? 0 : rank - 1];
		double told = bgjob_histogram_percentile(&histogram, fractions[i]);

		worst = fmax(worst, fmax(told / exact, exact / told));
	}
	free(durations);
	return worst;
}

static void
test_percentiles(void)
{
	BgjobHistogram histogram = {0};
	double worst = 1;

	is_true(bgjob_histogram_percentile(&histogram, 0.5) == -1,
			"an empty one has no percentiles");
	bgjob_histogram_add(&histogram, 0);
	is_true(bgjob_histogram_percentile(&histogram, 0.95) == 0, "no time is told as such");
	for (int i = 0; i < 98; i++)
		bgjob_histogram_add(&histogram, 1000);
	bgjob_histogram_add(&histogram, INT64_C(1) << 50);
	is_true(fabs(bgjob_histogram_percentile(&histogram, 0.95) / 1000 - 1) < 0.091,
			"the 95th percentile of 98 equal durations among 100 is theirs");
	is_true(bgjob_histogram_percentile(&histogram, 0.99) < 1100, "so is the 99th");
	is_true(bgjob_histogram_percentile(&histogram, 1) == ldexp(1, 42),
			"of one that is too long the least that it may be is told");
	for (int n = 1; n < 200; n++)
		worst = fmax(worst, worst_error(n, 1 + n % 41));
	for (int i = 0; i < 20; i++)
		worst = fmax(worst, worst_error(5000, 41));
	is_true(worst <= exp2(0.125) * (1 + 1e-9), "no percentile is wrong by more than 9.1 %");
	is_true(worst > 1.08, "which is no larger than it has to be");
}

/* ---- adding up ---- */

static void
test_sums(void)
{
	BgjobHistogram whole = {0};
	BgjobHistogram parts[2] = {{0}};
	BgjobHistogram merged = {0};
	int64_t sum = 0;
	int64_t below = 0;

	for (int i = 0; i < 1000; i++)
	{
		int64_t duration = random_duration(40);

		sum += duration;
		below += duration < 1024;
		bgjob_histogram_add(&whole, duration);
		bgjob_histogram_add(&parts[i % 3 == 0], duration);
	}
	bgjob_histogram_add(&parts[0], -5);
	bgjob_histogram_add(&whole, -5);
	is_number(whole.n, 1001, "the durations are counted");
	is_number(whole.sum, sum, "their sum is exact; a negative one counts as none");
	is_number(bgjob_histogram_at_most(&whole, 10), below + 1,
			  "how many are below a power of two is exact");
	is_number(bgjob_histogram_at_most(&whole, 100), 1001, "all are below a large one");
	bgjob_histogram_merge(&merged, &parts[0]);
	bgjob_histogram_merge(&merged, &parts[1]);
	is_true(memcmp(&merged, &whole, sizeof(whole)) == 0, "two parts are the whole");
	bgjob_histogram_subtract(&merged, &parts[0]);
	is_true(memcmp(&merged, &parts[1], sizeof(merged)) == 0, "without one it is the other");
}

/* ---- as bytes ---- */

/* Returns whether a histogram has the same buckets when it was packed and unpacked. */
static bool
is_kept(const BgjobHistogram *histogram, int *length)
{
	uint8_t bytes[BGJOB_HISTOGRAM_PACKED_MAX];
	BgjobHistogram read = {0};

	*length = bgjob_histogram_pack(histogram, bytes);
	return *length <= BGJOB_HISTOGRAM_PACKED_MAX &&
		   bgjob_histogram_merge_packed(&read, bytes, *length) && read.n == histogram->n &&
		   memcmp(read.buckets, histogram->buckets, sizeof(read.buckets)) == 0;
}

static void
test_bytes(void)
{
	BgjobHistogram histogram = {0};
	int length;

	is_true(is_kept(&histogram, &length) && length == 0, "an empty one has no bytes");
	for (int i = 0; i < 1000; i++)
		bgjob_histogram_add(&histogram, 100 + (int64_t) (next_random() % 9900));
	is_true(is_kept(&histogram, &length), "one of a thousand durations is kept");
	is_true(length < 100, "and takes less than 100 bytes");
	histogram.n = 0;
	for (int i = 0; i < BGJOB_HISTOGRAM_BUCKETS; i++)
	{
		histogram.buckets[i] = INT64_MAX / BGJOB_HISTOGRAM_BUCKETS;
		histogram.n += histogram.buckets[i];
	}
	is_true(is_kept(&histogram, &length), "so is one with the most that it can have");
}

/* Unpacks bytes that nobody has packed: nothing is written or read outside of the histogram and the bytes. */
static void
test_noise(void)
{
	static const uint8_t beyond[] = {(BGJOB_HISTOGRAM_BUCKETS & 0x7f) | 0x80, 1, 1};
	static const uint8_t endless[] = {0,    0xff, 0xff, 0xff, 0xff, 0xff,
									  0xff, 0xff, 0xff, 0xff, 0xff, 1};
	static const uint8_t cut[] = {3};
	BgjobHistogram histogram = {0};
	int refused = 0;

	is_true(!bgjob_histogram_merge_packed(&histogram, beyond, sizeof(beyond)),
			"a bucket that does not exist is refused");
	is_true(!bgjob_histogram_merge_packed(&histogram, endless, sizeof(endless)),
			"so is a number that is too long");
	is_true(!bgjob_histogram_merge_packed(&histogram, cut, sizeof(cut)),
			"and a bucket without a number");
	for (int i = 0; i < 100000; i++)
	{
		int length = (int) (next_random() % 40);
		uint8_t *bytes = malloc(length + 1); /* of that size, for the sanitizer */

		for (int j = 0; j < length; j++)
			bytes[j] = (uint8_t) (next_random() >> 32 & (i % 2 ? 0xff : 0x8f));
		refused += !bgjob_histogram_merge_packed(&histogram, bytes, length);
		(void) bgjob_histogram_percentile(&histogram, 0.5);
		free(bytes);
	}
	is_true(refused > 1000 && refused < 100000, "noise is refused, or is a histogram");
}

int
main(void)
{
	test_bounds();
	test_percentiles();
	test_sums();
	test_bytes();
	test_noise();
	return tap_end();
}
