/*-------------------------------------------------------------------------
 *
 * rate.c
 *	  Unit tests of rules/rate: fixed and sliding windows, token buckets.
 *
 * Examples, worked out by hand. Random ones, with a simple model beside them, are in rate_random.c.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/rate.h"
#include "tap.h"

#include <limits.h>

#define S    INT64_C(1000000)
#define YEAR (INT64_C(31557600) * S)

static const BgjobRate fixed = {BGJOB_RATE_FIXED_WINDOW, 10, 60 * S};
static const BgjobRate sliding = {BGJOB_RATE_SLIDING_WINDOW, 10, 60 * S};
static const BgjobRate bucket = {BGJOB_RATE_TOKEN_BUCKET, 10, 60 * S};
static const BgjobRate *const all[] = {&fixed, &sliding, &bucket};
static const char *const names[] = {"fixed window", "sliding window", "token bucket"};

static void
say(const char *name)
{
	printf("# %s\n", name);
}

static void
test_each(const BgjobRate *rate)
{
	BgjobUse use = {0};
	int64_t now = 600 * S;

	is_number(bgjob_rate_free(&use, rate, now), 10, "at first all is free");
	is_number(bgjob_rate_when(&use, rate, 10, now), now, "now");
	is_number(bgjob_rate_when(&use, rate, 11, now), now, "more than there is counts as all");
	is_number(bgjob_rate_used(&use, rate, now), 0, "nothing is used");
	is_true(bgjob_rate_is_clear(&use, rate, now), "it is clear");
	bgjob_rate_spend(&use, rate, 4, now);
	is_number(bgjob_rate_free(&use, rate, now), 6, "4 of 10 spent");
	is_number(bgjob_rate_used(&use, rate, now), 4, "4 used");
	is_true(!bgjob_rate_is_clear(&use, rate, now), "not clear");
	is_number(bgjob_rate_when(&use, rate, 6, now), now, "6 are free now");
	is_number(bgjob_rate_when(&use, rate, 0, now), now, "none always is");
	bgjob_rate_spend(&use, rate, 0, now + S);
	bgjob_rate_spend(&use, rate, 6, now);
	is_number(bgjob_rate_free(&use, rate, now), 0, "all spent");
	is_number(bgjob_rate_free(&use, rate, now + 60 * S), 10, "all free a period later");
	is_true(bgjob_rate_is_clear(&use, rate, now + 60 * S), "clear then");
	is_true(!bgjob_rate_is_clear(&use, rate, now + 60 * S - 1), "and not before");
	bgjob_rate_spend(&use, rate, 25, now + 120 * S);
	is_number(bgjob_rate_free(&use, rate, now + 120 * S), 0, "in debt nothing is free");
	is_number(bgjob_rate_used(&use, rate, now + 120 * S), 25, "more used than there is");
}

static void
test_none(void)
{
	const BgjobRate none = {BGJOB_RATE_NONE, 0, 0};
	BgjobUse use = {0};

	bgjob_rate_spend(&use, &none, 1000, 0);
	bgjob_rate_correct(&use, &none, 1000, 0, 0);
	is_number(bgjob_rate_free(&use, &none, 0), INT_MAX, "none: everything is free");
	is_number(bgjob_rate_when(&use, &none, INT_MAX, 5), 5, "now");
	is_number(bgjob_rate_used(&use, &none, 0), 0, "nothing is used");
	is_true(bgjob_rate_is_clear(&use, &none, 0), "always clear");
	is_true(sizeof(BgjobUse) <= 2200, "a use is small");
}

static void
test_fixed(void)
{
	BgjobUse use = {0};

	bgjob_rate_spend(&use, &fixed, 9, 119 * S);
	is_number(bgjob_rate_when(&use, &fixed, 2, 119 * S), 120 * S, "the next window begins");
	is_number(bgjob_rate_free(&use, &fixed, 120 * S - 1), 1, "this one is not over yet");
	is_number(bgjob_rate_free(&use, &fixed, 120 * S), 10, "a new window has nothing spent");
	bgjob_rate_spend(&use, &fixed, 30, 120 * S);
	is_number(bgjob_rate_free(&use, &fixed, 180 * S), 10, "a debt ends with its window");

	use = (BgjobUse){0};
	bgjob_rate_spend(&use, &fixed, 10, -1);
	is_number(bgjob_rate_when(&use, &fixed, 1, -1), 0, "before 2000 the windows go on");
	is_number(bgjob_rate_free(&use, &fixed, -60 * S), 0, "-60 s is in the last one");
	is_number(bgjob_rate_free(&use, &fixed, 0), 10, "0 is in the next one");
}

static void
test_sliding(void)
{
	BgjobUse use = {0};

	for (int i = 0; i < 10; i++)
		bgjob_rate_spend(&use, &sliding, 1, i * S);
	is_number(bgjob_rate_when(&use, &sliding, 1, 9 * S), 60 * S, "the first one leaves");
	is_number(bgjob_rate_when(&use, &sliding, 4, 9 * S), 63 * S, "the fourth one");
	is_number(bgjob_rate_when(&use, &sliding, 10, 9 * S), 69 * S, "the last one");
	is_number(bgjob_rate_free(&use, &sliding, 62 * S + 1), 3, "three have left");
	bgjob_rate_spend(&use, &sliding, 7, 62 * S + 1);
	is_number(bgjob_rate_when(&use, &sliding, 1, 63 * S), 67 * S, "13 of 10: four leave");
	is_number(bgjob_rate_when(&use, &sliding, 3, 63 * S), 69 * S, "the last of the first");
	is_number(bgjob_rate_when(&use, &sliding, 4, 63 * S), 122 * S + 1, "then those");
}

static void
test_bucket(void)
{
	BgjobUse use = {0};
	BgjobRate third = {BGJOB_RATE_TOKEN_BUCKET, 3, 10};

	bgjob_rate_spend(&use, &bucket, 10, 0);
	is_number(bgjob_rate_when(&use, &bucket, 1, 0), 6 * S, "one flows back each 6 s");
	is_number(bgjob_rate_free(&use, &bucket, 6 * S - 1), 0, "not before");
	is_number(bgjob_rate_free(&use, &bucket, 6 * S), 1, "then");
	is_number(bgjob_rate_when(&use, &bucket, 10, 0), 60 * S, "all in a period");
	bgjob_rate_spend(&use, &bucket, 10, 0);
	is_number(bgjob_rate_when(&use, &bucket, 1, 0), 66 * S, "a debt is paid first");

	use = (BgjobUse){0};
	bgjob_rate_spend(&use, &third, 3, 0);
	is_number(bgjob_rate_when(&use, &third, 1, 0), 4, "3 1/3 us, rounded up");
	is_number(bgjob_rate_when(&use, &third, 2, 0), 7, "6 2/3");
	for (int now = 1; now <= 30000; now++)
		if (bgjob_rate_free(&use, &third, now) > 0)
			bgjob_rate_spend(&use, &third, 1, now);
	is_number(bgjob_rate_when(&use, &third, 1, 30000), 30004, "no fraction is lost");
}

/* The largest and the smallest rates there may be. */
static void
test_extremes(void)
{
	static const BgjobRateAlgorithm algorithms[] = {
		BGJOB_RATE_FIXED_WINDOW, BGJOB_RATE_SLIDING_WINDOW, BGJOB_RATE_TOKEN_BUCKET};
	static const int64_t pers[] = {1, 127, 3600 * S, 100 * YEAR, INT64_C(1) << 60};
	static const int amounts[] = {1, 1000, INT_MAX};
	static const int64_t nows[] = {-1000 * YEAR, 0, 26 * YEAR, 290000 * YEAR, INT64_MAX - 1};
	bool right = true;

	for (int i = 0; i < 3 * 5 * 3 * 5; i++)
	{
		const BgjobRate rate = {algorithms[i % 3], amounts[i / 3 % 3], pers[i / 9 % 5]};
		int64_t now = nows[i / 45];
		BgjobUse use = {0};
		int64_t when;

		bgjob_rate_spend(&use, &rate, rate.units, now);
		right = right && bgjob_rate_free(&use, &rate, now) == 0;
		when = bgjob_rate_when(&use, &rate, rate.units, now);
		right = right && when > now &&
				(when - rate.per == now || when == INT64_MAX ||
				 rate.algorithm == BGJOB_RATE_FIXED_WINDOW);
		right = right &&
				(bgjob_rate_free(&use, &rate, when) == rate.units || when == INT64_MAX) &&
				bgjob_rate_free(&use, &rate, when - 1) < rate.units;
		bgjob_rate_spend(&use, &rate, INT_MAX, now);
		bgjob_rate_spend(&use, &rate, INT_MAX, now);
		bgjob_rate_correct(&use, &rate, INT_MAX, now, now);
		bgjob_rate_correct(&use, &rate, -INT_MAX, now, now);
		bgjob_rate_correct(&use, &rate, INT_MIN, now, now);
		right = right && bgjob_rate_when(&use, &rate, 1, now) >= now;
		if (!right)
			printf("# algorithm %d, %d per %lld, now %lld\n", rate.algorithm, rate.units,
				   (long long) rate.per, (long long) now);
		if (!right)
			break;
	}
	is_true(right, "the largest and smallest rates, at the ends of time");
}

