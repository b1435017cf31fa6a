/*
 * interval.h
 *	  Arithmetic with intervals and times that never overflows.
 */
#ifndef BGJOB_BASE_INTERVAL_H
#define BGJOB_BASE_INTERVAL_H

#include "datatype/timestamp.h"

/* The longest interval that can be set, in years: sums with it stay far from the ends of time. */
#define BGJOB_LONGEST_YEARS 100000

extern int64 bgjob_interval_microseconds(const Interval *interval, int days_per_month);
extern TimestampTz bgjob_time_plus(TimestampTz at, const Interval *interval);
extern TimestampTz bgjob_time_minus(TimestampTz at, const Interval *interval);
extern TimestampTz bgjob_time_later(TimestampTz at, int64 microseconds);
extern bool bgjob_interval_is_negative(const Interval *interval);
extern bool bgjob_interval_is_too_long(const Interval *interval);

#endif
