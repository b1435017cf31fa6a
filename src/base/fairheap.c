/*-------------------------------------------------------------------------
 *
 * fairheap.c
 *	  A heap of nodes in shared memory: which has the least virtual time.
 *
 * This is a leftist heap: of the two children of a node, the right one has the shorter way
 * down to the right ("rank"). So that way has at most log2(n + 1) nodes, and all the
 * work is done along it. The server's pairing heap is as fast on average, but after
 * n insertions its first removal links n nodes, while a lock is held.
 *
 * The nodes point to each other: shared memory has the same address in all processes.
 *
 * Any process, under the lock of base/fair.c. Nothing is allocated, nothing throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/fairheap.h"

static int
rank_of(const BgjobFairNode *node)
{
	return node == NULL ? 0 : node->rank;
}

static bool
is_before(const BgjobFairNode *a, const BgjobFairNode *b)
{
	return a->time != b->time ? a->time < b->time : a->moment < b->moment;
}

/* Puts the children of a node in order, and returns whether its rank has changed. */
static bool
order_children(BgjobFairNode *node)
{
	int before = node->rank;

	if (rank_of(node->left) < rank_of(node->right))
	{
		BgjobFairNode *child = node->left;

		node->left = node->right;
		node->right = child;
	}
	node->rank = rank_of(node->right) + 1;
	return node->rank != before;
}

/* Merges two heaps, and returns the first node. The calls are nested as deep as both ways to the right are long. */
static BgjobFairNode *
merge(BgjobFairNode *a, BgjobFairNode *b)
{
	BgjobFairNode *first;

	if (a == NULL || b == NULL)
		return a == NULL ? b : a;
	first = is_before(b, a) ? b : a;
	first->right = merge(first->right, first == a ? b : a);
	first->right->parent = first;
	order_children(first);
	return first;
}

/* bgjob_fair_heap_insert inserts a node that is in no heap. */
void
bgjob_fair_heap_insert(BgjobFairNode **heap, BgjobFairNode *node)
{
	node->left = node->right = NULL;
	node->rank = 1;
	*heap = merge(*heap, node);
	(*heap)->parent = NULL;
}

/* bgjob_fair_heap_remove removes a node that is in the heap. */
void
bgjob_fair_heap_remove(BgjobFairNode **heap, BgjobFairNode *node)
{
	BgjobFairNode *parent = node->parent;
	BgjobFairNode *rest = merge(node->left, node->right);

	if (rest != NULL)
		rest->parent = parent;
	if (parent == NULL)
		*heap = rest;
	else if (parent->left == node)
		parent->left = rest;
	else
		parent->right = rest;
	/* Each step up is to a higher rank, so they are few as well. */
	while (parent != NULL && order_children(parent))
		parent = parent->parent;
}
