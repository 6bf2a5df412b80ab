#include "config/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/fill.h"
#include "config/option.h"

enum { FILE_MAX_BYTES = 1 << 20 };

static void free_options(const char *section, void *base)
{
	const struct option_def *o;

	for (o = option_table; o->name != NULL; o++) {
		if (strcmp(o->section, section) == 0) {
			option_free(o, base);
		}
	}
}

void config_close(struct config *c)
{
	const struct option_section *s;

	for (size_t i = 0; i < c->databases_count; i++) {
		free_options("databases", &c->databases[i]);
	}
	free(c->databases);
	for (s = option_sections; s->name != NULL; s++) {
		if (strcmp(s->name, "databases") != 0) {
			free_options(s->name, c);
		}
	}
	memset(c, 0, sizeof *c);
}

int config_parse(struct config *c, const char *yaml, size_t length,
	const char *path, struct text *errors)
{
	struct problems problems;
	struct node *root;
	int count;

	memset(c, 0, sizeof *c);
	problems_init(&problems);
	root = node_read(yaml, length, &problems);
	if (root != NULL && root->kind != NODE_NULL) {
		fill_config(c, root, &problems);
	}
	node_free(root);
	problems_print(&problems, path, errors);
	count = (int)problems.count;
	problems_close(&problems);
	if (count > 0) {
		config_close(c);
	}
	return count;
}

/* All of a file, in memory that the caller frees; NULL and errno set when
 * it cannot be read. */
static char *read_file(const char *path, size_t *length)
{
	FILE *file = fopen(path, "re");
	char *content;
	int reason;

	if (file == NULL) {
		return NULL;
	}
	content = mem_new(FILE_MAX_BYTES + 1, 1);
	errno = 0;
	*length = fread(content, 1, FILE_MAX_BYTES + 1, file);
	reason = ferror(file) ? errno : 0;
	(void)fclose(file);
	if (reason == 0 && *length > FILE_MAX_BYTES) {
		reason = EFBIG;
	}
	if (reason != 0) {
		free(content);
		errno = reason;
		return NULL;
	}
	return content;
}

int config_load(struct config *c, const char *path, struct text *errors)
{
	size_t length;
	char *yaml = read_file(path, &length);
	int count;

	if (yaml == NULL) {
		memset(c, 0, sizeof *c);
		text_addf(errors,
			"could not read configuration file \"%s\": %s\n", path,
			strerror(errno));
		return 1;
	}
	count = config_parse(c, yaml, length, path, errors);
	free(yaml);
	return count;
}
