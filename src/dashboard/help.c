/*-------------------------------------------------------------------------
 *
 * help.c
 *	  What bgjob-dashboard --help says.
 *
 * A short form of the manual page, doc/man/bgjob-dashboard.1, which says the rest. An
 * option is added to config.c, here and there; test/t/081_dashboard.pl compares the
 * first two.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/help.h"

#include <stdio.h>

static const char *const lines[] = {
	"bgjob-dashboard shows the background jobs of a PostgreSQL server in a browser.",
	"",
	"Usage:",
	"  bgjob-dashboard [OPTION]...",
	"",
	"Access:",
	"      --listen=[ADDRESS:]PORT where to listen (default: 127.0.0.1:8080)",
	"      --tls-cert=FILE         certificate, with those that it depends on",
	"      --tls-key=FILE          private key of the certificate",
	"      --insecure              allow an address beyond this host without TLS",
	"      --base-path=PATH        path of the dashboard behind a proxy (default: /)",
	"      --session-timeout=TIME  idle time after which a session ends (default: 30min)",
	"",
	"Contents:",
	"      --databases=NAME[,...]  databases to show (default: all with the extension)",
	"      --read-only             show only; refuse all actions",
	"      --hide-arguments        hide the arguments and results of jobs",
	"      --title=TEXT            name of the installation, shown in the page",
	"      --colour=COLOUR         its colour: #rrggbb or a name of CSS",
	"",
	"Connection options:",
	"  -h, --host=HOSTNAME         database server host or socket directory",
	"  -p, --port=PORT             database server port",
	"  -d, --dbname=DBNAME         database to sign in to, or connection string",
	"  -U, --username=USERNAME     role of the program itself, for /readyz and /metrics",
	"  -w, --no-password           never ask for that role's password",
	"  -W, --password              ask for that role's password at the start",
	"",
	"Other:",
	"      --log-level=LEVEL       debug, info, warning or error (default: info)",
	"  -V, --version               output version information, then exit",
	"  -?, --help                  show this help, then exit",
	"",
	"Roles sign in with their passwords; the server decides what each may see and do.",
};

void
help_show(void)
{
	for (int i = 0; i < (int) (sizeof(lines) / sizeof(lines[0])); i++)
		printf("%s\n", lines[i]);
}
