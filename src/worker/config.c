/*-------------------------------------------------------------------------
 *
 * config.c
 *	  The command line of bgjob-worker.
 *
 * Options for the connection are those of psql. Options end at "--", or at the first
 * argument that is none: there the handler begins. What is wrong ends the program
 * with EX_USAGE, a handler that cannot be executed with EX_CONFIG, before anything is
 * connected to. Afterwards the configuration does not change, but for the order of
 * the servers and the password (client/target.c).
 *
 * An argument that has a password in it is overwritten at once. The list of
 * processes shows it until then, hence the manual's advice to use a password file.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/config.h"
#include "client/buffer.h"
#include "client/log.h"
#include "client/memory.h"
#include "client/options.h"
#include "worker/help.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define NAME_MAX_BYTES 63

Config config = {.connect_timeout = INT64_C(10000000),
				 .concurrency = 1,
				 .lease = INT64_C(300000000),
				 .heartbeat = INT64_C(5000000),
				 .unknown_delay = INT64_C(30000000),
				 .grace = INT64_C(30000000),
				 .kill_after = INT64_C(5000000),
				 .max_output = INT64_C(67108864),
				 .log_lines = 1000};

/* Options without a letter. */
enum
{
	OPT_LEASE = 256,
	OPT_HEARTBEAT,
	OPT_LABELS,
	OPT_PERSISTENT,
	OPT_JOBS,
	OPT_ONCE,
	OPT_DRAIN,
	OPT_MAX_JOBS,
	OPT_GRACE,
	OPT_KILL_AFTER,
	OPT_UNKNOWN_DELAY,
	OPT_LOG_LINES,
	OPT_LOG_LEVEL,
	OPT_MAX_OUTPUT,
	OPT_POOLED,
	OPT_LISTEN,
	OPT_CONNECT_TIMEOUT
};

static const struct option options[] = {
	{"host", required_argument, NULL, 'h'},
	{"port", required_argument, NULL, 'p'},
	{"username", required_argument, NULL, 'U'},
	{"dbname", required_argument, NULL, 'd'},
	{"no-password", no_argument, NULL, 'w'},
	{"password", no_argument, NULL, 'W'},
	{"queue", required_argument, NULL, 'q'},
	{"concurrency", required_argument, NULL, 'c'},
	{"name", required_argument, NULL, 'n'},
	{"help", no_argument, NULL, '?'},
	{"version", no_argument, NULL, 'V'},
	{"lease", required_argument, NULL, OPT_LEASE},
	{"heartbeat", required_argument, NULL, OPT_HEARTBEAT},
	{"labels", required_argument, NULL, OPT_LABELS},
	{"persistent", no_argument, NULL, OPT_PERSISTENT},
	{"jobs", required_argument, NULL, OPT_JOBS},
	{"once", no_argument, NULL, OPT_ONCE},
	{"drain", no_argument, NULL, OPT_DRAIN},
	{"max-jobs", required_argument, NULL, OPT_MAX_JOBS},
	{"grace", required_argument, NULL, OPT_GRACE},
	{"kill-after", required_argument, NULL, OPT_KILL_AFTER},
	{"unknown-delay", required_argument, NULL, OPT_UNKNOWN_DELAY},
	{"log-lines", required_argument, NULL, OPT_LOG_LINES},
	{"log-level", required_argument, NULL, OPT_LOG_LEVEL},
	{"max-output", required_argument, NULL, OPT_MAX_OUTPUT},
	{"pooled", no_argument, NULL, OPT_POOLED},
	{"listen", required_argument, NULL, OPT_LISTEN},
	{"connect-timeout", required_argument, NULL, OPT_CONNECT_TIMEOUT},
	{NULL, 0, NULL, 0}};

static void
refuse(const char *option, const char *value)
{
	log_usage("invalid value \"%s\" for option %s", value, option);
	exit(EX_USAGE);
}

static int64_t
duration(const char *option, const char *value, int64_t low, int64_t high)
{
	int64_t microseconds = 0;

	if (!option_duration(value, &microseconds) || microseconds < low || microseconds > high)
		refuse(option, value);
	return microseconds;
}

static int
number(const char *option, const char *value, int low, int high)
{
	int read = 0;

	if (!option_int(value, low, high, &read))
		refuse(option, value);
	return read;
}

