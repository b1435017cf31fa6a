/*-------------------------------------------------------------------------
 *
 * jobmap.c
 *	  A summary of the jobs in each range of ids, in shared memory.
 *
 * bgjob_list() finds the jobs in a state, of a queue, with a tag, by the map of its
 * database: for each range of 256 ids it has the states and names that rows there may
 * have, and the time of the youngest. IT IS ALWAYS A SUPERSET: a range may promise
 * what is not there, but no row that a snapshot can see is missing. So a note needs
 * no care at commit or rollback, and costs a writer some tens of nanoseconds.
 * base/mapchunks.c has the memory, and says when a map or a chunk is given up.
 *
 * UNKNOWN RANGES. Up to map->floor, a range without a chunk may contain anything; above
 * it, it has never had a row. A map begins without chunks and with an infinite floor.
 * Then the process that has made it reads the highest id that the table has in any
 * version, which is the floor from then on. Whoever writes a row later notes
 * it. A map can be forgotten at any time (SQL has written the table, the database
 * has gone), and another begin. A note that finds no room raises the floor, and
 * so does a chunk that is given away.
 *
 * WHY NO NOTE IS MISSED. A writer writes its row and the row's index entry, then reads
 * the map, with a full barrier between them. Whoever changes the map and then reads the
 * table has one there, too. So of the two, one at least sees what the other has done:
 *	 - a writer that finds no map has its row in the table before the highest id is read;
 *	 - one that finds no chunk below the floor has it there before the range is cleaned.
 *
 * CLEANING computes a range anew from the table; bits are never taken back otherwise.
 * One process of a database does so at a time (map->cleaner):
 *	 1. it clears map->since, and sets map->cleaning to the range;
 *	 2. it reads all versions of rows in that range that are not dead to everyone
 *		(SnapshotNonVacuumable), so no snapshot sees any other; see OLD SNAPSHOTS;
 *	 3. under the lock of the maps, it replaces the summary by what it has found and
 *		"since", and clears map->cleaning.
 * A writer reads map->cleaning when its row is in the table. If that is its range, it
 * adds its note, under the lock, to the summary, and to "since" unless step 3 has
 * been taken. If it is not its range, the writer adds the note to the summary with
 * atomic operations: either step 1 comes later, then step 2 finds the row; or step 3 came
 * before, then nothing takes the note away. If a cleaner fails, the old
 * summary stays, which all writers have added to.
 *
 * WHAT IS WORTH CLEANING. Writers flag a range in which they change rows ("touched"). At
 * the end of a round of some seconds that becomes "stale"; a range that is stale and
 * has not been touched since has come to rest (process/mapping.c).
 *
 * OLD SNAPSHOTS must not make the map useless for others. So cleaning leaves versions
 * out whose deletion is committed, and notes the next transaction id after that
 * ("dead_to"). A reader takes the summary for what it is only if its snapshot sees all
 * these deletions; else the range is unknown to it. It does if its xmin is not less than
 * dead_to, since all of them had lower ids. It also does if its xmax is greater: then a
 * transaction that began after the deletions had ended before the snapshot was taken.
 *
 * test/unit/map_model.c tries all interleavings of writers and of those that begin, clean,
 * forget and give away.
 *
 * Any process. LOCKS: map->cleaner is held while a range is read, and waited for only by
 * processes that hold no other lock; then the lock of the maps, for microseconds.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/mapchunks.h"
#include "miscadmin.h"

/* The range that this process is cleaning. */
static struct
{
	BgjobMap *map;
	uint64 born;
	int64 range;
} cleaned;

/* ---- names ---- */

/* Where the filter of each kind of name is among the words, and how many bits a name sets. */
static const struct
{
	int first;
	int words; /* a power of two */
	int bits;
} filters[] = {
	[BGJOB_MAP_QUEUE] = {0, 2, 3},
	[BGJOB_MAP_CALL] = {2, 2, 3},
	[BGJOB_MAP_ROLE] = {4, 1, 2},
	[BGJOB_MAP_TAG] = {5, 4, 3},
};

