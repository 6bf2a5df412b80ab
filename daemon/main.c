/* backfilld: its arguments; the rest is ops/service.h. */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "ops/service.h"

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
	"      --allow-root       run although the user is root\n"
	"      --check-config     check the configuration file, then exit\n"
	"      --describe-config  print a commented sample, then exit\n"
	"  -V, --version          output version information, then exit\n"
	"  -?, --help             show this help, then exit\n"
	"\n"
	"Exit status: 0 when it was stopped by a signal, 1 on bad usage, bad\n"
	"configuration, a database that it may not serve, or when root runs"
	" it.\n";

static void describe(void)
{
	struct text out;

	text_init(&out);
	config_describe(&out);
	fputs(out.data, stdout);
	text_close(&out);
}

int main(int argc, char *argv[])
{
	enum { OPTION_ROOT = 256, OPTION_CHECK, OPTION_DESCRIBE };
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "allow-root", no_argument, NULL, OPTION_ROOT },
		{ "check-config", no_argument, NULL, OPTION_CHECK },
		{ "describe-config", no_argument, NULL, OPTION_DESCRIBE },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, '?' },
		{ NULL, 0, NULL, 0 },
	};
	const char *path = DEFAULT_CONFIG;
	int check_only = 0;
	int allow_root = 0;
	int c;

	while ((c = getopt_long(argc, argv, "c:V?", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case OPTION_ROOT:
			allow_root = 1;
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
	return check_only ? service_check(path) : service_run(path, allow_root);
}
