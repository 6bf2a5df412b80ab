/* xterm's control sequences, as every terminal of today knows them. */
#include "ctl/ctl_terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { DEFAULT_WIDTH = 80 };

#define ENTER "\x1b[?1049h\x1b[?25l\x1b[2J"
#define LEAVE "\x1b[0m\x1b[?25h\x1b[?1049l"
#define HOME "\x1b[H"
#define CLEAR_LINE "\x1b[K"
#define CLEAR_BELOW "\x1b[J"

static struct termios saved;
static int is_entered, has_saved;

static int is_dumb(void)
{
	const char *term = getenv("TERM");

	return term == NULL || *term == '\0' || strcmp(term, "dumb") == 0;
}

int terminal_can_draw(void)
{
	return isatty(STDOUT_FILENO) && !is_dumb();
}

enum block_look terminal_look(void)
{
	const char *pg = getenv("PG_COLOR"), *no = getenv("NO_COLOR");

	if (pg != NULL && strcmp(pg, "always") == 0) {
		return BLOCK_COLOUR;
	}
	if ((pg != NULL && strcmp(pg, "never") == 0) ||
		(no != NULL && *no != '\0')) {
		return BLOCK_PLAIN;
	}
	return terminal_can_draw() ? BLOCK_COLOUR : BLOCK_PLAIN;
}

void terminal_size(size_t *width, size_t *height)
{
	struct winsize size;

	*width = DEFAULT_WIDTH;
	*height = 0;
	if (isatty(STDOUT_FILENO) &&
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
		size.ws_col > 0) {
		*width = size.ws_col;
		*height = size.ws_row;
	}
}

static void write_all(const char *s, size_t length)
{
	while (length > 0) {
		ssize_t written = write(STDOUT_FILENO, s, length);

		if (written <= 0) {
			return;
		}
		s += written;
		length -= (size_t)written;
	}
}

void terminal_enter(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved) == 0) {
		has_saved = 1;
		raw = saved;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	is_entered = 1;
	write_all(ENTER, strlen(ENTER));
}

void terminal_leave(void)
{
	if (!is_entered) {
		return;
	}
	is_entered = 0;
	write_all(LEAVE, strlen(LEAVE));
	if (has_saved) {
		/* What was typed meanwhile was not for the shell. */
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
	}
}

/* A line that fills its row leaves the cursor on its last character: what
 * clears comes before what is written. */
void terminal_draw(const struct block *b, enum block_look look)
{
	static const char end[] = "\n" CLEAR_LINE;
	size_t width, height;
	struct text t;

	terminal_size(&width, &height);
	text_init(&t);
	text_add(&t, HOME CLEAR_LINE);
	block_print(&t, b, look, end);
	if (b->count < height) {
		text_add(&t, CLEAR_BELOW);
	} else {
		/* One more end of line would move all of them up. */
		t.length -= t.length >= strlen(end) ? strlen(end) : 0;
	}
	write_all(t.data, t.length);
	text_close(&t);
}
