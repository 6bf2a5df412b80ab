#include "ctl/ctl_table.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "ctl/ctl_format.h"

void ctl_table_init(
	struct ctl_table *t, const char *const *headers, const char *align)
{
	memset(t, 0, sizeof *t);
	t->columns = strlen(align);
	t->headers = headers;
	t->align = align;
	t->widths = mem_new(t->columns, sizeof *t->widths);
}

void ctl_table_close(struct ctl_table *t)
{
	for (size_t i = 0; i < t->count; i++) {
		free(t->cells[i]);
	}
	free(t->cells);
	free(t->widths);
	memset(t, 0, sizeof *t);
}

void ctl_table_go_on(struct ctl_table *t)
{
	for (size_t i = 0; i < t->count; i++) {
		free(t->cells[i]);
	}
	t->count = 0;
	t->headers = NULL;
}

void ctl_table_add(struct ctl_table *t, const char *cell)
{
	struct text text;

	text_init(&text);
	ctl_format_inert(&text, cell != NULL ? cell : "-");
	t->cells = mem_resize(t->cells, (t->count + 1) * sizeof *t->cells);
	t->cells[t->count++] = text_take(&text);
}

size_t ctl_table_measure(const char *s, size_t *bytes)
{
	static int utf8 = -1;
	int columns;

	if (utf8 < 0) {
		utf8 = pg_char_to_encoding("UTF8");
	}
	*bytes = strnlen(s, (size_t)PQmblen(s, utf8));
	columns = PQdsplen(s, utf8);
	return columns > 0 ? (size_t)columns : 0;
}

size_t ctl_table_columns(const char *s)
{
	size_t columns = 0, bytes;

	for (; *s != '\0'; s += bytes) {
		columns += ctl_table_measure(s, &bytes);
	}
	return columns;
}

size_t ctl_table_width(FILE *file)
{
	struct winsize size;

	if (!isatty(fileno(file)) ||
		ioctl(fileno(file), TIOCGWINSZ, &size) != 0) {
		return 0;
	}
	return size.ws_col;
}

static void add_padding(struct text *line, size_t width, const char *cell)
{
	for (size_t used = ctl_table_columns(cell); used < width; used++) {
		text_add(line, " ");
	}
}

static void print_line(const struct text *line, FILE *file, size_t width)
{
	size_t length = 0, columns = 0, bytes;

	for (; length < line->length; length += bytes) {
		columns += ctl_table_measure(line->data + length, &bytes);
		if (width > 0 && columns > width) {
			break;
		}
	}
	while (length > 0 && line->data[length - 1] == ' ') {
		length--;
	}
	(void)fwrite(line->data, 1, length, file);
	(void)fputc('\n', file);
}

static void print_row(const struct ctl_table *t, const char *const *cells,
	FILE *file, size_t width)
{
	struct text line;

	text_init(&line);
	for (size_t i = 0; i < t->columns; i++) {
		text_add(&line, i > 0 ? "  " : "");
		if (t->align[i] == 'r') {
			add_padding(&line, t->widths[i], cells[i]);
		}
		text_add(&line, cells[i]);
		if (t->align[i] == 'l') {
			add_padding(&line, t->widths[i], cells[i]);
		}
	}
	print_line(&line, file, width);
	text_close(&line);
}

static void widen(size_t *width, const char *cell)
{
	size_t columns = ctl_table_columns(cell);

	*width = columns > *width ? columns : *width;
}

void ctl_table_print(struct ctl_table *t, FILE *file, size_t width)
{
	assert(t->columns > 0);
	for (size_t i = 0; i < t->columns && t->headers != NULL; i++) {
		widen(&t->widths[i], t->headers[i]);
	}
	for (size_t i = 0; i < t->count; i++) {
		widen(&t->widths[i % t->columns], t->cells[i]);
	}
	if (t->headers != NULL) {
		print_row(t, t->headers, file, width);
	}
	for (size_t i = 0; i + t->columns <= t->count; i += t->columns) {
		print_row(t, (const char *const *)t->cells + i, file, width);
	}
}
