/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between the supported server versions, 15 to 18.
 *
 * The only file that may name PG_VERSION_NUM. Each macro or small function
 * here has one meaning in all versions; the rest of the code calls that.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_COMPAT_H
#define BGJOB_BASE_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "executor/executor.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000 || (PG_VERSION_NUM >= 190000 && !defined(BGJOB_NEW_VERSION))
#error "bgjob supports PostgreSQL 15 to 18; src/NEWVERSION.md says how to try a newer one"
#endif

/*
 * Short cuts through what the server keeps to itself. Each has a plain way
 * beside it, by functions that the server offers: slower, but with the same
 * results. Versions that have been tested take the short cuts; newer ones
 * (BGJOB_NEW_VERSION) and a build with BGJOB_PLAIN take the plain ways.
 * src/NEWVERSION.md says what to check before a version takes a short cut.
 */
#if PG_VERSION_NUM < 190000 && !defined(BGJOB_PLAIN)
#define BGJOB_FAST_SEQUENCE /* store/sequence.c: many numbers by one change of the page */
#define BGJOB_FAST_SETTINGS /* below: the changed settings by the server's own list */
#define BGJOB_FAST_BLOCKS   /* store/relation.c: the number of blocks that is remembered */
#define BGJOB_FAST_ROWS     /* store/bulk.c: rows without the columns at their end */
#define BGJOB_FAST_MOVERS   /* store/moment.c: whether a snapshot shows a transaction */
#define BGJOB_FAST_SUBXIDS  /* run/group.c: how many subtransactions have written */
#define BGJOB_FAST_DEATH    /* base/process.c: the signal of the postmaster's death */
#endif

/* What an update of a tuple says about indexes, and what to do about it: 16 knows summarizing ones. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes bgjob_update_indexes;
#define bgjob_must_update_indexes(u) ((u) != TU_None)
#define bgjob_exec_insert_index_tuples(result, slot, estate, u)                                \
	ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL, (u) == TU_Summarizing)
#define bgjob_exec_insert_index_tuples_of_new(result, slot, estate)                            \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false)
#else
typedef bool bgjob_update_indexes;
#define bgjob_exec_insert_index_tuples_of_new(result, slot, estate)                            \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL)
#define bgjob_must_update_indexes(u) (u)
#define bgjob_exec_insert_index_tuples(result, slot, estate, u)                                \
	ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL)
#endif

/* Where a WAL record of a sequence says what sequence it is of: 16 renamed it. */
#if PG_VERSION_NUM >= 160000
#define bgjob_sequence_record_init(record, rel) ((record)->locator = (rel)->rd_locator)
#else
#define bgjob_sequence_record_init(record, rel) ((record)->node = (rel)->rd_node)
#endif

/* 18 counts the searches of an index scan. */
#if PG_VERSION_NUM >= 180000
#define bgjob_index_beginscan(heap, index, snapshot, nkeys)                                    \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define bgjob_index_beginscan(heap, index, snapshot, nkeys)                                    \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* 18 no longer lets a portal or an executor be run in parts, so there is nothing to say about it. */
#if PG_VERSION_NUM >= 180000
#define bgjob_portal_run(portal, at_top, receiver, completion)                                 \
	((void) PortalRun(portal, FETCH_ALL, at_top, receiver, receiver, completion))
#define bgjob_executor_run(desc) ExecutorRun(desc, ForwardScanDirection, 0)
#else
#define bgjob_portal_run(portal, at_top, receiver, completion)                                 \
	((void) PortalRun(portal, FETCH_ALL, at_top, true, receiver, receiver, completion))
#define bgjob_executor_run(desc) ExecutorRun(desc, ForwardScanDirection, 0, true)
#endif

/* The status of the i-th backend of the snapshot, from 1: 16 renamed it. */
#if PG_VERSION_NUM >= 160000
#define bgjob_backend_status(i) (&pgstat_get_local_beentry_by_index(i)->backendStatus)
#else
#define bgjob_backend_status(i) (&pgstat_fetch_stat_local_beentry(i)->backendStatus)
#endif

/* Splitting a qualified name: 16 can report errors softly. */
#if PG_VERSION_NUM >= 160000
#define bgjob_qualified_name(name) stringToQualifiedNameList(name, NULL)
#else
#define bgjob_qualified_name(name) stringToQualifiedNameList(name)
#endif

/* How many transactions that wrote have ended since the server started: 17 renamed the structure. */
#if PG_VERSION_NUM >= 170000
#define bgjob_completed_transactions() (TransamVariables->xactCompletionCount)
#else
#define bgjob_completed_transactions() (ShmemVariableCache->xactCompletionCount)
#endif

/* The process of a virtual transaction, NULL if it has gone or is prepared: 17 numbers them otherwise. */
#if PG_VERSION_NUM >= 170000
#include "storage/procarray.h"
#define bgjob_virtual_transaction_proc(vxid) ProcNumberGetProc((vxid).procNumber)
#else
#include "storage/sinvaladt.h"
#define bgjob_virtual_transaction_proc(vxid) BackendIdGetProc((vxid).backendId)
#endif

