/*-------------------------------------------------------------------------
 *
 * call.h
 *	  The calls of jobs: names and functions, each stored once.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_CALL_H
#define BGJOB_STORE_CALL_H

#include "postgres.h"

typedef void (*BgjobCallVisitor)(int64 id, const char *job, const char *func, void *arg);

extern int64 bgjob_call_store(const char *job, const char *func);
extern void bgjob_call_read(Oid jobs, int64 id, const char **job, const char **func);
extern void bgjob_calls_visit(BgjobCallVisitor visit, void *arg);

#endif /* BGJOB_STORE_CALL_H */
