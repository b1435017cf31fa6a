/*-------------------------------------------------------------------------
 *
 * job.h
 *	  A job that this worker has leased, and the answer to it: see job.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_JOB_H
#define BGJOB_WORKER_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Texts that are JSON are as the server wrote them; null where there is none. All of a job is one block of memory. */
typedef struct Job
{
	int64_t id;
	const char *name;
	const char *args; /* JSON */
	size_t args_len;
	const char *queue;
	int attempt;
	const char *lease_until; /* JSON: a string, ISO 8601 */
	const char *deadline;    /* the same */
	const char *parameters;  /* JSON */
	int64_t lease_end;       /* times of the steady clock; */
	int64_t deadline_at;     /* 0: none */
	int64_t started_at;
	char texts[];
} Job;

typedef enum AnswerKind
{
	ANSWER_COMPLETE,
	ANSWER_FAIL,
	ANSWER_RELEASE
} AnswerKind;

typedef struct Answer
{
	struct Answer *next;
	AnswerKind kind;
	int64_t id;
	int64_t lease_end;
	char *text; /* the result, as JSON, or the error; null: none */
	size_t len;
	char *detail; /* JSON; null: none */
	bool retry;
	double delay; /* of a release, in seconds; negative: none */
	int tries;
	bool counts; /* the server has not said that the job is not ours */
} Answer;

/* A list of answers, first in, first out. */
typedef struct AnswerList
{
	Answer *first;
	Answer **end; /* null: the list is empty and new */
	int count;
	size_t bytes;
} AnswerList;

extern Answer *answer_make(const Job *job, AnswerKind kind);
extern void answer_free(Answer *answer);
extern void answers_add(AnswerList *list, Answer *answer);
extern Answer *answers_take(AnswerList *list);
extern void answers_prepend(AnswerList *list, AnswerList *before);
extern void answers_clear(AnswerList *list);

#endif
