/*-------------------------------------------------------------------------
 *
 * over.h
 *	  Jobs and attempts that are over in the running transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_OVER_H
#define BGJOB_BASE_OVER_H

#include "postgres.h"

#include "base/functionstats.h"
#include "base/tallynotes.h"
#include "rules/state.h"

/*
 * A job that has ended, or an attempt after which the job goes on. Holds all that
 * settling needs, so that the row of the job is not read again.
 */
typedef struct BgjobOver
{
	struct BgjobOver *next;
	int64 job;
	BgjobState state; /* that it got: final, or that in which it waits for the next attempt */
	bool recurring;   /* the job of an occurrence */
	int64 batch;      /* of the job; 0: none */
	bool member;  /* the job is still a member of its batch (store/batch.h), and has to leave */
	uint32 edges; /* to jobs that await it, as settling has found them */
	struct BgjobTallyRef *queue; /* of an attempt that is to be counted (base/tallynotes.h) */
	const BgjobAttempt *attempt; /* to be counted at commit; NULL: the job was not running */
} BgjobOver;

extern BgjobOver *
bgjob_over_add(BgjobOver *list, const BgjobOver *over, const BgjobAttempt *attempt);
extern BgjobOver *bgjob_over_concat(BgjobOver *first, BgjobOver *rest);
extern void bgjob_over_free(BgjobOver *list);
extern void bgjob_over_tell(const BgjobOver *list, const BgjobTallyNotes *notes);

#endif /* BGJOB_BASE_OVER_H */
