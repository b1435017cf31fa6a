/*-------------------------------------------------------------------------
 *
 * database.c
 *	  Statements of a login in a database, which wait for their turn at a connection.
 *
 * A login has one connection to each database that it looks at, and one more while it is
 * told what goes on there, so that neither waits for the other. They are made when a statement
 * comes, and closed when none has come for some minutes. Statements wait in a queue, whose
 * length is bounded; they are never executed twice. Where one has to be by itself
 * (bulk actions), there are connections beside.
 *
 * If the connection fails, all that wait are answered with why; the next statement
 * opens it again, but not before a second has passed, so that a server that is down is
 * not asked for each request. A connection that is lost while nothing runs, as when
 * the server restarts, is closed silently.
 *
 * If the server does not take the password any more (it was changed, the role was
 * dropped), the login's owner is told, and ends the session.
 *
 * Callbacks are never called before database_run returns, and a database is freed in a
 * later turn of the loop than it is closed in. So callbacks may close whatever they like.
 *
 * Databases where the extension was missing are remembered for the list of databases.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/database.h"
#include "client/buffer.h"
#include "client/log.h"
#include "client/loop.h"
#include "client/memory.h"
#include "client/utf8.h"
#include "dashboard/backend.h"
#include "dashboard/config.h"
#include "dashboard/outcome.h"
#include "dashboard/values.h"

#include <stdlib.h>
#include <string.h>

#define MOST_WAITING 64 /* of a login, so that one cannot have all HTTP connections wait */
#define IDLE_TIME    (180 * LOOP_SEC)
#define PAUSE        (1 * LOOP_SEC) /* after a failed attempt to connect */
#define MOST_ABSENT  256
#define ABSENT_TIME  (60 * LOOP_SEC)

struct Work
{
	WorkOrder order;
	Work *next;
};

struct Database
{
	Backend backend;
	Login *login; /* held */
	char *name;
	bool live; /* for what goes on; else for pages and actions */
	bool closed;
	Work *first; /* the one that runs, if one does */
	Work **last;
	int count;
	int64_t closed_until; /* no attempt to connect before */
	LoopTimer timer;      /* closes it when it is idle; goes on in the next turn; frees it */
	Database *next;
};

/* A database that was found to be without the extension. */
typedef struct Absent
{
	char *name;
	int64_t until;
} Absent;

static Absent absent[MOST_ABSENT];
static int next_absent;

static void go_on(Database *database);

static void
free_work(Work *work)
{
	for (int i = 0; i < work->order.statement->count; i++)
		free(work->order.values[i]);
	free(work->order.values);
	free(work);
}

/* finish takes the first statement out of the queue and tells what became of it. */
static void
finish(Database *database, const Outcome *outcome)
{
	Work *work = database->first;

	database->first = work->next;
	if (database->first == NULL)
		database->last = &database->first;
	database->count--;
	database->login->waiting--;
	if (work->order.done != NULL)
		work->order.done(work->order.owner, outcome);
	free_work(work);
}

/* finish_all tells all that wait the same. Statements that come meanwhile stay. */
static void
finish_all(Database *database, const Outcome *outcome)
{
	for (int left = database->count; left > 0 && database->first != NULL; left--)
		finish(database, outcome);
}

static void
idle_due(LoopTimer *timer)
{
	Database *database = timer->owner;

	backend_close(&database->backend);
}

static void
next_due(LoopTimer *timer)
{
	go_on(timer->owner);
}

/* note_absent remembers that the extension is not in a database. */
static void
note_absent(const char *name)
{
	Absent *slot = &absent[next_absent];

	for (int i = 0; i < MOST_ABSENT; i++)
		if (absent[i].name != NULL && strcmp(absent[i].name, name) == 0)
		{
			absent[i].until = loop_now() + ABSENT_TIME;
			return;
		}
	next_absent = (next_absent + 1) % MOST_ABSENT;
	free(slot->name);
	slot->name = mem_copy(name);
	slot->until = loop_now() + ABSENT_TIME;
}

