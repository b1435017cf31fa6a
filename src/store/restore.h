/*-------------------------------------------------------------------------
 *
 * restore.h
 *	  Jobs of a restored or copied database, which are not in their places.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_RESTORE_H
#define BGJOB_STORE_RESTORE_H

#include "postgres.h"

extern int64 bgjob_restore_count_held_back(int64 *after, int max, bool *all);
extern int64 bgjob_restore_rebuild(void);

#endif /* BGJOB_STORE_RESTORE_H */
