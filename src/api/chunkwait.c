/*-------------------------------------------------------------------------
 *
 * chunkwait.c
 *	  Has jobs wait for others that they can be performed with, when they are enqueued.
 *
 * A function with a chunk_wait has jobs that could run at once wait for others. A job that
 * is delayed, or awaits something, has waited already; one with a limit, a sequence_key or
 * a fairness_key is performed by itself (run/chunk.c); and jobs that are enqueued together,
 * as many as the function takes or more, need no others: all these do not wait.
 *
 * What waits is scheduled. base/chunkwaits.c says for when, and why none is stranded. That
 * which others join can be seen by them only after the commit, so it is noted for that
 * (base/change.c).
 *
 * Runs in the session that enqueues.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/chunkwait.h"
#include "base/change.h"
#include "common/hashfn.h"
#include "run/policy.h"
#include "store/gateneeds.h"

/* Returns a hash of what jobs have in common that can be performed in one call. */
static uint64
hash_of(const BgjobJob *job)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) job->func,
									  (int) strlen(job->func), (uint64) job->priority);

	hash =
		hash_bytes_extended((const unsigned char *) job->queue, (int) strlen(job->queue), hash);
	return hash_combine64(hash,
						  (uint64) DatumGetInt64(bgjob_job_datum(job, BGJOB_C_POLICY_ID)));
}

/*
 * bgjob_chunkwait_begin decides whether the jobs like "job" wait, which conf (NULL: nothing)
 * is configured for; if so, it sets what->run_at.
 */
void
bgjob_chunkwait_begin(BgjobChunkWait *company, const BgjobFunctionConf *conf,
					  const BgjobOptionSet *set, const BgjobJob *job, BgjobCircumstances *what)
{
	if (conf == NULL || conf->policy == NULL || what->run_at != 0 || what->awaits ||
		set->given[BGJOB_O_LIMITS] || set->given[BGJOB_O_SEQUENCE_KEY] ||
		set->given[BGJOB_O_FAIRNESS_KEY] || bgjob_gate_has_any(job))
		return;
	company->wait = bgjob_policy_chunk_wait(conf->policy);
	company->size = bgjob_policy_chunk_size(conf->policy);
	if (company->wait == 0 || company->size < 2)
		return;
	company->key = (BgjobChunkKey){job->run_as, hash_of(job)};
	company->at = bgjob_chunkwaits_join(&company->key, company->size, company->wait, what->at);
	company->reason = BGJOB_CHUNK_REASON;
	what->run_at = company->at;
}

/* bgjob_chunkwait_end has n jobs not wait if they are enough by themselves: *run_at and *event become those of jobs that run at once. */
void
bgjob_chunkwait_end(BgjobChunkWait *company, int n, TimestampTz *run_at, BgjobEvent *event)
{
	if (company->at == 0 || n < company->size)
		return;
	company->at = *run_at = 0;
	company->reason = NULL;
	*event = BGJOB_EV_ENQUEUE;
}

/* bgjob_chunkwait_note notes that a job has been inserted. */
void
bgjob_chunkwait_note(const BgjobChunkWait *company)
{
	if (company->at != 0)
		bgjob_change_waits(&company->key, company->at);
}
