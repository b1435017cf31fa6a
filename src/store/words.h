/*-------------------------------------------------------------------------
 *
 * words.h
 *	  Words in texts and in values of JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_WORDS_H
#define BGJOB_STORE_WORDS_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

extern List *bgjob_words_strike(List *words, const char *text);
extern List *bgjob_words_strike_json(List *words, Jsonb *json);
extern bool bgjob_words_has_json(const char *word, Jsonb *json);

#endif /* BGJOB_STORE_WORDS_H */
