#include "config/problem.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct problem {
	struct place at;
	size_t number; /* of two at one place, the first found comes first */
	struct err err;
};

void problems_init(struct problems *p)
{
	memset(p, 0, sizeof *p);
}

void problems_close(struct problems *p)
{
	free(p->items);
	memset(p, 0, sizeof *p);
}

struct err *problems_add(struct problems *p, struct place at)
{
	struct problem *added;

	p->items = mem_resize(p->items, (p->count + 1) * sizeof *p->items);
	added = &p->items[p->count];
	added->at = at;
	added->number = p->count;
	err_clear(&added->err);
	p->count++;
	return &added->err;
}

void problems_reset(struct problems *p)
{
	p->count = 0;
}

static int compare(const void *left, const void *right)
{
	const struct problem *a = left, *b = right;

	if (a->at.line != b->at.line) {
		return a->at.line < b->at.line ? -1 : 1;
	}
	if (a->at.column != b->at.column) {
		return a->at.column < b->at.column ? -1 : 1;
	}
	return a->number < b->number ? -1 : 1;
}

void problems_print(struct problems *p, const char *path, struct text *out)
{
	if (p->count == 0) {
		return;
	}
	qsort(p->items, p->count, sizeof *p->items, compare);
	for (size_t i = 0; i < p->count; i++) {
		const struct problem *problem = &p->items[i];
		const struct err *e = &problem->err;

		text_addf(out, "%s:%zu:%zu: %s\n", path, problem->at.line,
			problem->at.column, e->message);
		if (e->detail[0] != '\0') {
			text_addf(out, "    detail: %s\n", e->detail);
		}
		if (e->hint[0] != '\0') {
			text_addf(out, "    hint: %s\n", e->hint);
		}
	}
}
