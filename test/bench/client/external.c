/*-------------------------------------------------------------------------
 *
 * external.c
 *	  An external worker that does nothing with its jobs, for the benchmarks.
 *
 *	  external drain CLIENTS BATCH apart|pipelined|together JOBS
 *	  external serve CLIENTS BATCH apart|pipelined|together
 *	  external pickup CLIENTS JOBS
 *
 * One process with CLIENTS connections, each a worker with a name of its own,
 * served by one loop over their sockets: so the client costs as little as
 * libpq lets it. A client fetches up to BATCH jobs and completes them.
 * "apart", these are two transactions, each sent when the one before has been
 * answered, as a simple worker has them; "pipelined", two transactions that are sent
 * in one message, as by bgjob-worker; "together", one transaction.
 *
 * drain prints "ready", waits for a line, performs JOBS jobs and prints the
 * rate. serve goes on until it is terminated; a client that finds no job
 * calls bgjob_await(). pickup has a connection more, which enqueues JOBS jobs
 * one after the other, each 10 ms after the one before has been completed,
 * and prints how long it took from the answer to the enqueueing commit until
 * a client had the job in its hands.
 *
 * Connects by the usual PG* variables. Any error ends it, and so does a
 * minute without a job.
 *
 *-------------------------------------------------------------------------
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libpq-fe.h>

#define QUEUES      "{*}"
#define MAX_CLIENTS 64
#define MAX_BATCH   10000
#define PATIENCE    60.0 /* seconds without a job */
#define PAUSE       0.01 /* seconds between two jobs of "pickup" */

/* What a client has asked for, and what its answers have said so far. */
typedef struct Client
{
	PGconn *conn;
	char name[32];
	bool asked_fetch; /* the message has a fetch in it */
	bool waited;      /* the message was bgjob_await() */
	int ends;         /* transactions whose end has not been answered */
	int held;         /* jobs that were fetched and are not completed */
	char *ids;        /* their ids: {1,2} */
} Client;

static int client_count;
static int batch = 1;
static bool together = false;
static bool pipelined = false;
static bool await_jobs = false;
static Client clients[MAX_CLIENTS];

static long done = 0;     /* jobs that are completed */
static long empty = 0;    /* fetches that returned none */
static double last_done;  /* when the last one was completed */
static double fetched_at; /* when a fetch last had a job */

/* die ends the program with a message. */
static void
die(const char *what, PGconn *conn)
{
	fprintf(stderr, "external: %s%s%s\n", what, conn ? ": " : "",
			conn ? PQerrorMessage(conn) : "");
	exit(1);
}

/* now is the time in seconds. */
static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* prepare prepares a statement and waits for it. */
static void
prepare(PGconn *conn, const char *name, const char *sql)
{
	PGresult *result = PQprepare(conn, name, sql, 0, NULL);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die(sql, conn);
	PQclear(result);
}

/* connection connects. */
static PGconn *
connection(void)
{
	PGconn *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		die("cannot connect", conn);
	return conn;
}

/* client_open connects a client and prepares its statements. */
static void
client_open(Client *client, int number)
{
	client->conn = connection();
	snprintf(client->name, sizeof(client->name), "bench %d", number);
	client->ids = malloc((size_t) MAX_BATCH * 20 + 3);
	prepare(client->conn, "fetch", "SELECT * FROM bgjob_fetch($1::text[], $2, $3::int)");
	if (batch == 1)
		prepare(client->conn, "complete", "SELECT bgjob_complete(($1::bigint[])[1], $2)::int");
	else
		prepare(client->conn, "complete",
				"SELECT count(*) FROM unnest($1::bigint[]) i WHERE bgjob_complete(i, $2)");
	prepare(client->conn, "await", "CALL bgjob_await($1::text[], '1 s')");
	if (!PQenterPipelineMode(client->conn))
		die("no pipeline mode", client->conn);
}

/* put_fetch adds a fetch to the message. */
static void
put_fetch(Client *client)
{
	char most[16];
	const char *values[] = {QUEUES, client->name, most};

	snprintf(most, sizeof(most), "%d", batch);
	if (!PQsendQueryPrepared(client->conn, "fetch", 3, values, NULL, NULL, 0))
		die("cannot fetch", client->conn);
	client->asked_fetch = true;
}

