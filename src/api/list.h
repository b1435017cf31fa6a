/*-------------------------------------------------------------------------
 *
 * list.h
 *	  bgjob_list(): a page of jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_LIST_H
#define BGJOB_API_LIST_H

/* The most rows of a page. */
#define BGJOB_LIST_MOST 10000

#endif /* BGJOB_API_LIST_H */
