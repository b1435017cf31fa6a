/*-------------------------------------------------------------------------
 *
 * moments.c
 *	  Unit tests of rules/moments: extremes, mean and deviation of a series.
 *
 * The expected numbers were worked out by hand. A series that is merged from
 * parts must have the moments of the whole, however it was cut.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/moments.h"
#include "tap.h"

#include <math.h>

/* Tests that a number is what it should be, but for rounding. */
static bool
is_near(double have, double want, const char *what)
{
	bool near = is_true(fabs(have - want) <= 1e-9 * (1 + fabs(want)), what);

	if (!near)
		printf("# have %.17g, want %.17g\n", have, want);
	return near;
}

/* Makes a series of "n" numbers, which begins at the "from"-th of some that look random. */
static BgjobMoments
make_series(int from, int n)
{
	BgjobMoments moments = {0};

	for (int i = from; i < from + n; i++)
		bgjob_moments_add(&moments, 1000 + (i * 7919) % 1009);
	return moments;
}

static void
test_small(void)
{
	static const double numbers[] = {2, 4, 4, 4, 5, 5, 7, 9};
	BgjobMoments moments = {0};

	is_near(bgjob_moments_deviation(&moments), 0, "no number: deviation 0");
	bgjob_moments_add(&moments, -3);
	is_near(moments.min, -3, "one number is the least");
	is_near(moments.max, -3, "the greatest, although negative");
	is_near(moments.mean, -3, "the mean");
	is_near(bgjob_moments_deviation(&moments), 0, "and has no deviation");

	moments = (BgjobMoments){0};
	for (int i = 0; i < 8; i++)
		bgjob_moments_add(&moments, numbers[i]);
	is_number(moments.n, 8, "eight numbers");
	is_near(moments.total, 40, "their sum");
	is_near(moments.min, 2, "the least");
	is_near(moments.max, 9, "the greatest");
	is_near(moments.mean, 5, "the mean");
	is_near(bgjob_moments_deviation(&moments), 2, "the deviation of the population");
}

static void
test_merge(void)
{
	BgjobMoments whole = make_series(0, 1000);
	bool same = true;

	for (int cut = 0; cut <= 1000; cut += 50)
	{
		BgjobMoments first = make_series(0, cut);
		BgjobMoments second = make_series(cut, 1000 - cut);

		bgjob_moments_merge(&first, &second);
		same = same && first.n == whole.n && first.min == whole.min && first.max == whole.max &&
			   fabs(first.total - whole.total) < 1e-6 && fabs(first.mean - whole.mean) < 1e-9 &&
			   fabs(first.squares - whole.squares) < 1e-3;
	}
	is_true(same, "two parts have the moments of the whole, also if one is empty");
}

static void
test_large(void)
{
	BgjobMoments moments = {0};

	/* A year in milliseconds; sums of squares would have no digits left for the difference. */
	for (int i = 0; i < 1000000; i++)
		bgjob_moments_add(&moments, 31557600000.0 + i % 2);
	is_true(fabs(bgjob_moments_deviation(&moments) - 0.5) < 1e-5,
			"a small deviation of large numbers");

	moments = (BgjobMoments){0};
	for (int i = 0; i < 1000000; i++)
		bgjob_moments_add(&moments, 0.1);
	is_true(bgjob_moments_deviation(&moments) < 1e-9, "equal numbers have none");
}

int
main(void)
{
	test_small();
	test_merge();
	test_large();
	return tap_end();
}
