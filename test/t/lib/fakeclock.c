/*-------------------------------------------------------------------------
 *
 * fakeclock.c
 *	  A clock that a test can set while the server runs.
 *
 * Loaded by LD_PRELOAD into the processes of a test's server. Adds to the time
 * of day the seconds in the file that BGJOB_CLOCK_OFFSET names, a binary double.
 * CLOCK_MONOTONIC is not changed. The file is mapped, so every process sees a
 * change at once, also one that was forked in a signal handler, as the server's
 * background workers may be.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const double *offset;

__attribute__((constructor)) static void
map_offset(void)
{
	const char *name = getenv("BGJOB_CLOCK_OFFSET");
	int file = name != NULL ? open(name, O_RDONLY) : -1;
	void *mapped;

	if (file < 0)
		return;
	mapped = mmap(NULL, sizeof(double), PROT_READ, MAP_SHARED, file, 0);
	close(file);
	if (mapped != MAP_FAILED)
		offset = mapped;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = (int) syscall(SYS_clock_gettime, clock, now);

	if (result == 0 && clock == CLOCK_REALTIME && offset != NULL)
		now->tv_sec += (time_t) *offset;
	return result;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec time;

	(void) zone;
	clock_gettime(CLOCK_REALTIME, &time);
	now->tv_sec = time.tv_sec;
	now->tv_usec = time.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *to)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (to != NULL)
		*to = now.tv_sec;
	return now.tv_sec;
}