/* known_absent returns, as an array of PostgreSQL, the databases without the extension. */
static char *
known_absent(void)
{
	char *names[MOST_ABSENT + 1];
	int count = 0;

	for (int i = 0; i < MOST_ABSENT; i++)
		if (absent[i].name != NULL && absent[i].until > loop_now())
			names[count++] = absent[i].name;
	names[count] = NULL;
	return values_array(names);
}

/* answer_first answers the first statement, which is not executed, and goes on in the next turn. */
static void
answer_first(Database *database, const Outcome *outcome)
{
	finish(database, outcome);
	if (!database->closed)
		loop_set(&database->timer, loop_now(), next_due, database);
}

/* start_first sends the first statement, or answers it if it is not to be executed. */
static void
start_first(Database *database)
{
	Backend *backend = &database->backend;
	const WorkOrder *order = &database->first->order;
	const char *schema = backend->schema != NULL ? backend->schema : "";
	char *sql;

	if (backend->schema == NULL && !order->no_extension)
	{
		Outcome outcome = {.status = 404,
						   .message = "the extension bgjob is not in this database"};

		/* The next connection finds out whether it is there by then. */
		note_absent(database->name);
		backend_close(backend);
		answer_first(database, &outcome);
		return;
	}
	if (order->preview)
	{
		Outcome outcome = {.status = 200};

		sql = statement_with_literals(order->statement, schema, backend->pg, order->values);
		outcome.sql = sql;
		answer_first(database, &outcome);
		free(sql);
		return;
	}
	sql = statement_sql(order->statement, schema);
	backend_run(backend, sql, order->statement->count, order->values, order->read_only);
	free(sql);
}

/* go_on does what is next: connects, or sends the first statement that waits. */
static void
go_on(Database *database)
{
	Backend *backend = &database->backend;

	if (database->first == NULL)
	{
		loop_set(&database->timer, loop_now() + IDLE_TIME, idle_due, database);
		return;
	}
	loop_unset(&database->timer);
	if (backend->state == BACKEND_IDLE)
		start_first(database);
	else if (backend->state == BACKEND_CLOSED && loop_now() < database->closed_until)
	{
		Outcome outcome = {
			.status = 503, .retry_after = 1, .message = "there is no connection to the server"};

		finish_all(database, &outcome);
	}
	else if (backend->state == BACKEND_CLOSED)
		backend_open(backend);
}

static void
backend_up(Backend *backend)
{
	go_on(backend->owner);
}

/* has_moved returns whether a statement failed as if the extension was not where it was; it is looked for again then. */
static bool
has_moved(const Outcome *outcome)
{
	return outcome->sqlstate != NULL &&
		   (strcmp(outcome->sqlstate, "42883") == 0 ||
			strcmp(outcome->sqlstate, "42P01") == 0 || strcmp(outcome->sqlstate, "3F000") == 0);
}

static void
backend_done(Backend *backend, const PGresult *result)
{
	Database *database = backend->owner;
	const WorkOrder *order = &database->first->order;
	Buffer clean = {0};
	Outcome outcome;
	char *sql = NULL;
	bool moved;

	outcome_of_result(result, &outcome);
	outcome.ms = backend->ms;
	if (backend->bytes && outcome.value != NULL)
	{
		utf8_clean(&clean, outcome.value, outcome.value_len);
		outcome.value = clean.data;
		outcome.value_len = clean.len;
	}
	if (order->show_sql)
		sql = statement_with_literals(order->statement, backend->schema, backend->pg,
									  order->values);
	outcome.sql = sql;
	moved = has_moved(&outcome);
	finish(database, &outcome);
	buffer_free(&clean);
	free(sql);
	if (moved)
		backend_close(backend);
	if (!database->closed)
		go_on(database);
}

/* backend_down answers all that wait, and ends the session if the server takes the password no more. */
static void
backend_down(Backend *backend, const BackendFailure *failure)
{
	Database *database = backend->owner;
	Login *login = database->login;
	Outcome outcome;

	if (database->first != NULL)
		database->closed_until = loop_now() + PAUSE;
	outcome_of_failure(failure, &outcome);
	finish_all(database, &outcome);
	if (outcome.refused && login->refused != NULL)
		login->refused(login);
}

