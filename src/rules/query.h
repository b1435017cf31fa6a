/*-------------------------------------------------------------------------
 *
 * query.h
 *	  Reading what a user types to search for jobs.
 *
 * A query is a list of terms, separated by blanks; a job is found if all of them hold:
 *
 *	 query     = { term }
 *	 term      = [ "-" ] ( word | qualifier ":" value { "," value } )    "-": does not hold
 *	 qualifier = one of bgjob_query_qualifiers, in any case | "args" { "." element }
 *	 value     = bare | quoted      bare: up to the next blank
 *	 element   = bare | quoted      bare: up to the next ".", ":" or blank
 *	 quoted    = '"' … '"'          \" and \\ are a quote and a backslash
 *
 * Only some qualifiers take several values; to others a comma is a character like any.
 * A word in quotes is a phrase, whatever it contains.
 *
 * Pure: no SPI, no shared memory, no allocation, no errors raised; linked by the unit
 * tests without a server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RULES_QUERY_H
#define BGJOB_RULES_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A longer query is refused, in bytes. */
#define BGJOB_QUERY_MAX 16384

/* The most terms of a query. */
#define BGJOB_QUERY_TERMS 64

/* The most values and elements of paths in all terms together. */
#define BGJOB_QUERY_TEXTS 512

typedef enum BgjobQualifier
{
	BGJOB_Q_WORD, /* none: a word anywhere in the job */
	BGJOB_Q_ARGS,
	BGJOB_Q_BATCH,
	BGJOB_Q_ERROR,
	BGJOB_Q_FAILURE,
	BGJOB_Q_ID,
	BGJOB_Q_JOB,
	BGJOB_Q_LIMIT,
	BGJOB_Q_QUEUE,
	BGJOB_Q_RECURRING,
	BGJOB_Q_ROLE,
	BGJOB_Q_SEQUENCE,
	BGJOB_Q_SERVER,
	BGJOB_Q_SINCE,
	BGJOB_Q_SQLSTATE,
	BGJOB_Q_STATE,
	BGJOB_Q_TAG,
	BGJOB_Q_UNIQUE,
	BGJOB_Q_UNTIL
} BgjobQualifier;

/* What a value is read as, where it is compared with JSON. */
typedef enum BgjobValueKind
{
	BGJOB_VALUE_TEXT,
	BGJOB_VALUE_NUMBER, /* a number of JSON */
	BGJOB_VALUE_TRUE,
	BGJOB_VALUE_FALSE,
	BGJOB_VALUE_NULL
} BgjobValueKind;

/* A point in time, as written. */
typedef struct BgjobMoment
{
	int64_t ago; /* microseconds before now; -1: a date and a time of day, below */
	int year;    /* 1 to 9999; valid like the rest */
	int month;
	int day;
	int hour;
	int minute;
	int second;
	int microsecond;
	bool has_zone;
	int zone; /* seconds east of Greenwich */
} BgjobMoment;

/* A value or the element of a path: a text that ends with a zero, without its quotes. */
typedef struct BgjobQueryText
{
	const char *text;
	size_t length;
	BgjobValueKind kind;
	int64_t number; /* of BATCH, ID and STATE (BgjobState) */
} BgjobQueryText;

typedef struct BgjobTerm
{
	BgjobQualifier qualifier;
	bool negated;
	size_t position;            /* in bytes from the beginning of the query */
	const BgjobQueryText *path; /* of ARGS */
	int npath;                  /* 0: a word anywhere in the arguments */
	const BgjobQueryText *values;
	int nvalues;
	BgjobMoment moment; /* of SINCE and UNTIL */
} BgjobTerm;

typedef struct BgjobQuery
{
	int nterms;
	BgjobTerm terms[BGJOB_QUERY_TERMS];
	int ntexts;
	BgjobQueryText texts[BGJOB_QUERY_TEXTS];
} BgjobQuery;

/* Why a query is refused. */
typedef struct BgjobQueryError
{
	size_t position;       /* of the term, in bytes */
	const char *qualifier; /* NULL: it is not about one */
	char message[200];     /* a sentence */
	char hint[400];
} BgjobQueryError;

/* The names of all qualifiers, as a hint shows them. */
extern const char bgjob_query_qualifiers[];

/*
 * bgjob_query_parse reads a query; false: it is refused, and *error says why. The text,
 * which ends with a zero, is taken apart: the values of the query are in it, so it must stay.
 */
extern bool bgjob_query_parse(char *text, BgjobQuery *query, BgjobQueryError *error);

/* bgjob_moment_parse reads a point in time; false: it is none. */
extern bool bgjob_moment_parse(const char *text, BgjobMoment *moment);

#endif /* BGJOB_RULES_QUERY_H */
