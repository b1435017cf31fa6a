/*-------------------------------------------------------------------------
 *
 * option.h
 *	  The options of jobs: one table of them, and sets of their values.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_OPTION_H
#define BGJOB_STORE_OPTION_H

#include "postgres.h"

#include "access/attnum.h"
#include "store/job.h"

/* The options, in the order in which the SQL functions have them as parameters. */
typedef enum BgjobOption
{
#define BGJOB_OPTION(symbol, ...) BGJOB_O_##symbol,
#include "store/optionlist.h"
	BGJOB_NOPTIONS
} BgjobOption;

/* Where an option can be given. */
#define BGJOB_IN_ENQUEUE   0x1
#define BGJOB_IN_CONFIGURE 0x2
#define BGJOB_IN_RECURRING 0x4
#define BGJOB_IN_CREATING  0x8 /* the result of a filter */

typedef struct BgjobOptionInfo
{
	const char *name;
	Oid type;             /* of the parameter */
	int places;           /* BGJOB_IN_… */
	AttrNumber job;       /* its column in bgjob_internal.job; 0: none; likewise: */
	AttrNumber recurring; /* in bgjob_internal.recurring */
	AttrNumber function;  /* in bgjob_internal.function_conf */
	bool in_context;      /* filters receive it, by its name */
} BgjobOptionInfo;

extern const BgjobOptionInfo bgjob_options[BGJOB_NOPTIONS];

/*
 * Values of options. They have the types of the parameters until they have been
 * checked (bgjob_options_check), and then those of the columns.
 */
typedef struct BgjobOptionSet
{
	Datum values[BGJOB_NOPTIONS];
	bool given[BGJOB_NOPTIONS]; /* whether the caller gives the option */
} BgjobOptionSet;

static inline void
bgjob_option_set(BgjobOptionSet *set, BgjobOption option, Datum value)
{
	set->values[option] = value;
	set->given[option] = true;
}

extern BgjobOption bgjob_option_by_name(const char *name, int place);
extern char *bgjob_option_text(const BgjobOptionSet *set, BgjobOption option);
extern void bgjob_options_merge(BgjobOptionSet *set, const BgjobOptionSet *defaults);
extern void bgjob_options_to_job(const BgjobOptionSet *set, BgjobJob *job);
extern void bgjob_options_take_over(BgjobJob *job, const BgjobJob *from);

#endif /* BGJOB_STORE_OPTION_H */
