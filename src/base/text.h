/*
 * text.h
 *	  Texts that are shown, cut to a readable length.
 */
#ifndef BGJOB_BASE_TEXT_H
#define BGJOB_BASE_TEXT_H

/* So many bytes of a reason, or of one part of an error, are kept. */
#define BGJOB_REASON_MAX 8192

/* So many bytes of a job's name, or command, are shown where it is only named. */
#define BGJOB_TITLE_MAX 255

extern const char *bgjob_text_cut(const char *text, int max);
extern const char *bgjob_text_find_unquoted(const char *text, const char *characters);

#endif /* BGJOB_BASE_TEXT_H */
