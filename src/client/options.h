/*-------------------------------------------------------------------------
 *
 * options.h
 *	  Reading the values of options: see options.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_OPTIONS_H
#define BGJOB_CLIENT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

extern bool option_duration(const char *text, int64_t *microseconds);
extern bool option_bytes(const char *text, int64_t *bytes);
extern bool option_int(const char *text, int low, int high, int *number);
extern char **option_list(const char *text);
extern void option_list_free(char **list);

#endif
