/*-------------------------------------------------------------------------
 *
 * loop.c
 *	  The event loop of a program: descriptors, by epoll(7), and timers.
 *
 * One thread, one loop: a callback runs alone and to its end. So nothing in these
 * programs is locked, and no callback may wait for anything.
 *
 * The kernel keeps the descriptors, so a turn costs what is ready, not what is watched.
 * Events are named as by poll(2). Those of a turn belong to it until a callback takes
 * them; a callback may take those of another descriptor (loop_take_events), if it has
 * to deal with them first. One that is forgotten loses its events. Timers are a binary heap.
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
#include <sys/epoll.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

/* So many descriptors have their turn at a time; others that are ready come next. */
#define MOST_EVENTS 64

static int epoll = -1;
static struct epoll_event batch[MOST_EVENTS]; /* without a descriptor: it was forgotten */
static int nbatch = 0;

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

/* instance returns the kernel's list of descriptors, which is made when it is first needed. */
static int
instance(void)
{
	if (epoll < 0 && (epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
	{
		log_error("could not create an epoll instance: %s", strerror(errno));
		exit(EX_OSERR);
	}
	return epoll;
}

/* control tells the kernel which events of a descriptor are wanted. */
static void
control(int what, LoopFd *fd)
{
	struct epoll_event event = {.events = (uint32_t) fd->events, .data.ptr = fd};

	if (epoll_ctl(instance(), what, fd->descriptor, &event) < 0)
	{
		log_error("could not watch descriptor %d: %s", fd->descriptor, strerror(errno));
		exit(EX_OSERR);
	}
}

/* loop_watch begins to watch a descriptor for events (POLLIN, POLLOUT, or 0). Only one may watch it. */
void
loop_watch(LoopFd *fd, int descriptor, int events, void (*ready)(LoopFd *, int), void *owner)
{
	*fd = (LoopFd){.watched = true,
				   .descriptor = descriptor,
				   .events = events,
				   .ready = ready,
				   .owner = owner};
	control(EPOLL_CTL_ADD, fd);
}

/* loop_want changes the events of a watched descriptor. */
void
loop_want(LoopFd *fd, int events)
{
	if (!fd->watched || fd->events == events)
		return;
	fd->events = events;
	control(EPOLL_CTL_MOD, fd);
}

/* loop_take_events returns the events of a descriptor that its callback has not yet had, and takes them. */
int
loop_take_events(LoopFd *fd)
{
	int events;

	if (fd->pending == 0)
		return 0;
	events = (int) batch[fd->pending - 1].events;
	batch[fd->pending - 1].data.ptr = NULL;
	fd->pending = 0;
	return events;
}

/* loop_forget ends watching; before the descriptor is closed. */
void
loop_forget(LoopFd *fd)
{
	if (!fd->watched)
		return;
	(void) loop_take_events(fd);
	/* Fails if a library has closed the descriptor already; then the kernel has forgotten it. */
	(void) epoll_ctl(instance(), EPOLL_CTL_DEL, fd->descriptor, NULL);
	fd->watched = false;
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

/* timeout returns for how many milliseconds a turn may sleep; -1: for ever. */
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

/* wait_for_events fills the batch. */
static void
wait_for_events(void)
{
	nbatch = epoll_wait(instance(), batch, MOST_EVENTS, timeout());
	if (nbatch < 0 && errno != EINTR)
	{
		log_error("could not wait for events: %s", strerror(errno));
		exit(EX_OSERR);
	}
	for (int i = 0; i < nbatch; i++)
		((LoopFd *) batch[i].data.ptr)->pending = i + 1;
}

/* loop_turn waits until something is ready or due, and calls back. */
void
loop_turn(void)
{
	wait_for_events();
	now = read_clock();
	for (int i = 0; i < nbatch; i++)
	{
		LoopFd *fd = batch[i].data.ptr;

		if (fd != NULL)
			fd->ready(fd, loop_take_events(fd));
	}
	run_timers();
}

/* loop_free gives the memory back, at the end of the program. */
void
loop_free(void)
{
	if (epoll >= 0)
		close(epoll);
	free(heap);
}