/* bgjob_jobmap_add_name adds a name, of which the hash is given, to a set. */
void
bgjob_jobmap_add_name(BgjobMapNames *names, BgjobMapKind kind, uint64 hash)
{
	for (int i = 0; i < filters[kind].bits; i++)
	{
		uint64 bit = hash & (filters[kind].words * 64 - 1);

		names->words[filters[kind].first + bit / 64] |= UINT64CONST(1) << (bit % 64);
		hash >>= 16;
	}
}

/* bgjob_jobmap_add_any adds all names of a kind. */
void
bgjob_jobmap_add_any(BgjobMapNames *names, BgjobMapKind kind)
{
	for (int i = 0; i < filters[kind].words; i++)
		names->words[filters[kind].first + i] = PG_UINT64_MAX;
}

/* ---- notes ---- */

/* Adds bits; costs no more than a read where they are there. */
static inline void
add_bits(pg_atomic_uint64 *word, uint64 bits)
{
	if ((pg_atomic_read_u64(word) & bits) != bits)
		pg_atomic_fetch_or_u64(word, bits);
}

static inline void
raise_time(pg_atomic_uint64 *word, TimestampTz time)
{
	uint64 before = pg_atomic_read_u64(word);

	while ((TimestampTz) before < time &&
		   !pg_atomic_compare_exchange_u64(word, &before, (uint64) time))
		;
}

/* Adds a note to the summary of a range in its chunk; but not where that is unknown in any case. */
static void
add_to_summary(BgjobMapChunk *chunk, int64 range, const BgjobMapNote *note)
{
	pg_atomic_uint64 *states = &chunk->states[range % BGJOB_MAP_RANGES];
	BgjobMapSummary *summary = &chunk->summaries[range % BGJOB_MAP_RANGES];

	if ((pg_atomic_read_u64(states) & BGJOB_MAP_UNKNOWN) != 0)
		return;
	add_bits(states, note->states);
	for (int word = 0; word < BGJOB_MAP_WORDS; word++)
		add_bits(&summary->names[word], note->names.words[word]);
	raise_time(&summary->created_at, note->created_at);
}

static void
add_to_note(BgjobMapNote *to, const BgjobMapNote *note)
{
	to->states |= note->states;
	for (int word = 0; word < BGJOB_MAP_WORDS; word++)
		to->names.words[word] |= note->names.words[word];
	to->created_at = Max(to->created_at, note->created_at);
	to->dead_to = Max(to->dead_to, note->dead_to);
}

/* Adds a note to a range that is, or just was, being cleaned. */
static void
note_cleaned_range(BgjobMap *map, int64 range, const BgjobMapNote *note)
{
	BgjobMapChunk *chunk = NULL;

	bgjob_map_lock(LW_EXCLUSIVE);
	if (bgjob_map_is_own(map))
	{
		if (pg_atomic_read_u64(&map->cleaning) == (uint64) range + 1)
			add_to_note(&map->since, note);
		chunk = bgjob_map_search(map, range / BGJOB_MAP_RANGES);
	}
	if (chunk != NULL)
		add_to_summary(chunk, range, note);
	bgjob_map_unlock();
}

/* Returns the chunk for a note in a range that has none; NULL: the range is unknown, or is from now on. */
static BgjobMapChunk *
add_chunk_for(BgjobMap *map, int64 range)
{
	BgjobMapChunk *chunk = NULL;

	if (bgjob_map_floor(map) != PG_INT64_MAX && bgjob_map_is_unknown(map, range))
		return NULL;
	bgjob_map_lock(LW_EXCLUSIVE);
	if (bgjob_map_is_own(map))
	{
		chunk = bgjob_map_search(map, range / BGJOB_MAP_RANGES);
		if (chunk == NULL && !bgjob_map_is_unknown(map, range))
			chunk = bgjob_map_add(map, range / BGJOB_MAP_RANGES);
		if (chunk == NULL)
			bgjob_map_lose(map, range);
	}
	bgjob_map_unlock();
	return chunk;
}