static void
test_correct(const BgjobRate *rate)
{
	BgjobUse use = {0};
	int64_t now = 600 * S;

	bgjob_rate_spend(&use, rate, 3, now);
	bgjob_rate_spend(&use, rate, 7, now + S);
	bgjob_rate_correct(&use, rate, -5, now + S, now + S);
	is_number(bgjob_rate_free(&use, rate, now + S), 5, "5 of 7 were not used");
	bgjob_rate_correct(&use, rate, 4, now, now + S);
	is_number(bgjob_rate_free(&use, rate, now + S), 1, "4 more than 3 were");
	bgjob_rate_correct(&use, rate, 40, now, now + S);
	is_number(bgjob_rate_free(&use, rate, now + S), 0, "more than the rate has");
	is_number(bgjob_rate_used(&use, rate, now + S), 49, "all of them count");

	use = (BgjobUse){0};
	bgjob_rate_spend(&use, rate, 3, now);
	bgjob_rate_correct(&use, rate, 5, now, now + 60 * S);
	is_number(bgjob_rate_free(&use, rate, now + 60 * S), 10,
			  "a period later it counts no more");

	use = (BgjobUse){0};
	bgjob_rate_spend(&use, rate, 10, now);
	bgjob_rate_spend(&use, rate, 10, now + 60 * S);
	bgjob_rate_correct(&use, rate, -5, now, now + 60 * S);
	is_number(bgjob_rate_free(&use, rate, now + 60 * S), 0, "nothing returns after a period");

	use = (BgjobUse){0};
	bgjob_rate_correct(&use, rate, 3, now, now + S);
	is_number(bgjob_rate_used(&use, rate, now + S), 3, "where the spending is forgotten");
	use = (BgjobUse){0};
	bgjob_rate_correct(&use, rate, -3, now, now + S);
	is_true(bgjob_rate_is_clear(&use, rate, now + S), "also less than nothing");
}

