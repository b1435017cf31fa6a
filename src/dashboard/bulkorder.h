/*-------------------------------------------------------------------------
 *
 * bulkorder.h
 *	  What a bulk is to do, and to which jobs: see bulkorder.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_BULKORDER_H
#define BGJOB_DASHBOARD_BULKORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An action, and its statement in internal/. */
typedef struct BulkAction
{
	const char *name;
	const char *statement;
	bool takes_time;  /* delay or run_at, exactly one */
	bool takes_place; /* queue or priority, or both */
} BulkAction;

/* Zeros are an empty one. Texts are null where they are not given. */
typedef struct BulkOrder
{
	const BulkAction *action;
	char *query;  /* null: the ids are given */
	int64_t *ids; /* ascending, each once */
	int nids;
	char *from_state;
	char *delay;
	char *run_at;
	char *queue;
	char *priority;
} BulkOrder;

extern const char *bulk_order_read(BulkOrder *order, const char *text, size_t len);
extern char *bulk_order_ids(const int64_t *ids, int count);
extern void bulk_order_free(BulkOrder *order);

#endif
