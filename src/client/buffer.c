/*-------------------------------------------------------------------------
 *
 * buffer.c
 *	  A queue of bytes: added at the end, taken from the front.
 *
 * A buffer of zeros is an empty one. Taking moves no bytes. Room at the front is
 * used again when the buffer would have to grow. A buffer that was large once gives
 * its memory back when it is cleared, so that one job with 10 MB does not cost that
 * much for ever.
 *
 *-------------------------------------------------------------------------
 */
#include "client/buffer.h"
#include "client/memory.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 512
#define KEPT_SIZE  (256 * 1024) /* a larger one is freed by buffer_clear */

/* buffer_grow makes room for so many bytes, which are not there at the end; see buffer_room. */
char *
buffer_grow(Buffer *buffer, size_t room)
{
	size_t need = buffer->len + room;
	size_t before = buffer->data - buffer->memory;

	if (buffer->memory == NULL || need > buffer->size || before < buffer->size / 2)
	{
		size_t size = buffer->size > 0 ? buffer->size : FIRST_SIZE;
		char *memory;

		while (size < need)
			size *= 2;
		memory = mem_alloc(size);
		if (buffer->len > 0)
			memcpy(memory, buffer->data, buffer->len);
		free(buffer->memory);
		buffer->memory = memory;
		buffer->size = size;
	}
	else
		memmove(buffer->memory, buffer->data, buffer->len);
	buffer->data = buffer->memory;
	return buffer->data + buffer->len;
}

/* buffer_print adds what printf would print. */
void
buffer_print(Buffer *buffer, const char *format, ...)
{
	va_list args;
	int len;
	char *to = buffer_room(buffer, 256);

	va_start(args, format);
	len = vsnprintf(to, 256, format, args);
	va_end(args);
	if (len >= 256)
	{
		to = buffer_room(buffer, len + 1);
		va_start(args, format);
		vsnprintf(to, len + 1, format, args);
		va_end(args);
	}
	buffer->len += len;
}

/* buffer_add_number adds a number in decimal digits. */
void
buffer_add_number(Buffer *buffer, int64_t value)
{
	char digits[20];
	char *first = digits + sizeof(digits);
	uint64_t left = value < 0 ? -(uint64_t) value : (uint64_t) value;

	do
		*--first = (char) ('0' + left % 10);
	while ((left /= 10) > 0);
	if (value < 0)
		*--first = '-';
	buffer_add(buffer, first, digits + sizeof(digits) - first);
}

/* buffer_add_int32 adds a number as PostgreSQL's protocol has it: the high byte first. */
void
buffer_add_int32(Buffer *buffer, int32_t value)
{
	uint32_t bytes = htobe32((uint32_t) value);

	buffer_add(buffer, &bytes, sizeof(bytes));
}

void
buffer_add_int64(Buffer *buffer, int64_t value)
{
	uint64_t bytes = htobe64((uint64_t) value);

	buffer_add(buffer, &bytes, sizeof(bytes));
}

/* buffer_take removes so many bytes from the front. */
void
buffer_take(Buffer *buffer, size_t len)
{
	buffer->data += len;
	buffer->len -= len;
	if (buffer->len == 0)
		buffer_clear(buffer);
}

void
buffer_clear(Buffer *buffer)
{
	buffer->len = 0;
	buffer->data = buffer->memory;
	if (buffer->size > KEPT_SIZE)
		buffer_free(buffer);
}

void
buffer_free(Buffer *buffer)
{
	free(buffer->memory);
	memset(buffer, 0, sizeof(*buffer));
}
