/*-------------------------------------------------------------------------
 *
 * main.c
 *	  bgjob-dashboard: background jobs in a browser.
 *
 * The program serves one page and an API by HTTP. A user signs in with a role of the
 * server and its password, and everything that is shown or done is SQL on a connection
 * of that role: PostgreSQL decides what each may see and do, and nothing here has to. See doc/man/bgjob-dashboard.1 for its use.
 *
 *	  main.c			start, loop, end
 *	  config.c, help.c	the command line
 *	  web.c, request.c	HTTP: connections, requests and their answers
 *	  route.c, guard.c	which part answers a request, and whether it may
 *	  asset.c			the page's files (web), embedded by assets.sh
 *	  statement.c		all SQL (sql, actions, internal), embedded by statements.awk
 *	  values.c			values of parameters, from the query string or from JSON
 *	  backend.c			a connection to the server		login.c		as whom
 *	  database.c		statements that wait for one	outcome.c	what became of them
 *	  session.c, token.c	sessions, and their secrets
 *	  signin.c, throttle.c	signing in and out
 *	  page.c, action.c	what a page shows; what a user does
 *	  live.c			what goes on, as it happens
 *	  bulk*.c			actions on many jobs, in the background
 *	  health.c, prometheus.c	for those that watch
 *
 * A single thread, which never waits but in the loop (client/loop.c).
 *
 *-------------------------------------------------------------------------
 */
#include "client/log.h"
#include "client/loop.h"
#include "client/notify.h"
#include "client/signals.h"
#include "dashboard/asset.h"
#include "dashboard/bulk.h"
#include "dashboard/config.h"
#include "dashboard/database.h"
#include "dashboard/health.h"
#include "dashboard/live.h"
#include "dashboard/session.h"
#include "dashboard/throttle.h"
#include "dashboard/web.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

static bool over;
static LoopTimer last_timer;

/* raise_limits allows as many descriptors as the system lets it. */
static void
raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
	{
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* keep_secrets forbids core dumps: passwords are in memory. */
static void
keep_secrets(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
}

static void
signal_arrived(int signal)
{
	over = true;
}

static void
catch_signals(void)
{
	signals_open(signal_arrived);
	signals_catch(SIGTERM);
	signals_catch(SIGINT);
	signals_catch(SIGQUIT);
	signals_catch(SIGHUP);
}

static void
last_due(LoopTimer *timer)
{
}

/* leave ends what is there. No request begins any more, and every one that waits is over before its connection is. */
static void
leave(void)
{
	notify_send("STOPPING=1");
	web_stop();
	bulks_close();
	live_close();
	session_close();
	health_close();
	/* Sessions and connections that were closed are freed by timers that are due. */
	loop_set(&last_timer, loop_now(), last_due, NULL);
	loop_turn();
	web_close();
	database_end();
	asset_close();
	config_free();
	loop_free();
}

int
main(int argc, char **argv)
{
	log_open("bgjob-dashboard");
	config_read(argc, argv);
	keep_secrets();
	raise_limits();
	catch_signals();
	notify_open();
	if (config.target.always_ask)
		target_ask_password(&config.target);
	throttle_open();
	asset_open();
	session_open();
	health_open();
	if (!web_open())
	{
		log_error("cannot listen at \"%s\"", config.listen);
		exit(EX_CONFIG);
	}
	notify_send("READY=1");
	while (!over)
		loop_turn();
	log_info("leaving");
	leave();
	return EX_OK;
}
