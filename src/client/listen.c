/*-------------------------------------------------------------------------
 *
 * listen.c
 *	  The addresses that programs listen at: [ADDRESS:]PORT.
 *
 * Without an address it is that of this host alone, 127.0.0.1; "*" is every address.
 * An address of IPv6 stands in brackets where a port follows. Of a name with several
 * addresses the first one counts.
 *
 *-------------------------------------------------------------------------
 */
#include "client/listen.h"
#include "client/log.h"
#include "client/memory.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* listen_find looks up [ADDRESS:]PORT; null, and an error in the log, if it is none. To be freed by freeaddrinfo. */
struct addrinfo *
listen_find(const char *text)
{
	const char *colon = strrchr(text, ':');
	const char *port = colon != NULL ? colon + 1 : text;
	char *host = mem_copy_part(text, colon != NULL ? colon - text : 0);
	char *start = host;
	size_t len = strlen(host);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *found = NULL;
	int failed;

	if (len >= 2 && host[0] == '[' && host[len - 1] == ']')
	{
		host[len - 1] = '\0';
		start++;
	}
	if (strcmp(start, "*") == 0)
		start = "::";
	failed = *port == '\0'
				 ? EAI_NONAME
				 : getaddrinfo(*start == '\0' ? "127.0.0.1" : start, port, &hints, &found);
	if (failed)
		log_error("\"%s\" is no address: %s", text, gai_strerror(failed));
	free(host);
	return failed ? NULL : found;
}

/* listen_is_loopback returns whether nobody but this host reaches an address. */
bool
listen_is_loopback(const struct addrinfo *address)
{
	if (address->ai_family == AF_INET)
	{
		const struct sockaddr_in *ip =
			(const struct sockaddr_in *) (const void *) address->ai_addr;

		return ntohl(ip->sin_addr.s_addr) >> 24 == 127;
	}
	return address->ai_family == AF_INET6 &&
		   IN6_IS_ADDR_LOOPBACK(
			   &((const struct sockaddr_in6 *) (const void *) address->ai_addr)->sin6_addr);
}

/* listen_log says where a socket listens, and returns the port; the system may have chosen it. */
int
listen_log(int socket)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char host[NI_MAXHOST];
	char port[NI_MAXSERV];

	if (getsockname(socket, (struct sockaddr *) &address, &len) != 0 ||
		getnameinfo((struct sockaddr *) &address, len, host, sizeof(host), port, sizeof(port),
					NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return 0;
	log_info("listening at %s, port %s", host, port);
	return atoi(port);
}
