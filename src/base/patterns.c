/*-------------------------------------------------------------------------
 *
 * patterns.c
 *	  Names, and patterns 'prefix*' of names, by which something is looked up.
 *
 * A name that ends with * is a pattern: it fits each name with that prefix. Of several
 * that fit a name, the same name goes first, then the longest pattern.
 *
 * One hash table has the names and the prefixes. A look-up probes it for the name, then
 * for its prefixes of those lengths that some pattern has, from the longest on. So it
 * takes a few probes, however many patterns there are.
 *
 * Any process; memory of its own. Locks nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/patterns.h"
#include "common/hashfn.h"
#include "utils/hsearch.h"

/* A name, or the prefix of a pattern. */
typedef struct Key
{
	const char *text; /* not terminated */
	int length;
	bool prefix;
} Key;

typedef struct Entry
{
	Key key; /* must be first */
	const void *value;
} Entry;

struct BgjobPatterns
{
	HTAB *entries;
	int longest; /* of the prefixes; -1: there is none */
	bool lengths[BGJOB_PATTERN_MAX + 1];
};

/* bgjob_is_pattern returns whether a name is a pattern. */
bool
bgjob_is_pattern(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && name[length - 1] == '*';
}

static uint32
hash(const void *key, Size size)
{
	const Key *k = key;

	return hash_bytes((const unsigned char *) k->text, k->length) ^ (k->prefix ? 1 : 0);
}

static int
compare(const void *a, const void *b, Size size)
{
	const Key *first = a;
	const Key *second = b;

	return first->length != second->length || first->prefix != second->prefix ||
		   memcmp(first->text, second->text, first->length) != 0;
}

/* bgjob_patterns_create returns a table without names, in the current memory context. */
BgjobPatterns *
bgjob_patterns_create(void)
{
	BgjobPatterns *patterns = palloc0(sizeof(BgjobPatterns));
	HASHCTL info = {.keysize = sizeof(Key),
					.entrysize = sizeof(Entry),
					.hash = hash,
					.match = compare,
					.hcxt = CurrentMemoryContext};

	patterns->entries = hash_create("bgjob patterns", 64, &info,
									HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	patterns->longest = -1;
	return patterns;
}

/* bgjob_patterns_add adds a name or a pattern, which must live as long as the table does. One that is too long is left out. */
void
bgjob_patterns_add(BgjobPatterns *patterns, const char *name, const void *value)
{
	Key key = {.text = name, .length = (int) strlen(name), .prefix = bgjob_is_pattern(name)};
	Entry *entry;

	if (key.length > BGJOB_PATTERN_MAX)
		return;
	if (key.prefix)
	{
		key.length--;
		patterns->lengths[key.length] = true;
		patterns->longest = Max(patterns->longest, key.length);
	}
	entry = hash_search(patterns->entries, &key, HASH_ENTER, NULL);
	entry->value = value;
}

static const Entry *
probe(const BgjobPatterns *patterns, const char *name, int length, bool prefix)
{
	Key key = {.text = name, .length = length, .prefix = prefix};

	return hash_search(patterns->entries, &key, HASH_FIND, NULL);
}

/* bgjob_patterns_find returns what was added for a name, or for the longest pattern that fits it; NULL: nothing. */
const void *
bgjob_patterns_find(const BgjobPatterns *patterns, const char *name)
{
	int length = (int) strlen(name);
	const Entry *entry = probe(patterns, name, length, false);

	for (int n = Min(length, patterns->longest); n >= 0 && entry == NULL; n--)
		if (patterns->lengths[n])
			entry = probe(patterns, name, n, true);
	return entry == NULL ? NULL : entry->value;
}

/* bgjob_patterns_values returns what has been added, in no order. */
List *
bgjob_patterns_values(const BgjobPatterns *patterns)
{
	HASH_SEQ_STATUS all;
	const Entry *entry;
	List *values = NIL;

	hash_seq_init(&all, patterns->entries);
	while ((entry = hash_seq_search(&all)) != NULL)
		values = lappend(values, unconstify(void *, entry->value));
	return values;
}
