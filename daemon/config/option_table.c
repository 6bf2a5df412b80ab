#include "config/option.h"

#include "config/address.h"
#include "config/config.h"

#define IN_DATABASE(field) offsetof(struct config_database, field)
#define IN_CONFIG(field) offsetof(struct config, field)

#define MS INT64_C(1)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define MEGABYTE (INT64_C(1) << 20)

static const char *const log_levels[] = { "error", "warning", "notice", "info",
	"debug", NULL };

static const char *const log_formats[] = { "text", "json", NULL };

static const char *const commit_modes[] = { "off", "local", "remote_write",
	"on", "remote_apply", NULL };

const struct option_section option_sections[] = {
	{ "databases",
		"The databases that this daemon works for, one item each." },
	{ "daemon", "The daemon itself." },
	{ "pace",
		"How the daemon spares the server, its standbys and the "
		"application." },
	{ "batch", "What jobs do that do not say otherwise." },
	{ "http",
		"What is shown to people and to Prometheus: /, /metrics, "
		"/status.json, /healthz, /readyz." },
	{ NULL, NULL },
};

/* clang-format off */
const struct option_def option_table[] = {
	{
		.section = "databases", .name = "name",
		.type = OPTION_STRING, .sample_text = "shop",
		.offset = IN_DATABASE(name),
		.help = "The name of the database in messages: 1 to 63 "
			"characters of a-z, 0-9, \"_\" and \"-\"; each name "
			"once.",
	},
	{
		.section = "databases", .name = "dsn",
		.type = OPTION_STRING, .secret = 1,
		.sample_text =
			"\"host=/run/postgresql dbname=shop user=backfilld\"",
		.offset = IN_DATABASE(dsn),
		.help = "The control login, as a connection string or URI of "
			"libpq.",
	},
	{
		.section = "databases", .name = "runner",
		.type = OPTION_STRING, .secret = 1, .default_text = "",
		.offset = IN_DATABASE(runner),
		.help = "The connection string of the jobs' own logins; the "
			"user is added per job. Empty: as dsn.",
	},
	{
		.section = "databases", .name = "poll_only",
		.type = OPTION_BOOL, .default_text = "false",
		.offset = IN_DATABASE(poll_only),
		.help = "Whether the control login goes through a connection "
			"pooler such as PgBouncer: no LISTEN, the queue is "
			"looked at every poll_interval only. The jobs' own "
			"logins need a direct connection all the same, which "
			"runner must name.",
	},
	{
		.section = "databases", .name = "workers",
		.type = OPTION_COUNT, .default_text = "2",
		.min = 1, .max = 64,
		.offset = IN_DATABASE(workers),
		.help = "How many jobs run in the database at the same time.",
	},
	{
		.section = "databases", .name = "expected_standbys",
		.type = OPTION_STRING_LIST, .sample_text = "[]",
		.offset = IN_DATABASE(expected_standbys),
		.count_offset = IN_DATABASE(expected_standbys_count),
		.help = "The standbys whose replay lag holds the jobs back. "
			"By application_name or name of the slot. There is "
			"no default: [] says that there are none, on purpose, "
			"and no job waits for one.",
	},
	{
		.section = "databases", .name = "optional_standbys",
		.type = OPTION_STRING_LIST, .default_text = "",
		.offset = IN_DATABASE(optional_standbys),
		.count_offset = IN_DATABASE(optional_standbys_count),
		.help = "The same of standbys that may be away: they are left "
			"out when nothing was known of them for "
			"pace.optional_standby_timeout.",
	},
	{
		.section = "daemon", .name = "log_level",
		.type = OPTION_ENUM, .default_text = "info",
		.values = log_levels,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(log_level),
		.help = "The least urgent messages that are written to "
			"standard error.",
	},
	{
		.section = "daemon", .name = "log_format",
		.type = OPTION_ENUM, .default_text = "text",
		.values = log_formats,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(log_format),
		.help = "How messages are written: text, or JSON with time, "
			"level and message, an object per line.",
	},
	{
		.section = "daemon", .name = "lease",
		.type = OPTION_TIME, .default_text = "10s",
		.min = 1 * SECOND, .max = 10 * MINUTE,
		.offset = IN_CONFIG(lease_ms),
		.help = "How long work belongs to a daemon that is not heard "
			"of any more.",
	},
	{
		.section = "daemon", .name = "poll_interval",
		.type = OPTION_TIME, .default_text = "5s",
		.min = 100 * MS, .max = 10 * MINUTE,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(poll_interval_ms),
		.help = "How often the queue is looked at when no "
			"notification comes.",
	},
	{
		.section = "daemon", .name = "retention",
		.type = OPTION_TIME, .default_text = "90d",
		.min = 1 * DAY, .max = 3650 * DAY,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(retention_ms),
		.help = "How long jobs that ended are kept, with all that "
			"belongs to them.",
	},
	{
		.section = "pace", .name = "max_replication_lag",
		.type = OPTION_TIME, .default_text = "5s",
		.min = 100 * MS, .max = 1 * HOUR,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(max_replication_lag_ms),
		.help = "No batch begins while the replay of an expected "
			"standby is further behind, or its lag is unknown; "
			"it goes on below half of it. The rate of work aims "
			"at half of it.",
	},
	{
		.section = "pace", .name = "optional_standby_timeout",
		.type = OPTION_TIME, .default_text = "10min",
		.min = 1 * SECOND, .max = 1 * DAY,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(optional_standby_timeout_ms),
		.help = "How long jobs wait for one of optional_standbys "
			"whose lag is unknown.",
	},
	{
		.section = "pace", .name = "max_blocking_time",
		.type = OPTION_TIME, .default_text = "1s",
		.min = 10 * MS, .max = 1 * MINUTE,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(max_blocking_time_ms),
		.help = "How long an application may wait for a lock of a "
			"batch. Then the batch is cancelled and tried again "
			"with half its rows, or fewer.",
	},
	{
		.section = "batch", .name = "batch_rows",
		.type = OPTION_COUNT, .default_text = "1000",
		.min = 1, .max = 1000000,
		.reload = RELOAD_AT_BATCH,
		.offset = IN_CONFIG(batch_rows),
		.help = "The rows that the first batch reads; later ones "
			"follow from target_batch_time.",
	},
	{
		.section = "batch", .name = "max_batch_rows",
		.type = OPTION_COUNT, .default_text = "20000",
		.min = 1, .max = 1000000,
		.reload = RELOAD_AT_BATCH,
		.offset = IN_CONFIG(max_batch_rows),
		.help = "The most rows that a batch reads. Must not be less "
			"than batch_rows.",
	},
	{
		.section = "batch", .name = "target_batch_time",
		.type = OPTION_TIME, .default_text = "250ms",
		.min = 10 * MS, .max = 1 * MINUTE,
		.reload = RELOAD_AT_BATCH,
		.offset = IN_CONFIG(target_batch_time_ms),
		.help = "How long a batch should take; its rows are locked "
			"as long.",
	},
	{
		.section = "batch", .name = "max_batch_wal",
		.type = OPTION_BYTES, .default_text = "16MB",
		.min = 1 * MEGABYTE, .max = 1024 * MEGABYTE,
		.reload = RELOAD_AT_BATCH,
		.offset = IN_CONFIG(max_batch_wal_bytes),
		.help = "Batches that write more WAL are made smaller.",
	},
	{
		.section = "batch", .name = "lock_timeout",
		.type = OPTION_TIME, .default_text = "500ms",
		.min = 10 * MS, .max = 10 * SECOND,
		.reload = RELOAD_AT_CONNECT,
		.offset = IN_CONFIG(lock_timeout_ms),
		.help = "How long a statement waits for a lock. Must be less "
			"than statement_timeout; keep it below the server's "
			"deadlock_timeout (1s), so that the job gives up "
			"before the server picks a victim.",
	},
	{
		.section = "batch", .name = "statement_timeout",
		.type = OPTION_TIME, .default_text = "30s",
		.min = 100 * MS, .max = 1 * HOUR,
		.reload = RELOAD_AT_CONNECT,
		.offset = IN_CONFIG(statement_timeout_ms),
		.help = "How long a statement runs before the server cancels "
			"it.",
	},
	{
		.section = "batch",
		.name = "idle_in_transaction_session_timeout",
		.type = OPTION_TIME, .default_text = "2s",
		.min = 100 * MS, .max = 1 * MINUTE,
		.reload = RELOAD_AT_CONNECT,
		.offset = IN_CONFIG(idle_in_transaction_session_timeout_ms),
		.help = "How long the server keeps the locks of a daemon that "
			"froze inside a transaction.",
	},
	{
		.section = "batch", .name = "client_connection_check_interval",
		.type = OPTION_TIME, .default_text = "2s",
		.min = 100 * MS, .max = 1 * MINUTE,
		.zero = "never",
		.reload = RELOAD_AT_CONNECT,
		.offset = IN_CONFIG(client_connection_check_interval_ms),
		.help = "How often the server looks, while a statement runs, "
			"whether the daemon is still there (PostgreSQL 14 and "
			"later).",
	},
	{
		.section = "batch", .name = "synchronous_commit",
		.type = OPTION_ENUM, .default_text = "local",
		.values = commit_modes,
		.reload = RELOAD_AT_CONNECT,
		.offset = IN_CONFIG(synchronous_commit),
		.help = "PostgreSQL's parameter of this name, for the "
			"transactions of batches.",
	},
	{
		.section = "batch", .name = "barrier_timeout",
		.type = OPTION_TIME, .default_text = "1h",
		.min = 1 * SECOND, .max = 7 * DAY,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(barrier_timeout_ms),
		.help = "How long a job waits for transactions that may have "
			"written to its table, when it begins and at each "
			"closing sweep, before it fails.",
	},
	{
		.section = "batch", .name = "hole_timeout",
		.type = OPTION_TIME, .default_text = "1h",
		.min = 1 * SECOND, .max = 7 * DAY,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(hole_timeout_ms),
		.help = "How long a job tries again to lock the rows that "
			"others held when it passed, before it fails.",
	},
	{
		.section = "http", .name = "listen",
		.type = OPTION_STRING, .default_text = "127.0.0.1:7432",
		.check = address_check_listen,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(http_listen),
		.help = "HOST:PORT that is listened at, or off. Whoever can "
			"connect sees the jobs, but can change nothing. By a "
			"name, a browser reaches it only if the name is given "
			"here.",
	},
	{
		.section = "http", .name = "socket",
		.type = OPTION_STRING, .default_text = "",
		.check = address_check_socket,
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(http_socket),
		.help = "Path of a Unix socket that shows the same, or off. "
			"Empty: http.sock in the RuntimeDirectory of the "
			"service, if it has one.",
	},
	{
		.section = "http", .name = "details",
		.type = OPTION_BOOL, .default_text = "false",
		.reload = RELOAD_AT_ONCE,
		.offset = IN_CONFIG(http_details),
		.help = "Whether the page and /status.json show clauses, row "
			"errors, holes, ranges and the details of events, to "
			"whoever can connect; else what pg_monitor may see in "
			"backfill.progress.",
	},
	{ .name = NULL },
};
/* clang-format on */