static void
test_clock_back(const BgjobRate *rate)
{
	BgjobUse use = {0};
	int64_t now = 60000 * S;

	bgjob_rate_spend(&use, rate, 10, now);
	is_number(bgjob_rate_free(&use, rate, now - 1), 0, "a moment behind: it counts");
	is_number(bgjob_rate_free(&use, rate, now - 60 * S), 0, "a period behind, too");
	is_number(bgjob_rate_when(&use, rate, 10, now - 60 * S), now + 60 * S, "and no longer");
	is_number(bgjob_rate_free(&use, rate, now - 600 * S), 10, "far behind: it does not");
	is_true(bgjob_rate_is_clear(&use, rate, now - 600 * S), "it is clear");
	bgjob_rate_spend(&use, rate, 9, now - 600 * S);
	is_number(bgjob_rate_free(&use, rate, now - 600 * S), 1, "what is spent then counts");
	is_number(bgjob_rate_free(&use, rate, now), 10, "what was spent then is forgotten");
	bgjob_rate_spend(&use, rate, 1, now - 660 * S);
	is_number(bgjob_rate_free(&use, rate, now - 600 * S), 0, "spent behind, it counts later");

	use = (BgjobUse){0};
	bgjob_rate_spend(&use, rate, 5, now);
	bgjob_rate_correct(&use, rate, 3, now, now - 600 * S);
	bgjob_rate_correct(&use, rate, -3, now - 700 * S, now - 600 * S);
	is_true(bgjob_rate_used(&use, rate, now - 600 * S) <= 3, "a correction behind");
}

/* The short rate lets a process be behind by a second. */
static void
test_held_up(void)
{
	const BgjobRate rate = {BGJOB_RATE_SLIDING_WINDOW, 1, S / 100};
	BgjobUse use = {0};

	bgjob_rate_spend(&use, &rate, 1, 10 * S);
	is_number(bgjob_rate_free(&use, &rate, 9 * S), 0, "a process may be held up for a second");
	is_number(bgjob_rate_when(&use, &rate, 1, 9 * S), 10 * S + S / 100, "it waits like others");
	is_number(bgjob_rate_free(&use, &rate, 9 * S - 1), 1, "not for longer");
}

