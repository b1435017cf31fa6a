/*-------------------------------------------------------------------------
 *
 * memory.c
 *	  Allocation for programs.
 *
 * A program that gets no memory ends at once with EX_OSERR: it holds nothing that
 * the server could not recover, since leases end by themselves. So no caller checks
 * for null. Everything is freed with free().
 *
 *-------------------------------------------------------------------------
 */
#include "client/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* mem_resize is realloc; the size is in bytes. */
void *
mem_resize(void *old, size_t size)
{
	void *block = realloc(old, size > 0 ? size : 1);

	if (block == NULL)
	{
		fprintf(stderr, "out of memory\n");
		exit(EX_OSERR);
	}
	return block;
}

void *
mem_alloc(size_t size)
{
	return mem_resize(NULL, size);
}

/* mem_zero returns memory that is all zero bytes. */
void *
mem_zero(size_t size)
{
	return memset(mem_alloc(size), 0, size);
}

/* mem_copy_part copies a text of known length and terminates the copy. */
char *
mem_copy_part(const char *text, size_t len)
{
	char *copy = mem_alloc(len + 1);

	if (len > 0)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

/* mem_copy copies a text; null stays null. */
char *
mem_copy(const char *text)
{
	return text == NULL ? NULL : mem_copy_part(text, strlen(text));
}

/* mem_print returns what printf would print. */
char *
mem_print(const char *format, ...)
{
	va_list args;
	int len;
	char *text;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	text = mem_alloc(len + 1);
	va_start(args, format);
	vsnprintf(text, len + 1, format, args);
	va_end(args);
	return text;
}
