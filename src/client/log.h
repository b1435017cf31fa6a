/*-------------------------------------------------------------------------
 *
 * log.h
 *	  The log of a program: see log.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_LOG_H
#define BGJOB_CLIENT_LOG_H

#include <stdbool.h>

typedef enum LogLevel
{
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_ERROR
} LogLevel;

extern void log_open(const char *program);
extern bool log_set_level(const char *name);
extern bool log_shows(LogLevel level);
extern void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void log_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void log_try_help(void);
extern void log_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
