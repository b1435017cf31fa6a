/*-------------------------------------------------------------------------
 *
 * registry.c
 *	  bgjob's processes and databases, in shared memory.
 *
 * The structure, its size and its initialization. What the registry is for and
 * its locking protocol stand in registry.h. The functions on its parts are in
 * files of their own: base/slot.c and base/request.c, base/groupitems.c,
 * base/database.c; base/wake.c wakes the processes.
 *
 * Where the library is not in shared_preload_libraries there is no registry:
 * bgjob_registry is NULL. A function that may be called then says so.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/registry.h"
#include "miscadmin.h"
#include "storage/shmem.h"

BgjobRegistry *bgjob_registry = NULL;

/* bgjob_registry_size returns the bytes of shared memory that the registry takes. */
Size
bgjob_registry_size(void)
{
	Size size = offsetof(BgjobRegistry, slots);

	size = add_size(size, mul_size(max_worker_processes, sizeof(BgjobSlot)));
	size = MAXALIGN(size);
	size = add_size(size, MAXALIGN(mul_size(BGJOB_DATABASES, sizeof(BgjobDatabase))));
	size = add_size(size, MAXALIGN(mul_size(max_worker_processes, sizeof(BgjobGroupItems))));
	return add_size(size, mul_size(MaxBackends, sizeof(TransactionId)));
}

/* Initializes the registry. */
static void
create_registry(void)
{
	Size slots;
	BgjobGroupItems *items;

	memset(bgjob_registry, 0, bgjob_registry_size());
	LWLockInitialize(&bgjob_registry->lock, LWLockNewTrancheId());
	LWLockInitialize(&bgjob_registry->gate, LWLockNewTrancheId());
	pg_atomic_init_u32(&bgjob_registry->gated, 0);
	bgjob_registry->group_tranche = LWLockNewTrancheId();
	bgjob_registry->next_generation = 1;
	for (int i = 0; i < BGJOB_NCACHED; i++)
	{
		pg_atomic_init_u32(&bgjob_registry->cached_changes[i], 0);
		pg_atomic_init_u32(&bgjob_registry->cached_changers[i], 0);
	}
	pg_atomic_init_u32(&bgjob_registry->settings_passes, 0);
	bgjob_registry->nslots = max_worker_processes;
	bgjob_registry->ndatabases = BGJOB_DATABASES;
	bgjob_registry->databases_used = 0;
	pg_atomic_init_u32(&bgjob_registry->schedulers_wanted, 0);
	pg_atomic_init_u32(&bgjob_registry->slot_wanted, 0);
	slots = offsetof(BgjobRegistry, slots) + max_worker_processes * sizeof(BgjobSlot);
	bgjob_registry->databases = (BgjobDatabase *) ((char *) bgjob_registry + MAXALIGN(slots));

	items = (BgjobGroupItems *) ((char *) bgjob_registry->databases +
								 MAXALIGN(BGJOB_DATABASES * sizeof(BgjobDatabase)));
	bgjob_registry->movers =
		(TransactionId *) ((char *) items +
						   MAXALIGN(max_worker_processes * sizeof(BgjobGroupItems)));
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		SpinLockInit(&bgjob_registry->slots[i].mutex);
		LWLockInitialize(&items[i].lock, bgjob_registry->group_tranche);
		bgjob_registry->slots[i].group = &items[i];
	}
	for (int i = 0; i < bgjob_registry->ndatabases; i++)
	{
		BgjobDatabase *entry = &bgjob_registry->databases[i];

		pg_atomic_init_u32(&entry->notices, 0);
		pg_atomic_init_u32(&entry->server.saturated, 0);
		pg_atomic_init_u32(&entry->doubts, 0);
		pg_atomic_init_u32(&entry->unnamed, 0);
		pg_atomic_init_u32(&entry->renewals, 0);
		pg_atomic_init_u64(&entry->movers, 0);
		pg_atomic_init_u64(&entry->sequence_epoch, 0);
		pg_atomic_init_u32(&entry->hungry, 0);
		pg_atomic_init_u64(&entry->server.leavers, 0);
		pg_atomic_init_u64(&entry->claim_failure, 0);
		pg_atomic_init_u64(&entry->settings_floor, 0);
		pg_atomic_init_u64(&entry->next_due, 0);
		pg_atomic_init_u64(&entry->edges, 0);
		pg_atomic_init_u64(&entry->low_due, 0);
		pg_atomic_init_u64(&entry->low_lease, 0);
		pg_atomic_init_u32(&entry->leases_known, 0);
		for (int state = 0; state < BGJOB_NSTATES; state++)
			pg_atomic_init_u64(&entry->moves[state], 0);
		bgjob_totals_init(&entry->totals);
	}
}

/* bgjob_registry_startup creates or finds the registry; from shmem_startup_hook. */
void
bgjob_registry_startup(void)
{
	bool found;

	bgjob_registry = ShmemInitStruct("bgjob registry", bgjob_registry_size(), &found);
	if (!found)
		create_registry();
	LWLockRegisterTranche(bgjob_registry->lock.tranche, "BgjobRegistry");
	LWLockRegisterTranche(bgjob_registry->gate.tranche, "BgjobGate");
	LWLockRegisterTranche(bgjob_registry->group_tranche, "BgjobGroup");
}
