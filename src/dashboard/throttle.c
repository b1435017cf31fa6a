/*-------------------------------------------------------------------------
 *
 * throttle.c
 *	  Guessing passwords takes time: failed attempts to sign in are counted for each
 *	  address and for each role, and after some of them there is a delay that doubles.
 *
 * Counters are in two tables of fixed size, at the place that a hash says; the hash
 * has a seed of this process. Two roles whose hashes meet share a counter, and wait
 * for each other's failures at worst. Nothing is ever pushed out, so nobody gets rid
 * of a counter by filling the table. Each minute takes back a failure.
 *
 * A role's failures would also let an attacker keep the role out, by always coming first
 * when the delay ends. So they do not count where the role has signed in from the same
 * address before; there its own failures do.
 *
 * An attempt counts as failed when it begins, and is taken back if it succeeds; many at
 * the same time gain nothing. Addresses are those of the sockets; of IPv6 the first 64
 * bits. Behind a proxy all come from one address, and share its delay. So an address may
 * fail more often than a role, and the delay has a bound.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/throttle.h"
#include "client/loop.h"
#include "dashboard/token.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define SLOTS           4096
#define FREE_OF_ROLE    5
#define FREE_OF_ADDRESS 20
#define LAST_DELAY      (16 * LOOP_SEC)
#define FORGET_EVERY    (60 * LOOP_SEC)

typedef struct Counter
{
	int failures;
	int64_t since; /* a failure is forgotten each minute from here */
	int64_t until; /* no attempt before */
} Counter;

static Counter addresses[SLOTS];
static Counter roles[SLOTS];
static uint64_t known[SLOTS]; /* hashes of a role and an address that it has signed in from */
static uint64_t seed;

void
throttle_open(void)
{
	token_random(&seed, sizeof(seed));
}

/* hash is FNV-1a from a secret seed, mixed at the end. */
static uint64_t
hash(const void *bytes, size_t len)
{
	uint64_t value = seed ^ UINT64_C(14695981039346656037);

	for (size_t i = 0; i < len; i++)
		value = (value ^ ((const unsigned char *) bytes)[i]) * UINT64_C(1099511628211);
	value ^= value >> 32;
	value *= UINT64_C(0x9E3779B97F4A7C15);
	return value ^ value >> 29;
}

/* address_hash returns the hash of an address; a socket of IPv6 may have one of IPv4. */
static uint64_t
address_hash(const struct sockaddr *peer)
{
	if (peer != NULL && peer->sa_family == AF_INET)
		return hash(&((const struct sockaddr_in *) (const void *) peer)->sin_addr, 4);
	if (peer != NULL && peer->sa_family == AF_INET6)
	{
		const struct in6_addr *address =
			&((const struct sockaddr_in6 *) (const void *) peer)->sin6_addr;

		if (IN6_IS_ADDR_V4MAPPED(address))
			return hash(address->s6_addr + 12, 4);
		return hash(address->s6_addr, 8);
	}
	return 0;
}

static Counter *
address_counter(const struct sockaddr *peer)
{
	return &addresses[address_hash(peer) % SLOTS];
}

/* pair_hash returns the hash of a role at an address. */
static uint64_t
pair_hash(const struct sockaddr *peer, const char *role)
{
	uint64_t both[2] = {address_hash(peer), hash(role, strlen(role))};

	return hash(both, sizeof(both));
}

static Counter *
role_counter(const char *role)
{
	return &roles[hash(role, strlen(role)) % SLOTS];
}

/* left takes back what is forgotten by now, and returns how long an attempt has to wait. */
static int64_t
left(Counter *counter)
{
	int64_t minutes = (loop_now() - counter->since) / FORGET_EVERY;

	counter->failures = minutes < counter->failures ? counter->failures - (int) minutes : 0;
	counter->since =
		counter->failures > 0 ? counter->since + minutes * FORGET_EVERY : loop_now();
	return counter->until - loop_now();
}

/* throttle_seconds returns how long an attempt has to wait; 0: not at all. */
int
throttle_seconds(const struct sockaddr *peer, const char *role)
{
	int64_t by_address = left(address_counter(peer));
	int64_t by_role = left(role_counter(role));
	uint64_t pair = pair_hash(peer, role);
	int64_t most;

	if (known[pair % SLOTS] == pair)
		by_role = 0;
	most = by_address > by_role ? by_address : by_role;

	return most > 0 ? (int) ((most + LOOP_SEC - 1) / LOOP_SEC) : 0;
}

static void
count(Counter *counter, int most_free)
{
	int beyond;

	left(counter);
	beyond = ++counter->failures - most_free;
	if (beyond > 0)
		counter->until = loop_now() + (beyond > 4 ? LAST_DELAY : LOOP_SEC << (beyond - 1));
}

/* throttle_count counts an attempt that begins as a failed one. */
void
throttle_count(const struct sockaddr *peer, const char *role)
{
	count(address_counter(peer), FREE_OF_ADDRESS);
	count(role_counter(role), FREE_OF_ROLE);
}

static void
take_back(Counter *counter, int most_free)
{
	if (counter->failures > 0 && --counter->failures <= most_free)
		counter->until = 0;
}

/* throttle_forgive takes an attempt back that was no failure, or nobody's fault. Earlier failures of the address stay. */
void
throttle_forgive(const struct sockaddr *peer, const char *role, bool succeeded)
{
	take_back(address_counter(peer), FREE_OF_ADDRESS);
	if (succeeded)
	{
		uint64_t pair = pair_hash(peer, role);

		known[pair % SLOTS] = pair;
		memset(role_counter(role), 0, sizeof(Counter));
	}
	else
		take_back(role_counter(role), FREE_OF_ROLE);
}
