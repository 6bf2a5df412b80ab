/* backfilld: reads its arguments and configuration, serves the databases
 * until a signal ends it. */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "engine/database.h"

enum { EXIT_FINE = 0, EXIT_USAGE = 1 };

static const char DEFAULT_CONFIG[] = "/etc/backfilld/backfilld.yaml";

static const char HELP[] =
	"backfilld runs large data changes inside PostgreSQL, in small"
	" batches.\n"
	"\n"
	"Usage:\n"
	"  backfilld [OPTION]...\n"
	"\n"
	"Options:\n"
	"  -c, --config=FILE      configuration file (default %s)\n"
	"      --check-config     check the configuration file, then exit\n"
	"      --describe-config  print a commented sample, then exit\n"
	"  -V, --version          output version information, then exit\n"
	"  -?, --help             show this help, then exit\n"
	"\n"
	"Exit status: 0 when it was stopped by a signal, 1 on bad usage, bad\n"
	"configuration, or a database that it may not serve.\n";

struct daemon {
	uv_loop_t loop;
	uv_signal_t signals[3]; /* SIGTERM, SIGINT, SIGHUP */
	uv_timer_t patience;
	struct config config;
	struct database **databases; /* NULL: ended */
	size_t count;
	size_t serving;
	int stopping;
	int exit_code;
};

/* ---- the end ---- */

static void close_handles(struct daemon *d)
{
	for (size_t i = 0; i < 3; i++) {
		uv_close((uv_handle_t *)&d->signals[i], NULL);
	}
	uv_close((uv_handle_t *)&d->patience, NULL);
}

static void abandon(struct daemon *d)
{
	for (size_t i = 0; i < d->count; i++) {
		if (d->databases[i] != NULL) {
			database_abandon(d->databases[i]);
		}
	}
}

static void on_patience_over(uv_timer_t *timer)
{
	log_warning("a batch did not end in time -> leave it to the server");
	abandon(timer->data);
}

/* Long enough for one batch at its statement_timeout. */
static void stop(struct daemon *d)
{
	d->stopping = 1;
	(void)uv_timer_start(&d->patience, on_patience_over,
		(uint64_t)d->config.statement_timeout_ms + 5000, 0);
	for (size_t i = 0; i < d->count; i++) {
		if (d->databases[i] != NULL) {
			database_stop(d->databases[i]);
		}
	}
}

static void print_error(const struct err *e)
{
	fprintf(stderr, "backfilld: error: %s\n", e->message);
	if (e->detail[0] != '\0') {
		fprintf(stderr, "DETAIL:  %s\n", e->detail);
	}
	if (e->hint[0] != '\0') {
		fprintf(stderr, "HINT:  %s\n", e->hint);
	}
}

/* The slot of a database points back to the daemon. */
struct slot {
	struct daemon *daemon;
	size_t index;
};

static void on_database_end(void *data, const struct err *e)
{
	struct slot *slot = data;
	struct daemon *d = slot->daemon;

	d->databases[slot->index] = NULL;
	d->serving--;
	free(slot);
	if (e != NULL) {
		print_error(e);
		d->exit_code = EXIT_USAGE;
		if (!d->stopping) {
			stop(d);
		}
	}
	if (d->serving == 0) {
		close_handles(d);
	}
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *handle, int number)
{
	struct daemon *d = handle->data;

	if (number == SIGHUP) {
		log_notice("SIGHUP: nothing is reloadable in this version ->"
			   " ignored");
		return;
	}
	if (d->stopping) {
		log_notice("second signal -> end at once");
		abandon(d);
		return;
	}
	log_info("%s -> finish the batches in flight, then end",
		number == SIGTERM ? "SIGTERM" : "SIGINT");
	stop(d);
}

static void watch_signals(struct daemon *d)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };

	for (size_t i = 0; i < 3; i++) {
		(void)uv_signal_init(&d->loop, &d->signals[i]);
		d->signals[i].data = d;
		(void)uv_signal_start(&d->signals[i], on_signal, numbers[i]);
	}
	/* A connection that closes under a write is an error, not our end. */
	(void)signal(SIGPIPE, SIG_IGN);
}

/* ---- the start ---- */

static void start_databases(struct daemon *d)
{
	d->count = d->config.databases_count;
	d->serving = d->count;
	d->databases = mem_new(d->count, sizeof d->databases[0]);
	for (size_t i = 0; i < d->count; i++) {
		struct slot *slot = mem_new(1, sizeof *slot);

		slot->daemon = d;
		slot->index = i;
		d->databases[i] = database_start(&d->loop, &d->config,
			&d->config.databases[i], on_database_end, slot);
	}
}

static int serve(struct daemon *d)
{
	log_init((enum log_level)log_level_by_name(d->config.log_level));
	if (uv_loop_init(&d->loop) != 0) {
		log_error("could not make an event loop");
		return EXIT_USAGE;
	}
	(void)uv_timer_init(&d->loop, &d->patience);
	d->patience.data = d;
	watch_signals(d);
	log_info("backfilld %s -> start", BACKFILLD_VERSION);
	start_databases(d);
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&d->loop) != 0) {
		log_error("a handle was left open at the end");
	}
	free(d->databases);
	log_info("end");
	return d->exit_code;
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

static void describe(void)
{
	struct text out;

	text_init(&out);
	config_describe(&out);
	fputs(out.data, stdout);
	text_close(&out);
}

static int run(const char *path, int check_only)
{
	struct daemon d = { .exit_code = EXIT_FINE };
	int rc;

	if (load(&d.config, path) != 0) {
		return EXIT_USAGE;
	}
	if (check_only) {
		printf("%s: the configuration is valid\n", path);
		rc = EXIT_FINE;
	} else {
		rc = serve(&d);
	}
	config_close(&d.config);
	return rc;
}

int main(int argc, char *argv[])
{
	enum { OPTION_CHECK = 256, OPTION_DESCRIBE };
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, OPTION_CHECK },
		{ "describe-config", no_argument, NULL, OPTION_DESCRIBE },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, '?' },
		{ NULL, 0, NULL, 0 },
	};
	const char *path = DEFAULT_CONFIG;
	int check_only = 0;
	int c;

	while ((c = getopt_long(argc, argv, "c:V?", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case OPTION_CHECK:
			check_only = 1;
			break;
		case OPTION_DESCRIBE:
			describe();
			return EXIT_FINE;
		case 'V':
			printf("backfilld %s\n", BACKFILLD_VERSION);
			return EXIT_FINE;
		default:
			/* getopt answers '?' both for -? and for an error,
			 * of which it has told. */
			if (optopt != 0 ||
				(strcmp(argv[optind - 1], "-?") != 0 &&
					strcmp(argv[optind - 1], "--help") !=
						0)) {
				fprintf(stderr,
					"Try \"backfilld --help\" for"
					" more information.\n");
				return EXIT_USAGE;
			}
			printf(HELP, DEFAULT_CONFIG);
			return EXIT_FINE;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"backfilld: error: unexpected argument \"%s\"\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	return run(path, check_only);
}
