/*-------------------------------------------------------------------------
 *
 * change.h
 *	  Notes of what the running transaction changes, announced when it commits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_CHANGE_H
#define BGJOB_BASE_CHANGE_H

#include "postgres.h"

#include "base/chunkwaits.h"
#include "base/dependantnotes.h"
#include "base/gatenotes.h"
#include "base/lanegroup.h"
#include "base/over.h"
#include "base/registry.h"
#include "base/tallynotes.h"
#include "datatype/timestamp.h"
#include "rules/state.h"

/* Settles what is over in the running transaction, in no order. It may throw, and note more. */
typedef void (*BgjobSettle)(BgjobOver *over);

extern BgjobSettle bgjob_change_settle;

/* The count that a job belongs to. */
typedef struct BgjobCounted
{
	Oid role;
	const char *queue;
	BgjobState state; /* BGJOB_NONE: it is not there */
	bool retry;       /* it is scheduled for one */
} BgjobCounted;

extern void bgjob_change_begin(void);
extern void
bgjob_change_ready(const BgjobLaneKey *lane, const BgjobLaneItem *first, int64 count);
extern void bgjob_change_recount(void);
extern void bgjob_change_cached(BgjobCached what);
extern void bgjob_change_queue(const char *queue, const BgjobQueueConf *conf);
extern void bgjob_change_server(const char *name, int64 version, const BgjobServerConf *conf);
extern void bgjob_change_due(TimestampTz at);
extern void bgjob_change_waits(const BgjobChunkKey *key, TimestampTz at);
extern void bgjob_change_count(const BgjobCounted *from, const BgjobCounted *to);
extern void bgjob_change_add_own(int64 *counts);
extern void bgjob_change_visit_own(BgjobTallyVisit visit, void *arg);
extern void bgjob_change_flow(Oid role, const char *queue, BgjobFlow flow);
extern void bgjob_change_over(const BgjobOver *over, Oid role, const char *queue,
							  const BgjobAttempt *attempt);
extern void bgjob_change_notice(Oid database, uint32 scheduler_notices);
extern void bgjob_change_took_scheduled(TimestampTz at);
extern void bgjob_change_took(const BgjobLaneKey *lane, int64 pos, int64 job);
extern bool bgjob_change_is_settling(void);
extern void bgjob_change_want(Oid database);
extern BgjobDependantNotes *bgjob_change_dependants(void);
extern BgjobGateNotes *bgjob_change_gates(void);
extern BgjobGateNotes *bgjob_change_gates_first(void);

#endif /* BGJOB_BASE_CHANGE_H */
