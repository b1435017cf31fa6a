/*-------------------------------------------------------------------------
 *
 * token.c
 *	  Secrets that nobody can guess: the ids of sessions, the tokens against forged
 *	  requests.
 *
 * 256 bits of the kernel's generator. A system that has none to give ends the program:
 * there is no second-best source. Tokens are compared in a time that does not depend
 * on where they differ.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/token.h"
#include "client/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>

/* token_random fills memory with random bytes; at most 256, which the kernel gives whole. */
void
token_random(void *bytes, size_t len)
{
	ssize_t got;

	do
		got = getrandom(bytes, len, 0);
	while (got < 0 && errno == EINTR);
	if (got != (ssize_t) len)
	{
		log_error("could not get random bytes: %s", strerror(errno));
		exit(EX_OSERR);
	}
}

void
token_make(char token[TOKEN_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char bytes[TOKEN_LEN / 2];

	token_random(bytes, sizeof(bytes));
	for (int i = 0; i < TOKEN_LEN / 2; i++)
	{
		token[2 * i] = digits[bytes[i] >> 4];
		token[2 * i + 1] = digits[bytes[i] & 15];
	}
	token[TOKEN_LEN] = '\0';
	explicit_bzero(bytes, sizeof(bytes));
}

/* token_same compares a token with what a request has. */
bool
token_same(const char *token, const char *given, size_t given_len)
{
	unsigned char differs = 0;

	if (given_len != TOKEN_LEN)
		return false;
	for (int i = 0; i < TOKEN_LEN; i++)
		differs |= (unsigned char) (token[i] ^ given[i]);
	return differs == 0;
}
