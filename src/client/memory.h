/*-------------------------------------------------------------------------
 *
 * memory.h
 *	  Memory that is there, or the program has ended: see memory.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_MEMORY_H
#define BGJOB_CLIENT_MEMORY_H

#include <stddef.h>

extern void *mem_alloc(size_t size);
extern void *mem_zero(size_t size);
extern void *mem_resize(void *old, size_t size);
extern char *mem_copy(const char *text);
extern char *mem_copy_part(const char *text, size_t len);
extern char *mem_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
