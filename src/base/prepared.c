/*-------------------------------------------------------------------------
 *
 * prepared.c
 *	  Prepared transactions that have changed jobs.
 *
 * The notes of a transaction (base/change.c) are lost when it is prepared:
 * another session ends it, maybe after a restart, or on a standby that was
 * promoted meanwhile. All that is kept for certain is a mark that it changed jobs
 * (what the counts need is kept while the server runs: base/preparedmoves.c). The mark is
 * a lock, since the server keeps the locks of a prepared transaction: one on a name
 * made of its identifier, and one that all marked transactions of the database
 * share. No process ever waits for either.
 *
 * A session that ends a prepared transaction by a command checks for the first
 * lock (api/utility.c). The scheduler compares the holders of the second now and
 * then, since a subscription with two_phase ends transactions without a command.
 *
 * Two identifiers may have the same name: then a transaction that did not change
 * jobs costs one scan of the queue, and no more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/prepared.h"
#include "base/preparedmoves.h"
#include "catalog/pg_extension.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"

/* A mark is a lock on such a "column" of pg_extension, where the server takes no locks. */
#define MARKED_ONE 0x6a31
#define MARKED_ANY 0x6a32

/* The name of the transaction that this session is about to prepare; 0: not known. */
static uint32 my_name = 0;

static uint32
name_of(const char *gid)
{
	return hash_bytes((const unsigned char *) gid, strlen(gid));
}

static void
set_tag(LOCKTAG *tag, uint32 name, uint16 marked)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, ExtensionRelationId, name, marked);
}

static void
lock(uint32 name, uint16 marked)
{
	LOCKTAG tag;

	set_tag(&tag, name, marked);
	(void) LockAcquire(&tag, AccessShareLock, false, false);
}

static VirtualTransactionId *
holders(uint32 name, uint16 marked, int *n)
{
	LOCKTAG tag;

	set_tag(&tag, name, marked);
	return GetLockConflicts(&tag, AccessExclusiveLock, n);
}

/* bgjob_prepared_name notes the name that PREPARE TRANSACTION is about to give to the running transaction. */
void
bgjob_prepared_name(const char *gid)
{
	my_name = name_of(gid);
	bgjob_prepared_moves_name(gid);
}

/* bgjob_prepared_mark marks the running transaction, which is being prepared. */
void
bgjob_prepared_mark(void)
{
	lock(my_name, MARKED_ONE);
	lock(0, MARKED_ANY);
	my_name = 0;
}

/* bgjob_prepared_is_marked returns whether a prepared transaction of this database concerns bgjob. */
bool
bgjob_prepared_is_marked(const char *gid)
{
	int n;

	pfree(holders(name_of(gid), MARKED_ONE, &n));
	return n > 0;
}

/* bgjob_prepared_all returns a hash of the set of marked transactions; 0: there is none. */
uint32
bgjob_prepared_all(void)
{
	int n;
	VirtualTransactionId *all = holders(0, MARKED_ANY, &n);
	uint32 number =
		n == 0 ? 0 : hash_bytes((const unsigned char *) all, n * sizeof(VirtualTransactionId));

	pfree(all);
	return number;
}
