/* The value of an option in two configurations: for the reload, which
 * compares what is in use with what the file says now. */
#include "config/option.h"

#include <string.h>

#include "rules/units.h"

const char *option_reload_name(const struct option_def *o)
{
	static const char *const names[] = {
		[RELOAD_NEVER] = NULL,
		[RELOAD_AT_ONCE] = "at once",
		[RELOAD_AT_BATCH] = "with the next batch",
		[RELOAD_AT_CONNECT] = "with the next connection of a job",
	};

	return names[o->reload];
}

struct list {
	char **items;
	size_t count;
};

static struct list list_at(const struct option_def *o, const void *base)
{
	struct list list = {
		*(char **const *)((const char *)base + o->offset),
		*(const size_t *)((const char *)base + o->count_offset),
	};

	return list;
}

static int lists_are_equal(const struct list *a, const struct list *b)
{
	if (a->count != b->count) {
		return 0;
	}
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0) {
			return 0;
		}
	}
	return 1;
}

static const char *string_at(const struct option_def *o, const void *base)
{
	return *(char *const *)((const char *)base + o->offset);
}

static int bool_at(const struct option_def *o, const void *base)
{
	return *(const int *)((const char *)base + o->offset);
}

int option_is_equal(const struct option_def *o, const void *a, const void *b)
{
	struct list first, second;

	switch (o->type) {
	case OPTION_STRING:
	case OPTION_ENUM:
		return strcmp(string_at(o, a), string_at(o, b)) == 0;
	case OPTION_STRING_LIST:
		first = list_at(o, a);
		second = list_at(o, b);
		return lists_are_equal(&first, &second);
	case OPTION_BOOL:
		return bool_at(o, a) == bool_at(o, b);
	default:
		return option_number(o, a) == option_number(o, b);
	}
}

static void swap_bytes(void *a, void *b, size_t size)
{
	char kept[sizeof(int64_t)];

	memcpy(kept, a, size);
	memcpy(a, b, size);
	memcpy(b, kept, size);
}

void option_swap(const struct option_def *o, void *a, void *b)
{
	char *first = a, *second = b;

	switch (o->type) {
	case OPTION_STRING_LIST:
		swap_bytes(first + o->count_offset, second + o->count_offset,
			sizeof(size_t));
		swap_bytes(
			first + o->offset, second + o->offset, sizeof(char **));
		return;
	case OPTION_STRING:
	case OPTION_ENUM:
		swap_bytes(
			first + o->offset, second + o->offset, sizeof(char *));
		return;
	case OPTION_BOOL:
		swap_bytes(first + o->offset, second + o->offset, sizeof(int));
		return;
	default:
		swap_bytes(
			first + o->offset, second + o->offset, sizeof(int64_t));
	}
}

void option_add_number(
	const struct option_def *o, int64_t value, struct text *out)
{
	char buffer[32];

	switch (o->type) {
	case OPTION_TIME:
		text_add(out,
			units_format_time_ms(buffer, sizeof buffer, value));
		return;
	case OPTION_BYTES:
		text_add(out, units_format_bytes(buffer, sizeof buffer, value));
		return;
	default:
		text_addf(out, "%lld", (long long)value);
	}
}

void option_add_value(
	const struct option_def *o, const void *base, struct text *out)
{
	struct list list;

	switch (o->type) {
	case OPTION_STRING:
	case OPTION_ENUM:
		text_add(out, string_at(o, base));
		return;
	case OPTION_STRING_LIST:
		list = list_at(o, base);
		text_add(out, "[");
		for (size_t i = 0; i < list.count; i++) {
			text_addf(
				out, "%s%s", i > 0 ? ", " : "", list.items[i]);
		}
		text_add(out, "]");
		return;
	case OPTION_BOOL:
		text_add(out, bool_at(o, base) ? "true" : "false");
		return;
	default:
		option_add_number(o, option_number(o, base), out);
	}
}
