/*-------------------------------------------------------------------------
 *
 * taken.h
 *	  The result of an attempt to take a job out of its place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_TAKEN_H
#define BGJOB_STORE_TAKEN_H

typedef enum BgjobTaken
{
	BGJOB_TAKEN,     /* its row is deleted by this transaction: the job is the caller's */
	BGJOB_NOT_THERE, /* the place has no row for it */
	BGJOB_BUSY       /* another process has it */
} BgjobTaken;

#endif /* BGJOB_STORE_TAKEN_H */
