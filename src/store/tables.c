/*-------------------------------------------------------------------------
 *
 * tables.c
 *	  Which relations bgjob's tables are: looking them up, locking and opening them.
 *
 * What is opened is the extension's own (store/trust.h), and has the columns
 * that this library reads and writes. The OIDs are kept until some relation
 * changes, so a job asks no catalog.
 *
 * Any process; inside a transaction. Tables are always opened in the order of
 * enum BgjobTable where several are needed (store/relation.c has the locks).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "store/tables.h"
#include "store/trust.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define WRONG_VERSION_HINT                                                                     \
	"The library and the extension's script are of different versions, or the extension is "   \
	"damaged."

/* The rows of a large one may hold values that are stored out of line. */
static const struct
{
	const char *name;
	bool large;
} tables[] = {
	[BGJOB_TABLE_JOB] = {"job", true},
	[BGJOB_TABLE_QUEUE] = {"queue"},
	[BGJOB_TABLE_SCHEDULE] = {"schedule"},
	[BGJOB_TABLE_GATE] = {"gate"},
	[BGJOB_TABLE_SEQUENCE] = {"sequence"},
	[BGJOB_TABLE_LIMIT_USE] = {"limit_use"},
	[BGJOB_TABLE_AWAITING] = {"awaiting"},
	[BGJOB_TABLE_EDGE] = {"edge"},
	[BGJOB_TABLE_SIGNAL] = {"signal", true},
	[BGJOB_TABLE_BATCH] = {"batch", true},
	[BGJOB_TABLE_MEMBER] = {"member"},
	[BGJOB_TABLE_BATCH_TOTAL] = {"batch_total"},
	[BGJOB_TABLE_FAILURE] = {"failure"},
	[BGJOB_TABLE_CLAIM] = {"claim"},
	[BGJOB_TABLE_LEASE] = {"lease"},
	[BGJOB_TABLE_UNIQUE_KEY] = {"unique_key"},
	[BGJOB_TABLE_STATE] = {"state", true},
	[BGJOB_TABLE_LOG] = {"log", true},
	[BGJOB_TABLE_SETTINGS] = {"settings", true},
	[BGJOB_TABLE_TOTAL] = {"total"},
	[BGJOB_TABLE_QUEUE_CONF] = {"queue_conf"},
	[BGJOB_TABLE_LIMIT_CONF] = {"limit_conf"},
	[BGJOB_TABLE_WEIGHT_CONF] = {"weight_conf"},
	[BGJOB_TABLE_STATS_HOUR] = {"stats_hour", true},
	[BGJOB_TABLE_STATS_DAY] = {"stats_day", true},
	[BGJOB_TABLE_SERVER_CONF] = {"server_conf"},
	[BGJOB_TABLE_FUNCTION_CONF] = {"function_conf", true},
	[BGJOB_TABLE_RECURRING] = {"recurring", true},
	[BGJOB_TABLE_FILTER] = {"filter", true},
	[BGJOB_TABLE_INSTALLATION] = {"installation"},
};

/* OIDs that have been looked up; each is forgotten when its relation, or any schema, changes. The names are constants. */
#define KNOWN_MAX 96

static struct
{
	const char *name;
	Oid oid;
	uint32 hash; /* of the relation, in the server's invalidation messages */
} known[KNOWN_MAX];
static int nknown = 0;
static uint64 invalidations = 0;

static void
forget_known(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidations++;
	for (int i = nknown - 1; i >= 0; i--)
		if (hashvalue == 0 || cacheid != RELOID || known[i].hash == hashvalue)
			known[i] = known[--nknown];
}

/* Remembers an OID, unless something has changed since "before". */
static void
remember(const char *name, Oid oid, uint64 before)
{
	if (invalidations != before || nknown == KNOWN_MAX)
		return;
	known[nknown].name = name;
	known[nknown].oid = oid;
	known[nknown].hash = GetSysCacheHashValue1(RELOID, ObjectIdGetDatum(oid));
	nknown++;
}

/*
 * bgjob_relation_oid returns the OID of the relation of that name in the
 * tables' schema: a table, an index or a sequence. The name must be a constant. 42704:
 * there is none; 55000: it is not the extension's (store/trust.h).
 */
