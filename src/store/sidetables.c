/*-------------------------------------------------------------------------
 *
 * sidetables.c
 *	  The small tables beside bgjob_internal.job: what has failed, what is claimed,
 *	  what has been removed, and whose tables these are.
 *
 * bgjob_internal.failure lists the failed jobs, so that they can be counted and found
 * without an index on bgjob_internal.job.state, which would make every update of a
 * job an insertion into each of its indexes. bgjob_internal.claim has a row for each
 * job whose claim is committed; the scheduler compares its process with
 * the live ones. bgjob_internal.total keeps what the statistics would lose when
 * finished jobs are removed. bgjob_internal.installation names the database: a copy
 * made with it as template must not run its jobs a second time. A row without
 * a database means that SQL has inserted jobs, as a restore does: these are in
 * bgjob_internal.job alone, and held back until bgjob_adopt().
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "base/registry.h"
#include "base/slot.h"
#include "miscadmin.h"
#include "store/relation.h"
#include "store/sidetables.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Number of rows of bgjob_internal.total from which on they are added up. */
#define MANY_TOTALS 100

static void
insert_row(BgjobTable table, const Datum *values)
{
	static const bool no_nulls[4] = {false};
	BgjobRel *rel = bgjob_rel_open(table);

	bgjob_rel_insert(rel, values, no_nulls);
	bgjob_rel_close(rel);
}

/* Deletes the row of a job from a table whose key it is. */
static void
delete_by_job(BgjobTable table, const char *index, int64 job)
{
	if (!bgjob_rel_delete_of(table, index, job))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("job " INT64_FORMAT " is being changed by another transaction", job)));
}

/* bgjob_failure_insert enters a job among the failed ones. */
void
bgjob_failure_insert(int64 job, Oid role, const char *queue)
{
	Datum values[] = {Int64GetDatum(job), ObjectIdGetDatum(role), CStringGetTextDatum(queue)};

	insert_row(BGJOB_TABLE_FAILURE, values);
}

/* bgjob_failure_delete removes a job from the failed ones. */
void
bgjob_failure_delete(int64 job)
{
	delete_by_job(BGJOB_TABLE_FAILURE, "failure_pkey", job);
}

/* bgjob_claim_insert notes that a process has a job, and commits that before it performs it. */
void
bgjob_claim_insert(int64 job, int pid, TimestampTz started_at)
{
	Datum values[] = {Int64GetDatum(job), Int32GetDatum(pid), TimestampTzGetDatum(started_at)};

	insert_row(BGJOB_TABLE_CLAIM, values);
}

/* bgjob_claim_delete ends a claim. */
void
bgjob_claim_delete(int64 job)
{
	delete_by_job(BGJOB_TABLE_CLAIM, "claim_pkey", job);
}

/* Returns whether a table has a row for a job. If so, rel->slot holds it. */
static bool
find_by_job(BgjobRel *rel, const char *index, int64 job)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool found;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, index, snapshot, &key, 1);
	found = bgjob_scan_next(scan);
	if (found)
		ExecMaterializeSlot(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/* bgjob_failure_has returns whether a job is among the failed ones. */
bool
bgjob_failure_has(int64 job)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_FAILURE);
	bool found = find_by_job(rel, "failure_pkey", job);

	bgjob_rel_close(rel);
	return found;
}

/* bgjob_claim_is_there returns whether a job has been claimed, even if the process that did so has gone. */
bool
bgjob_claim_is_there(int64 job)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_CLAIM);
	bool found = find_by_job(rel, "claim_pkey", job);

	bgjob_rel_close(rel);
	return found;
}

/* bgjob_claim_is_held returns whether the process that has claimed a job is there. */
bool
bgjob_claim_is_held(int64 job)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_CLAIM);
	bool held = find_by_job(rel, "claim_pkey", job);

	if (held)
	{
		slot_getallattrs(rel->slot);
		held = bgjob_slot_lives(DatumGetInt32(rel->slot->tts_values[1]),
								DatumGetTimestampTz(rel->slot->tts_values[2]));
	}
	bgjob_rel_close(rel);
	return held;
}

