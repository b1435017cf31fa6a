/*-------------------------------------------------------------------------
 *
 * jobkeys.h
 *	  The keys and limits of jobs, with placeholders for their arguments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_JOBKEYS_H
#define BGJOB_API_JOBKEYS_H

#include "postgres.h"

#include "store/job.h"
#include "store/option.h"
#include "utils/jsonb.h"

/* Texts that the arguments of each job fill; NULL: there is none, or it is filled already. */
typedef struct BgjobJobKeys
{
	Oid func; /* InvalidOid: a command */
	const char *unique_key;
	const char *sequence_key;
	const char *fairness_key;
	Datum limits; /* text[]; 0: none, likewise */
} BgjobJobKeys;

extern void
bgjob_jobkeys_begin(BgjobJobKeys *keys, Oid func, BgjobJob *job, const char *unique_key);
extern bool bgjob_jobkeys_are_gates(const BgjobJobKeys *keys);
extern void bgjob_jobkeys_fill(const BgjobJobKeys *keys, BgjobJob *job, const Jsonb *args);
extern void bgjob_jobkeys_check(Oid func, const BgjobOptionSet *set);
extern void bgjob_jobkeys_literal(BgjobOptionSet *set, BgjobJob *job);

#endif /* BGJOB_API_JOBKEYS_H */