Oid
bgjob_relation_oid(const char *name)
{
	static bool registered = false;
	uint64 before;
	Oid relation;
	const char *why;

	for (int i = 0; i < nknown; i++)
		if (known[i].name == name)
			return known[i].oid;
	if (!registered)
	{
		CacheRegisterSyscacheCallback(RELOID, forget_known, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_known, (Datum) 0);
	}
	registered = true;
	before = invalidations;
	relation = get_relname_relid(name, bgjob_tables_schema_oid(false));
	if (relation == InvalidOid)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("relation \"%s.%s\" does not exist", BGJOB_TABLES_SCHEMA, name),
						errhint(WRONG_VERSION_HINT)));
	why = bgjob_trust_refusal(name, relation);
	if (why != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("relation \"%s.%s\" differs from what bgjob expects",
							   BGJOB_TABLES_SCHEMA, name),
						errdetail("%s", why), errhint(WRONG_VERSION_HINT)));
	remember(name, relation, before);
	return relation;
}

/* bgjob_table_oid returns the OID of a table, which changes when the extension is made again. */
Oid
bgjob_table_oid(BgjobTable table)
{
	return bgjob_relation_oid(tables[table].name);
}

/*
 * Raises 55000 unless a table has as many columns as the files know that read
 * and write it: a row with more would not fit into theirs.
 */
static void
check_columns(Relation rel, BgjobTable table)
{
	static int known_columns[lengthof(tables)];
	int ncolumns = known_columns[table];

	if (ncolumns == 0)
		ncolumns = known_columns[table] = bgjob_trust_columns(tables[table].name);
	if (RelationGetNumberOfAttributes(rel) != ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has %d columns, not %d", BGJOB_TABLES_SCHEMA,
						tables[table].name, RelationGetNumberOfAttributes(rel), ncolumns),
				 errhint(WRONG_VERSION_HINT)));
}

bool bgjob_rel_nowait = false;

/* Locks a table; without waiting, in a process that does not wait. */
static void
lock_table(Oid relation, BgjobTable table, LOCKMODE lock)
{
	if (!bgjob_rel_nowait)
		LockRelationOid(relation, lock);
	else if (!ConditionalLockRelationOid(relation, lock))
		ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
						errmsg("could not obtain lock on relation \"%s.%s\"",
							   BGJOB_TABLES_SCHEMA, tables[table].name)));
}

static void
refuse_dropped(void)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("extension \"bgjob\" is being dropped")));
}

/*
 * bgjob_sequence_lock locks a sequence and returns its OID: the server's own
 * functions would raise an internal error if it is dropped meanwhile. 42704 then.
 */
Oid
bgjob_sequence_lock(const char *name)
{
	Oid sequence = bgjob_relation_oid(name);

	LockRelationOid(sequence, RowExclusiveLock);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(sequence)))
		refuse_dropped();
	return sequence;
}

/*
 * bgjob_table_lock locks a table as bgjob_rel_open does, for the use of cached rows.
 * 42704 and 55P03 as there.
 */
void
bgjob_table_lock(BgjobTable table)
{
	Oid relation = bgjob_table_oid(table);

	lock_table(relation, table, RowExclusiveLock);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
		refuse_dropped();
}

/*
 * bgjob_table_open opens a table with a lock; *large tells whether its rows may
 * hold values that are stored out of line. 42704: there is none; 55000: it is
 * not the one that this library knows; 55P03: it is locked, and this process
 * does not wait.
 */
Relation
bgjob_table_open(BgjobTable table, LOCKMODE lock, bool *large)
{
	Oid relation = bgjob_table_oid(table);
	Relation rel;

	lock_table(relation, table, lock);
	/* try_table_open would ask the catalog each time; the relation cache knows by now if it has gone. */
	rel = RelationIdGetRelation(relation);
	if (!RelationIsValid(rel)) /* dropped while its lock was waited for */
		refuse_dropped();
	pgstat_init_relation(rel);
	check_columns(rel, table);
	*large = tables[table].large;
	return rel;
}

/*
 * bgjob_tables_lock_for_drop locks what sessions lock first of all, in their
 * order. DROP takes its locks in another one, with which a session that is
 * enqueuing would be in a deadlock; so it waits for these sessions here, before it
 * has any lock that they need.
 */
void
bgjob_tables_lock_for_drop(void)
{
	static const BgjobTable first[] = {BGJOB_TABLE_SETTINGS, BGJOB_TABLE_JOB};

	for (int i = 0; i < lengthof(first); i++)
	{
		Oid relation = get_relname_relid(tables[first[i]].name, bgjob_tables_schema_oid(true));

		if (OidIsValid(relation) && bgjob_trust_table("bgjob", relation))
			LockRelationOid(relation, AccessExclusiveLock);
	}
}
