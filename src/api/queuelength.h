/*-------------------------------------------------------------------------
 *
 * queuelength.h
 *	  Whether a queue has room for more jobs (max_length).
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_QUEUELENGTH_H
#define BGJOB_API_QUEUELENGTH_H

#include "postgres.h"

extern void bgjob_queuelength_check(const char *queue, int n);

#endif /* BGJOB_API_QUEUELENGTH_H */
