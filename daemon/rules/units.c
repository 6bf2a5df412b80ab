#include "rules/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t size; /* in microseconds or bytes */
};

/* Largest first: formatting takes the first that divides. */
static const struct unit times[] = {
	{ "d", INT64_C(86400000000) },
	{ "h", INT64_C(3600000000) },
	{ "min", INT64_C(60000000) },
	{ "s", INT64_C(1000000) },
	{ "ms", INT64_C(1000) },
	{ "us", INT64_C(1) },
	{ NULL, 0 },
};

static const struct unit sizes[] = {
	{ "TB", INT64_C(1) << 40 },
	{ "GB", INT64_C(1) << 30 },
	{ "MB", INT64_C(1) << 20 },
	{ "kB", INT64_C(1) << 10 },
	{ "B", INT64_C(1) },
	{ NULL, 0 },
};

static const char time_hint[] =
	"A time is a number with one of the units "
	"\"us\", \"ms\", \"s\", \"min\", \"h\" and \"d\", such as \"500ms\".";
static const char bytes_hint[] =
	"A size is a number with one of the units "
	"\"B\", \"kB\", \"MB\", \"GB\" and \"TB\", such as \"16MB\".";
static const char count_hint[] =
	"A count is a whole number without a unit, such as \"1000\".";
static const char large_hint[] = "The number is too large.";

/* A number in text: digits, perhaps with a fraction. */
struct number {
	int64_t whole;
	double fraction; /* 0 <= fraction < 1 */
	const char *end; /* what follows it */
};

static int is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Not strtod(): it reads hex, "inf" and the locale's decimal point. */
static int read_number(const char *text, struct number *n, const char **hint,
	const char *what_is_allowed)
{
	double weight = 0.1;
	const char *c = text;

	n->whole = 0;
	n->fraction = 0;
	*hint = what_is_allowed;
	if (!is_digit(*c)) {
		return -1;
	}
	for (; is_digit(*c); c++) {
		if (__builtin_mul_overflow(n->whole, 10, &n->whole) ||
			__builtin_add_overflow(n->whole, *c - '0', &n->whole)) {
			*hint = large_hint;
			return -1;
		}
	}
	if (*c == '.') {
		c++;
		if (!is_digit(*c)) {
			return -1;
		}
		for (; is_digit(*c); c++) {
			n->fraction += weight * (*c - '0');
			weight /= 10;
		}
	}
	n->end = c;
	return 0;
}

/* The number in the smallest unit of the table, rounded. */
static int parse(const char *text, const struct unit *units, int64_t *value,
	const char **hint, const char *what_is_allowed)
{
	struct number n;
	int64_t rest;

	if (read_number(text, &n, hint, what_is_allowed) != 0) {
		return -1;
	}
	if (*n.end == '\0' && n.whole == 0 && n.fraction <= 0) {
		*value = 0;
		return 0;
	}
	while (*n.end == ' ') {
		n.end++;
	}
	while (units->name != NULL && strcmp(units->name, n.end) != 0) {
		units++;
	}
	if (units->name == NULL) {
		return -1;
	}
	rest = (int64_t)(n.fraction * (double)units->size + 0.5);
	if (__builtin_mul_overflow(n.whole, units->size, value) ||
		__builtin_add_overflow(*value, rest, value)) {
		*hint = large_hint;
		return -1;
	}
	return 0;
}

int units_parse_time_ms(const char *text, int64_t *value, const char **hint)
{
	int64_t us;

	if (parse(text, times, &us, hint, time_hint) != 0) {
		return -1;
	}
	*value = us / 1000 + (us % 1000 >= 500);
	return 0;
}

int units_parse_bytes(const char *text, int64_t *value, const char **hint)
{
	int64_t bytes;

	if (parse(text, sizes, &bytes, hint, bytes_hint) != 0) {
		return -1;
	}
	*value = bytes;
	return 0;
}

int units_parse_count(const char *text, int64_t *value, const char **hint)
{
	struct number n;

	if (read_number(text, &n, hint, count_hint) != 0 ||
		text[strspn(text, "0123456789")] != '\0') {
		return -1;
	}
	*value = n.whole;
	return 0;
}

static char *format(
	char *buffer, size_t size, int64_t value, const struct unit *units)
{
	if (value == 0) {
		(void)snprintf(buffer, size, "0");
		return buffer;
	}
	while (value % units->size != 0) {
		units++;
	}
	(void)snprintf(buffer, size, "%" PRId64 "%s", value / units->size,
		units->name);
	return buffer;
}

char *units_format_time_ms(char *buffer, size_t size, int64_t value)
{
	static const struct unit in_ms[] = {
		{ "d", INT64_C(86400000) },
		{ "h", INT64_C(3600000) },
		{ "min", INT64_C(60000) },
		{ "s", INT64_C(1000) },
		{ "ms", INT64_C(1) },
	};

	return format(buffer, size, value, in_ms);
}

char *units_format_bytes(char *buffer, size_t size, int64_t value)
{
	return format(buffer, size, value, sizes);
}

char *units_format_short(char *buffer, size_t size, double value)
{
	static const char units[] = "\0kMGTPE";
	size_t unit = 0;

	/* 999.95k would round to 1000.0k. */
	while (value >= (unit == 0 ? 999.5 : 999.95) &&
		unit + 2 < sizeof units) {
		value /= 1000;
		unit++;
	}
	if (unit == 0) {
		(void)snprintf(buffer, size,
			value > 0 && value < 10 ? "%.1f" : "%.0f", value);
	} else {
		(void)snprintf(buffer, size, "%.1f%c", value, units[unit]);
	}
	return buffer;
}
