#include "logs.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL_BYTES = 8192 };

static void add_tail(struct text *out, const char *path)
{
	char tail[TAIL_BYTES + 1];
	FILE *file = fopen(path, "re");
	size_t length;

	if (file == NULL) {
		return;
	}
	if (fseek(file, -TAIL_BYTES, SEEK_END) != 0) {
		rewind(file);
	}
	length = fread(tail, 1, TAIL_BYTES, file);
	fclose(file);
	text_addf(out, "---- the end of %s\n", path);
	text_add_bytes(out, tail, length);
	text_add(out, "----\n");
}

void logs_add_tails(struct text *out, const char *dir)
{
	char pattern[PATH_MAX];
	glob_t found;

	(void)snprintf(pattern, sizeof pattern, "%s/*.log", dir);
	if (glob(pattern, 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++) {
			add_tail(out, found.gl_pathv[i]);
		}
		globfree(&found);
	}
}

void logs_print_tails(const char *dir)
{
	struct text tails;

	text_init(&tails);
	logs_add_tails(&tails, dir);
	fputs(tails.data, stderr);
	text_close(&tails);
}

/* Two spaces follow a severity, so a statement that only speaks of panic is
 * none. */
int logs_count_faults(const char *path)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	int faults = 0;

	while (file != NULL && getline(&line, &size, file) >= 0) {
		if (strstr(line, "PANIC:  ") != NULL ||
			strncmp(line, "TRAP:", 5) == 0) {
			fprintf(stderr, "%s: %s", path, line);
			faults++;
		}
	}
	free(line);
	if (file != NULL) {
		fclose(file);
	}
	return faults;
}
