/*-------------------------------------------------------------------------
 *
 * loop.h
 *	  Waiting for descriptors and times: see loop.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_LOOP_H
#define BGJOB_CLIENT_LOOP_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/* Times are microseconds of the steady clock. */
#define LOOP_MS  INT64_C(1000)
#define LOOP_SEC INT64_C(1000000)

typedef struct LoopFd LoopFd;
typedef struct LoopTimer LoopTimer;

/* A descriptor that is watched. Not on the stack; zeros are one that is not watched. */
struct LoopFd
{
	bool watched;
	int descriptor;
	int events;  /* that are wanted */
	int pending; /* index among the events of this turn, plus 1; 0: it has none */
	void (*ready)(LoopFd *fd, int events);
	void *owner;
};

/* A time at which something is due. Zeros are one that is not set. */
struct LoopTimer
{
	int64_t at;
	int place; /* index in the heap, plus 1; 0: it is not set */
	void (*due)(LoopTimer *timer);
	void *owner;
};

extern int64_t loop_now(void);
extern void
loop_watch(LoopFd *fd, int descriptor, int events, void (*ready)(LoopFd *, int), void *owner);
extern void loop_want(LoopFd *fd, int events);
extern int loop_take_events(LoopFd *fd);
extern void loop_forget(LoopFd *fd);
extern void loop_set(LoopTimer *timer, int64_t at, void (*due)(LoopTimer *), void *owner);
extern void loop_unset(LoopTimer *timer);
extern void loop_turn(void);
extern void loop_free(void);

#endif
