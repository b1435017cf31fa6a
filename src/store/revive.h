/*-------------------------------------------------------------------------
 *
 * revive.h
 *	  Jobs that have ended, and await again what they awaited.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_REVIVE_H
#define BGJOB_STORE_REVIVE_H

#include "postgres.h"

#include "rules/state.h"

typedef struct BgjobRevival BgjobRevival;

extern BgjobRevival *bgjob_revival_begin(bool (*may)(Oid role));
extern void bgjob_revival_of_job(BgjobRevival *revival, int64 id);
extern void bgjob_revival_of(BgjobRevival *revival, int64 target);
extern bool bgjob_revival_await_again(BgjobRevival *revival, int64 id, BgjobState from);
extern int64 bgjob_revival_end(BgjobRevival *revival);

#endif /* BGJOB_STORE_REVIVE_H */