static void
note_range(BgjobMap *map, int64 range, const BgjobMapNote *note)
{
	BgjobMapChunk *chunk;

	if (pg_atomic_read_u64(&map->cleaning) == (uint64) range + 1)
	{
		note_cleaned_range(map, range, note);
		return;
	}
	pg_read_barrier(); /* what a cleaner that has ended has left */
	chunk = bgjob_map_find(map, range / BGJOB_MAP_RANGES);
	if (chunk == NULL)
		chunk = add_chunk_for(map, range);
	if (chunk != NULL)
		add_to_summary(chunk, range, note);
}

/*
 * bgjob_jobmap_note_many notes n jobs with consecutive ids, whose rows this process has
 * just written and not yet committed.
 */
void
bgjob_jobmap_note_many(int64 first, int n, const BgjobMapNote *note)
{
	BgjobMap *map;

	pg_memory_barrier(); /* the rows before the map: see the opening */
	map = bgjob_map_own();
	if (map == NULL || n <= 0)
		return;
	for (int64 range = bgjob_jobmap_range_of(Max(first, 0));
		 range <= bgjob_jobmap_range_of(first + n - 1); range++)
		note_range(map, range, note);
}

/* bgjob_jobmap_note notes one job. */
void
bgjob_jobmap_note(int64 id, const BgjobMapNote *note)
{
	bgjob_jobmap_note_many(id, 1, note);
}

/* ---- finding ranges ---- */

static bool
has_names(BgjobMapSummary *summary, const BgjobMapNames *names)
{
	for (int word = 0; word < BGJOB_MAP_WORDS; word++)
		if ((pg_atomic_read_u64(&summary->names[word]) & names->words[word]) !=
			names->words[word])
			return false;
	return true;
}

static bool
has_choice(BgjobMapSummary *summary, const BgjobMapChoice *choice)
{
	for (int i = 0; i < choice->n; i++)
		if (has_names(summary, &choice->names[i]))
			return true;
	return choice->n == 0;
}

static bool
has_choices(BgjobMapSummary *summary, const BgjobMapProbe *probe)
{
	for (int i = 0; i < BGJOB_MAP_CHOICES; i++)
		if (!has_choice(summary, &probe->choices[i]))
			return false;
	return true;
}

/* Returns whether the reader's snapshot may see rows that were dead to new snapshots when the range was cleaned. */
static bool
sees_dead(BgjobMapSummary *summary, const BgjobMapProbe *probe)
{
	uint64 dead_to = pg_atomic_read_u64(&summary->dead_to);

	return probe->xmin < dead_to && probe->xmax <= dead_to;
}

static bool
is_unclean(uint64 states)
{
	return (states & BGJOB_MAP_UNKNOWN) != 0 ||
		   (states & (BGJOB_MAP_STALE | BGJOB_MAP_TOUCHED)) == BGJOB_MAP_STALE;
}

/* Returns whether a range of a chunk may contain what is looked for. */
static bool
may_contain(BgjobMapChunk *chunk, int64 range, const BgjobMapProbe *probe)
{
	uint64 states = pg_atomic_read_u64(&chunk->states[range % BGJOB_MAP_RANGES]);
	BgjobMapSummary *summary = &chunk->summaries[range % BGJOB_MAP_RANGES];

	if (probe->unclean)
		return is_unclean(states);
	if ((states & BGJOB_MAP_UNKNOWN) != 0 ||
		((states & BGJOB_MAP_DEAD) != 0 && sees_dead(summary, probe)))
		return true;
	return (states & probe->states & BGJOB_MAP_ALL_STATES) != 0 &&
		   has_names(summary, &probe->names) && has_choices(summary, probe) &&
		   (TimestampTz) pg_atomic_read_u64(&summary->created_at) >= probe->since;
}

/* Finds the highest span in a chunk, from a range of it on downwards. */
static bool
find_in_chunk(BgjobMapChunk *chunk, int64 from, const BgjobMapProbe *probe, BgjobMapSpan *span)
{
	int64 lowest = from - from % BGJOB_MAP_RANGES;
	int64 range = from;

	while (range >= lowest && !may_contain(chunk, range, probe))
		range--;
	if (range < lowest)
		return false;
	span->last = span->first = range;
	while (span->first > lowest && span->last - span->first + 1 < BGJOB_MAP_SPAN &&
		   may_contain(chunk, span->first - 1, probe))
		span->first--;
	return true;
}