/* bgjob_claims returns the committed claims, at most max; their number. */
int
bgjob_claims(BgjobClaim *claims, int max)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_CLAIM);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = bgjob_scan_begin(rel, "claim_pkey", snapshot, NULL, 0);
	int n = 0;

	while (n < max && bgjob_scan_next(scan))
	{
		slot_getallattrs(rel->slot);
		claims[n].job = DatumGetInt64(rel->slot->tts_values[0]);
		claims[n].pid = DatumGetInt32(rel->slot->tts_values[1]);
		claims[n].started_at = DatumGetTimestampTz(rel->slot->tts_values[2]);
		n++;
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

/* bgjob_total_add notes that finished jobs of a state are being removed. */
void
bgjob_total_add(BgjobState state, int64 jobs)
{
	Datum values[] = {CharGetDatum(bgjob_state_letter(state)), Int64GetDatum(jobs)};

	insert_row(BGJOB_TABLE_TOTAL, values);
}

/* Deletes the rows of bgjob_internal.total that a snapshot shows, adding them up by state. */
static void
take_totals(BgjobRel *rel, Snapshot snapshot, int64 *jobs)
{
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		BgjobState state;
		int64 n;

		slot_getallattrs(rel->slot);
		state = bgjob_state_by_letter(DatumGetChar(rel->slot->tts_values[0]));
		n = DatumGetInt64(rel->slot->tts_values[1]);
		if (bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL))
			jobs[state] += n;
	}
	table_endscan(scan);
}

/* Returns the number of rows of bgjob_internal.total that a snapshot shows, as far as "enough". */
static int64
count_totals(BgjobRel *rel, Snapshot snapshot, int64 enough)
{
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	int64 rows = 0;

	while (rows < enough && table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
		rows++;
	ExecClearTuple(rel->slot);
	table_endscan(scan);
	return rows;
}

/*
 * bgjob_total_add_up makes one row of bgjob_internal.total for each state out of many;
 * by the scheduler, now and then. A transaction that removes jobs only adds rows, so
 * none waits for another.
 */
void
bgjob_total_add_up(void)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_TOTAL);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	int64 jobs[BGJOB_NSTATES] = {0};
	bool many = count_totals(rel, snapshot, MANY_TOTALS) == MANY_TOTALS;

	if (many)
		take_totals(rel, snapshot, jobs);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	for (int state = 0; many && state < BGJOB_NSTATES; state++)
		if (jobs[state] > 0)
			bgjob_total_add((BgjobState) state, jobs[state]);
}

/* Returns whether bgjob_internal.installation has a row of a database, as a snapshot shows it. */
static bool
has_installation_at(Oid database, Snapshot snapshot)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_INSTALLATION);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	bool here = false;

	while (!here && table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		slot_getallattrs(rel->slot);
		here = DatumGetObjectId(rel->slot->tts_values[0]) == database;
	}
	table_endscan(scan);
	bgjob_rel_close(rel);
	return here;
}

/* Returns the same as it is at this moment. */
static bool
has_installation(Oid database)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_INSTALLATION);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	bool here = has_installation_at(database, snapshot);

	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return here;
}

/* bgjob_installed_here returns whether the tables belong to this database, and are no copy of another's. */
bool
bgjob_installed_here(void)
{
	return has_installation(MyDatabaseId);
}

/* bgjob_restored_here returns whether there may be jobs that are held back, because SQL has inserted them. */
bool
bgjob_restored_here(void)
{
	return has_installation(InvalidOid);
}

/* bgjob_restored_at tells the same of what a snapshot shows. */
bool
bgjob_restored_at(Snapshot snapshot)
{
	return has_installation_at(InvalidOid, snapshot);
}

/* bgjob_note_restored notes that SQL inserts jobs. */
void
bgjob_note_restored(void)
{
	Datum values[] = {ObjectIdGetDatum(InvalidOid)};

	insert_row(BGJOB_TABLE_INSTALLATION, values);
}

/* bgjob_forget_restored removes what bgjob_note_restored has noted. */
void
bgjob_forget_restored(void)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_INSTALLATION);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		slot_getallattrs(rel->slot);
		if (DatumGetObjectId(rel->slot->tts_values[0]) == InvalidOid)
			(void) bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

/* bgjob_install_here makes the tables this database's own. */
void
bgjob_install_here(void)
{
	Datum values[] = {ObjectIdGetDatum(MyDatabaseId)};

	insert_row(BGJOB_TABLE_INSTALLATION, values);
}
