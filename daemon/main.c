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
	"      --describe-config[=mdoc]\n"
	"                         print a commented sample, or the options as"
	" in the\n"
	"                         manual page, then exit\n"
	"  -V, --version          output version information, then exit\n"
	"  -?, --help             show this help, then exit\n"
	"\n"
	"Exit status: 0 when it was stopped by a signal, 1 on bad usage, bad\n"
	"configuration, a database that it may not serve, or when root runs"
	" it.\n";

/* form may be NULL. */
static int describe(const char *form)
{
	struct text out;

	if (form != NULL && strcmp(form, "mdoc") != 0) {
		fprintf(stderr,
			"backfilld: error: unknown form \"%s\" of"
			" --describe-config\n"
			"HINT:  It is a sample, or \"mdoc\".\n",
			form);
		return EXIT_USAGE;
	}
	text_init(&out);
	if (form == NULL) {
		config_describe(&out);
	} else {
		config_describe_mdoc(&out);
	}
	fputs(out.data, stdout);
	text_close(&out);
	return EXIT_FINE;
}

int main(int argc, char *argv[])
{
	enum { OPTION_ROOT = 256, OPTION_CHECK, OPTION_DESCRIBE };
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "allow-root", no_argument, NULL, OPTION_ROOT },
		{ "check-config", no_argument, NULL, OPTION_CHECK },
		{ "describe-config", optional_argument, NULL, OPTION_DESCRIBE },
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
			return describe(optarg);
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
