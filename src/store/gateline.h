/*-------------------------------------------------------------------------
 *
 * gateline.h
 *	  Jobs that wait at gates: bgjob_internal.gate.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_GATELINE_H
#define BGJOB_STORE_GATELINE_H

#include "postgres.h"

#include "base/gatemark.h"
#include "store/jobrow.h"
#include "store/taken.h"

/* A row of bgjob_internal.gate that has been read. */
typedef struct BgjobLineRow
{
	int64 place;
	int64 job;
	ItemPointerData tid;
	ItemPointerData job_tid;
} BgjobLineRow;

/* Where a look at a line begins. */
typedef enum BgjobLineFrom
{
	BGJOB_LINE_MARK,     /* where memory says that the first row is */
	BGJOB_LINE_NEW_MARK, /* the same, and memory is to keep in mind where it is */
	BGJOB_LINE_HEAD      /* whatever memory says */
} BgjobLineFrom;

/* A look at a line, from its head on. */
typedef struct BgjobLineScan
{
	int64 gate;
	BgjobGateMark mark;
	bool at_head; /* no row was read yet */
	BgjobRel *rel;
	Snapshot snapshot;
	BgjobScan *scan;
} BgjobLineScan;

extern int64 bgjob_line_place(const BgjobJob *job, int64 gate, int64 sequence);
extern void bgjob_line_insert(int64 gate, int64 place, const BgjobJob *job);
extern BgjobTaken bgjob_line_take(int64 gate, int64 place, TransactionId *holder);
extern bool bgjob_line_has(int64 gate, int64 place);
extern void bgjob_line_begin(BgjobLineScan *line, int64 gate, BgjobLineFrom from);
extern bool bgjob_line_next(BgjobLineScan *line, BgjobLineRow *row);
extern bool bgjob_line_take_row(BgjobLineScan *line, BgjobLineRow *row);
extern void bgjob_line_end(BgjobLineScan *line);
extern bool bgjob_line_first(int64 gate, int64 *place);
extern int bgjob_lines_after(int64 after, bool first, int64 *gates, int max);
extern int bgjob_line_jobs(int64 gate, int64 *jobs, int max);
extern int64 bgjob_line_count(int64 gate, int64 most);

#endif /* BGJOB_STORE_GATELINE_H */
