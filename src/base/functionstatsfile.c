/*-------------------------------------------------------------------------
 *
 * functionstatsfile.c
 *	  The file that keeps the statistics of functions over a restart.
 *
 * The postmaster writes pg_stat/bgjob_function_stats.stat when it shuts down, and
 * reads and removes it when it starts, as the server does with its own
 * statistics. After a crash or an immediate shutdown there is no file, and the
 * statistics begin anew: a process may have been killed while it changed them. Nor
 * has a backup of a running server the file.
 *
 * The file has a head, the statistics as they are in memory, and a checksum of
 * both. It is read only if its size, its layout and its checksum are right;
 * otherwise it is ignored, and the log says so. It is written under another name
 * and renamed, so that a full disk leaves no file rather than a part of one.
 *
 * Run by the postmaster, while no other process uses the shared memory; also by a
 * server in single-user mode.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/functionstats.h"
#include "base/functionstatsfile.h"
#include "base/guc.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/ipc.h"

#define STATS_FILE     PGSTAT_STAT_PERMANENT_DIRECTORY "/bgjob_function_stats.stat"
#define STATS_FILE_NEW STATS_FILE ".tmp"

#define STATS_MAGIC 0x626a7331 /* "bjs1" */

typedef struct FileHead
{
	uint32 magic;
	uint32 row_size; /* another layout has another size, or another magic number */
	uint64 nrows;
} FileHead;

/* ---- writing ---- */

static bool
write_part(FILE *file, const void *part, Size size, pg_crc32c *crc)
{
	COMP_CRC32C(*crc, part, size);
	return fwrite(part, size, 1, file) == 1;
}

static uint64
count_rows(void)
{
	uint64 n = 0;

	for (int i = 0; i < bgjob_function_stats_max; i++)
		n += bgjob_function_stats_at(i) != NULL;
	return n;
}

/* Writes all statistics; false, with errno set, if that fails. */
static bool
write_rows(FILE *file)
{
	FileHead head = {STATS_MAGIC, sizeof(BgjobFunctionStats), count_rows()};
	pg_crc32c crc;
	bool ok;

	INIT_CRC32C(crc);
	ok = write_part(file, &head, sizeof(head), &crc);
	for (int i = 0; i < bgjob_function_stats_max && ok; i++)
	{
		const BgjobFunctionStats *row = bgjob_function_stats_at(i);

		ok = row == NULL || write_part(file, row, sizeof(*row), &crc);
	}
	FIN_CRC32C(crc);
	return ok && fwrite(&crc, sizeof(crc), 1, file) == 1;
}

/* Returns whether the server has been shut down in order. An immediate shutdown kills the processes, and is no failure either. */
static bool
is_shut_down(void)
{
	bool valid;
	ControlFileData *control = get_controlfile(DataDir, &valid);

	return valid &&
		   (control->state == DB_SHUTDOWNED || control->state == DB_SHUTDOWNED_IN_RECOVERY);
}

/* Writes the file when the server shuts down; an exit callback, "code" is 0 unless the server has failed. */
static void
save(int code, Datum arg)
{
	FILE *file;

	if (code != 0 || !is_shut_down())
		return;
	file = AllocateFile(STATS_FILE_NEW, PG_BINARY_W);
	if (file != NULL && write_rows(file))
	{
		if (FreeFile(file) == 0)
		{
			if (durable_rename(STATS_FILE_NEW, STATS_FILE, LOG) != 0)
				(void) unlink(STATS_FILE_NEW);
			return;
		}
		file = NULL;
	}
	ereport(LOG, (errcode_for_file_access(),
				  errmsg("could not write file \"%s\": %m", STATS_FILE_NEW),
				  errdetail("The statistics of functions begin anew.")));
	if (file != NULL)
		(void) FreeFile(file);
	(void) unlink(STATS_FILE_NEW);
}

/* ---- reading ---- */

/* Returns whether the file has the size that its head tells. */
static bool
has_right_size(FILE *file, const FileHead *head)
{
	uint64 frame = sizeof(FileHead) + sizeof(pg_crc32c);
	struct stat status;
	uint64 rows;

	if (fstat(fileno(file), &status) != 0 || status.st_size < frame)
		return false;
	rows = (uint64) status.st_size - frame;
	return rows % sizeof(BgjobFunctionStats) == 0 &&
		   rows / sizeof(BgjobFunctionStats) == head->nrows;
}

/* Reads the whole file, and returns whether it is as it was written. */
static bool
is_whole(FILE *file, FileHead *head)
{
	BgjobFunctionStats row;
	pg_crc32c crc;
	pg_crc32c stored;

	INIT_CRC32C(crc);
	if (fread(head, sizeof(*head), 1, file) != 1 || head->magic != STATS_MAGIC ||
		head->row_size != sizeof(row) || !has_right_size(file, head))
		return false;
	COMP_CRC32C(crc, head, sizeof(*head));
	for (uint64 i = 0; i < head->nrows; i++)
	{
		if (fread(&row, sizeof(row), 1, file) != 1)
			return false;
		COMP_CRC32C(crc, &row, sizeof(row));
	}
	FIN_CRC32C(crc);
	return fread(&stored, sizeof(stored), 1, file) == 1 && EQ_CRC32C(crc, stored);
}

/* Reads the statistics; false if the file is not what this server has written. */
static bool
read_rows(FILE *file)
{
	BgjobFunctionStats row;
	FileHead head;

	if (!is_whole(file, &head) || fseeko(file, sizeof(head), SEEK_SET) != 0)
		return false;
	for (uint64 i = 0; i < head.nrows; i++)
	{
		if (fread(&row, sizeof(row), 1, file) != 1)
			return false;
		row.name[sizeof(row.name) - 1] = '\0';
		row.last_error[sizeof(row.last_error) - 1] = '\0';
		row.sums.last_sqlstate[sizeof(row.sums.last_sqlstate) - 1] = '\0';
		bgjob_function_stats_restore(&row);
	}
	return true;
}

/* Reads the file, if there is one, and removes it. */
static void
load(void)
{
	FILE *file = AllocateFile(STATS_FILE, PG_BINARY_R);

	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG, (errcode_for_file_access(),
						  errmsg("could not read file \"%s\": %m", STATS_FILE)));
		return;
	}
	if (!read_rows(file))
		ereport(LOG, (errmsg("ignoring invalid data in file \"%s\"", STATS_FILE),
					  errdetail("The statistics of functions begin anew.")));
	(void) FreeFile(file);
	(void) unlink(STATS_FILE);
}

/*
 * bgjob_function_stats_file_startup reads the file, and has it written when the
 * server shuts down; from shmem_startup_hook, after bgjob_function_stats_startup.
 */
void
bgjob_function_stats_file_startup(void)
{
	if (IsUnderPostmaster)
		return;
	on_shmem_exit(save, (Datum) 0);
	load();
}
