/*-------------------------------------------------------------------------
 *
 * buffer.h
 *	  A queue of bytes that grows: see buffer.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_BUFFER_H
#define BGJOB_CLIENT_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Buffer
{
	char *data;   /* the first byte that was not taken */
	size_t len;   /* number of bytes there */
	char *memory; /* where the allocation begins; data is in it */
	size_t size;  /* of the allocation */
} Buffer;

extern char *buffer_grow(Buffer *buffer, size_t room);
extern void buffer_add_number(Buffer *buffer, int64_t value);
extern void
buffer_print(Buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void buffer_add_int32(Buffer *buffer, int32_t value);
extern void buffer_add_int64(Buffer *buffer, int64_t value);
extern void buffer_take(Buffer *buffer, size_t len);
extern void buffer_clear(Buffer *buffer);
extern void buffer_free(Buffer *buffer);

/* What follows is here to be compiled into its callers: texts are made of many short pieces. */

/* buffer_room returns where so many bytes can be written; the caller adds them to len. */
static inline char *
buffer_room(Buffer *buffer, size_t room)
{
	char *end = buffer->data + buffer->len;

	if (buffer->memory != NULL && room <= (size_t) (buffer->memory + buffer->size - end))
		return end;
	return buffer_grow(buffer, room);
}

static inline void
buffer_add(Buffer *buffer, const void *bytes, size_t len)
{
	char *to = buffer_room(buffer, len);

	if (len > 0)
		memcpy(to, bytes, len);
	buffer->len += len;
}

static inline void
buffer_add_text(Buffer *buffer, const char *text)
{
	buffer_add(buffer, text, strlen(text));
}

#endif
