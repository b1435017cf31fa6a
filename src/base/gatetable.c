/*-------------------------------------------------------------------------
 *
 * gatetable.c
 *	  The entries of gates in shared memory; for base/gate.c.
 *
 * An entry is added when there is something to remember of a gate. Those of which there is nothing to remember
 * are removed when a partition is full: until then, what is known of their lines spares others a look (base/gatemark.c). What is spent of a rate takes more room, and is kept apart. All of
 * it is of fixed size. A gate for which there is no room has none for jobs either: they wait until others are idle,
 * or until what was spent of other rates counts no more; the scheduler looks each second.
 *
 * The caller has locked the partition, exclusively where it changes something. Nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/gatetable.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/shmem.h"

typedef struct GateTable
{
	TimestampTz since; /* the start of the server, or of its memory after a crash */
	pg_atomic_uint64
		epochs; /* the last one that was begun in any database: base/sequencemark.c */
	BgjobGatePartition partitions[BGJOB_GATE_PARTITIONS];
} GateTable;

static GateTable *table = NULL;

/* bgjob_gate_table_size returns the bytes of shared memory for all entries. */
Size
bgjob_gate_table_size(void)
{
	return sizeof(GateTable);
}

static void
init_partition(BgjobGatePartition *partition, int tranche)
{
	LWLockInitialize(&partition->lock, tranche);
	for (int i = 0; i < BGJOB_GATE_ENTRIES; i++)
	{
		partition->heads[i] = BGJOB_GATE_NOTHING;
		partition->entries[i].next = i + 1 < BGJOB_GATE_ENTRIES ? i + 1 : BGJOB_GATE_NOTHING;
		partition->entries[i].use = BGJOB_GATE_NOTHING;
	}
	for (int i = 0; i < BGJOB_GATE_USES; i++)
		partition->next_use[i] = i + 1 < BGJOB_GATE_USES ? i + 1 : BGJOB_GATE_NOTHING;
	partition->free = partition->free_use = 0;
	partition->moment = 0;
}

/* bgjob_gate_table_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_gate_table_startup(void)
{
	bool found;

	table = ShmemInitStruct("bgjob gates", bgjob_gate_table_size(), &found);
	if (!found)
	{
		int tranche = LWLockNewTrancheId();

		table->since = bgjob_now();
		pg_atomic_init_u64(&table->epochs, 0);
		for (int i = 0; i < BGJOB_GATE_PARTITIONS; i++)
			init_partition(&table->partitions[i], tranche);
	}
	LWLockRegisterTranche(table->partitions[0].lock.tranche, "BgjobGateEntries");
}

static uint32
hash_of(int64 gate, Oid database)
{
	return hash_bytes_uint32((uint32) gate ^ (uint32) (gate >> 32) ^ database);
}

/* bgjob_gate_memory_since returns since when this memory knows what is spent. */
TimestampTz
bgjob_gate_memory_since(void)
{
	return table->since;
}

/* bgjob_gate_new_epoch returns an epoch that no mark is of yet. */
uint64
bgjob_gate_new_epoch(void)
{
	return pg_atomic_add_fetch_u64(&table->epochs, 1);
}

/* bgjob_gate_partition_number returns which partition a gate of this database is in. */
int
bgjob_gate_partition_number(int64 gate)
{
	return hash_of(gate, MyDatabaseId) % BGJOB_GATE_PARTITIONS;
}

/* bgjob_gate_partition returns a partition. */
BgjobGatePartition *
bgjob_gate_partition(int number)
{
	return &table->partitions[number];
}

/* bgjob_gate_partition_of returns the partition of a gate of this database. */
BgjobGatePartition *
bgjob_gate_partition_of(int64 gate)
{
	return &table->partitions[bgjob_gate_partition_number(gate)];
}

static int *
head_of(BgjobGatePartition *partition, int64 gate, Oid database)
{
	return &partition
				->heads[hash_of(gate, database) / BGJOB_GATE_PARTITIONS % BGJOB_GATE_ENTRIES];
}

/* bgjob_gate_find finds the entry of a gate; NULL: there is none. The partition is locked. */
BgjobGateEntry *
bgjob_gate_find(BgjobGatePartition *partition, int64 gate)
{
	for (int i = *head_of(partition, gate, MyDatabaseId); i != BGJOB_GATE_NOTHING;
		 i = partition->entries[i].next)
		if (partition->entries[i].gate == gate &&
			partition->entries[i].database == MyDatabaseId)
			return &partition->entries[i];
	return NULL;
}

/* bgjob_gate_handed returns how many were let through, and may still be claimed. */
int
bgjob_gate_handed(const BgjobGateEntry *entry)
{
	int64 lasts = entry->fair ? BGJOB_TURN_LASTS : BGJOB_HANDED_LASTS;

	return entry->handed > 0 && bgjob_steady_now() - entry->handed_at < lasts ? entry->handed
																			  : 0;
}

/* bgjob_gate_is_idle returns whether an entry has nothing to remember. */
bool
bgjob_gate_is_idle(const BgjobGatePartition *partition, const BgjobGateEntry *entry,
				   TimestampTz now)
{
	return entry->running == 0 && bgjob_gate_handed(entry) == 0 && entry->closed_until <= now &&
		   (entry->use == BGJOB_GATE_NOTHING ||
			bgjob_rate_is_clear(&partition->uses[entry->use], &entry->rate, now));
}