/* Temporary replication slots of this process: 17 tells the synchronized ones of standbys apart. */
#if PG_VERSION_NUM >= 170000
#define bgjob_replication_slot_cleanup() ReplicationSlotCleanup(false)
#else
#define bgjob_replication_slot_cleanup() ReplicationSlotCleanup()
#endif

/* A wait event with a name: from 17 on. "before": what earlier servers show. */
#if PG_VERSION_NUM >= 170000
#define bgjob_wait_event_new(name, before) WaitEventExtensionNew(name)
#else
#define bgjob_wait_event_new(name, before) (before)
#endif

/* Whether one role may become another: 16 can grant membership without that. */
#if PG_VERSION_NUM >= 160000
#define bgjob_may_become(member, role) member_can_set_role(member, role)
#else
#define bgjob_may_become(member, role) is_member_of_role(member, role)
#endif

/* Generated columns that are not stored, so that a trigger's tuples have null there: 18 knows them. */
#if PG_VERSION_NUM >= 180000
#include "rewrite/rewriteHandler.h"
#define bgjob_is_virtual(attribute)              ((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#define bgjob_generation_expression(rel, column) build_generation_expression(rel, column)
#else
#define bgjob_is_virtual(attribute)              ((void) (attribute), false)
#define bgjob_generation_expression(rel, column) ((void) (rel), (void) (column), (Node *) NULL)
#endif

/*
 * Whether the server insists on a snapshot where a row of a table is written
 * that has none of its values out of line: 18 does with assertions, wherever
 * the table could have such values.
 */
#if PG_VERSION_NUM >= 180000 && defined(USE_ASSERT_CHECKING)
#define bgjob_asserts_snapshot(rel) OidIsValid((rel)->rd_rel->reltoastrelid)
#else
#define bgjob_asserts_snapshot(rel) ((void) (rel), false)
#endif

/* Checks of rights by object: 16 has one function for all kinds. */
#if PG_VERSION_NUM >= 160000
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#define bgjob_database_owner(oid, role)  object_ownercheck(DatabaseRelationId, oid, role)
#define bgjob_extension_owner(oid, role) object_ownercheck(ExtensionRelationId, oid, role)
#define bgjob_schema_owner(oid, role)    object_ownercheck(NamespaceRelationId, oid, role)
#define bgjob_function_owner(oid, role)  object_ownercheck(ProcedureRelationId, oid, role)
#define bgjob_schema_aclcheck(oid, role, mode)                                                 \
	object_aclcheck(NamespaceRelationId, oid, role, mode)
#define bgjob_database_aclcheck(oid, role, mode)                                               \
	object_aclcheck(DatabaseRelationId, oid, role, mode)
#define bgjob_function_aclcheck(oid, role, mode)                                               \
	object_aclcheck(ProcedureRelationId, oid, role, mode)
#else
#define bgjob_database_owner(oid, role)          pg_database_ownercheck(oid, role)
#define bgjob_extension_owner(oid, role)         pg_extension_ownercheck(oid, role)
#define bgjob_schema_owner(oid, role)            pg_namespace_ownercheck(oid, role)
#define bgjob_function_owner(oid, role)          pg_proc_ownercheck(oid, role)
#define bgjob_schema_aclcheck(oid, role, mode)   pg_namespace_aclcheck(oid, role, mode)
#define bgjob_database_aclcheck(oid, role, mode) pg_database_aclcheck(oid, role, mode)
#define bgjob_function_aclcheck(oid, role, mode) pg_proc_aclcheck(oid, role, mode)
#endif

/*
 * Settings: bgjob_find_setting returns the record of a setting by its name, or
 * NULL; bgjob_foreach_custom_setting visits all with a dot in their names that
 * differ from the built-in default, and some others. 16 made the table private,
 * and what it offers instead copies and sorts all of it (tens of microseconds);
 * but the records with a source are in a ring, which is fast to walk once its
 * head is known: the one link in it that is in no record. 15 has but an array
 * of all, so those with a dot are remembered. The plain way visits all records.
 */
#if PG_VERSION_NUM >= 160000
#define bgjob_find_setting(name)   find_option(name, false, true, DEBUG1)
#define bgjob_all_settings(count)  get_guc_variables(count)
#define bgjob_free_settings(array) pfree(array)
#else
#define bgjob_all_settings(count)  (*(count) = GetNumConfigOptions(), get_guc_variables())
#define bgjob_free_settings(array) ((void) (array))

