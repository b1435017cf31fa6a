/*-------------------------------------------------------------------------
 *
 * statsfile.c
 *	  The files that keep statistics over a restart.
 *
 * The postmaster writes pg_stat/bgjob_*.stat when it shuts down, and reads and removes them
 * when it starts, as the server does with its own statistics. After a crash or an
 * immediate shutdown there is no file, and the statistics begin anew: a process may
 * have been killed while it changed them. Nor has a backup of a running server the files.
 *
 * A file has a head, the statistics as they are in memory, and a checksum of both. It is
 * read only if its size, its layout and its checksum are right, and if the server has not run since:
 * the head names the checkpoint of the shutdown. So what was counted in it is not added to the history
 * (store/statshistory.c) twice, even if a crash of the operating system brings a removed file back.
 * A file that is ignored is mentioned in the log. It is written under another name and renamed, so
 * that a full disk leaves no file rather than a part of one.
 *
 * Run by the postmaster, while no other process uses the shared memory; also by a
 * server in single-user mode.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/xlogdefs.h"
#include "base/functionstats.h"
#include "base/guc.h"
#include "base/queuestats.h"
#include "base/statsfile.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/ipc.h"

#define STATS_MAGIC 0x626a7332 /* "bjs2" */

typedef struct FileHead
{
	uint32 magic;
	uint32 row_size; /* another layout has another size, or another magic number */
	uint64 nrows;
	XLogRecPtr checkpoint; /* of the shutdown */
} FileHead;

/* What a file keeps. */
typedef struct StatsFile
{
	const char *path;
	const char *path_new;
	Size row_size;
	int (*places)(void);
	const void *(*row_at)(int position); /* NULL: there is none at that position */
	void (*restore)(void *row);
} StatsFile;

/* ---- the statistics ---- */

static int
function_places(void)
{
	return bgjob_function_stats_max;
}

static const void *
function_at(int position)
{
	return bgjob_function_stats_at(position);
}

static void
restore_function(void *row)
{
	BgjobFunctionStats *stats = row;

	stats->name[sizeof(stats->name) - 1] = '\0';
	stats->last_error[sizeof(stats->last_error) - 1] = '\0';
	stats->sums.last_sqlstate[sizeof(stats->sums.last_sqlstate) - 1] = '\0';
	bgjob_function_stats_restore(stats);
}

static int
queue_places(void)
{
	return BGJOB_QUEUE_STATS;
}

static const void *
queue_at(int position)
{
	static BgjobQueueKept kept;

	return bgjob_queue_stats_kept(position, &kept) ? &kept : NULL;
}

static void
restore_queue(void *row)
{
	BgjobQueueKept *kept = row;

	kept->key.queue[sizeof(kept->key.queue) - 1] = '\0';
	bgjob_queue_stats_restore(kept);
}

#define STATS_PATH(name) PGSTAT_STAT_PERMANENT_DIRECTORY "/bgjob_" name "_stats.stat"

static const StatsFile files[] = {
	{STATS_PATH("function"), STATS_PATH("function") ".tmp", sizeof(BgjobFunctionStats),
	 function_places, function_at, restore_function},
	{STATS_PATH("queue"), STATS_PATH("queue") ".tmp", sizeof(BgjobQueueKept), queue_places,
	 queue_at, restore_queue},
};

/* ---- writing ---- */

static bool
write_part(FILE *file, const void *part, Size size, pg_crc32c *crc)
{
	COMP_CRC32C(*crc, part, size);
	return fwrite(part, size, 1, file) == 1;
}

static uint64
count_rows(const StatsFile *what)
{
	uint64 n = 0;

	for (int i = 0; i < what->places(); i++)
		n += what->row_at(i) != NULL;
	return n;
}

/* Writes all statistics; false, with errno set, if that fails. */
static bool
write_rows(const StatsFile *what, FILE *file, XLogRecPtr checkpoint)
{
	FileHead head = {STATS_MAGIC, what->row_size, count_rows(what), checkpoint};
	pg_crc32c crc;
	bool ok;

	INIT_CRC32C(crc);
	ok = write_part(file, &head, sizeof(head), &crc);
	for (int i = 0; i < what->places() && ok; i++)
	{
		const void *row = what->row_at(i);

		ok = row == NULL || write_part(file, row, what->row_size, &crc);
	}
	FIN_CRC32C(crc);
	return ok && fwrite(&crc, sizeof(crc), 1, file) == 1;
}

/*
 * Returns the checkpoint with which the server was shut down in order; invalid: it was not. An
 * immediate shutdown kills the processes, and is no failure either.
 */