static Database *
new_database(Login *login, const char *name)
{
	Database *database = mem_zero(sizeof(*database));

	database->login = login_keep(login);
	database->name = mem_copy(name);
	database->last = &database->first;
	database->backend.login = login;
	database->backend.database = database->name;
	database->backend.up = backend_up;
	database->backend.done = backend_done;
	database->backend.down = backend_down;
	database->backend.owner = database;
	return database;
}

/* database_is_allowed returns whether --databases has a database, or is not given. */
bool
database_is_allowed(const char *name)
{
	if (config.databases == NULL)
		return true;
	for (char **allowed = config.databases; *allowed != NULL; allowed++)
		if (strcmp(*allowed, name) == 0)
			return true;
	return false;
}

/* close_idlest closes a connection on which nothing waits; the login has many. */
static void
close_idlest(Login *login)
{
	Database *idlest = NULL;

	for (Database *database = login->databases; database != NULL; database = database->next)
		if (database->first == NULL)
			idlest = database;
	if (idlest != NULL)
		database_close(idlest);
}

/* get returns a connection that is shared; it is made where there is none. */
static Database *
get(Login *login, const char *name, bool live)
{
	Database *database;
	int count = 0;

	for (database = login->databases; database != NULL; database = database->next, count++)
		if (database->live == live && strcmp(database->name, name) == 0)
			return database;
	if (count >= DATABASE_MOST_FOR_LOGIN)
		close_idlest(login);
	database = new_database(login, name);
	database->live = live;
	database->next = login->databases;
	login->databases = database;
	return database;
}

/* database_get returns the connection of a login to a database. */
Database *
database_get(Login *login, const char *name)
{
	return get(login, name, false);
}

/* database_get_live returns the one for what goes on (live.c). */
Database *
database_get_live(Login *login, const char *name)
{
	return get(login, name, true);
}

/* database_open_own returns a connection that nobody else uses; to be closed by database_close. */
Database *
database_open_own(Login *login, const char *name)
{
	return new_database(login, name);
}

static void
free_due(LoopTimer *timer)
{
	Database *database = timer->owner;

	login_release(database->login);
	free(database->name);
	free(database);
}

/* database_close closes a connection. All that wait are told that it is over. */
void
database_close(Database *database)
{
	Outcome outcome = {.status = 401, .message = "the session has ended"};

	if (database->closed)
		return;
	database->closed = true;
	for (Database **at = &database->login->databases; *at != NULL; at = &(*at)->next)
		if (*at == database)
		{
			*at = database->next;
			break;
		}
	backend_close(&database->backend);
	finish_all(database, &outcome);
	loop_set(&database->timer, loop_now(), free_due, database);
}

/* database_close_all closes the connections that are shared. */
void
database_close_all(Login *login)
{
	while (login->databases != NULL)
		database_close(login->databases);
}

/*
 * database_run puts a statement into the queue. Its values belong to the work from now
 * on. Null: too many wait, or the connection was closed; nobody is told then.
 */
Work *
database_run(Database *database, const WorkOrder *order)
{
	Work *work = mem_zero(sizeof(*work));

	work->order = *order;
	if (database->closed || database->login->waiting >= MOST_WAITING)
	{
		free_work(work);
		return NULL;
	}
	*database->last = work;
	database->last = &work->next;
	database->count++;
	database->login->waiting++;
	/* The one that runs goes on by itself. */
	if (database->count == 1)
		loop_set(&database->timer, loop_now(), next_due, database);
	return work;
}

/* work_forget drops the callback of a statement, which is executed nevertheless. Not within or after its callback. */
void
work_forget(Work *work)
{
	work->order.done = NULL;
}

/*
 * database_order_list returns the order for a JSON array of the databases that the
 * role may connect to; the caller sets the callback.
 */
WorkOrder
database_order_list(void)
{
	WorkOrder order = {.statement = statement_find(STATEMENT_INTERNAL, "databases"),
					   .read_only = true,
					   .no_extension = true};
	char *only = config.databases != NULL ? values_array(config.databases) : NULL;
	char *known = known_absent();

	order.values = values_of(order.statement, only, known);
	free(only);
	free(known);
	return order;
}

/* database_end frees what is remembered. */
void
database_end(void)
{
	for (int i = 0; i < MOST_ABSENT; i++)
		free(absent[i].name);
}
