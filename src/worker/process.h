/*-------------------------------------------------------------------------
 *
 * process.h
 *	  A handler's process: see process.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_PROCESS_H
#define BGJOB_WORKER_PROCESS_H

#include "client/loop.h"

#include <sys/types.h>

/* The descriptor for progress and log lines, as the handler sees it. */
#define PROCESS_NOTE_FD 3

/* The pipes of a handler. */
typedef enum ProcessPipe
{
	PIPE_IN,
	PIPE_OUT,
	PIPE_ERR,
	PIPE_NOTE,
	PIPE_COUNT
} ProcessPipe;

/* Zeros, but for the pipes' ends (-1), are a process that was never started. */
typedef struct Process
{
	pid_t pid;            /* 0: there is none */
	int ends[PIPE_COUNT]; /* the worker's ends; -1: closed */
	LoopFd fds[PIPE_COUNT];
	int exec_error; /* a pipe that gets the errno of a failed exec */
} Process;

extern void process_init(Process *process);
extern int process_start(Process *process, const char *path, char **argv, char **environment);
extern void process_signal(const Process *process, int signal);
extern int process_reap(Process *process, int *exec_errno);
extern void process_close(Process *process, ProcessPipe pipe);
extern void process_raise_limits(int descriptors);

#endif
