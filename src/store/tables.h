/*-------------------------------------------------------------------------
 *
 * tables.h
 *	  Which relations bgjob's tables are: looking them up, locking and opening them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_TABLES_H
#define BGJOB_STORE_TABLES_H

#include "postgres.h"

#include "storage/lockdefs.h"
#include "utils/relcache.h"

typedef enum BgjobTable
{
	BGJOB_TABLE_JOB,
	BGJOB_TABLE_QUEUE,
	BGJOB_TABLE_SCHEDULE,
	BGJOB_TABLE_GATE,
	BGJOB_TABLE_SEQUENCE,
	BGJOB_TABLE_LIMIT_USE,
	BGJOB_TABLE_AWAITING,
	BGJOB_TABLE_EDGE,
	BGJOB_TABLE_SIGNAL,
	BGJOB_TABLE_BATCH,
	BGJOB_TABLE_MEMBER,
	BGJOB_TABLE_BATCH_TOTAL,
	BGJOB_TABLE_FAILURE,
	BGJOB_TABLE_CLAIM,
	BGJOB_TABLE_LEASE,
	BGJOB_TABLE_UNIQUE_KEY,
	BGJOB_TABLE_STATE,
	BGJOB_TABLE_LOG,
	BGJOB_TABLE_SETTINGS,
	BGJOB_TABLE_TOTAL,
	BGJOB_TABLE_STATS_HOUR,
	BGJOB_TABLE_STATS_DAY,
	BGJOB_TABLE_QUEUE_CONF,
	BGJOB_TABLE_LIMIT_CONF,
	BGJOB_TABLE_WEIGHT_CONF,
	BGJOB_TABLE_SERVER_CONF,
	BGJOB_TABLE_FUNCTION_CONF,
	BGJOB_TABLE_RECURRING,
	BGJOB_TABLE_FILTER,
	BGJOB_TABLE_INSTALLATION,
} BgjobTable;

/* Whether this process raises 55P03 instead of waiting for the lock of a table. */
extern bool bgjob_rel_nowait;

extern Oid bgjob_relation_oid(const char *name);
extern Oid bgjob_table_oid(BgjobTable table);
extern Oid bgjob_sequence_lock(const char *name);
extern void bgjob_table_lock(BgjobTable table);
extern void bgjob_tables_lock_for_drop(void);
extern Relation bgjob_table_open(BgjobTable table, LOCKMODE lock, bool *large);

#endif /* BGJOB_STORE_TABLES_H */
