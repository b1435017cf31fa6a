/*-------------------------------------------------------------------------
 *
 * utf8.h
 *	  Texts in UTF-8: see utf8.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_UTF8_H
#define BGJOB_CLIENT_UTF8_H

#include "client/buffer.h"

extern int utf8_length(const char *text, size_t len);
extern void utf8_add(Buffer *to, int code);
extern void utf8_clean(Buffer *to, const char *bytes, size_t len);
extern size_t utf8_cut(const char *text, size_t len, size_t limit);

#endif
