/*-------------------------------------------------------------------------
 *
 * answers.h
 *	  Answers on their way to the server: see answers.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_ANSWERS_H
#define BGJOB_WORKER_ANSWERS_H

#include "client/buffer.h"
#include "worker/job.h"

#include <libpq-fe.h>

extern void answers_give(Answer *answer);
extern int answers_left(void);
extern bool answers_to_send(void);
extern bool answers_are_apart(void);
extern void answers_add_ids(Buffer *ids);
extern void answers_send(void);
extern void answers_too_late(const PGresult *result);
extern void answers_confirmed(void);
extern void answers_again(const char *refusal);
extern void answers_drop(int64_t job);
extern void answers_lose(void);
extern void answers_free(void);

#endif
