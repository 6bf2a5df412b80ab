/* ctl_check.h: what `backfillctl check` finds out, a line per fact. Each
 * group of facts tells its own lines, and returns a CTL code: other than
 * CTL_OK only when a statement of its own failed. */
#ifndef BACKFILL_CTL_CTL_CHECK_H
#define BACKFILL_CTL_CTL_CHECK_H

#include <stdint.h>

#include "ctl/ctl.h"

enum check_level {
	CHECK_OK,
	CHECK_WARNING, /* should be looked at, or cannot be seen */
	CHECK_FAILURE  /* must be mended before jobs run as they should */
};

struct check {
	struct ctl *ctl;
	const char *control;	   /* the control login */
	struct ctl_names runners;  /* borrowed; none: who may submit */
	struct ctl_names standbys; /* borrowed; expected */
	int64_t workers;
	int64_t lock_timeout_ms;
	int sees_all;	      /* the role reads all statistics (pg_monitor) */
	char see_hint[256];   /* the SQL that lets it */
	int counts[3];	      /* lines told, per level */
	int is_json;	      /* each line is an object of an array */
	const char *database; /* of a configuration; NULL: the connection's */
};

/* Print a line, harmless to a terminal, and under it how to mend it: SQL, or
 * a line of a file; NULL: nothing to mend. */
void ctl_check_tell(struct check *c, enum check_level level, const char *mend,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Whether no line was told yet. */
int ctl_check_is_first(const struct check *c);

/* A fact that the role cannot see. */
void ctl_check_tell_unknown(struct check *c, const char *fact);

/* The names as a literal of text[]; the caller free()s it. */
char *ctl_check_array(const struct ctl_names *names);

/* Whether a version is supported and, else or besides, what it lacks: a
 * sentence in *why, NULL when there is nothing to say. Numbers as those of
 * PQserverVersion(). Pure. */
enum check_level ctl_check_server_version(int version, const char **why);
enum check_level ctl_check_libpq_version(int version, const char **why);

/* Versions, whether it is the primary, timeouts, room for connections. Sets
 * sees_all, and *is_primary: of a standby nothing else can be told. */
int ctl_check_server(struct check *c, int *is_primary);

/* Prepared transactions and the oldest snapshot. */
int ctl_check_transactions(struct check *c);

/* The schema, its roles, who serves it, stop_all. *is_usable: the schema is
 * there and may be read. */
int ctl_check_schema(struct check *c, int *is_usable);

/* The control login. */
int ctl_check_control(struct check *c);

/* The logins that jobs run as. With a connection string, each must also be
 * able to connect with it as itself, and arrive where we are. */
int ctl_check_runners(struct check *c, const char *conninfo);

/* The standbys that are seen, and those that should be. */
int ctl_check_standbys(struct check *c);

/* Connect as the configuration says; user may be NULL. On failure the line
 * is told, with those of pg_hba.conf or of a password file that may be
 * missing, and NULL returned. PQfinish() the result. */
PGconn *ctl_check_connect(struct check *c, const char *what,
	const char *conninfo, const char *user);

#endif