/* put_complete adds the completion of the jobs that are held to the message. */
static void
put_complete(Client *client)
{
	const char *values[] = {client->ids, client->name};

	if (!PQsendQueryPrepared(client->conn, "complete", 2, values, NULL, NULL, 0))
		die("cannot complete", client->conn);
	client->held = 0;
}

/* put_await adds bgjob_await() to the message. */
static void
put_await(Client *client)
{
	const char *values[] = {QUEUES};

	if (!PQsendQueryPrepared(client->conn, "await", 1, values, NULL, NULL, 0))
		die("cannot wait", client->conn);
	client->waited = true;
}

/* put_end ends the transaction. */
static void
put_end(Client *client)
{
	if (!PQpipelineSync(client->conn))
		die("cannot send", client->conn);
	client->ends++;
}

/* client_ask sends the next message: it depends on what the last one brought. */
static void
client_ask(Client *client)
{
	bool found_none = client->asked_fetch && client->held == 0;

	client->asked_fetch = client->waited = false;
	if (client->held > 0)
	{
		put_complete(client);
		if (pipelined)
			put_end(client);
		if (together || pipelined)
			put_fetch(client);
	}
	else if (found_none && await_jobs)
		put_await(client);
	else
		put_fetch(client);
	put_end(client);
	if (PQflush(client->conn) < 0)
		die("cannot send", client->conn);
}

/* take_jobs keeps the ids of the jobs that were fetched. */
static void
take_jobs(Client *client, const PGresult *result)
{
	char *end = client->ids;

	client->held = PQntuples(result);
	if (client->held == 0)
	{
		empty++;
		return;
	}
	fetched_at = now();
	for (int row = 0; row < client->held; row++)
		end += sprintf(end, "%c%s", row == 0 ? '{' : ',', PQgetvalue(result, row, 0));
	strcpy(end, "}");
}

/* take_result takes one result; true at the end of the message's answer. */
static bool
take_result(Client *client, PGresult *result)
{
	switch (PQresultStatus(result))
	{
		case PGRES_PIPELINE_SYNC:
			return --client->ends == 0;
		case PGRES_COMMAND_OK: /* bgjob_await() */
			return false;
		case PGRES_TUPLES_OK:
			break;
		default:
			die("an error", client->conn);
	}
	if (PQnfields(result) > 1)
		take_jobs(client, result);
	else
	{
		done += atol(PQgetvalue(result, 0, 0));
		last_done = now();
	}
	return false;
}

/* client_read reads what has come; it sends the next message when the answer is complete. */
static void
client_read(Client *client)
{
	if (!PQconsumeInput(client->conn))
		die("cannot read", client->conn);
	while (!PQisBusy(client->conn))
	{
		PGresult *result = PQgetResult(client->conn);
		bool complete;

		if (result == NULL) /* the end of one statement's results, or nothing more */
		{
			if (PQisBusy(client->conn))
				return;
			result = PQgetResult(client->conn);
			if (result == NULL)
				return;
		}
		complete = take_result(client, result);
		PQclear(result);
		if (complete)
		{
			client_ask(client);
			return;
		}
	}
}

/* listen_to waits up to so many seconds and reads what has come from the clients; true if anything has come from "other". */
static bool
listen_to(PGconn *other, double seconds)
{
	struct pollfd sockets[MAX_CLIENTS + 1];
	int n = client_count;

	for (int i = 0; i < client_count; i++)
		sockets[i] = (struct pollfd){.fd = PQsocket(clients[i].conn), .events = POLLIN};
	if (other != NULL)
		sockets[n++] = (struct pollfd){.fd = PQsocket(other), .events = POLLIN};
	if (poll(sockets, (nfds_t) n, (int) (seconds * 1000 + 0.999)) < 0)
		die("poll() failed", NULL);
	for (int i = 0; i < client_count; i++)
		if (sockets[i].revents != 0)
			client_read(&clients[i]);
	if (now() - last_done > PATIENCE)
		die("no job for a minute", NULL);
	return other != NULL && sockets[client_count].revents != 0;
}

