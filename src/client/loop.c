/*-------------------------------------------------------------------------
 *
 * loop.c
 *	  The event loop of a program: descriptors, by poll(2), and timers.
 *
 * One thread, one loop: a callback runs alone and to its end. So nothing in these
 * programs is locked, and no callback may wait for anything.
 *
 * Descriptors are kept in an array without gaps, as poll wants it; the last one fills
 * the place of one that is forgotten. Events are those of the last poll until a
 * callback takes them; a callback may take those of another descriptor
 * (loop_take_events), if it has to deal with them first. Timers are a binary heap.
 *
 * Callbacks may watch, forget, set and unset whatever they like.
 *
 * Times are of the steady clock, read once in each turn: setting the system's clock
 * changes nothing here.
 *
 *-------------------------------------------------------------------------
 */
#include "client/loop.h"
#include "client/log.h"
#include "client/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

static struct pollfd *polled = NULL;
static LoopFd **watched = NULL;
static int nwatched = 0;
static int watched_size = 0;

static LoopTimer **heap = NULL;
static int nheap = 0;
static int heap_size = 0;

static int64_t now = 0;

static int64_t
read_clock(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * LOOP_SEC + time.tv_nsec / 1000;
}

/* loop_now returns the time at which this turn began. */
int64_t
loop_now(void)
{
	if (now == 0)
		now = read_clock();
	return now;
}

/* loop_watch begins to watch a descriptor for events (POLLIN, POLLOUT, or 0). */
void
loop_watch(LoopFd *fd, int descriptor, int events, void (*ready)(LoopFd *, int), void *owner)
{
	if (nwatched == watched_size)
	{
		watched_size = watched_size > 0 ? 2 * watched_size : 32;
		polled = mem_resize(polled, watched_size * sizeof(*polled));
		watched = mem_resize(watched, watched_size * sizeof(*watched));
	}
	fd->ready = ready;
	fd->owner = owner;
	watched[nwatched] = fd;
	polled[nwatched] = (struct pollfd){.fd = descriptor, .events = (short) events};
	fd->place = ++nwatched;
}

/* loop_want changes the events of a watched descriptor. */
void
loop_want(LoopFd *fd, int events)
{
	if (fd->place > 0)
		polled[fd->place - 1].events = (short) events;
}

/* loop_take_events returns the events of a descriptor that its callback has not yet had, and takes them. */
int
loop_take_events(LoopFd *fd)
{
	int events;

	if (fd->place == 0)
		return 0;
	events = polled[fd->place - 1].revents;
	polled[fd->place - 1].revents = 0;
	return events;
}

/* loop_forget ends watching; before the descriptor is closed. */
void
loop_forget(LoopFd *fd)
{
	int place = fd->place - 1;

	if (place < 0)
		return;
	nwatched--;
	if (place < nwatched)
	{
		polled[place] = polled[nwatched];
		watched[place] = watched[nwatched];
		watched[place]->place = place + 1;
	}
	fd->place = 0;
}

static void
heap_put(int place, LoopTimer *timer)
{
	heap[place] = timer;
	timer->place = place + 1;
}

/* heap_sift moves a timer from a place up or down to where it belongs. */
static void
heap_sift(int place, LoopTimer *timer)
{
	while (place > 0 && timer->at < heap[(place - 1) / 2]->at)
	{
		heap_put(place, heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	while (2 * place + 1 < nheap)
	{
		int child = 2 * place + 1;

		if (child + 1 < nheap && heap[child + 1]->at < heap[child]->at)
			child++;
		if (timer->at <= heap[child]->at)
			break;
		heap_put(place, heap[child]);
		place = child;
	}
	heap_put(place, timer);
}

/* loop_set sets a timer, or moves one that is set. */
void
loop_set(LoopTimer *timer, int64_t at, void (*due)(LoopTimer *), void *owner)
{
	timer->at = at;
	timer->due = due;
	timer->owner = owner;
	if (timer->place > 0)
	{
		heap_sift(timer->place - 1, timer);
		return;
	}
	if (nheap == heap_size)
	{
		heap_size = heap_size > 0 ? 2 * heap_size : 32;
		heap = mem_resize(heap, heap_size * sizeof(*heap));
	}
	nheap++;
	heap_sift(nheap - 1, timer);
}

void
loop_unset(LoopTimer *timer)
{
	int place = timer->place - 1;

	if (place < 0)
		return;
	nheap--;
	if (place < nheap)
		heap_sift(place, heap[nheap]);
	timer->place = 0;
}

/* timeout returns for how many milliseconds poll may sleep; -1: for ever. */
static int
timeout(void)
{
	int64_t left;

	if (nheap == 0)
		return -1;
	left = heap[0]->at - read_clock();
	if (left <= 0)
		return 0;
	left = (left + LOOP_MS - 1) / LOOP_MS;
	return left < 3600 * 1000 ? (int) left : 3600 * 1000;
}

static void
run_timers(void)
{
	while (nheap > 0 && heap[0]->at <= now)
	{
		LoopTimer *timer = heap[0];

		loop_unset(timer);
		timer->due(timer);
	}
}

/* loop_turn waits until something is ready or due, and calls back. */
void
loop_turn(void)
{
	int ready = poll(polled, nwatched, timeout());

	if (ready < 0)
	{
		if (errno != EINTR && errno != EAGAIN)
		{
			log_error("could not poll: %s", strerror(errno));
			exit(EX_OSERR);
		}
		/* The events are not set then. */
		for (int i = 0; i < nwatched; i++)
			polled[i].revents = 0;
	}
	now = read_clock();
	/* Backwards: a descriptor that takes the place of a forgotten one has had its turn, or has it again without events. */
	for (int i = nwatched - 1; i >= 0 && ready > 0; i--)
	{
		int events;

		if (i >= nwatched)
			continue;
		events = polled[i].revents;
		if (events == 0)
			continue;
		polled[i].revents = 0;
		watched[i]->ready(watched[i], events);
	}
	run_timers();
}

/* loop_free gives the memory back, at the end of the program. */
void
loop_free(void)
{
	free(polled);
	free(watched);
	free(heap);
}
