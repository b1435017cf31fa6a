/*-------------------------------------------------------------------------
 *
 * moments.c
 *	  The extremes, the mean and the deviation of a series of numbers.
 *
 * The sum of the squared distances from the mean is kept in step with each
 * number (Welford 1962; for two series: Chan, Golub, LeVeque 1979). The
 * difference of the sum of squares and the square of the sum would be simpler,
 * but its error grows with the mean: the deviation of many equal times would
 * not be 0, or the square root of a negative number.
 *
 * Pure: no shared memory, no allocation, no errors; linked by the unit tests
 * without a server.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/moments.h"

#include <math.h>

/* bgjob_moments_add adds a number to a series. */
void
bgjob_moments_add(BgjobMoments *moments, double number)
{
	const BgjobMoments one = {
		.n = 1, .total = number, .min = number, .max = number, .mean = number};

	bgjob_moments_merge(moments, &one);
}

/* bgjob_moments_merge adds the numbers of one series to another. */
void
bgjob_moments_merge(BgjobMoments *into, const BgjobMoments *from)
{
	double distance = from->mean - into->mean;
	double share;

	if (from->n == 0)
		return;
	if (into->n == 0)
	{
		*into = *from;
		return;
	}
	share = (double) from->n / (double) (into->n + from->n);
	into->squares += from->squares + distance * distance * share * (double) into->n;
	into->mean += distance * share;
	into->total += from->total;
	into->n += from->n;
	if (from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
}

/* bgjob_moments_deviation returns the standard deviation of a series as a whole population; 0 if it is empty. */
double
bgjob_moments_deviation(const BgjobMoments *moments)
{
	return moments->n == 0 ? 0 : sqrt(moments->squares / (double) moments->n);
}
