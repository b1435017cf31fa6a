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

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "bgjob supports PostgreSQL 15 to 18"
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
#define bgjob_portal_run(portal, receiver, completion)                                         \
	((void) PortalRun(portal, FETCH_ALL, true, receiver, receiver, completion))
#define bgjob_executor_run(desc) ExecutorRun(desc, ForwardScanDirection, 0)
#else
#define bgjob_portal_run(portal, receiver, completion)                                         \
	((void) PortalRun(portal, FETCH_ALL, true, true, receiver, receiver, completion))
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
 * of all, so those with a dot are remembered.
 */
#if PG_VERSION_NUM >= 160000
#define bgjob_find_setting(name) find_option(name, false, true, DEBUG1)

static inline bool
bgjob_is_settings_link(const dlist_node *link, struct config_generic **all, int count)
{
	for (int i = 0; i < count; i++)
		if (link == &all[i]->nondef_link)
			return true;
	return false;
}

static inline dlist_node *
bgjob_changed_settings(void)
{
	static dlist_node *head = NULL;

	if (head == NULL)
	{
		int count;
		struct config_generic **all = get_guc_variables(&count);
		/* one that is always set */
		dlist_node *link = &find_option("data_directory", false, false, ERROR)->nondef_link;

		while (bgjob_is_settings_link(link, all, count))
			link = link->next;
		head = link;
		pfree(all);
	}
	return head;
}

#define bgjob_foreach_custom_setting(record)                                                   \
	for (dlist_node *head_ = bgjob_changed_settings(), *link_ = head_->next;                   \
		 link_ != head_ &&                                                                     \
		 ((record) = dlist_container(struct config_generic, nondef_link, link_), true);        \
		 link_ = link_->next)
#else
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

#define bgjob_foreach_custom_setting(record)                                                   \
	for (struct config_generic **next_ = bgjob_custom_settings(); ((record) = *next_) != NULL; \
		 next_++)
#endif

#endif /* BGJOB_BASE_COMPAT_H */
