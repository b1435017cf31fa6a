/*-------------------------------------------------------------------------
 *
 * sequencekey.h
 *	  The jobs of a sequence_key: bgjob_internal.sequence.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SEQUENCEKEY_H
#define BGJOB_STORE_SEQUENCEKEY_H

#include "postgres.h"

/* What a job leaves behind in its sequence. */
typedef enum BgjobSequenceLeft
{
	BGJOB_SEQUENCE_NOT_THERE, /* the job did not stand there */
	BGJOB_SEQUENCE_NO_OTHERS, /* no job that stands behind it can be seen */
	BGJOB_SEQUENCE_OTHERS
} BgjobSequenceLeft;

extern void bgjob_sequence_enter(Oid role, int64 hash, int64 job);
extern BgjobSequenceLeft bgjob_sequence_leave(Oid role, int64 hash, int64 job);
extern int64 bgjob_sequence_before(Oid role, int64 hash, int64 job);

#endif /* BGJOB_STORE_SEQUENCEKEY_H */
