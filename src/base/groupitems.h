/*-------------------------------------------------------------------------
 *
 * groupitems.h
 *	  The jobs that a worker has taken to perform in one transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_GROUPITEMS_H
#define BGJOB_BASE_GROUPITEMS_H

#include "postgres.h"

#include "base/lane.h"
#include "base/registry.h"

extern void bgjob_group_items_begin(Oid role, const char *queue, int priority);
extern void bgjob_group_items_add(const BgjobLaneItem *added, int n);
extern int bgjob_group_items_next(void);
extern void bgjob_group_items_keep(void);
extern bool bgjob_group_items_end(BgjobSlot *slot, bool all, BgjobGroupRest *rest);
extern void bgjob_group_items_slow(void);
extern bool bgjob_group_items_take_back(BgjobSlot *slot, BgjobGroupRest *rest);

#endif /* BGJOB_BASE_GROUPITEMS_H */
