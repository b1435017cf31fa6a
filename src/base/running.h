/*-------------------------------------------------------------------------
 *
 * running.h
 *	  Which jobs are being performed: by workers of the server, and by external ones.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_RUNNING_H
#define BGJOB_BASE_RUNNING_H

#include "postgres.h"

#include "base/registry.h"

/* A job that a worker is at, and the role that performs it. */
typedef struct BgjobRunning
{
	Oid role;
	int64 job;
} BgjobRunning;

extern bool bgjob_slot_is_at(Oid database, int64 job, TransactionId *finishing);
extern bool bgjob_slot_phase(Oid database, int64 job, BgjobPhase *phase);
extern bool bgjob_running_server(Oid database, int64 job, char *name, Size size);
extern BgjobRunning *bgjob_slots_running(Oid database, int *n);
extern int64 *bgjob_slots_jobs(Oid database, int *n);

#endif /* BGJOB_BASE_RUNNING_H */
