/*-------------------------------------------------------------------------
 *
 * dashboard.c
 *	  Unit tests of what bgjob-dashboard has for signing in: delays after failures,
 *	  secrets, and what a server says when it refuses a connection.
 *
 *-------------------------------------------------------------------------
 */
#include "client/refusal.h"
#include "dashboard/throttle.h"
#include "dashboard/token.h"
#include "tap.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* address_of returns an address as a socket has it. */
static struct sockaddr_storage
address_of(const char *text)
{
	struct sockaddr_storage address = {0};

	if (inet_pton(AF_INET, text, &((struct sockaddr_in *) &address)->sin_addr) == 1)
		address.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *) &address)->sin6_addr) == 1)
		address.ss_family = AF_INET6;
	return address;
}

static int
wait_for(const char *peer, const char *role)
{
	struct sockaddr_storage address = address_of(peer);

	return throttle_seconds((struct sockaddr *) &address, role);
}

static void
fail_times(const char *peer, const char *role, int times)
{
	struct sockaddr_storage address = address_of(peer);

	while (times-- > 0)
		throttle_count((struct sockaddr *) &address, role);
}

static void
forgive(const char *peer, const char *role, bool succeeded)
{
	struct sockaddr_storage address = address_of(peer);

	throttle_forgive((struct sockaddr *) &address, role, succeeded);
}

static void
check_delays(void)
{
	static const int delays[] = {1, 2, 4, 8, 16, 16, 16};

	throttle_open();
	fail_times("10.0.0.1", "alice", 5);
	is_number(wait_for("10.0.0.1", "alice"), 0, "five failures of a role cost no time");
	for (int i = 0; i < 7; i++)
	{
		fail_times("10.0.0.1", "alice", 1);
		is_number(wait_for("10.0.0.1", "alice"), delays[i], "each further one costs more");
	}
	is_number(wait_for("10.0.0.2", "alice"), 16, "at other addresses, too");
	is_number(wait_for("10.0.0.1", "bob"), 0, "other roles do not wait");
	fail_times("10.0.0.3", "carol", 20);
	is_number(wait_for("10.0.0.3", "bob"), 0, "twenty failures of an address cost no time");
	fail_times("10.0.0.3", "carol", 2);
	is_number(wait_for("10.0.0.3", "bob"), 2, "further ones do, for other roles, too");
	is_number(wait_for("::ffff:10.0.0.3", "bob"), 2, "an address of IPv4 in one of IPv6");
	fail_times("2001:db8::1", "dave", 21);
	is_number(wait_for("2001:db8::ffff", "bob"), 1, "addresses of one network of IPv6");
	is_number(wait_for("2001:db9::1", "bob"), 0, "not those of another one");
}

static void
check_forgiving(void)
{
	forgive("10.0.1.1", "frank", true);
	fail_times("10.0.1.2", "frank", 30);
	is_number(wait_for("10.0.1.3", "frank"), 16, "somebody guesses: the role waits elsewhere");
	is_number(wait_for("10.0.1.1", "frank"), 0, "but not where it has signed in before");
	fail_times("10.0.1.1", "frank", 21);
	is_number(wait_for("10.0.1.1", "frank"), 1, "there its own failures count");
	fail_times("10.0.2.1", "grace", 6);
	forgive("10.0.2.1", "grace", false);
	is_number(wait_for("10.0.2.1", "grace"), 0, "an attempt that is taken back costs nothing");
	fail_times("10.0.3.1", "heidi", 21);
	forgive("10.0.3.2", "heidi", true);
	is_number(wait_for("10.0.3.3", "heidi"), 0, "signing in clears the role");
	is_number(wait_for("10.0.3.1", "heidi"), 1, "not the address of those that failed");
}

static void
check_tokens(void)
{
	char token[TOKEN_LEN + 1];
	char other[TOKEN_LEN + 1];

	token_make(token);
	token_make(other);
	is_number(strlen(token), TOKEN_LEN, "the length of a token");
	is_true(strspn(token, "0123456789abcdef") == TOKEN_LEN, "its characters");
	is_true(strcmp(token, other) != 0, "two are not the same");
	is_true(token_same(token, token, TOKEN_LEN), "a token is itself");
	is_true(!token_same(token, other, TOKEN_LEN), "and no other");
	is_true(!token_same(token, token, TOKEN_LEN - 1), "nor a part of it");
	is_true(!token_same(token, "", 0), "nor nothing");
}

static void
is_refusal(const char *text, const char *sqlstate, const char *plain, const char *what)
{
	char message[512];
	char code[6];

	snprintf(message, sizeof(message), "%s", text);
	refusal_read(message, code);
	is_true(strcmp(code, sqlstate) == 0, what);
	is_true(strcmp(message, plain) == 0, what);
}

static void
check_refusals(void)
{
	is_refusal("connection failed: FATAL:  28P01: password authentication failed\nLOCATION:  "
			   "auth_failed, auth.c:335\n",
			   "28P01", "connection failed: FATAL:  password authentication failed",
			   "the server's refusal");
	is_refusal("could not connect: Connection refused\n", "",
			   "could not connect: Connection refused", "nobody is there");
	is_refusal("", "", "", "nothing is said");
	is_refusal("FATAL:  XXXXX", "", "FATAL:  XXXXX", "a text that ends early");
	is_refusal("FATAL:  3D000: database \"a:  28P01: b\" does not exist\n", "28P01",
			   "FATAL:  3D000: database \"a:  b\" does not exist", "the last one counts");
}

int
main(void)
{
	check_delays();
	check_forgiving();
	check_tokens();
	check_refusals();
	return tap_end();
}
