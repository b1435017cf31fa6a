/*-------------------------------------------------------------------------
 *
 * log.c
 *	  Job output: the log of jobs, and their last progress.
 *
 * During an attempt the output is in shared memory (base/console.h). The process
 * that records the outcome of the attempt moves the output to bgjob_internal.log
 * and to the row of the job in the same transaction, so it is kept for every
 * outcome. The lines of a job are numbered through all its attempts;
 * bgjob_internal.job.logs is the last number, null if the job has logged nothing.
 *
 * Workers, the scheduler for lost workers, and sessions for bgjob_run(); inside a
 * transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/console.h"
#include "base/output.h"
#include "rules/clock.h"
#include "store/bulk.h"
#include "store/log.h"
#include "store/relation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Number of lines from which on they are inserted in bulk. */
#define MANY_LINES 20

static void
insert_lines(BgjobRel *rel, int64 job, int seq, const BgjobOutput *output)
{
	BgjobBulk *bulk = output->nlines < MANY_LINES ? NULL : bgjob_bulk_begin(rel);
	bool nulls[5] = {false};
	int n;

	for (int i = 0; i < output->nlines; i++)
	{
		const BgjobLogLine *line = &output->lines[i];
		Datum level = CStringGetTextDatum(line->level);
		Datum message = CStringGetTextDatum(line->message);
		Datum values[5] = {Int64GetDatum(job), Int32GetDatum(++seq),
						   TimestampTzGetDatum(line->at), level, message};

		if (bulk == NULL)
			bgjob_rel_insert(rel, values, nulls);
		else if (bgjob_bulk_add(bulk, values, nulls))
			(void) bgjob_bulk_flush(bulk, &n);
		pfree(DatumGetPointer(level));
		pfree(DatumGetPointer(message));
	}
	if (bulk != NULL)
	{
		(void) bgjob_bulk_flush(bulk, &n);
		bgjob_bulk_end(bulk);
	}
}

/* Reads a job's output from the console of a slot, or where it has none that of this session's job. */
static bool
read_output(const BgjobJob *job, int slot, BgjobOutput *output)
{
	if (slot == BGJOB_NO_SLOT)
		return bgjob_output_read(output);
	return bgjob_console_in_use(slot) && bgjob_console_read(slot, job->id, output);
}

/*
 * bgjob_log_store stores a job's output from the console of a slot, or of this
 * session's job (BGJOB_NO_SLOT): it inserts the lines, and sets progress and number
 * of lines in the job, which the caller saves. The console is cleared when the
 * attempt is over.
 */
void
bgjob_log_store(BgjobJob *job, int slot)
{
	BgjobOutput output;

	if (!read_output(job, slot, &output))
		return;
	if (output.has_progress)
	{
		bgjob_job_set(job, BGJOB_C_PROGRESS,
					  DirectFunctionCall1(float8_numeric, Float8GetDatum(output.percent)));
		bgjob_job_set_null(job, BGJOB_C_PROGRESS_MESSAGE);
		if (output.message[0] != '\0')
			bgjob_job_set(job, BGJOB_C_PROGRESS_MESSAGE, CStringGetTextDatum(output.message));
	}
	if (output.nlines > 0)
	{
		BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_LOG);
		int seq = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_LOGS)); /* null is 0 */

		insert_lines(rel, job->id, seq, &output);
		bgjob_rel_close(rel);
		bgjob_job_set(job, BGJOB_C_LOGS, Int32GetDatum(seq + output.nlines));
	}
}

/*
 * bgjob_log_add inserts a line of an external job, as a part of the running transaction. The number of lines in the job's row
 * is set when the attempt ends.
 */
void
bgjob_log_add(int64 job, int seq, const char *level, const char *message)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_LOG);
	Datum values[5] = {Int64GetDatum(job), Int32GetDatum(seq), TimestampTzGetDatum(bgjob_now()),
					   CStringGetTextDatum(level), CStringGetTextDatum(message)};
	bool nulls[5] = {false};

	bgjob_rel_insert(rel, values, nulls);
	bgjob_rel_close(rel);
}

/* bgjob_log_last returns the number of the last line of a job; 0: there is none. */
int
bgjob_log_last(int64 job)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_LOG);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	int last = 0;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, "log_pkey", snapshot, &key, 1);
	if (bgjob_scan_previous(scan))
	{
		slot_getallattrs(rel->slot);
		last = DatumGetInt32(rel->slot->tts_values[1]);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return last;
}

/* bgjob_log_delete deletes the lines of a job. */
void
bgjob_log_delete(int64 job)
{
	(void) bgjob_rel_delete_of(BGJOB_TABLE_LOG, "log_pkey", job);
}
