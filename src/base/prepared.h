/*-------------------------------------------------------------------------
 *
 * prepared.h
 *	  Prepared transactions that have changed jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_PREPARED_H
#define BGJOB_BASE_PREPARED_H

#include "postgres.h"

extern void bgjob_prepared_name(const char *gid);
extern void bgjob_prepared_mark(void);
extern bool bgjob_prepared_is_marked(const char *gid);
extern uint32 bgjob_prepared_all(void);

#endif /* BGJOB_BASE_PREPARED_H */
