/*-------------------------------------------------------------------------
 *
 * forget.h
 *	  Forgetting a database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_FORGET_H
#define BGJOB_BASE_FORGET_H

#include "postgres.h"

extern void bgjob_forget(Oid database);

#endif /* BGJOB_BASE_FORGET_H */
