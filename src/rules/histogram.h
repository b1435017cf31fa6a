/*-------------------------------------------------------------------------
 *
 * histogram.h
 *	  How often durations of each magnitude have occurred.
 *
 * Pure: no shared memory, no allocation, no errors. Any process may call it,
 * and the unit tests link it without a server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RULES_HISTOGRAM_H
#define BGJOB_RULES_HISTOGRAM_H

#include <stdbool.h>
#include <stdint.h>

/* Buckets for each doubling of the duration, and how many doublings there are: up to 2^42 microseconds, 51 days. */
#define BGJOB_HISTOGRAM_STEPS   4
#define BGJOB_HISTOGRAM_DOUBLES 42

/* The first bucket is for durations of less than a microsecond, the last one for those of 2^42 and more. */
#define BGJOB_HISTOGRAM_BUCKETS (BGJOB_HISTOGRAM_STEPS * BGJOB_HISTOGRAM_DOUBLES + 2)

/* Longest form of a histogram as bytes. */
#define BGJOB_HISTOGRAM_PACKED_MAX (BGJOB_HISTOGRAM_BUCKETS * 12)

/* All zero: it is empty. */
typedef struct BgjobHistogram
{
	int64_t n;
	int64_t sum; /* in microseconds */
	int64_t buckets[BGJOB_HISTOGRAM_BUCKETS];
} BgjobHistogram;

extern int bgjob_histogram_bucket(int64_t duration);
extern double bgjob_histogram_bound(int bucket);
extern double bgjob_histogram_value(int bucket);
extern void bgjob_histogram_add(BgjobHistogram *histogram, int64_t duration);
extern void bgjob_histogram_merge(BgjobHistogram *into, const BgjobHistogram *from);
extern void bgjob_histogram_subtract(BgjobHistogram *from, const BgjobHistogram *what);
extern int64_t bgjob_histogram_at_most(const BgjobHistogram *histogram, int doubles);
extern double bgjob_histogram_percentile(const BgjobHistogram *histogram, double fraction);
extern int bgjob_histogram_pack(const BgjobHistogram *histogram, uint8_t *bytes);
extern bool
bgjob_histogram_merge_packed(BgjobHistogram *into, const uint8_t *bytes, int length);

#endif /* BGJOB_RULES_HISTOGRAM_H */
