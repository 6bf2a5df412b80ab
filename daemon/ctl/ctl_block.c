#include "ctl/ctl_block.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/ctl_table.h"

enum { LEAST_WIDTH = 20 };

void block_init(struct block *b, size_t width)
{
	memset(b, 0, sizeof *b);
	b->width = width < LEAST_WIDTH ? LEAST_WIDTH : width;
	text_init(&b->row);
}

void block_close(struct block *b)
{
	for (size_t i = 0; i < b->count; i++) {
		free(b->lines[i]);
	}
	free(b->lines);
	text_close(&b->row);
	memset(b, 0, sizeof *b);
}

/* ---- columns */

static int is_mark(char c)
{
	return c > 0 && c < ' ';
}

size_t block_columns(const char *line)
{
	return ctl_table_columns(line);
}

void block_pad(struct text *line, size_t columns)
{
	for (size_t used = block_columns(line->data); used < columns; used++) {
		text_add(line, " ");
	}
}

/* Bytes of s that fit, marks among them. */
static size_t fitting(const char *s, size_t columns)
{
	size_t bytes = 0, used = 0;

	while (s[bytes] != '\0') {
		size_t one, wide = ctl_table_measure(s + bytes, &one);

		if (used + wide > columns) {
			break;
		}
		used += wide;
		bytes += one;
	}
	return bytes;
}

static int is_marked(const char *s, size_t bytes)
{
	int open = 0;

	for (size_t i = 0; i < bytes; i++) {
		open = is_mark(s[i]) ? s[i] != *MARK_END : open;
	}
	return open;
}

void block_add_cut(struct text *line, const char *s, size_t columns)
{
	static const char dots[] = "..";
	size_t shown = columns, bytes;

	if (block_columns(s) <= columns) {
		text_add(line, s);
		return;
	}
	shown -= columns >= sizeof dots ? sizeof dots - 1 : 0;
	bytes = fitting(s, shown);
	text_add_bytes(line, s, bytes);
	if (shown < columns) {
		text_add(line, dots);
	}
	if (is_marked(s, bytes)) {
		text_add(line, MARK_END);
	}
}

/* ---- lines */

static void push(struct block *b, char *line)
{
	b->lines = mem_resize(b->lines, (b->count + 1) * sizeof *b->lines);
	b->lines[b->count++] = line;
}

void block_line(struct block *b, const char *line)
{
	struct text cut;

	block_end(b);
	text_init(&cut);
	block_add_cut(&cut, line, b->width);
	push(b, text_take(&cut));
}

void block_end(struct block *b)
{
	if (!b->is_open) {
		return;
	}
	while (b->row.length > 0 && b->row.data[b->row.length - 1] == ' ') {
		b->row.data[--b->row.length] = '\0';
	}
	b->is_open = 0;
	push(b, text_take(&b->row));
	text_init(&b->row);
}

/* ---- rows of fields */

static void begin_line(struct block *b)
{
	block_end(b);
	b->is_open = 1;
	block_pad(&b->row, b->indent);
	b->column = b->indent;
}

void block_row(struct block *b, const char *label)
{
	block_end(b);
	b->is_open = 1;
	text_add(&b->row, label);
	b->indent = block_columns(label);
	b->column = b->indent;
}

/* A word longer than a line is cut into pieces of one. */
static void add_word(struct block *b, const char *word, size_t length)
{
	struct text rest;
	const char *at;

	text_init(&rest);
	text_add_bytes(&rest, word, length);
	at = rest.data;
	while (block_columns(at) > b->width - b->indent) {
		size_t bytes = fitting(at, b->width - b->column);

		if (bytes == 0) {
			begin_line(b);
			bytes = fitting(at, b->width - b->column);
		}
		text_add_bytes(&b->row, at, bytes);
		b->column = b->width;
		at += bytes;
	}
	if (b->column + block_columns(at) > b->width) {
		begin_line(b);
	}
	text_add(&b->row, at);
	b->column += block_columns(at);
	text_close(&rest);
}

static void add_words(struct block *b, const char *words)
{
	while (*words != '\0') {
		size_t length = strcspn(words, " ");

		add_word(b, words, length);
		words += length;
		while (*words == ' ') {
			words++;
			if (b->column < b->width) {
				text_add(&b->row, " ");
				b->column++;
			}
		}
	}
}

void block_field(struct block *b, size_t gap, struct text *field)
{
	size_t columns = block_columns(field->data);

	gap = b->column > b->indent ? gap : 0;
	if (b->column + gap + columns > b->width && b->column > b->indent) {
		begin_line(b);
		gap = 0;
	}
	while (gap-- > 0) {
		text_add(&b->row, " ");
		b->column++;
	}
	if (b->column + columns > b->width) {
		add_words(b, field->data);
	} else {
		text_add(&b->row, field->data);
		b->column += columns;
	}
	text_reset(field);
}

/* ---- a terminal */

/* ECMA-48, 8.3.117 "SGR": by the eight colours that every palette makes
 * readable on its own background. */
static const char *sequence(char mark)
{
	static const struct {
		const char *mark, *sequence;
	} accents[] = {
		{ MARK_GOOD, "\x1b[32m" },
		{ MARK_WAIT, "\x1b[33m" },
		{ MARK_REST, "\x1b[36m" },
		{ MARK_BAD, "\x1b[1;31m" },
		{ MARK_BOLD, "\x1b[1m" },
	};

	for (size_t i = 0; i < sizeof accents / sizeof accents[0]; i++) {
		if (*accents[i].mark == mark) {
			return accents[i].sequence;
		}
	}
	return "\x1b[0m";
}

static void print_line(struct text *out, const char *line, enum block_look look)
{
	for (; *line != '\0'; line++) {
		if (!is_mark(*line)) {
			text_add_bytes(out, line, 1);
		} else if (look == BLOCK_COLOUR) {
			text_add(out, sequence(*line));
		}
	}
}

void block_print(struct text *out, const struct block *b, enum block_look look,
	const char *end)
{
	for (size_t i = 0; i < b->count; i++) {
		const char *line = b->lines[i];
		int is_live = *line == *MARK_LIVE;
		int is_dim = look == BLOCK_DIM && !is_live;

		text_add(out, is_dim ? "\x1b[2m" : "");
		print_line(out, line + is_live,
			look == BLOCK_DIM && is_live ? BLOCK_COLOUR : look);
		text_add(out, is_dim ? "\x1b[0m" : "");
		text_add(out, end);
	}
}