static XLogRecPtr
shutdown_checkpoint(void)
{
	bool valid;
	ControlFileData *control = get_controlfile(DataDir, &valid);

	return valid && (control->state == DB_SHUTDOWNED ||
					 control->state == DB_SHUTDOWNED_IN_RECOVERY)
			   ? control->checkPoint
			   : InvalidXLogRecPtr;
}

static void
save_file(const StatsFile *what, XLogRecPtr checkpoint)
{
	FILE *file = AllocateFile(what->path_new, PG_BINARY_W);

	if (file != NULL && write_rows(what, file, checkpoint))
	{
		if (FreeFile(file) == 0)
		{
			if (durable_rename(what->path_new, what->path, LOG) != 0)
				(void) unlink(what->path_new);
			return;
		}
		file = NULL;
	}
	ereport(LOG, (errcode_for_file_access(),
				  errmsg("could not write file \"%s\": %m", what->path_new),
				  errdetail("The statistics in it begin anew.")));
	if (file != NULL)
		(void) FreeFile(file);
	(void) unlink(what->path_new);
}

/* Writes the files when the server shuts down; an exit callback, "code" is 0 unless the server has failed. */
static void
save(int code, Datum arg)
{
	XLogRecPtr checkpoint = code == 0 ? shutdown_checkpoint() : InvalidXLogRecPtr;

	if (XLogRecPtrIsInvalid(checkpoint))
		return;
	for (int i = 0; i < lengthof(files); i++)
		save_file(&files[i], checkpoint);
}

/* ---- reading ---- */

/* Returns whether the file has the size that its head tells. */
static bool
has_right_size(const StatsFile *what, FILE *file, const FileHead *head)
{
	uint64 frame = sizeof(FileHead) + sizeof(pg_crc32c);
	struct stat status;
	uint64 rows;

	if (fstat(fileno(file), &status) != 0 || status.st_size < frame)
		return false;
	rows = (uint64) status.st_size - frame;
	return rows % what->row_size == 0 && rows / what->row_size == head->nrows;
}

/* Reads the whole file, and returns whether it is as it was written, by the last shutdown. "row" has room for a row. */
static bool
is_whole(const StatsFile *what, FILE *file, FileHead *head, void *row)
{
	pg_crc32c crc;
	pg_crc32c stored;

	INIT_CRC32C(crc);
	if (fread(head, sizeof(*head), 1, file) != 1 || head->magic != STATS_MAGIC ||
		head->row_size != what->row_size || !has_right_size(what, file, head) ||
		head->checkpoint != shutdown_checkpoint())
		return false;
	COMP_CRC32C(crc, head, sizeof(*head));
	for (uint64 i = 0; i < head->nrows; i++)
	{
		if (fread(row, what->row_size, 1, file) != 1)
			return false;
		COMP_CRC32C(crc, row, what->row_size);
	}
	FIN_CRC32C(crc);
	return fread(&stored, sizeof(stored), 1, file) == 1 && EQ_CRC32C(crc, stored);
}

/* Reads the statistics; false if the file is not what this server has written. */
static bool
read_rows(const StatsFile *what, FILE *file)
{
	void *row = palloc(what->row_size);
	FileHead head;
	bool ok = is_whole(what, file, &head, row) && fseeko(file, sizeof(head), SEEK_SET) == 0;

	for (uint64 i = 0; ok && i < head.nrows; i++)
	{
		ok = fread(row, what->row_size, 1, file) == 1;
		if (ok)
			what->restore(row);
	}
	pfree(row);
	return ok;
}

/* Reads a file, if there is one, and removes it. */
static void
load(const StatsFile *what)
{
	FILE *file = AllocateFile(what->path, PG_BINARY_R);

	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG, (errcode_for_file_access(),
						  errmsg("could not read file \"%s\": %m", what->path)));
		return;
	}
	if (!read_rows(what, file))
		ereport(LOG, (errmsg("ignoring invalid data in file \"%s\"", what->path),
					  errdetail("The statistics in it begin anew.")));
	(void) FreeFile(file);
	(void) unlink(what->path);
}

/*
 * bgjob_stats_files_startup reads the files, and has them written when the server shuts
 * down; from shmem_startup_hook, when the statistics are there.
 */
void
bgjob_stats_files_startup(void)
{
	if (IsUnderPostmaster)
		return;
	on_shmem_exit(save, (Datum) 0);
	for (int i = 0; i < lengthof(files); i++)
		load(&files[i]);
}