/* add_list adds the elements of a list to those of earlier options of the same name. */
static char **
add_list(const char *option, const char *value, char **old)
{
	char **added = option_list(value);
	int nold = 0;
	int nadded = 0;

	if (added == NULL)
		refuse(option, value);
	while (old != NULL && old[nold] != NULL)
		nold++;
	while (added[nadded] != NULL)
		nadded++;
	old = mem_resize(old, (nold + nadded + 1) * sizeof(char *));
	memcpy(old + nold, added, (nadded + 1) * sizeof(char *));
	free(added);
	return old;
}

/* add_labels adds labels; their names are those that Prometheus allows. */
static void
add_labels(const char *value)
{
	config.labels = add_list("--labels", value, config.labels);
	for (char **label = config.labels; *label != NULL; label++)
	{
		const char *end = strchr(*label, '=');

		if (end == NULL || end == *label || isdigit((unsigned char) **label))
			refuse("--labels", value);
		for (const char *c = *label; c < end; c++)
			if (!isalnum((unsigned char) *c) && *c != '_')
				refuse("--labels", value);
	}
}

/* set_connection_option handles the options of psql; false: it is none of them. */
static bool
set_connection_option(int option, char *value, char **dbname)
{
	switch (option)
	{
		case 'd':
			*dbname = value;
			return true;
		case OPT_CONNECT_TIMEOUT:
			config.connect_timeout =
				duration("--connect-timeout", value, 100000, INT64_C(3600000000));
			return true;
		default:
			return target_option(&config.target, option, value);
	}
}

/* set_work_option handles the options that say what is performed, and by what. */
static bool
set_work_option(int option, const char *value)
{
	switch (option)
	{
		case 'q':
			config.queues = add_list("--queue", value, config.queues);
			return true;
		case 'c':
			config.concurrency = number("--concurrency", value, 1, 10000);
			return true;
		case 'n':
			free(config.name);
			config.name = mem_copy(value);
			return true;
		case OPT_PERSISTENT:
			config.persistent = true;
			return true;
		case OPT_JOBS:
			config.jobs = add_list("--jobs", value, config.jobs);
			return true;
		case OPT_LABELS:
			add_labels(value);
			return true;
		case OPT_ONCE:
			config.once = true;
			return true;
		case OPT_DRAIN:
			config.drain = true;
			return true;
		case OPT_MAX_JOBS:
			config.max_jobs = number("--max-jobs", value, 1, 2147483647);
			return true;
		case OPT_POOLED:
			config.pooled = true;
			return true;
		case OPT_LISTEN:
			config.listen = value;
			return true;
		default:
			return false;
	}
}

/* set_limit_option handles the options that are times and limits. */
static bool
set_limit_option(int option, const char *value)
{
	const int64_t year = INT64_C(365) * 86400 * 1000000;

	switch (option)
	{
		case OPT_LEASE:
			config.lease = duration("--lease", value, 1000000, year);
			return true;
		case OPT_HEARTBEAT:
			config.heartbeat = duration("--heartbeat", value, 10000, year);
			return true;
		case OPT_GRACE:
			config.grace = duration("--grace", value, 0, year);
			return true;
		case OPT_KILL_AFTER:
			config.kill_after = duration("--kill-after", value, 0, year);
			return true;
		case OPT_UNKNOWN_DELAY:
			config.unknown_delay = duration("--unknown-delay", value, 0, year);
			return true;
		case OPT_LOG_LINES:
			config.log_lines = number("--log-lines", value, 0, 1000000);
			return true;
		case OPT_LOG_LEVEL:
			if (!log_set_level(value))
				refuse("--log-level", value);
			return true;
		case OPT_MAX_OUTPUT:
			if (!option_bytes(value, &config.max_output) || config.max_output < 1024 ||
				config.max_output > INT64_C(1073741824))
				refuse("--max-output", value);
			return true;
		default:
			return false;
	}
}

/* read_options reads the options, and returns the index of the argument where the handler begins. */
static int
read_options(int argc, char **argv)
{
	char *dbname = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "+h:p:U:d:wWq:c:n:V?", options, NULL)) != -1)
	{
		if (option == '?')
		{
			/* The letter of --help is also how getopt_long says that something is wrong. */
			if (strcmp(argv[optind - 1], "-?") != 0 && strcmp(argv[optind - 1], "--help") != 0)
			{
				log_try_help();
				exit(EX_USAGE);
			}
			help_show();
			exit(EX_OK);
		}
		if (option == 'V')
		{
			printf("bgjob-worker (bgjob) %s\n", BGJOB_VERSION);
			exit(EX_OK);
		}
		if (!set_connection_option(option, optarg, &dbname) && !set_work_option(option, optarg))
			set_limit_option(option, optarg);
	}
	if (dbname != NULL)
		target_take_dbname(&config.target, dbname);
	return optind;
}

