/*-------------------------------------------------------------------------
 *
 * token.h
 *	  Secrets that nobody can guess: see token.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_TOKEN_H
#define BGJOB_DASHBOARD_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

#define TOKEN_LEN 64 /* 256 bits, hexadecimal */

extern void token_random(void *bytes, size_t len);
extern void token_make(char token[TOKEN_LEN + 1]);
extern bool token_same(const char *token, const char *given, size_t given_len);

#endif
