/*-------------------------------------------------------------------------
 *
 * target.h
 *	  Which server to connect to, and as whom: see target.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_TARGET_H
#define BGJOB_CLIENT_TARGET_H

#include <stdbool.h>

#define TARGET_MAX 40

/* Parameters of libpq; the arrays end with null. */
typedef struct Target
{
	const char *names[TARGET_MAX + 1];
	char *values[TARGET_MAX + 1];
	int count;
	bool never_ask;  /* -w */
	bool always_ask; /* -W */
} Target;

extern void target_set(Target *target, const char *name, const char *value);
extern void
target_default(Target *target, const char *name, const char *variable, const char *value);
extern const char *target_get(const Target *target, const char *name);
extern bool target_option(Target *target, int option, const char *value);
extern void target_take_dbname(Target *target, char *argument);
extern char *target_add_dbname(Target *target, const char *dbname);
extern void target_rotate(Target *target);
extern bool target_ask_password(Target *target);
extern void target_free(Target *target);

#endif
