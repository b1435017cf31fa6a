/*-------------------------------------------------------------------------
 *
 * database.h
 *	  The databases that have, or may have, the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_DATABASE_H
#define BGJOB_BASE_DATABASE_H

#include "postgres.h"

#include "base/registry.h"

extern BgjobDatabase *bgjob_database_find(Oid database);
extern BgjobDatabase *bgjob_database_want(Oid database);
extern bool bgjob_database_leave(BgjobDatabase *entry, uint32 wants);
extern void bgjob_database_forget(BgjobDatabase *entry, BgjobDatabaseStatus status);
extern void bgjob_database_recount(Oid database);
extern bool bgjob_database_is_counted(BgjobDatabase *entry);
extern void bgjob_database_pass_gate(void);
extern void bgjob_database_moving(TransactionId xid);

#endif /* BGJOB_BASE_DATABASE_H */
