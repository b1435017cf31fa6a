/*-------------------------------------------------------------------------
 *
 * pattern.h
 *	  What the messages of an error have in common.
 *
 * Failures are grouped by their messages without what differs from job to job: a run of
 * digits becomes "#", what is in quotes "?", a UUID or another long number with
 * hexadecimal digits "<id>".
 *
 * Pure: no SPI, no shared memory, no allocation, no errors raised; linked by the unit
 * tests without a server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RULES_PATTERN_H
#define BGJOB_RULES_PATTERN_H

#include <stddef.h>

/*
 * bgjob_pattern_of writes the pattern of a message to a buffer, as much of it as fits, with
 * a terminating zero, and returns its length. It may end within a character of several bytes.
 */
extern size_t bgjob_pattern_of(const char *message, size_t length, char *to, size_t size);

#endif /* BGJOB_RULES_PATTERN_H */
