/*-------------------------------------------------------------------------
 *
 * main.c
 *	  bgjob-worker: performs external jobs by running a handler.
 *
 * The program takes jobs from a database with bgjob through SQL, has a handler in any
 * language perform them, and answers. See doc/man/bgjob-worker.1 for its use.
 *
 *	  main.c			start, loop, end
 *	  config.c, help.c	the command line
 *	  worker.c			slots, what is fetched, how it leaves
 *	  slot.c			one job at a time, and its handler
 *	  process.c			the handler's process
 *	  oneshot.c			a handler for each job		persistent.c	for many jobs
 *	  output.c			what it writes beside		outcome.c		what came of the job
 *	  job.c, report.c	jobs, answers, lines that wait
 *	  session.c			rounds of statements		answers.c		answers in them
 *	  pipeline.c		how they are sent			statements.c	their SQL
 *	  await.c			waiting for work
 *	  status.c			health and metrics by HTTP
 *
 * A single thread, which never waits but in the loop (client/loop.c).
 *
 *-------------------------------------------------------------------------
 */
#include "client/log.h"
#include "client/loop.h"
#include "client/notify.h"
#include "client/signals.h"
#include "worker/await.h"
#include "worker/config.h"
#include "worker/session.h"
#include "worker/status.h"
#include "worker/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

/* Descriptors beside those of the handlers: connections, log, HTTP. */
#define OTHER_DESCRIPTORS 128
#define SLOT_DESCRIPTORS  8

/* seed_random makes the pauses of this process its own. */
static void
seed_random(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	srand48(now.tv_nsec ^ (long) getpid() << 16);
}

static void
catch_signals(void)
{
	static const int caught[] = {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGHUP};

	signals_open(worker_signal);
	for (int i = 0; i < (int) (sizeof(caught) / sizeof(caught[0])); i++)
		signals_catch(caught[i]);
}

static double
seconds_of(struct timeval time)
{
	return (double) time.tv_sec + (double) time.tv_usec / 1e6;
}

/* log_end says what the worker has done, and what it cost: its own time, not that of its handlers. */
static void
log_end(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	log_info("leaving: %lld jobs fetched, %lld succeeded, %lld failed, %lld given back, "
			 "%lld lost; CPU %.3f s user, %.3f s system",
			 (long long) worker.counts.fetched, (long long) worker.counts.succeeded,
			 (long long) worker.counts.failed, (long long) worker.counts.released,
			 (long long) worker.counts.lost, seconds_of(usage.ru_utime),
			 seconds_of(usage.ru_stime));
}

int
main(int argc, char **argv)
{
	log_open("bgjob-worker");
	seed_random();
	config_read(argc, argv);
	process_raise_limits(OTHER_DESCRIPTORS + SLOT_DESCRIPTORS * config.concurrency);
	catch_signals();
	notify_open();
	worker_open();
	status_open();
	if (config.target.always_ask)
		target_ask_password(&config.target);
	session_open();
	while (!worker.over)
	{
		loop_turn();
		if (!worker.over)
			worker_turn();
	}
	await_close();
	session_close();
	status_close();
	log_end();
	worker_close();
	config_free();
	loop_free();
	return worker.exit_code;
}