static void
test_change(void)
{
	int64_t now = 600 * S;
	bool counts = true;
	bool clears = true;

	for (int i = 0; i < 9; i++)
	{
		const BgjobRate *from = all[i % 3];
		const BgjobRate *to = all[i / 3];
		BgjobUse use = {0};

		bgjob_rate_spend(&use, from, 4, now);
		bgjob_rate_spend(&use, from, 3, now);
		counts = counts && bgjob_rate_free(&use, to, now) == 3;
		bgjob_rate_spend(&use, to, 2, now);
		counts = counts && bgjob_rate_free(&use, to, now) == 1 &&
				 bgjob_rate_free(&use, from, now) == 1;
		clears = clears && bgjob_rate_is_clear(&use, to, now + 60 * S) &&
				 bgjob_rate_is_clear(&use, from, now + 60 * S);
		bgjob_rate_correct(&use, from, 1, now, now);
		counts = counts && bgjob_rate_free(&use, from, now) == 0;
	}
	is_true(counts, "what was spent counts by any other algorithm");
	is_true(clears, "and ceases to");
}

static void
test_other_numbers(const BgjobRate *rate)
{
	int64_t now = 600 * S;
	BgjobUse use = {0};
	BgjobRate more = *rate;
	BgjobRate less = *rate;
	BgjobRate longer = *rate;
	BgjobRate shorter = *rate;

	more.units = 15;
	less.units = 2;
	longer.per = 600 * S;
	shorter.per = 6 * S;
	bgjob_rate_spend(&use, rate, 10, now);
	is_number(bgjob_rate_free(&use, &more, now), 5, "more units: they are free at once");
	is_number(bgjob_rate_free(&use, &less, now), 0, "fewer units: none is free");
	is_true(bgjob_rate_when(&use, &less, 2, now) <= now + 60 * S, "for a period at most");
	is_number(bgjob_rate_free(&use, &longer, now + 9 * S), 0, "longer: it goes on to count");
	is_number(bgjob_rate_when(&use, &longer, 10, now + S), now + 600 * S, "for as long");
	is_number(bgjob_rate_free(&use, &shorter, now), 0, "shorter: it counts");
	is_number(bgjob_rate_when(&use, &shorter, 10, now), now + 6 * S, "for as long");
	bgjob_rate_spend(&use, &shorter, 3, now + 6 * S);
	is_number(bgjob_rate_free(&use, &shorter, now + 6 * S), 7, "then all is free again");
	bgjob_rate_spend(&use, &more, 3, now + 6 * S);
	is_number(bgjob_rate_free(&use, &more, now + 6 * S), 9, "and counted on");
}

/* Units that return to a bucket must not be more than it could have let through. */
static void
test_returned(void)
{
	BgjobUse use = {0};

	bgjob_rate_spend(&use, &bucket, 10, 0);
	bgjob_rate_spend(&use, &bucket, 5, 30 * S);
	bgjob_rate_correct(&use, &bucket, -10, 0, 30 * S);
	is_number(bgjob_rate_free(&use, &bucket, 30 * S), 5,
			  "half was back already, and would not have been lacking");

	use = (BgjobUse){0};
	bgjob_rate_spend(&use, &bucket, 10, 0);
	for (int i = 1; i <= 100; i++)
		bgjob_rate_spend(&use, &bucket, 1, i * 6 * S);
	bgjob_rate_correct(&use, &bucket, -9, 0, 600 * S);
	is_number(bgjob_rate_free(&use, &bucket, 600 * S), 9,
			  "all of it, if it was lacking ever since");
	bgjob_rate_spend(&use, &bucket, 9, 600 * S);
	bgjob_rate_correct(&use, &bucket, -1, 6 * S, 600 * S);
	is_number(bgjob_rate_free(&use, &bucket, 600 * S), 0, "it returns once");
}

int
main(void)
{
	test_none();
	for (int i = 0; i < 3; i++)
	{
		say(names[i]);
		test_each(all[i]);
		test_correct(all[i]);
		test_clock_back(all[i]);
		test_other_numbers(all[i]);
	}
	test_fixed();
	test_sliding();
	test_bucket();
	test_extremes();
	test_held_up();
	test_change();
	test_returned();
	return tap_end();
}
