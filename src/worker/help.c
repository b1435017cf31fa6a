/*-------------------------------------------------------------------------
 *
 * help.c
 *	  What bgjob-worker --help says.
 *
 * A short form of the manual page, doc/man/bgjob-worker.1, which says the rest. An
 * option is added to config.c, here and there; test/t/071_worker.pl compares the
 * three.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/help.h"

#include <stdio.h>

static const char *const lines[] = {
	"bgjob-worker performs external jobs of bgjob by running a handler.",
	"",
	"Usage:",
	"  bgjob-worker [OPTION]... [--] HANDLER [ARGUMENT]...",
	"",
	"Jobs:",
	"  -q, --queue=NAME[,...]      queues, in the order of taking; * means all others "
	"(default: *)",
	"  -c, --concurrency=N         number of jobs at the same time (default: 1)",
	"  -n, --name=NAME             name of this worker (default: host name and process number)",
	"      --jobs=NAME[,...]       names of the jobs that the handler knows; others are given "
	"back",
	"      --unknown-delay=TIME    delay of jobs that are given back so (default: 30s)",
	"      --once                  performs at most one job, if one is ready, and leaves",
	"      --drain                 leaves when no job is ready",
	"      --max-jobs=N            leaves after so many jobs",
	"",
	"Handler:",
	"      --persistent            one process for many jobs: lines of JSON in and out",
	"      --kill-after=TIME       from SIGTERM to SIGKILL (default: 5s)",
	"      --max-output=SIZE       greatest result (default: 64MB)",
	"      --log-lines=N           number of lines kept as the log of a job (default: 1000)",
	"",
	"Worker:",
	"      --lease=TIME            how long jobs are leased without a sign of life (default: "
	"5min)",
	"      --heartbeat=TIME        time between signs of life (default: 5s)",
	"      --pooled                leases outlive the connection; for connection poolers",
	"      --grace=TIME            how long jobs may go on after SIGTERM (default: 30s)",
	"      --labels=NAME=VALUE[,...]  shown in the metrics, passed to the handler",
	"      --listen=[ADDRESS:]PORT    serves /healthz, /readyz and /metrics by HTTP",
	"      --log-level=LEVEL       debug, info, warning or error (default: info)",
	"  -V, --version               shows the version, then exits",
	"  -?, --help                  shows this help, then exits",
	"",
	"Connection:",
	"  -h, --host=HOST             server, or folder of its socket",
	"  -p, --port=PORT             port of the server",
	"  -U, --username=USER         role",
	"  -d, --dbname=DBNAME         database, connection string or URI",
	"  -w, --no-password           never asks for a password",
	"  -W, --password              asks for a password at the start",
	"      --connect-timeout=TIME  how long an attempt to connect may take (default: 10s)",
};

void
help_show(void)
{
	for (int i = 0; i < (int) (sizeof(lines) / sizeof(lines[0])); i++)
		puts(lines[i]);
}