/* Finds the highest span of a map. The lock of the maps is held. */
static bool
find_span(BgjobMap *map, int64 from, const BgjobMapProbe *probe, BgjobMapSpan *span)
{
	while (from >= 0)
	{
		int64 number = from / BGJOB_MAP_RANGES;
		BgjobMapChunk *chunk = bgjob_map_search(map, number);

		if (chunk != NULL)
		{
			if (find_in_chunk(chunk, from, probe, span))
				return true;
			from = number * BGJOB_MAP_RANGES - 1;
			continue;
		}
		/* all ranges down to the next chunk */
		span->first = (bgjob_map_next_below(map, number) + 1) * BGJOB_MAP_RANGES;
		span->last = Min(from, bgjob_map_unknown_up_to(map));
		if (span->first <= span->last)
			return true;
		from = span->first - 1;
	}
	return false;
}

/*
 * bgjob_jobmap_next finds the highest ranges, from the range "from" on downwards, that
 * may contain what is looked for. False: there are none. Without a map, all may.
 */
bool
bgjob_jobmap_next(int64 from, const BgjobMapProbe *probe, BgjobMapSpan *span)
{
	BgjobMap *map = bgjob_map_own();
	bool found;

	*span = (BgjobMapSpan){0, from};
	if (map == NULL)
		return from >= 0;
	bgjob_map_lock(LW_SHARED);
	found = bgjob_map_is_own(map) ? find_span(map, from, probe, span) : from >= 0;
	bgjob_map_unlock();
	return found;
}

/* ---- cleaning ---- */

/* bgjob_jobmap_may_clean returns whether cleaning a range may make its summary smaller. */
bool
bgjob_jobmap_may_clean(int64 range)
{
	BgjobMap *map = bgjob_map_own();
	BgjobMapChunk *chunk = map == NULL ? NULL : bgjob_map_find(map, range / BGJOB_MAP_RANGES);
	uint64 states;

	if (map == NULL)
		return false;
	if (chunk == NULL)
		return bgjob_map_is_unknown(map, range);
	states = pg_atomic_read_u64(&chunk->states[range % BGJOB_MAP_RANGES]);
	return (states & BGJOB_MAP_CLEANED) == 0 ||
		   (states & (BGJOB_MAP_UNKNOWN | BGJOB_MAP_TOUCHED | BGJOB_MAP_STALE)) != 0;
}

/* Lets a range be cleaned. False: there is no room for it, or its map has gone. */
static bool
begin_cleaning(BgjobMap *map, int64 range)
{
	BgjobMapChunk *chunk = NULL;

	bgjob_map_lock(LW_EXCLUSIVE);
	if (bgjob_map_is_own(map) && bgjob_map_floor(map) != PG_INT64_MAX)
	{
		chunk = bgjob_map_search(map, range / BGJOB_MAP_RANGES);
		if (chunk == NULL && bgjob_map_is_unknown(map, range))
			chunk = bgjob_map_add(map, range / BGJOB_MAP_RANGES);
	}
	if (chunk != NULL)
	{
		memset(&map->since, 0, sizeof(map->since));
		pg_atomic_write_u64(&map->cleaning, (uint64) range + 1);
		cleaned.map = map;
		cleaned.born = map->born;
		cleaned.range = range;
	}
	bgjob_map_unlock();
	return chunk != NULL;
}

/*
 * bgjob_jobmap_clean_begin begins to clean a range. If it returns true, the caller reads
 * all versions of the rows in the range that are not dead to everyone, and calls
 * bgjob_jobmap_clean_end. It must not wait for anything but the disk meanwhile, since
 * this process has a lock. False: it cannot be cleaned, or, unless "wait", another process
 * is cleaning.
 */
bool
bgjob_jobmap_clean_begin(int64 range, bool wait)
{
	BgjobMap *map = bgjob_map_own();

	if (map == NULL)
		return false;
	if (wait)
		LWLockAcquire(&map->cleaner, LW_EXCLUSIVE);
	else if (!LWLockConditionalAcquire(&map->cleaner, LW_EXCLUSIVE))
		return false;
	if (!begin_cleaning(map, range))
	{
		LWLockRelease(&map->cleaner);
		return false;
	}
	pg_memory_barrier(); /* map->cleaning before the table: see the opening */
	return true;
}

