/*-------------------------------------------------------------------------
 *
 * serverconf.c
 *	  The configuration of servers by administrators.
 *
 * bgjob_internal.server_conf has a row for each server that was added, and one for
 * "default" if its settings are overridden, or it is paused. A change draws a new
 * version while it has locked the row, so versions grow in the order of the commits,
 * and updates shared memory when it commits (base/servers.h, base/change.c).
 *
 * A row that was written by hand may have anything: what cannot be the name of a
 * server is ignored, likewise what cannot be that of a queue; numbers are cut.
 *
 * Any process, inside a transaction. A row is locked by its update, as any row is;
 * two sessions that add the same server at the same time meet at the unique index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "base/change.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "store/relation.h"
#include "store/sequence.h"
#include "store/serverconf.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/* Columns of bgjob_internal.server_conf. */
enum
{
	C_NAME,
	C_VERSION,
	C_PAUSED,
	C_QUEUES,
	C_WORKERS,
	C_COUNT
};

/* Adds the name of a queue to a list, if it can be one and there is room. */
static void
append_queue(char *list, const char *queue)
{
	size_t length = strlen(queue);
	size_t used = strlen(list);

	if (length == 0 || length > BGJOB_QUEUE_NAME_MAX ||
		used + length + 2 > BGJOB_SERVER_LIST_SIZE ||
		(strspn(queue, BGJOB_QUEUE_CHARACTERS) < length && strcmp(queue, "*") != 0))
		return;
	snprintf(list + used, BGJOB_SERVER_LIST_SIZE - used, "%s%s", used > 0 ? "," : "", queue);
}

/* Makes a list from an array of queues. Without any that can be one it is a comma: no queue. */
static void
read_queues(ArrayType *array, char *list)
{
	Datum *names;
	bool *nulls;
	int n;

	list[0] = '\0';
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			append_queue(list, TextDatumGetCString(names[i]));
	if (list[0] == '\0')
		strlcpy(list, ",", BGJOB_SERVER_LIST_SIZE);
}

/* Makes an array from a list of queues. */
static Datum
queues_datum(const char *list)
{
	Datum names[BGJOB_SERVER_QUEUES];
	int n = 0;

	while (*(list += strspn(list, BGJOB_QUEUE_SEPARATORS)) != '\0' && n < lengthof(names))
	{
		size_t length = strcspn(list, BGJOB_QUEUE_SEPARATORS);

		names[n++] = PointerGetDatum(cstring_to_text_with_len(list, (int) length));
		list += length;
	}
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
read_row(TupleTableSlot *slot, BgjobServerConf *conf)
{
	slot_getallattrs(slot);
	memset(conf, 0, sizeof(*conf));
	conf->version = DatumGetInt64(slot->tts_values[C_VERSION]);
	conf->paused = DatumGetBool(slot->tts_values[C_PAUSED]);
	if (!slot->tts_isnull[C_QUEUES])
		read_queues(DatumGetArrayTypeP(slot->tts_values[C_QUEUES]), conf->queues);
	if (!slot->tts_isnull[C_WORKERS])
		conf->workers =
			Min(Max(DatumGetInt32(slot->tts_values[C_WORKERS]), 1), BGJOB_SERVER_WORKERS);
}

/* Reads the row of a server and locks it; rel->tid is its tid. False: there is none. */
static bool
find_and_lock(BgjobRel *rel, const char *name, BgjobServerConf *conf)
{
	bool found = bgjob_rel_find_locked(rel, "server_conf_pkey", name);

	if (found)
		read_row(rel->slot, conf);
	ExecClearTuple(rel->slot);
	return found;
}

/* Writes the row of a server, at a tid that this transaction has locked (NULL: a new row), with a new version. */
static void
write_row(BgjobRel *rel, ItemPointer tid, const char *name, const BgjobServerConf *conf)
{
	int64 version = bgjob_next_id();
	Datum values[C_COUNT] = {CStringGetTextDatum(name), Int64GetDatum(version),
							 BoolGetDatum(conf->paused), (Datum) 0,
							 Int32GetDatum(conf->workers)};
	bool nulls[C_COUNT] = {false, false, false, conf->queues[0] == '\0', conf->workers == 0};

	if (!nulls[C_QUEUES])
		values[C_QUEUES] = queues_datum(conf->queues);
	if (tid != NULL)
		bgjob_rel_update(rel, tid, values, nulls);
	else
		bgjob_rel_insert(rel, values, nulls);
	bgjob_change_server(name, version, conf);
}

/* bgjob_serverconf_put configures a server anew; one that is paused stays so. */
void
bgjob_serverconf_put(const char *name, const BgjobServerConf *conf)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SERVER_CONF);
	BgjobServerConf before = {0};
	BgjobServerConf now = *conf;
	bool found = find_and_lock(rel, name, &before);
	ItemPointerData tid = rel->tid;

	now.paused = before.paused;
	write_row(rel, found ? &tid : NULL, name, &now);
	bgjob_rel_close(rel);
	CommandCounterIncrement();
}

