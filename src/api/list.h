/*-------------------------------------------------------------------------
 *
 * list.h
 *	  bgjob_list(): a page of jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_LIST_H
#define BGJOB_API_LIST_H

#include "postgres.h"

#include "fmgr.h"
#include "store/listing.h"

/* The most rows of a page. */
#define BGJOB_LIST_MOST 10000

extern int bgjob_list_rows_arg(FunctionCallInfo fcinfo, int number);
extern int64 bgjob_list_deadline_arg(FunctionCallInfo fcinfo, int number);
extern void bgjob_list_pass_visible(BgjobListFilter *filter);

#endif /* BGJOB_API_LIST_H */
