/* status --watch: the screen again and again. On a terminal it is drawn in
 * place, at once when the terminal's size changes, until q or a signal; what
 * was on the terminal comes back then. Elsewhere it is a line per job and
 * look, the rarer the longer it takes, and ends when the job does. Signals
 * come only while it waits. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ctl/ctl.h"
#include "ctl/ctl_asker.h"
#include "ctl/ctl_format.h"
#include "ctl/ctl_lines.h"
#include "ctl/ctl_terminal.h"
#include "rules/units.h"

enum { DRAW_MS = 2000, LEAST_MS = 100, LINE_MS = 1000, CLOCK_MS = 1000 };

static volatile sig_atomic_t got_signal, got_resize, got_stop;

static void on_signal(int number)
{
	if (number == SIGWINCH) {
		got_resize = 1;
	} else if (number == SIGTSTP) {
		got_stop = 1;
	} else {
		got_signal = number;
	}
}

static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP };

/* Returns in *during what may come while it waits. */
static void take_signals(sigset_t *during)
{
	struct sigaction action;
	sigset_t ours;

	memset(&action, 0, sizeof action);
	action.sa_handler = on_signal;
	(void)sigemptyset(&ours);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		/* Who ignores it, as under nohup, goes on doing so. */
		struct sigaction before;

		(void)sigaction(signals[i], NULL, &before);
		if (before.sa_handler == SIG_IGN) {
			continue;
		}
		(void)sigaddset(&ours, signals[i]);
		(void)sigaction(signals[i], &action, NULL);
	}
	(void)sigprocmask(SIG_BLOCK, &ours, during);
}

/* End as the signal ends who does not know it: the shell is to see it. */
static void end_by(int number)
{
	sigset_t set;

	(void)signal(number, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, number);
	(void)raise(number);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- drawn */

static void add_trouble(struct text *t, const struct asker *a, uint64_t now_ms)
{
	char at[FORMAT_BYTES], since[FORMAT_BYTES];

	text_addf(t, MARK_BAD "no answer since %s" MARK_END " (%s): ",
		ctl_format_time(at, a->lost_at),
		ctl_format_duration(
			since, (double)(now_ms - a->lost_ms) / 1000));
	ctl_format_inert(t, a->trouble);
}

static void draw(const struct asker *a, uint64_t now_ms)
{
	enum block_look look = terminal_look();
	size_t width, height;
	struct block b;
	struct text t;

	terminal_size(&width, &height);
	block_init(&b, width);
	text_init(&t);
	if (a->trouble != NULL) {
		add_trouble(&t, a, now_ms);
		look = look == BLOCK_COLOUR ? BLOCK_DIM : look;
	}
	if (a->has_look) {
		ctl_screen_draw(&b, &a->last.screen, height,
			a->trouble != NULL ? t.data : NULL);
	} else {
		block_line(&b, a->trouble != NULL ? t.data : "asking");
	}
	terminal_draw(&b, look);
	text_close(&t);
	block_close(&b);
}

static void stop_for_a_while(void)
{
	terminal_leave();
	(void)raise(SIGSTOP);
	terminal_enter();
}

static int is_quit(void)
{
	char keys[32];
	ssize_t count = read(STDIN_FILENO, keys, sizeof keys);

	for (ssize_t i = 0; i < count; i++) {
		if (keys[i] == 'q' || keys[i] == 'Q') {
			return 1;
		}
	}
	return count == 0;
}

static int wait_for(const struct asker *a, int has_keys, const sigset_t *during,
	struct pollfd fds[2])
{
	uint64_t now_ms = clock_boot_ms();
	int ms = asker_wait(a, now_ms, &fds[0]);
	struct timespec time;

	/* The screen tells for how long there has been no answer. */
	ms = a->trouble != NULL && ms > CLOCK_MS ? CLOCK_MS : ms;
	time.tv_sec = ms / 1000;
	time.tv_nsec = ms % 1000 * 1000000L;
	fds[1].fd = has_keys ? STDIN_FILENO : -1;
	fds[1].events = POLLIN;
	fds[1].revents = 0;
	return ppoll(fds, 2, &time, during);
}

static void watch_screen(struct ctl *ctl, uint64_t ms, const sigset_t *during)
{
	int has_keys = isatty(STDIN_FILENO), is_new = 1;
	struct pollfd fds[2] = { { .fd = -1 }, { .fd = -1 } };
	struct asker a;

	asker_init(&a, ctl, ms);
	terminal_enter();
	while (got_signal == 0) {
		uint64_t now_ms = clock_boot_ms();

		is_new |= asker_step(&a, now_ms, fds[0].revents != 0);
		if (got_stop) {
			got_stop = 0;
			stop_for_a_while();
			got_resize = 1;
		}
		if (is_new || got_resize || a.trouble != NULL) {
			got_resize = 0;
			draw(&a, now_ms);
		}
		is_new = 0;
		if (wait_for(&a, has_keys, during, fds) > 0 &&
			fds[1].revents != 0 && is_quit()) {
			break;
		}
	}
	terminal_leave();
	asker_close(&a);
}

/* ---- in lines */

static void watch_lines(struct ctl *ctl, uint64_t ms, const sigset_t *during)
{
	struct pollfd fds[2] = { { .fd = -1 }, { .fd = -1 } };
	struct lines lines;
	struct asker a;
	int has_ended = 0;

	lines_init(&lines, clock_boot_ms(), ctl->watch != NULL);
	asker_init(&a, ctl, ctl->watch != NULL ? ms : LINE_MS);
	while (got_signal == 0 && !has_ended) {
		uint64_t now_ms = clock_boot_ms();
		struct text t;

		if (got_stop) {
			got_stop = 0;
			(void)raise(SIGSTOP);
		}
		if (asker_step(&a, now_ms, fds[0].revents != 0)) {
			text_init(&t);
			if (a.trouble != NULL) {
				lines_add_trouble(
					&lines, &t, a.lost_at, a.trouble);
			} else {
				lines_add(&lines, &t, &a.last.screen, now_ms);
				has_ended = lines_is_over(&a.last.screen);
			}
			fputs(t.data, stdout);
			has_ended |= fflush(stdout) != 0;
			text_close(&t);
		}
		if (!has_ended) {
			(void)wait_for(&a, 0, during, fds);
		}
	}
	lines_close(&lines);
	asker_close(&a);
	if (has_ended && !ferror(stdout)) {
		/* Its exit code, and what it tells of a failure. */
		(void)PQsetnonblocking(ctl->conn, 0);
		(void)cmd_wait(ctl);
	}
}

int cmd_status_watch(struct ctl *ctl)
{
	int64_t ms = DRAW_MS;
	const char *hint = NULL;
	sigset_t during;

	if (ctl->watch != NULL &&
		units_parse_time_ms(ctl->watch, &ms, &hint) != 0) {
		return ctl_error(ctl, CTL_FATAL, NULL, hint,
			"invalid value for --watch: \"%s\"", ctl->watch);
	}
	if (ms < LEAST_MS) {
		return ctl_error(ctl, CTL_FATAL, NULL,
			"Look every 100ms at most.",
			"invalid value for --watch: \"%s\"", ctl->watch);
	}
	take_signals(&during);
	if (terminal_can_draw()) {
		watch_screen(ctl, (uint64_t)ms, &during);
	} else {
		watch_lines(ctl, (uint64_t)ms, &during);
	}
	if (got_signal != 0) {
		end_by(got_signal);
	}
	return ctl->code;
}
