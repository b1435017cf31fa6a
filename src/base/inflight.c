/*-------------------------------------------------------------------------
 *
 * inflight.c
 *	  Which jobs were being performed when the server crashed, and whose
 *	  process crashed it.
 *
 * A small file in the data directory (bgjob.inflight) is mapped into the
 * postmaster and so into every process. It has a cell for each slot of the
 * registry; a worker stores its current job there, which costs nanoseconds,
 * and survives the death of every process. It does not
 * survive the operating system, which no job causes.
 *
 * THE CULPRIT. When a process dies of a signal, the postmaster has all others
 * leave at once. A worker that dies by a fault of its own (SIGSEGV, SIGABRT,
 * SIGBUS, SIGILL; SIGFPE is an error to the server) marks its cell in the
 * handler of that signal and then dies of it as it would have. So does a
 * parallel worker of a job, which learns the number of the cell by a setting,
 * as settings are what the server hands on to parallel workers. A PANIC of the
 * server itself, in a commit, is a SIGABRT too, and no fault of the job.
 * SIGKILL cannot be handled: if the
 * kernel's count of killings for want of memory has grown since the server
 * started and exactly one worker did not mark its cell (bystanders do in the
 * handler of SIGQUIT), that worker is the culprit. A worker that was
 * killed by hand is no culprit: its job may be killed any number of times and
 * still runs to its end.
 *
 * COPIES. A copy of the data directory (a base backup, pg_rewind) has the
 * file of the server that it was taken from, which may never have crashed. So
 * the file has its own inode and the system identifier, which a copy does not
 * share. A file with others is ignored. The kernel's count is compared only within
 * one run of the kernel.
 *
 * The postmaster reads the cells when it (re)initializes shared memory,
 * moves the jobs in flight to the second half of the file, the in-flight records,
 * and clears the cells. The scheduler of a database accounts for its records
 * before it starts a worker, and clears them when that has committed. After a
 * crash in between they are accounted for twice, so a culprit may be blamed one
 * crash early, and no other job.
 *
 * A file that cannot be made or has another layout is a warning, not an
 * error: everything works but the count of crashes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/parallel.h"
#include "access/xlog.h"
#include "base/host.h"
#include "base/inflight.h"
#include "base/registry.h"
#include "base/slot.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/guc.h"

#define INFLIGHT_FILE  "bgjob.inflight"
#define INFLIGHT_MAGIC 0x626a6635 /* "bjf5" */

/* The in-flight records of several crashes may have to wait for a scheduler. */
#define RECORDS_PER_SLOT 4

typedef enum CellMark
{
	MARK_NONE,
	MARK_CRASHED,  /* by the handler of a fatal signal */
	MARK_BYSTANDER /* by the handler of SIGQUIT: the server goes down */
} CellMark;

typedef struct Cell
{
	volatile Oid database; /* InvalidOid: nothing in flight */
	volatile uint32 mark;
	volatile int64 job;
	volatile int64 pos;
	volatile TimestampTz started_at;
	volatile int32 pid;                  /* of the worker, since it has attached */
	char server[BGJOB_SERVER_NAME_SIZE]; /* likewise */
	volatile int32 jobs;                 /* performed in one call, of which this is the first */
} Cell;

typedef struct InflightFile
{
	uint32 magic;
	uint32 nslots;
	uint64 place;    /* a hash of the system identifier and the file's inode */
	uint64 host;     /* a hash of the machine's name */
	uint64 boot;     /* the run of the kernel that oom_kills is of */
	int64 oom_kills; /* by the kernel, when the server started */
	Cell cells[FLEXIBLE_ARRAY_MEMBER]; /* nslots, then the in-flight records */
} InflightFile;

static InflightFile *file = NULL; /* mapped, NULL if there is none */
static struct stat file_status;   /* when it was mapped */
static Cell *my_cell = NULL;
static char signal_stack[16384]; /* a stack overflow leaves no other */

static Size
file_size(int nslots)
{
	return offsetof(InflightFile, cells) + (1 + RECORDS_PER_SLOT) * nslots * sizeof(Cell);
}

static int
count_records(void)
{
	return file->nslots * RECORDS_PER_SLOT;
}

static Cell *
record_cell(int entry)
{
	return &file->cells[file->nslots + entry];
}

