/*-------------------------------------------------------------------------
 *
 * signalrow.h
 *	  Signals that were sent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SIGNALROW_H
#define BGJOB_STORE_SIGNALROW_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

/* Longest name, in bytes. */
#define BGJOB_SIGNAL_NAME_MAX 1000

extern int64 bgjob_signal_target(const char *name);
extern void
bgjob_signal_insert(const char *name, Oid role, TimestampTz at, const Jsonb *payload);
extern bool bgjob_signal_reaches(Oid sender, Oid role);
extern bool bgjob_signal_is_there(const char *name, Oid role);
extern bool bgjob_signal_payload(const char *name, Oid role, Jsonb **payload);
extern bool bgjob_signal_delete(const char *name, bool (*may)(Oid sender));
extern int64 bgjob_signal_expire(TimestampTz before, int max, bool (*needed)(int64 target));

#endif /* BGJOB_STORE_SIGNALROW_H */
