/*-------------------------------------------------------------------------
 *
 * dependants.h
 *	  For which jobs, batches and signals others may wait, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_DEPENDANTS_H
#define BGJOB_BASE_DEPENDANTS_H

#include "postgres.h"

/* What bgjob_dependants_count returns while the edges of the database have not been counted. */
#define BGJOB_DEPENDANTS_UNKNOWN PG_UINT32_MAX

extern Size bgjob_dependants_size(void);
extern void bgjob_dependants_startup(void);

extern uint32 bgjob_dependants_count(int64 target);
extern void bgjob_dependants_add(int64 target, uint32 edges);
extern void bgjob_dependants_remove(int64 target, uint32 edges);
extern bool bgjob_dependants_counted(void);
extern void bgjob_dependants_begin_count(void);
extern bool bgjob_dependants_known(void);
extern void bgjob_dependants_set_known(bool known);

#endif /* BGJOB_BASE_DEPENDANTS_H */
