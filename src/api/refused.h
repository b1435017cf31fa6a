/*-------------------------------------------------------------------------
 *
 * refused.h
 *	  Commands that would do harm, or nothing, and are refused.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_REFUSED_H
#define BGJOB_API_REFUSED_H

#include "postgres.h"

#include "nodes/nodes.h"

extern void bgjob_refuse_command(Node *stmt);

#endif /* BGJOB_API_REFUSED_H */
