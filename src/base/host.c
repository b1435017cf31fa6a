/*-------------------------------------------------------------------------
 *
 * host.c
 *	  What machine the server runs on, and what its kernel has done.
 *
 * The in-flight file (base/inflight.c) compares these with its contents, to know
 * whether it was written here. The kernel counts the processes killed for lack of
 * memory in each control group. Only those of the server's own group count, since
 * those of the whole machine may be of other programs. Where the kernel has no such
 * count (another system, no control group), it is zero.
 *
 * Runs in the postmaster. Nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "base/host.h"
#include "common/hashfn.h"
#include "storage/fd.h"

static uint64
hash_of(const char *text)
{
	return hash_bytes_extended((const unsigned char *) text, strlen(text), 0);
}

/* Reads the first line of a file that begins with a word, "" being any; false if there is none. */
static bool
read_line(const char *path, const char *word, char *line, int size)
{
	FILE *file = AllocateFile(path, "r");
	bool found = false;

	if (file == NULL)
		return false;
	while (!found && fgets(line, size, file) != NULL)
		found = strncmp(line, word, strlen(word)) == 0;
	FreeFile(file);
	line[found ? strcspn(line, "\n") : 0] = '\0';
	return found;
}

/* Returns the path of this process's control group in a hierarchy: "memory" of version 1, "" of version 2. */
static bool
read_group(const char *hierarchy, char *path, int size)
{
	FILE *file = AllocateFile("/proc/self/cgroup", "r");
	char line[MAXPGPATH];
	bool found = false;

	if (file == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), file) != NULL)
	{
		char *name = strchr(line, ':');
		char *group = name == NULL ? NULL : strchr(name + 1, ':');

		if (group == NULL)
			continue;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		found = strcmp(name + 1, hierarchy) == 0;
		if (found)
			strlcpy(path, strcmp(group, "/") == 0 ? "" : group, size);
	}
	FreeFile(file);
	return found;
}

/* Finds the file in which the kernel counts kills for this process's control group; false if there is none. */
static bool
oom_file(char *path, int size)
{
	char group[MAXPGPATH];

	if (read_group("", group, sizeof(group)))
	{
		snprintf(path, size, "/sys/fs/cgroup%s/memory.events", group);
		if (access(path, R_OK) == 0)
			return true;
	}
	if (!read_group("memory", group, sizeof(group)))
		return false;
	snprintf(path, size, "/sys/fs/cgroup/memory%s/memory.oom_control", group);
	return access(path, R_OK) == 0;
}

/* bgjob_host_name returns a number that stands for the name of the machine. */
uint64
bgjob_host_name(void)
{
	char name[256] = "";

	(void) gethostname(name, sizeof(name) - 1);
	return hash_of(name);
}

/*
 * bgjob_host_boot returns a number that stands for the present run of the
 * kernel, the control group and a device: counts can be compared with earlier
 * ones if it is the same.
 */
uint64
bgjob_host_boot(dev_t device)
{
	char boot[64] = "";
	char path[MAXPGPATH] = "";
	char text[MAXPGPATH + 128];

	(void) read_line("/proc/sys/kernel/random/boot_id", "", boot, sizeof(boot));
	(void) oom_file(path, sizeof(path));
	snprintf(text, sizeof(text), "%s %s " UINT64_FORMAT, boot, path, (uint64) device);
	return hash_of(text);
}

/* bgjob_host_oom_kills returns how often the kernel has killed a process of this control group for want of memory. */
int64
bgjob_host_oom_kills(void)
{
	char path[MAXPGPATH];
	char line[128];
	long long kills = 0;

	if (oom_file(path, sizeof(path)) && read_line(path, "oom_kill ", line, sizeof(line)))
		(void) sscanf(line, "oom_kill %lld", &kills);
	return kills;
}
