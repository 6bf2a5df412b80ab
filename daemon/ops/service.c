/* The daemon as a whole:
 *
 *   read the file -> loop, signals, service manager -> a database each
 *     -> SIGTERM: every database finishes its batches in flight and ends;
 *        with the last one the handles close, and the loop runs empty
 *
 * A second signal, or a batch that outlasts the patience, abandons the
 * databases: the server undoes what was not committed. A database that may
 * not be served ends all of them. */

#include "ops/service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/journal.h"
#include "base/log.h"
#include "base/mem.h"
#include "service_internal.h"
#include "site.h"

enum {
	EXIT_FINE = 0,
	EXIT_REFUSED = 1,
	/* On top of the batch's own statement_timeout. */
	PATIENCE_MS = 5000
};

/* ---- the end ---- */

static void close_handles(struct service *s)
{
	for (size_t i = 0; i < SERVICE_SIGNALS; i++) {
		uv_close((uv_handle_t *)&s->signals[i], NULL);
	}
	/* It is ending: who asks for it now gets the exit status all the same.
	 */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	uv_close((uv_handle_t *)&s->patience, NULL);
	service_notify_end(s);
	site_close(s->site);
}

static void abandon(struct service *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->databases[i] != NULL) {
			database_abandon(s->databases[i]);
		}
	}
}

static void on_patience_over(uv_timer_t *timer)
{
	log_warning("a batch did not end in time -> leave it to the server");
	abandon(timer->data);
}

/* Long enough for one batch at its statement_timeout. */
static void stop(struct service *s)
{
	s->stopping = 1;
	service_notify_stopping(s);
	(void)uv_timer_start(&s->patience, on_patience_over,
		(uint64_t)s->config.statement_timeout_ms + PATIENCE_MS, 0);
	for (size_t i = 0; i < s->count; i++) {
		if (s->databases[i] != NULL) {
			database_stop(s->databases[i]);
		}
	}
}

/* The slot of a database points back to the service. */
struct slot {
	struct service *service;
	size_t index;
};

static void on_database_end(void *data, const struct err *e)
{
	struct slot *slot = data;
	struct service *s = slot->service;

	s->databases[slot->index] = NULL;
	s->left--;
	free(slot);
	if (e != NULL) {
		log_fatal(e);
		s->exit_code = EXIT_REFUSED;
		if (!s->stopping) {
			stop(s);
		}
	}
	if (s->left == 0) {
		close_handles(s);
	}
}

/* ---- signals ---- */

static void on_hangup(struct service *s)
{
	if (s->stopping) {
		log_notice("SIGHUP while it ends -> nothing is reloaded");
		return;
	}
	service_notify_reloading(s);
	service_reload(s);
	service_notify_reloaded(s);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct service *s = handle->data;

	if (number == SIGHUP) {
		on_hangup(s);
		return;
	}
	if (s->stopping) {
		log_notice("second signal -> end at once");
		abandon(s);
		return;
	}
	log_info("%s -> finish the batches in flight, then end",
		number == SIGTERM ? "SIGTERM" : "SIGINT");
	stop(s);
}

static void watch_signals(struct service *s)
{
	static const int numbers[SERVICE_SIGNALS] = { SIGTERM, SIGINT, SIGHUP };

	for (size_t i = 0; i < SERVICE_SIGNALS; i++) {
		(void)uv_signal_init(&s->loop, &s->signals[i]);
		s->signals[i].data = s;
		(void)uv_signal_start(&s->signals[i], on_signal, numbers[i]);
	}
	/* A connection that closes under a write is an error, not our end. */
	(void)signal(SIGPIPE, SIG_IGN);
}

/* ---- the start ---- */

void service_set_log(const struct config *config)
{
	log_init((enum log_level)log_level_by_name(config->log_level));
	log_set_format((enum log_format)log_format_by_name(config->log_format));
}

static void start_databases(struct service *s)
{
	s->count = s->config.databases_count;
	s->left = s->count;
	s->databases = mem_new(s->count, sizeof s->databases[0]);
	for (size_t i = 0; i < s->count; i++) {
		struct slot *slot = mem_new(1, sizeof *slot);

		slot->service = s;
		slot->index = i;
		s->databases[i] = database_start(&s->loop, &s->config,
			&s->config.databases[i], on_database_end, slot);
	}
}

static int serve(struct service *s)
{
	struct err e;

	if (uv_loop_init(&s->loop) != 0) {
		log_error("could not make an event loop");
		return EXIT_REFUSED;
	}
	if (service_notify_open(s, &e) != 0) {
		log_fatal(&e);
		(void)uv_loop_close(&s->loop);
		return EXIT_REFUSED;
	}
	(void)uv_timer_init(&s->loop, &s->patience);
	s->patience.data = s;
	s->started_ms = uv_now(&s->loop);
	watch_signals(s);
	log_info("backfilld %s -> start", BACKFILLD_VERSION);
	start_databases(s);
	service_notify_start(s);
	s->site = site_start(s);
	(void)uv_run(&s->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&s->loop) != 0) {
		log_error("a handle was left open at the end");
	}
	site_free(s->site);
	service_notify_close(s);
	free(s->databases);
	log_end();
	log_info("end");
	return s->exit_code;
}

static int load(struct config *config, const char *path)
{
	struct text errors;
	int count;

	text_init(&errors);
	count = config_load(config, path, &errors);
	fputs(errors.data, stderr);
	text_close(&errors);
	return count;
}

static int refuse_root(void)
{
	struct err e;

	(void)err_set(&e, BFE_INPUT, "will not run as root");
	err_set_detail(&e,
		"It makes connections and reads its files, for which any"
		" other user will do.");
	err_set_hint(&e,
		"Start it as a user of its own, as backfilld.service does;"
		" where there is no other user, with --allow-root.");
	log_fatal(&e);
	return EXIT_REFUSED;
}

int service_run(const char *path, int allow_root)
{
	struct service s = {
		.path = path,
		.exit_code = EXIT_FINE,
		.started_wall_ms = clock_wall_ms(),
		.loaded_wall_ms = clock_wall_ms(),
	};
	int rc;

	if (load(&s.config, path) != 0) {
		return EXIT_REFUSED;
	}
	service_set_log(&s.config);
	log_open_journal(JOURNAL_SOCKET);
	rc = geteuid() == 0 && !allow_root ? refuse_root() : serve(&s);
	config_close(&s.config);
	return rc;
}

int service_check(const char *path)
{
	struct config config;

	if (load(&config, path) != 0) {
		return EXIT_REFUSED;
	}
	printf("%s: the configuration is valid\n", path);
	config_close(&config);
	return EXIT_FINE;
}
