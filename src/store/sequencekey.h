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

extern void bgjob_sequence_enter(Oid role, int64 hash, int64 job);
extern bool bgjob_sequence_leave(Oid role, int64 hash, int64 job);
extern int64 bgjob_sequence_before(Oid role, int64 hash, int64 job);

#endif /* BGJOB_STORE_SEQUENCEKEY_H */
