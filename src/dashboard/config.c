/*-------------------------------------------------------------------------
 *
 * config.c
 *	  The command line of bgjob-dashboard.
 *
 * Options for the connection are those of psql. They say which server the dashboard is
 * for; user and password among them are for the program's own connection (health.c),
 * and nobody else's. A wrong option ends the program with EX_USAGE, or with EX_CONFIG
 * where a file is wrong, before anything is connected to.
 *
 * Passwords travel over the connection to the browser. So an address beyond this host
 * is refused without TLS, unless --insecure says that something else encrypts.
 *
 * An argument that has a password in it is overwritten at once. The list of
 * processes shows it until then, hence the manual's advice to use a password file.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/config.h"
#include "client/listen.h"
#include "client/log.h"
#include "client/memory.h"
#include "client/options.h"
#include "dashboard/help.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define MOST_FILE (1024 * 1024)

Config config = {.listen = "127.0.0.1:8080", .session_timeout = INT64_C(1800000000)};

/* Options without a letter. */
enum
{
	OPT_LISTEN = 256,
	OPT_BASE_PATH,
	OPT_READ_ONLY,
	OPT_HIDE_ARGUMENTS,
	OPT_TITLE,
	OPT_COLOUR,
	OPT_TLS_CERT,
	OPT_TLS_KEY,
	OPT_INSECURE,
	OPT_DATABASES,
	OPT_SESSION_TIMEOUT,
	OPT_LOG_LEVEL
};

static const struct option options[] = {
	{"host", required_argument, NULL, 'h'},
	{"port", required_argument, NULL, 'p'},
	{"username", required_argument, NULL, 'U'},
	{"dbname", required_argument, NULL, 'd'},
	{"no-password", no_argument, NULL, 'w'},
	{"password", no_argument, NULL, 'W'},
	{"help", no_argument, NULL, '?'},
	{"version", no_argument, NULL, 'V'},
	{"listen", required_argument, NULL, OPT_LISTEN},
	{"base-path", required_argument, NULL, OPT_BASE_PATH},
	{"read-only", no_argument, NULL, OPT_READ_ONLY},
	{"hide-arguments", no_argument, NULL, OPT_HIDE_ARGUMENTS},
	{"title", required_argument, NULL, OPT_TITLE},
	{"colour", required_argument, NULL, OPT_COLOUR},
	{"tls-cert", required_argument, NULL, OPT_TLS_CERT},
	{"tls-key", required_argument, NULL, OPT_TLS_KEY},
	{"insecure", no_argument, NULL, OPT_INSECURE},
	{"databases", required_argument, NULL, OPT_DATABASES},
	{"session-timeout", required_argument, NULL, OPT_SESSION_TIMEOUT},
	{"log-level", required_argument, NULL, OPT_LOG_LEVEL},
	{NULL, 0, NULL, 0}};

static void
refuse(const char *option, const char *value)
{
	log_usage("invalid value \"%s\" for option %s", value, option);
	exit(EX_USAGE);
}

/* read_file returns what is in a file; what is wrong ends the program. */
static char *
read_file(const char *name)
{
	FILE *file = fopen(name, "r");
	char *text;
	size_t len;

	if (file == NULL)
	{
		log_error("could not open file \"%s\": %s", name, strerror(errno));
		exit(EX_CONFIG);
	}
	text = mem_alloc(MOST_FILE + 1);
	len = fread(text, 1, MOST_FILE + 1, file);
	if (ferror(file) || len == 0 || len > MOST_FILE)
	{
		log_error("could not read file \"%s\"", name);
		exit(EX_CONFIG);
	}
	fclose(file);
	text[len] = '\0';
	return text;
}

/* read_key reads a private key. As the server does, it refuses one that others can read. */
static char *
read_key(const char *name)
{
	struct stat file;

	if (stat(name, &file) == 0 &&
		(file.st_mode & (file.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO)) !=
			0)
	{
		log_error("private key file \"%s\" has group or world access", name);
		log_hint("File must have permissions u=rw (0600) or less if owned by the current user, "
				 "or permissions u=rw,g=r (0640) or less if owned by root.");
		exit(EX_CONFIG);
	}
	return read_file(name);
}

/* set_base_path reads --base-path: "/jobs", "/jobs/" or "/". */
static void
set_base_path(const char *value)
{
	size_t len = strlen(value);

	for (const char *c = value; *c != '\0'; c++)
		if (!isalnum((unsigned char) *c) && strchr("/_.~-", *c) == NULL)
			refuse("--base-path", value);
	if (*value != '/' || strstr(value, "//") != NULL || strstr(value, "/.") != NULL)
		refuse("--base-path", value);
	while (len > 0 && value[len - 1] == '/')
		len--;
	free(config.base_path);
	config.base_path = mem_copy_part(value, len);
}

