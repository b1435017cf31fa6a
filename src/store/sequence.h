/*-------------------------------------------------------------------------
 *
 * sequence.h
 *	  Numbers: of jobs and positions in the queue, and of captured settings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SEQUENCE_H
#define BGJOB_STORE_SEQUENCE_H

#include "postgres.h"

extern int64 bgjob_next_id(void);
extern int64 bgjob_next_ids(int n, int *drawn);
extern void bgjob_ids_reach(int64 id);
extern int64 bgjob_next_settings_id(void);
extern int64 bgjob_last_settings_id(void);

#endif /* BGJOB_STORE_SEQUENCE_H */
