/* config.h: the configuration as a flat value object, with units in the
 * names. Filled from YAML by way of one option table (option.h), so that
 * parsing, defaults, --describe-config, --check-config and the commented
 * sample all say the same. */
#ifndef BACKFILL_CONFIG_CONFIG_H
#define BACKFILL_CONFIG_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct config_database {
	char *name;	 /* unique; in log lines */
	char *dsn;	 /* control login: conninfo or URI */
	char *runner;	 /* jobs' logins, user added; "" means: as dsn */
	int poll_only;	 /* no LISTEN: the control login's way is pooled */
	int64_t workers; /* jobs at the same time */
	char **expected_standbys;
	size_t expected_standbys_count;
	char **optional_standbys;
	size_t optional_standbys_count;
};

struct config {
	struct config_database *databases; /* at least one */
	size_t databases_count;

	/* daemon: */
	char *log_level;
	char *log_format;
	int64_t lease_ms;
	int64_t poll_interval_ms;
	int64_t retention_ms;

	/* pace: */
	int64_t max_replication_lag_ms;
	int64_t optional_standby_timeout_ms;

	/* batch: the defaults of jobs that do not say otherwise */
	int64_t batch_rows;
	int64_t max_batch_rows;
	int64_t target_batch_time_ms;
	int64_t max_batch_wal_bytes;
	int64_t lock_timeout_ms;
	int64_t statement_timeout_ms;
	int64_t idle_in_transaction_session_timeout_ms;
	int64_t client_connection_check_interval_ms;
	char *synchronous_commit;
	int64_t barrier_timeout_ms;
	int64_t hole_timeout_ms;

	/* pace: */
	int64_t max_blocking_time_ms;

	/* http: */
	char *http_listen;
	char *http_socket;
	int http_details; /* clauses and keys are shown as well */
};

/* Read a file. Every error of the file is added to errors, a line each
 * (FILE:LINE:COLUMN: …) with what is allowed. Returns the number of errors;
 * when it is 0, c is filled and the caller closes it; else c is empty. */
int config_load(struct config *c, const char *path, struct text *errors);

/* The same from memory; path is only for messages. */
int config_parse(struct config *c, const char *yaml, size_t length,
	const char *path, struct text *errors);

void config_close(struct config *c);

/* The commented sample, as conf/backfilld.yaml: what --describe-config
 * prints. */
void config_describe(struct text *out);

/* The options as the manual page backfilld.yaml(5) has them, in mdoc(7): what
 * --describe-config=mdoc prints. */
void config_describe_mdoc(struct text *out);

#endif