/* set_colour reads --colour: #rgb, #rrggbb, or a name. */
static void
set_colour(const char *value)
{
	size_t len = strlen(value);

	if (*value == '#'
			? (len != 4 && len != 7) || strspn(value + 1, "0123456789abcdefABCDEF") != len - 1
			: len == 0 || len > 30 || strspn(value, "abcdefghijklmnopqrstuvwxyz") != len)
		refuse("--colour", value);
	config.colour = value;
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
		default:
			return target_option(&config.target, option, value);
	}
}

/* set_access_option handles the options for the way to the program; false: it is none of them. */
static bool
set_access_option(int option, const char *value)
{
	switch (option)
	{
		case OPT_LISTEN:
			config.listen = value;
			return true;
		case OPT_BASE_PATH:
			set_base_path(value);
			return true;
		case OPT_TLS_CERT:
			free(config.tls_cert);
			config.tls_cert = read_file(value);
			return true;
		case OPT_TLS_KEY:
			free(config.tls_key);
			config.tls_key = read_key(value);
			return true;
		case OPT_INSECURE:
			config.insecure = true;
			return true;
		case OPT_SESSION_TIMEOUT:
			if (!option_duration(value, &config.session_timeout) ||
				config.session_timeout < 1000000 ||
				config.session_timeout > INT64_C(365) * 86400 * 1000000)
				refuse("--session-timeout", value);
			return true;
		default:
			return false;
	}
}

/* set_page_option handles the options that say what is shown. */
static void
set_page_option(int option, const char *value)
{
	switch (option)
	{
		case OPT_READ_ONLY:
			config.read_only = true;
			break;
		case OPT_HIDE_ARGUMENTS:
			config.hide_arguments = true;
			break;
		case OPT_TITLE:
			config.title = value;
			break;
		case OPT_COLOUR:
			set_colour(value);
			break;
		case OPT_DATABASES:
			option_list_free(config.databases);
			config.databases = option_list(value);
			if (config.databases == NULL)
				refuse("--databases", value);
			break;
		case OPT_LOG_LEVEL:
			if (!log_set_level(value))
				refuse("--log-level", value);
			break;
		default:
			break;
	}
}

/* read_options reads the options; other arguments there are none. */
static void
read_options(int argc, char **argv)
{
	char *dbname = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "+h:p:U:d:wWV?", options, NULL)) != -1)
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
			printf("bgjob-dashboard (bgjob) %s\n", BGJOB_VERSION);
			exit(EX_OK);
		}
		if (!set_connection_option(option, optarg, &dbname) &&
			!set_access_option(option, optarg))
			set_page_option(option, optarg);
	}
	if (optind < argc)
	{
		log_usage("too many command-line arguments (first is \"%s\")", argv[optind]);
		exit(EX_USAGE);
	}
	if (dbname != NULL)
		target_take_dbname(&config.target, dbname);
}

/* take_environment takes from the environment what is not for the roles that sign in, or has to be known here. */
static void
take_environment(void)
{
	static const char *const variables[][2] = {{"host", "PGHOST"},
											   {"hostaddr", "PGHOSTADDR"},
											   {"port", "PGPORT"},
											   {"connect_timeout", "PGCONNECT_TIMEOUT"},
											   {"options", "PGOPTIONS"}};
	Target *target = &config.target;

	/* The lists of servers have to be known here, to be rotated. */
	if (target_get(target, "service") == NULL)
		for (int i = 0; i < 5; i++)
			if (getenv(variables[i][1]) != NULL)
				target_default(target, variables[i][0], NULL, getenv(variables[i][1]));
	unsetenv("PGOPTIONS");
	target_default(target, "keepalives_idle", NULL, "30");
	target_default(target, "keepalives_interval", NULL, "10");
	target_default(target, "keepalives_count", NULL, "3");
	target_default(target, "tcp_user_timeout", NULL, "10000");
	target_set(target, "client_encoding", "UTF8");
}

/* check_address refuses an address beyond this host without encryption. */
static void
check_address(void)
{
	struct addrinfo *address = listen_find(config.listen);

	if (address == NULL)
		exit(EX_CONFIG);
	if (!listen_is_loopback(address) && config.tls_cert == NULL && !config.insecure)
	{
		log_error("cannot listen at \"%s\" without TLS", config.listen);
		log_hint(
			"Passwords would be readable on the network. Give --tls-cert and --tls-key, or "
			"--insecure where something else encrypts the connections.");
		exit(EX_CONFIG);
	}
	freeaddrinfo(address);
}

/* config_read reads the command line into config. */
void
config_read(int argc, char **argv)
{
	read_options(argc, argv);
	if ((config.tls_cert == NULL) != (config.tls_key == NULL))
	{
		log_usage("options --tls-cert and --tls-key belong together");
		exit(EX_USAGE);
	}
	if (config.base_path == NULL)
		config.base_path = mem_copy("");
	take_environment();
	check_address();
}

void
config_free(void)
{
	target_free(&config.target);
	option_list_free(config.databases);
	free(config.base_path);
	free(config.tls_cert);
	if (config.tls_key != NULL)
		explicit_bzero(config.tls_key, strlen(config.tls_key));
	free(config.tls_key);
}
