/* What every process is asked for. A file of /proc that cannot be read takes
 * its line away, and nothing else. */
#include "site_metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "service_internal.h"

METRICS_ADD(process_add_cpu)
{
	struct rusage used;

	(void)site;
	if (getrusage(RUSAGE_SELF, &used) == 0) {
		text_addf(out, "%s %.6f\n", m->name,
			(double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
				(double)(used.ru_utime.tv_usec +
					used.ru_stime.tv_usec) /
					1e6);
	}
}

/* proc(5): the first two numbers are pages of all and of the resident. */
static int read_memory(unsigned long long pages[2])
{
	FILE *file = fopen("/proc/self/statm", "re");
	int count;

	if (file == NULL) {
		return -1;
	}
	count = fscanf(file, "%llu %llu", &pages[0], &pages[1]);
	(void)fclose(file);
	return count == 2 ? 0 : -1;
}

static void add_memory(
	struct text *out, const struct site_metric *m, size_t which)
{
	unsigned long long pages[2];

	if (read_memory(pages) == 0) {
		text_addf(out, "%s %llu\n", m->name,
			pages[which] * (unsigned long long)getpagesize());
	}
}

METRICS_ADD(process_add_resident)
{
	(void)site;
	add_memory(out, m, 1);
}

METRICS_ADD(process_add_virtual)
{
	(void)site;
	add_memory(out, m, 0);
}

METRICS_ADD(process_add_fds)
{
	DIR *directory = opendir("/proc/self/fd");
	const struct dirent *entry;
	int count = -1; /* that of the directory itself */

	(void)site;
	if (directory == NULL) {
		return;
	}
	while ((entry = readdir(directory)) != NULL) {
		count += entry->d_name[0] != '.';
	}
	(void)closedir(directory);
	text_addf(out, "%s %d\n", m->name, count);
}

METRICS_ADD(process_add_max_fds)
{
	struct rlimit limit;

	(void)site;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		text_addf(out, "%s %llu\n", m->name,
			(unsigned long long)limit.rlim_cur);
	}
}

METRICS_ADD(process_add_start)
{
	text_addf(out, "%s %.3f\n", m->name,
		(double)site->service->started_wall_ms / 1000);
}
