/*-------------------------------------------------------------------------
 *
 * moments.h
 *	  The extremes, the mean and the deviation of a series of numbers.
 *
 * Pure: no shared memory, no allocation, no errors. Any process may call it,
 * and the unit tests link it without a server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RULES_MOMENTS_H
#define BGJOB_RULES_MOMENTS_H

#include <stdint.h>

/* A series so far; all zero: it is empty. */
typedef struct BgjobMoments
{
	int64_t n;
	double total;
	double min; /* of an empty series: 0, like all that follows */
	double max;
	double mean;
	double squares; /* the sum of the squared distances from the mean */
} BgjobMoments;

extern void bgjob_moments_add(BgjobMoments *moments, double number);
extern void bgjob_moments_merge(BgjobMoments *into, const BgjobMoments *from);
extern double bgjob_moments_deviation(const BgjobMoments *moments);

#endif /* BGJOB_RULES_MOMENTS_H */