/* Maps the file, making or resizing it as needed; its contents are kept if the layout fits. */
static bool
map_file(void)
{
	int fd = OpenTransientFile(INFLIGHT_FILE, O_RDWR | O_CREAT | PG_BINARY);
	Size size = file_size(max_worker_processes);
	void *address;

	if (fd < 0 || fstat(fd, &file_status) != 0 ||
		(file_status.st_size != size && ftruncate(fd, 0) != 0) || ftruncate(fd, size) != 0)
	{
		ereport(WARNING, (errcode_for_file_access(),
						  errmsg("could not prepare file \"%s\": %m", INFLIGHT_FILE),
						  errdetail("Jobs that crash the server will not be recognized.")));
		if (fd >= 0)
			CloseTransientFile(fd);
		return false;
	}
	address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CloseTransientFile(fd);
	if (address == MAP_FAILED)
	{
		ereport(WARNING, (errmsg("could not map file \"%s\": %m", INFLIGHT_FILE)));
		return false;
	}
	file = address;
	return true;
}

/* Copies a cell to a free in-flight record; drops it if no record is free. */
static void
keep_record(const Cell *cell, bool culprit)
{
	for (int i = 0; i < count_records(); i++)
	{
		Cell *record = record_cell(i);

		if (record->database != InvalidOid)
			continue;
		record->job = cell->job;
		record->pos = cell->pos;
		record->started_at = cell->started_at;
		record->pid = cell->pid;
		memcpy(record->server, cell->server, sizeof(record->server));
		record->jobs = cell->jobs;
		record->mark = culprit ? MARK_CRASHED : MARK_BYSTANDER;
		record->database = cell->database;
		return;
	}
}

/* Moves the cells in use to the in-flight records, with a verdict on each. */
static void
collect_records(bool out_of_memory)
{
	int unmarked = 0;

	for (int i = 0; i < file->nslots; i++)
		if (file->cells[i].database != InvalidOid && file->cells[i].mark == MARK_NONE)
			unmarked++;

	for (int i = 0; i < file->nslots; i++)
	{
		Cell *cell = &file->cells[i];

		if (cell->database != InvalidOid)
			keep_record(cell, cell->mark == MARK_CRASHED ||
								  (cell->mark == MARK_NONE && out_of_memory && unmarked == 1));
		cell->database = InvalidOid;
		cell->mark = MARK_NONE;
	}
}

/* Returns a number that identifies this file of this system; a copy has another number. */
static uint64
this_place(void)
{
	uint64 parts[] = {GetSystemIdentifier(), file_status.st_ino};

	return hash_bytes_extended((const unsigned char *) parts, sizeof(parts), 0);
}

/* Logs that the server was started from a copy of another server's data: both may run the jobs. */
static void
log_copy(void)
{
	if (file->place == this_place() && file->host == bgjob_host_name())
		return;
	ereport(LOG, (errmsg("the data directory has been copied, or comes from another machine"),
				  errdetail("Its background jobs run here, unless this is a standby."),
				  errhint("If the original server still runs them, set "
						  "bgjob.enabled to off here.")));
}

/*
 * bgjob_inflight_startup maps the file and collects the jobs that were in flight
 * when the server went down. The postmaster calls it, from shmem_startup_hook, at
 * its start and after each crash.
 */
void
bgjob_inflight_startup(void)
{
	int64 oom_kills;
	uint64 boot;

	if (IsUnderPostmaster || (file == NULL && !map_file()))
		return;

	oom_kills = bgjob_host_oom_kills();
	boot = bgjob_host_boot(file_status.st_dev);
	if (file->magic == INFLIGHT_MAGIC)
		log_copy();
	if (file->magic == INFLIGHT_MAGIC && file->nslots == max_worker_processes &&
		file->place == this_place())
		collect_records(boot == file->boot && oom_kills > file->oom_kills);
	else
	{
		memset(file, 0, file_size(max_worker_processes));
		file->nslots = max_worker_processes;
		file->magic = INFLIGHT_MAGIC;
	}
	file->place = this_place();
	file->host = bgjob_host_name();
	file->boot = boot;
	file->oom_kills = oom_kills;
}

/*
 * Returns whether this is a PANIC of the server itself, in a commit or in
 * bgjob's bookkeeping. Jobs never run in a critical section.
 */
static bool
server_panics(int number)
{
	return number == SIGABRT && CritSectionCount > 0 &&
		   (MyProc->delayChkptFlags != 0 ||
			(bgjob_my_slot != NULL && bgjob_my_slot->phase != BGJOB_PHASE_PERFORMING));
}

/* Handles a fatal signal: marks this worker as the culprit, unless the server panics, and dies of the signal. */
static void
crashing(SIGNAL_ARGS)
{
	if (my_cell != NULL)
		my_cell->mark = server_panics(postgres_signal_arg) ? MARK_BYSTANDER : MARK_CRASHED;
	signal(postgres_signal_arg, SIG_DFL);
	raise(postgres_signal_arg);
}