static void
delete_row(BgjobRel *rel, const char *name)
{
	ItemPointerData tid = rel->tid;

	bgjob_rel_delete_locked(rel, &tid);
	bgjob_change_server(name, bgjob_next_id(), NULL);
}

/*
 * bgjob_serverconf_set_paused pauses or resumes a server. Returns false if that is no
 * change, or there is no such server. A row of "default" that says nothing is removed.
 */
bool
bgjob_serverconf_set_paused(const char *name, bool paused)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SERVER_CONF);
	BgjobServerConf conf = {0};
	bool is_default = strcmp(name, BGJOB_DEFAULT_SERVER) == 0;
	bool found = find_and_lock(rel, name, &conf);
	bool changes = (found || is_default) && conf.paused != paused;
	ItemPointerData tid = rel->tid;

	conf.paused = paused;
	if (changes && is_default && !paused && conf.queues[0] == '\0' && conf.workers == 0)
		delete_row(rel, name);
	else if (changes)
		write_row(rel, found ? &tid : NULL, name, &conf);
	bgjob_rel_close(rel);
	CommandCounterIncrement();
	return changes;
}

/* bgjob_serverconf_remove removes a server; "default" follows the settings again. False if it had no configuration. */
bool
bgjob_serverconf_remove(const char *name)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SERVER_CONF);
	BgjobServerConf conf;
	bool found = find_and_lock(rel, name, &conf);

	if (found)
		delete_row(rel, name);
	bgjob_rel_close(rel);
	CommandCounterIncrement();
	return found;
}

static bool
can_be_name(const char *name)
{
	size_t length = strlen(name);

	return length >= 1 && length < BGJOB_SERVER_NAME_SIZE &&
		   strspn(name, BGJOB_QUEUE_CHARACTERS) == length;
}

/* bgjob_serverconf_visit calls a function for each configured server; what it gets is valid during the call only. */
void
bgjob_serverconf_visit(BgjobServerVisitor visitor, void *arg)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_SERVER_CONF);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		BgjobServerConf conf;
		char *name;

		CHECK_FOR_INTERRUPTS();
		read_row(rel->slot, &conf);
		name = TextDatumGetCString(rel->slot->tts_values[C_NAME]);
		if (can_be_name(name))
			visitor(name, &conf, arg);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

/* The servers in a list. */
typedef struct Servers
{
	BgjobServer *list;
	int n;
	int room;
} Servers;

/* Tells shared memory of a server, and takes it out of the list of those that are there without a row. */
static void
load_one(const char *name, const BgjobServerConf *conf, void *arg)
{
	Servers *without_row = arg;

	bgjob_servers_set(MyDatabaseId, name, conf);
	for (int i = 0; i < without_row->n; i++)
		if (strcmp(without_row->list[i].name, name) == 0)
			without_row->list[i] = without_row->list[--without_row->n];
}

/*
 * bgjob_serverconf_load copies the configuration of all servers to shared memory; by the
 * scheduler. A server that was there before the table was read, and has no row, has been
 * removed: the row is committed before shared memory has it.
 */
void
bgjob_serverconf_load(void)
{
	Servers without_row = {.n = 0};

	without_row.list = bgjob_servers_list(MyDatabaseId, &without_row.n);
	bgjob_serverconf_visit(load_one, &without_row);
	for (int i = 0; i < without_row.n; i++)
		bgjob_servers_remove(MyDatabaseId, without_row.list[i].name,
							 without_row.list[i].conf.version + 1);
}

static void
add_to_list(const char *name, const BgjobServerConf *conf, void *arg)
{
	Servers *all = arg;
	BgjobServer *server = all->list;

	if (strcmp(name, BGJOB_DEFAULT_SERVER) != 0)
	{
		if (all->n == BGJOB_SERVERS_OF_DATABASE)
			return;
		if (all->n == all->room)
		{
			all->room *= 2;
			all->list = repalloc(all->list, all->room * sizeof(BgjobServer));
		}
		server = &all->list[all->n++];
		memset(server, 0, sizeof(*server));
		strlcpy(server->name, name, sizeof(server->name));
	}
	server->conf = *conf;
}

/*
 * bgjob_serverconf_list reads the servers of this database, "default" as the first, and
 * their number, in the current memory context; without what only shared memory knows of
 * them. Shared memory may not have them: no scheduler has copied them there on a
 * standby, or where bgjob.enabled has been off since the start.
 */
BgjobServer *
bgjob_serverconf_list(int *n)
{
	Servers all = {.n = 1, .room = 2};

	all.list = palloc0(all.room * sizeof(BgjobServer));
	strlcpy(all.list[0].name, BGJOB_DEFAULT_SERVER, sizeof(all.list[0].name));
	bgjob_serverconf_visit(add_to_list, &all);
	*n = all.n;
	return all.list;
}