/* drain performs so many jobs and prints the rate. */
static void
drain(long jobs)
{
	double began;

	printf("ready\n");
	fflush(stdout);
	if (getchar() == EOF)
		die("the input has ended", NULL);
	began = last_done = now();
	for (int i = 0; i < client_count; i++)
		client_ask(&clients[i]);
	while (done < jobs)
		listen_to(NULL, 1);
	printf("jobs per second %.0f, fetches without a job %ld\n",
		   (double) done / (last_done - began), empty);
}

/* serve performs jobs until it is terminated. */
static void
serve(void)
{
	last_done = now();
	for (int i = 0; i < client_count; i++)
		client_ask(&clients[i]);
	for (;;)
		listen_to(NULL, 1);
}

/* enqueue_one enqueues a job; the time at which its commit was answered. The clients go on meanwhile. */
static double
enqueue_one(PGconn *conn)
{
	double committed;
	PGresult *result;

	if (!PQsendQueryPrepared(conn, "enqueue", 0, NULL, NULL, NULL, 0) || PQflush(conn) < 0)
		die("cannot enqueue", conn);
	for (;;)
	{
		if (!listen_to(conn, 1))
			continue;
		if (!PQconsumeInput(conn))
			die("cannot read", conn);
		if (!PQisBusy(conn))
			break;
	}
	committed = now();
	while ((result = PQgetResult(conn)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("cannot enqueue", conn);
		PQclear(result);
	}
	return committed;
}

/* rest lets so many seconds pass. The clients go on meanwhile. */
static void
rest(double seconds)
{
	double end = now() + seconds;

	for (double left = seconds; left > 0; left = end - now())
		listen_to(NULL, left);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;

	return (x > y) - (x < y);
}

/* pickup measures how soon a job is in a client's hands after its commit. */
static void
pickup(int jobs)
{
	PGconn *conn = connection();
	double *us = calloc((size_t) jobs, sizeof(double));

	prepare(conn, "enqueue", "SELECT bgjob_enqueue('noop', '{}', kind => 'external')");
	last_done = now();
	for (int i = 0; i < client_count; i++)
		client_ask(&clients[i]);
	rest(0.5);
	for (int i = 0; i < jobs; i++)
	{
		long before = done;
		double committed = enqueue_one(conn);

		while (done == before)
			listen_to(NULL, 1);
		us[i] = (fetched_at - committed) * 1e6;
		rest(PAUSE);
	}
	qsort(us, (size_t) jobs, sizeof(double), compare);
	printf("pickup after commit, microseconds: p50 %.0f p99 %.0f\n", us[jobs / 2],
		   us[(int) (jobs * 0.99)]);
}

/* number reads a number of the command line. */
static int
number(const char *text, int most)
{
	int value = atoi(text);

	if (value < 1 || value > most)
		die("a number of the command line is wrong", NULL);
	return value;
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	bool is_pickup = strcmp(mode, "pickup") == 0 && argc == 4;
	bool is_serve = strcmp(mode, "serve") == 0 && argc == 5;

	if (!is_pickup && !is_serve && !(strcmp(mode, "drain") == 0 && argc == 6))
		die("usage: external drain|serve CLIENTS BATCH apart|pipelined|together [JOBS], or "
			"pickup CLIENTS JOBS",
			NULL);
	client_count = number(argv[2], MAX_CLIENTS);
	if (!is_pickup)
	{
		batch = number(argv[3], MAX_BATCH);
		together = strcmp(argv[4], "together") == 0;
		pipelined = strcmp(argv[4], "pipelined") == 0;
	}
	await_jobs = is_pickup || is_serve;
	for (int i = 0; i < client_count; i++)
		client_open(&clients[i], i + 1);
	if (is_pickup)
		pickup(number(argv[3], 1000000));
	else if (is_serve)
		serve();
	else
		drain(number(argv[5], 1000000000));
	for (int i = 0; i < client_count; i++)
		PQfinish(clients[i].conn);
	return 0;
}