/* Replaces the summary of a range. The lock of the maps is held. */
static void
replace_summary(BgjobMapChunk *chunk, int64 range, const BgjobMapNote *by)
{
	BgjobMapSummary *summary = &chunk->summaries[range % BGJOB_MAP_RANGES];

	for (int word = 0; word < BGJOB_MAP_WORDS; word++)
		pg_atomic_write_u64(&summary->names[word], by->names.words[word]);
	pg_atomic_write_u64(&summary->created_at, (uint64) by->created_at);
	pg_atomic_write_u64(&summary->dead_to, by->dead_to);
	pg_write_barrier();
	pg_atomic_write_u64(&chunk->states[range % BGJOB_MAP_RANGES], by->states);
}

/* bgjob_jobmap_clean_end ends that: "found" are the rows of the range. */
void
bgjob_jobmap_clean_end(const BgjobMapNote *found)
{
	BgjobMap *map = cleaned.map;
	BgjobMapNote summary = *found;

	bgjob_map_lock(LW_EXCLUSIVE);
	if (bgjob_map_is_own(map) && map->born == cleaned.born &&
		pg_atomic_read_u64(&map->cleaning) == (uint64) cleaned.range + 1)
	{
		BgjobMapChunk *chunk = bgjob_map_search(map, cleaned.range / BGJOB_MAP_RANGES);

		add_to_note(&summary, &map->since);
		summary.states |= BGJOB_MAP_CLEANED;
		if (chunk != NULL)
			replace_summary(chunk, cleaned.range, &summary);
		pg_write_barrier(); /* the summary before the end */
		pg_atomic_write_u64(&map->cleaning, 0);
	}
	bgjob_map_unlock();
	LWLockRelease(&map->cleaner);
}

/* Returns how many ranges of a chunk are unclean. */
static int64
count_unclean(BgjobMapChunk *chunk)
{
	int64 unclean = 0;

	for (int i = 0; i < BGJOB_MAP_RANGES; i++)
		if (is_unclean(pg_atomic_read_u64(&chunk->states[i])))
			unclean++;
	return unclean;
}

/*
 * bgjob_jobmap_unclean returns how many ranges are worth cleaning: those that are
 * unknown, and those that are stale and have not been touched in this round.
 */
int64
bgjob_jobmap_unclean(void)
{
	BgjobMap *map = bgjob_map_own();
	int64 number = PG_INT64_MAX;
	int64 known = 0; /* ranges in chunks, up to the floor */
	int64 unclean = 0;

	if (map == NULL)
		return 0;
	bgjob_map_lock(LW_SHARED);
	while (bgjob_map_is_own(map) && (number = bgjob_map_next_below(map, number)) >= 0)
	{
		unclean += count_unclean(bgjob_map_search(map, number));
		if (bgjob_map_is_unknown(map, number * BGJOB_MAP_RANGES))
			known += BGJOB_MAP_RANGES;
	}
	if (bgjob_map_is_own(map))
		unclean += Max(bgjob_map_unknown_up_to(map) + 1 - known, 0);
	bgjob_map_unlock();
	return unclean;
}

/* bgjob_jobmap_end_round ends a round: ranges that were touched in it become stale. */
void
bgjob_jobmap_end_round(void)
{
	BgjobMap *map = bgjob_map_own();
	int64 number = PG_INT64_MAX;

	if (map == NULL)
		return;
	bgjob_map_lock(LW_SHARED);
	while (bgjob_map_is_own(map) && (number = bgjob_map_next_below(map, number)) >= 0)
	{
		BgjobMapChunk *chunk = bgjob_map_search(map, number);

		for (int i = 0; i < BGJOB_MAP_RANGES; i++)
		{
			if ((pg_atomic_read_u64(&chunk->states[i]) & BGJOB_MAP_TOUCHED) == 0)
				continue;
			pg_atomic_fetch_or_u64(&chunk->states[i], BGJOB_MAP_STALE);
			pg_atomic_fetch_and_u64(&chunk->states[i], ~BGJOB_MAP_TOUCHED);
		}
	}
	bgjob_map_unlock();
}