static void
drop_use(BgjobGatePartition *partition, BgjobGateEntry *entry)
{
	if (entry->use == BGJOB_GATE_NOTHING)
		return;
	partition->next_use[entry->use] = partition->free_use;
	partition->free_use = entry->use;
	entry->use = BGJOB_GATE_NOTHING;
}

/* Removes an entry. */
static void
drop(BgjobGatePartition *partition, BgjobGateEntry *entry)
{
	int index = entry - partition->entries;
	int *link = head_of(partition, entry->gate, entry->database);

	drop_use(partition, entry);
	while (*link != index)
		link = &partition->entries[*link].next;
	*link = entry->next;
	entry->next = partition->free;
	partition->free = index;
}

/*
 * Makes room in a full partition. Entries of which only is known that jobs were let through go, too, if there are no others: they
 * are hints.
 */
static void
evict(BgjobGatePartition *partition, bool hints, TimestampTz now)
{
	for (int bucket = 0; bucket < BGJOB_GATE_ENTRIES; bucket++)
		for (int i = partition->heads[bucket], next; i != BGJOB_GATE_NOTHING; i = next)
		{
			next = partition->entries[i].next;
			if (hints)
				partition->entries[i].handed = 0;
			if (bgjob_gate_is_idle(partition, &partition->entries[i], now))
				drop(partition, &partition->entries[i]);
		}
}

/* bgjob_gate_find_or_add finds or adds the entry of a gate; NULL: there is no room. */
BgjobGateEntry *
bgjob_gate_find_or_add(BgjobGatePartition *partition, int64 gate, TimestampTz now)
{
	BgjobGateEntry *entry = bgjob_gate_find(partition, gate);
	int *head = head_of(partition, gate, MyDatabaseId);

	if (entry != NULL)
		return entry;
	if (partition->free == BGJOB_GATE_NOTHING)
		evict(partition, false, now);
	if (partition->free == BGJOB_GATE_NOTHING)
		evict(partition, true, now);
	if (partition->free == BGJOB_GATE_NOTHING)
		return NULL;
	entry = &partition->entries[partition->free];
	partition->free = entry->next;
	*entry = (BgjobGateEntry){.gate = gate,
							  .database = MyDatabaseId,
							  .next = *head,
							  .use = BGJOB_GATE_NOTHING,
							  .mark = PG_INT64_MIN,
							  .moment = ++partition->moment};
	*head = entry - partition->entries;
	return entry;
}

/* Takes the uses of which nothing counts any more from their entries, if there is no other. */
static void
reclaim_uses(BgjobGatePartition *partition, TimestampTz now)
{
	for (int i = 0; i < BGJOB_GATE_ENTRIES; i++)
	{
		BgjobGateEntry *other = &partition->entries[i];

		/* If there is no use, the entry may be free. One with a running job may just be getting its use. */
		if (other->use != BGJOB_GATE_NOTHING && other->running == 0 &&
			bgjob_rate_is_clear(&partition->uses[other->use], &other->rate, now))
			drop_use(partition, other);
	}
}

/* bgjob_gate_use_is_free returns whether there is room to note what is spent of one rate more. The partition is locked exclusively. */
bool
bgjob_gate_use_is_free(BgjobGatePartition *partition, TimestampTz now)
{
	if (partition->free_use == BGJOB_GATE_NOTHING)
		reclaim_uses(partition, now);
	return partition->free_use != BGJOB_GATE_NOTHING;
}

/* bgjob_gate_have_use gives an entry room to note what is spent of its rate. False: there is none. */
bool
bgjob_gate_have_use(BgjobGatePartition *partition, BgjobGateEntry *entry, TimestampTz now)
{
	if (entry->use != BGJOB_GATE_NOTHING)
		return true;
	if (!bgjob_gate_use_is_free(partition, now))
		return false;
	entry->use = partition->free_use;
	partition->free_use = partition->next_use[entry->use];
	memset(&partition->uses[entry->use], 0, sizeof(BgjobUse));
	return true;
}

/* bgjob_gate_set_name notes the name of a limit, for bgjob.limits. */
void
bgjob_gate_set_name(BgjobGateEntry *entry, const char *name)
{
	if (entry->name[0] == '\0' && strlen(name) < BGJOB_GATE_NAME_SIZE)
		strlcpy(entry->name, name, BGJOB_GATE_NAME_SIZE);
}

/*
 * bgjob_gate_names copies the names of the limits of this database that there is something to
 * remember of. Returns their number; if that is more than there is room for, the copy is not complete.
 * Locks one partition after the other.
 */
int
bgjob_gate_names(char (*names)[BGJOB_GATE_NAME_SIZE], int room, TimestampTz now)
{
	int n = 0;

	for (int p = 0; p < BGJOB_GATE_PARTITIONS; p++)
	{
		BgjobGatePartition *partition = bgjob_gate_partition(p);

		LWLockAcquire(&partition->lock, LW_SHARED);
		for (int bucket = 0; bucket < BGJOB_GATE_ENTRIES; bucket++)
			for (int i = partition->heads[bucket]; i != BGJOB_GATE_NOTHING;
				 i = partition->entries[i].next)
			{
				const BgjobGateEntry *entry = &partition->entries[i];

				if (entry->database != MyDatabaseId || entry->name[0] == '\0' ||
					bgjob_gate_is_idle(partition, entry, now))
					continue;
				if (n < room)
					memcpy(names[n], entry->name, BGJOB_GATE_NAME_SIZE);
				n++;
			}
		LWLockRelease(&partition->lock);
	}
	return n;
}