/* add_array_element adds an element to an array as PostgreSQL writes it. */
static void
add_array_element(Buffer *array, const char *element)
{
	buffer_add_text(array, array->len == 1 ? "\"" : ",\"");
	for (; *element != '\0'; element++)
	{
		if (*element == '"' || *element == '\\')
			buffer_add(array, "\\", 1);
		buffer_add(array, element, 1);
	}
	buffer_add(array, "\"", 1);
}

static char *
make_queue_array(void)
{
	Buffer array = {0};
	char *text;

	buffer_add(&array, "{", 1);
	for (char **queue = config.queues; *queue != NULL; queue++)
		add_array_element(&array, *queue);
	buffer_add(&array, "}", 2);
	text = mem_copy(array.data);
	buffer_free(&array);
	return text;
}

static bool
is_executable(const char *path)
{
	struct stat file;

	return stat(path, &file) == 0 && S_ISREG(file.st_mode) && access(path, X_OK) == 0;
}

/* find_executable looks a program up as execvp does; null if there is none. */
static char *
find_executable(const char *name)
{
	const char *path = getenv("PATH");

	if (strchr(name, '/') != NULL)
		return is_executable(name) ? mem_copy(name) : NULL;
	if (path == NULL)
		path = "/usr/local/bin:/usr/bin:/bin";
	while (true)
	{
		size_t len = strcspn(path, ":");
		char *file = mem_print("%.*s/%s", len > 0 ? (int) len : 1, len > 0 ? path : ".", name);

		if (is_executable(file))
			return file;
		free(file);
		if (path[len] == '\0')
			return NULL;
		path += len + 1;
	}
}

/* check_name refuses what bgjob_fetch() would refuse. */
static void
check_name(void)
{
	size_t len = strlen(config.name);

	for (const char *c = config.name; *c != '\0'; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7F)
			len = 0;
	if (len == 0 || len > NAME_MAX_BYTES)
		refuse("--name", config.name);
}

/* fill_defaults sets what was not given. */
static void
fill_defaults(void)
{
	static const char *const from_environment[][2] = {
		{"host", "PGHOST"}, {"hostaddr", "PGHOSTADDR"}, {"port", "PGPORT"}};
	Target *target = &config.target;
	char *program;

	if (config.queues == NULL)
		config.queues = option_list("*");
	config.queue_array = make_queue_array();
	if (config.name == NULL)
	{
		char host[NAME_MAX_BYTES - 11];

		host[0] = '\0';
		gethostname(host, sizeof(host));
		host[sizeof(host) - 1] = '\0';
		config.name = mem_print("%s-%d", host, (int) getpid());
	}
	check_name();
	/* The lists of servers have to be known here, to be rotated. */
	if (target_get(target, "service") == NULL)
		for (int i = 0; i < 3; i++)
			if (getenv(from_environment[i][1]) != NULL)
				target_default(target, from_environment[i][0], NULL,
							   getenv(from_environment[i][1]));
	/* A standby has no jobs to give. */
	target_default(target, "target_session_attrs", "PGTARGETSESSIONATTRS", "read-write");
	target_default(target, "keepalives_idle", NULL, "30");
	target_default(target, "keepalives_interval", NULL, "10");
	target_default(target, "keepalives_count", NULL, "3");
	target_default(target, "tcp_user_timeout", NULL, "60000");
	target_set(target, "client_encoding", "UTF8");
	config.lease_text = mem_print("%lld microseconds", (long long) config.lease);
	program = mem_print("bgjob-worker %s", config.name);
	target_set(target, "fallback_application_name", program);
	free(program);
	if (config.heartbeat > config.lease / 3)
		config.heartbeat = config.lease / 3;
}

/* config_read reads the command line into config. */
void
config_read(int argc, char **argv)
{
	config.handler = argv + read_options(argc, argv);
	if (config.handler[0] == NULL)
	{
		log_usage("no handler is given");
		exit(EX_USAGE);
	}
	if (config.once && config.max_jobs == 0)
		config.max_jobs = 1;
	fill_defaults();
	config.handler_path = find_executable(config.handler[0]);
	if (config.handler_path == NULL)
	{
		log_error("the handler \"%s\" cannot be executed", config.handler[0]);
		exit(EX_CONFIG);
	}
}

void
config_free(void)
{
	target_free(&config.target);
	option_list_free(config.queues);
	option_list_free(config.jobs);
	option_list_free(config.labels);
	free(config.queue_array);
	free(config.name);
	free(config.lease_text);
	free(config.handler_path);
}