static inline struct config_generic *
bgjob_find_setting(const char *name)
{
	struct config_generic **all = get_guc_variables();
	int low = 0;
	int high = GetNumConfigOptions();

	while (low < high)
	{
		int middle = (low + high) / 2;
		int order = pg_strcasecmp(name, all[middle]->name);

		if (order == 0)
			return all[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
#endif

#if defined(BGJOB_FAST_SETTINGS) && PG_VERSION_NUM < 160000

/*
 * The settings with a dot in their names, and a NULL. Looking at each of the
 * hundreds of records costs a microsecond, comparing the pointers to them next
 * to nothing. Only records of settings with a dot are ever freed, so a record
 * that takes the place and the address of another has one, too.
 */
static inline struct config_generic **
bgjob_custom_settings(void)
{
	static struct config_generic **known = NULL; /* the array as it was; then the result */
	static int nknown = 0;
	struct config_generic **all = get_guc_variables();
	struct config_generic **fresh;
	int n = GetNumConfigOptions();
	int to = n;

	if (known != NULL && n == nknown && memcmp(known, all, n * sizeof(*all)) == 0)
		return known + n;
	fresh = MemoryContextAlloc(TopMemoryContext, (2 * n + 1) * sizeof(*all));
	memcpy(fresh, all, n * sizeof(*all));
	for (int i = 0; i < n; i++)
		if (strchr(all[i]->name, GUC_QUALIFIER_SEPARATOR) != NULL)
			fresh[to++] = all[i];
	fresh[to] = NULL;
	if (known != NULL)
		pfree(known);
	known = fresh;
	nknown = n;
	return known + n;
}

/*
 * RESET ALL, which resets records with such a source only; as a rule there is none. It looks at two other fields
 * of each of the hundreds of records first.
 */
static inline void
bgjob_reset_settings(void)
{
	struct config_generic **all = get_guc_variables();
	int n = GetNumConfigOptions();

	for (int i = 0; i < n; i++)
		if (all[i]->source > PGC_S_OVERRIDE)
		{
			ResetAllOptions();
			return;
		}
}

#else

#define bgjob_reset_settings() ResetAllOptions()

/* All settings, and a NULL; valid until the next call. */
static inline struct config_generic **
bgjob_custom_settings(void)
{
	static struct config_generic **copy = NULL;
	int n;
	struct config_generic **all = bgjob_all_settings(&n);

	if (copy != NULL)
		pfree(copy);
	copy = MemoryContextAlloc(TopMemoryContext, (n + 1) * sizeof(*all));
	memcpy(copy, all, n * sizeof(*all));
	copy[n] = NULL;
	bgjob_free_settings(all);
	return copy;
}

#endif

#if defined(BGJOB_FAST_SETTINGS) && PG_VERSION_NUM >= 160000

/* Whether a link of the ring is in none of the records. */
static inline bool
bgjob_is_settings_head(const dlist_node *link, struct config_generic **all, int count)
{
	for (int i = 0; i < count; i++)
		if (link == &all[i]->nondef_link)
			return false;
	return true;
}

/*
 * The head of the ring, found once in a process; NULL if the ring is not as it
 * is known to be: it has one head and, besides it, just the records that have a
 * source. Then the plain way is taken.
 */
static inline dlist_node *
bgjob_changed_settings(void)
{
	static dlist_node *head = NULL;
	static bool looked = false;
	struct config_generic **all;
	dlist_node *first;
	dlist_node *link;
	int count;
	int changed = 0;
	int heads = 0;
	int steps = 0;

	if (looked)
		return head;
	looked = true;
	all = get_guc_variables(&count);
	/* one that is always set */
	first = link = &find_option("data_directory", false, false, ERROR)->nondef_link;
	for (int i = 0; i < count; i++)
		changed += all[i]->source != PGC_S_DEFAULT;
	do
	{
		if (bgjob_is_settings_head(link, all, count))
		{
			head = link;
			heads++;
		}
		link = link->next;
	} while (++steps <= count && link != NULL && link != first);
	pfree(all);
	if (link == first && heads == 1 && steps == changed + 1)
		return head;
	head = NULL;
	ereport(LOG, (errmsg("bgjob does not know how this server lists the settings that differ "
						 "from their defaults"),
				  errdetail("It reads all settings instead, which is slower.")));
	return head;
}

/* Where a visit of the settings is: in the ring, or, where that is not known, in the array. */
typedef struct BgjobSettingsVisit
{
	dlist_node *head;
	dlist_node *link;
	struct config_generic **next;
} BgjobSettingsVisit;

static inline BgjobSettingsVisit
bgjob_visit_settings(void)
{
	BgjobSettingsVisit visit = {.head = bgjob_changed_settings()};

	if (visit.head != NULL)
		visit.link = visit.head->next;
	else
		visit.next = bgjob_custom_settings();
	return visit;
}

static inline struct config_generic *
bgjob_next_setting(BgjobSettingsVisit *visit)
{
	dlist_node *link = visit->link;

	if (visit->head == NULL)
		return *visit->next == NULL ? NULL : *visit->next++;
	if (link == visit->head)
		return NULL;
	visit->link = link->next;
	return dlist_container(struct config_generic, nondef_link, link);
}

#define bgjob_foreach_custom_setting(record)                                                   \
	for (BgjobSettingsVisit visit_ = bgjob_visit_settings();                                   \
		 ((record) = bgjob_next_setting(&visit_)) != NULL;)

#else
#define bgjob_foreach_custom_setting(record)                                                   \
	for (struct config_generic **next_ = bgjob_custom_settings(); ((record) = *next_) != NULL; \
		 next_++)
#endif

#endif /* BGJOB_BASE_COMPAT_H */
