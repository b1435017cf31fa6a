/*-------------------------------------------------------------------------
 *
 * fairheap.h
 *	  A heap of nodes in shared memory: which has the least virtual time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_FAIRHEAP_H
#define BGJOB_BASE_FAIRHEAP_H

#include "postgres.h"

/* A node, which is part of what it stands for. The two values by which nodes are ordered do not change while it is in a heap. */
typedef struct BgjobFairNode
{
	double time;
	uint64 moment; /* among nodes with the same time, the lower one is first */
	struct BgjobFairNode *parent;
	struct BgjobFairNode *left;
	struct BgjobFairNode *right;
	int rank; /* nodes on the way down to the right */
} BgjobFairNode;

/* A heap is a pointer to its first node, NULL while it is empty. */
extern void bgjob_fair_heap_insert(BgjobFairNode **heap, BgjobFairNode *node);
extern void bgjob_fair_heap_remove(BgjobFairNode **heap, BgjobFairNode *node);

#endif /* BGJOB_BASE_FAIRHEAP_H */