/* Handles SIGQUIT (another process has crashed): marks this worker as a bystander, and exits as PostgreSQL does. */
static void
quitting(SIGNAL_ARGS)
{
	bgjob_inflight_mark_bystander();
	_exit(2);
}

/* Installs the handlers that mark the cell if this process crashes. */
static void
watch(Cell *cell)
{
	static const int fatal[] = {SIGSEGV, SIGABRT, SIGBUS, SIGILL};
	stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
	struct sigaction action = {.sa_flags = SA_ONSTACK | SA_NODEFER};

	my_cell = cell;
	sigaltstack(&stack, NULL);
	sigemptyset(&action.sa_mask);
	action.sa_handler = crashing;
	for (int i = 0; i < lengthof(fatal); i++)
		sigaction(fatal[i], &action, NULL);
}

/*
 * bgjob_inflight_attach gives this worker the cell of its slot, which is
 * marked if the worker crashes.
 */
void
bgjob_inflight_attach(int slot, const char *server)
{
	Cell *cell;

	if (file == NULL)
		return;
	cell = &file->cells[slot];
	cell->database = InvalidOid;
	cell->mark = MARK_NONE;
	cell->pid = MyProcPid;
	strlcpy(cell->server, server, sizeof(cell->server));
	watch(cell);
	pqsignal(SIGQUIT, quitting);
}

/*
 * bgjob_inflight_tell_parallel passes this worker's cell on to its parallel
 * workers. Called once, when the worker is connected.
 */
void
bgjob_inflight_tell_parallel(int slot)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", slot);
	SetConfigOption("bgjob.inflight_cell", number, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * bgjob_inflight_assign is called when the number of a cell is assigned to the
 * setting bgjob.inflight_cell, which a worker does once: in its parallel
 * workers it says which job they work for. Must not throw.
 */
void
bgjob_inflight_assign(int cell, void *extra)
{
	if (IsParallelWorker() && file != NULL && cell >= 0 && cell < file->nslots)
		watch(&file->cells[cell]);
}

/* bgjob_inflight_begin stores the job that this worker is about to run, or the first of several in one call. */
void
bgjob_inflight_begin(Oid database, int64 job, int64 pos, int jobs, TimestampTz now)
{
	if (my_cell == NULL)
		return;
	my_cell->job = job;
	my_cell->pos = pos;
	my_cell->jobs = jobs;
	my_cell->started_at = now;
	my_cell->mark = MARK_NONE;
	pg_compiler_barrier();
	my_cell->database = database; /* last: makes the cell valid */
}

/* bgjob_inflight_mark_bystander marks this worker's cell: it leaves because the server goes down. */
void
bgjob_inflight_mark_bystander(void)
{
	if (my_cell != NULL && my_cell->mark == MARK_NONE)
		my_cell->mark = MARK_BYSTANDER;
}

/* bgjob_inflight_end clears the job of this worker. */
void
bgjob_inflight_end(void)
{
	if (my_cell != NULL)
		my_cell->database = InvalidOid;
}

/*
 * bgjob_inflight_records returns the jobs of a database that were in flight
 * at a crash and have not been accounted for; their number, at most max.
 */
int
bgjob_inflight_records(Oid database, BgjobInflightRecord *records, int max)
{
	int n = 0;

	for (int i = 0; file != NULL && i < count_records() && n < max; i++)
	{
		Cell *cell = record_cell(i);

		if (cell->database != database)
			continue;
		records[n].job = cell->job;
		records[n].pos = cell->pos;
		records[n].started_at = cell->started_at;
		records[n].pid = cell->pid;
		records[n].jobs = cell->jobs;
		memcpy(records[n].server, cell->server, sizeof(records[n].server) - 1);
		records[n].server[sizeof(records[n].server) - 1] = '\0';
		records[n].verdict = cell->mark == MARK_CRASHED ? BGJOB_CULPRIT : BGJOB_BYSTANDER;
		records[n].entry = i;
		n++;
	}
	return n;
}

/* bgjob_inflight_forget clears the in-flight records of a database that was dropped. */
void
bgjob_inflight_forget(Oid database)
{
	for (int i = 0; file != NULL && i < count_records(); i++)
		if (record_cell(i)->database == database)
			record_cell(i)->database = InvalidOid;
}

/* bgjob_inflight_settled clears in-flight records whose accounting was committed. */
void
bgjob_inflight_settled(const BgjobInflightRecord *records, int nrecords)
{
	for (int i = 0; i < nrecords; i++)
		record_cell(records[i].entry)->database = InvalidOid;
}
