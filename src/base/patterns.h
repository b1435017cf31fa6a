/*-------------------------------------------------------------------------
 *
 * patterns.h
 *	  Names, and patterns 'prefix*' of names, by which something is looked up.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_PATTERNS_H
#define BGJOB_BASE_PATTERNS_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* Longest name or pattern, in bytes. */
#define BGJOB_PATTERN_MAX 500

typedef struct BgjobPatterns BgjobPatterns;

extern bool bgjob_is_pattern(const char *name);
extern BgjobPatterns *bgjob_patterns_create(void);
extern void bgjob_patterns_add(BgjobPatterns *patterns, const char *name, const void *value);
extern List *bgjob_patterns_values(const BgjobPatterns *patterns);
extern const void *bgjob_patterns_find(const BgjobPatterns *patterns, const char *name);

#endif /* BGJOB_BASE_PATTERNS_H */
