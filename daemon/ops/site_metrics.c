/* /metrics, in the text format 0.0.4 of Prometheus: one table of all metrics,
 * from which the output is made. What the database knows comes from
 * backfill.metrics; what the daemon knows, its own functions add. A metric
 * without a value has no line at all. The label "database" is the name in the
 * configuration; no label is called job or instance: Prometheus has those. */
#include "site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "site_metrics.h"
#include "store/screens.h"

const struct site_metric site_metrics[] = {
	{ "backfilld_build_info", "gauge",
		"Always 1; the version is in its label.", own_add_build },
	{ "backfilld_database_up", "gauge",
		"Whether the database is served: 1, or 0.",
		own_add_database_up },
	{ "backfilld_db_reconnects_total", "counter",
		"Times that the control connection was lost.",
		own_add_reconnects },
	{ "backfilld_errors_total", "counter",
		"Errors that jobs met here, by the class of their SQLSTATE; 08"
		" are connections.",
		own_add_errors },
	{ "backfilld_config_last_reload_successful", "gauge",
		"Whether the configuration was free of errors when it was last"
		" read: 1, or 0.",
		own_add_reload },
	{ "backfilld_config_last_reload_success_timestamp_seconds", "gauge",
		"When it was last read without an error.",
		own_add_reload_time },
	{ "backfilld_loop_lag_seconds", "gauge",
		"The longest turn of the event loop in the last half minute or"
		" a little more.",
		own_add_loop_lag },
	{ "backfilld_jobs", "gauge", "Jobs by state, those of all daemons.",
		NULL },
	{ "backfilld_queue_oldest_seconds", "gauge",
		"Since when the oldest job in the queue has waited; 0: there"
		" is none.",
		NULL },
	{ "backfilld_stopped", "gauge",
		"Whether backfill.stop_all() has stopped all work: 1, or 0.",
		NULL },
	{ "backfilld_job_rows_total", "counter",
		"Rows of an open job, by outcome: changed; passed, whether"
		" changed or not; failed.",
		NULL },
	{ "backfilld_job_batches_total", "counter",
		"Batches of an open job, by outcome.", NULL },
	{ "backfilld_job_batch_duration_seconds", "histogram",
		"Time that the batches of an open job took in this daemon.",
		own_add_batch_times },
	{ "backfilld_job_retries_total", "counter",
		"How often the reason of an open job told that something is"
		" tried again after an error.",
		NULL },
	{ "backfilld_job_progress_ratio", "gauge",
		"Part of an open job that is done, 0 to 1; NaN: unknown.",
		NULL },
	{ "backfilld_job_eta_seconds", "gauge",
		"Time left of an open job; NaN: unknown.", NULL },
	{ "backfilld_job_last_progress_timestamp_seconds", "gauge",
		"When the last batch of an open job committed, or it was"
		" started.",
		NULL },
	{ "backfilld_job_throttled", "gauge",
		"1 while an open job waits, by reason: the kinds of"
		" backfill.progress.waits_for.",
		NULL },
	{ "backfilld_job_throttled_seconds_total", "counter",
		"Time that an open job has waited, by reason; for its daemon,"
		" or because all is stopped, when that is over.",
		NULL },
	{ "backfilld_throttle_utilization_ratio", "gauge",
		"A signal by its limit, while jobs run here: above 1 no batch"
		" begins.",
		own_add_utilization },
	{ "backfilld_replica_lag_seconds", "gauge",
		"How far the replay of a standby is behind, while jobs run"
		" here; NaN: unknown.",
		own_add_lag },
	{ "backfilld_replica_lag_bytes", "gauge", "The same in bytes of WAL.",
		own_add_lag_bytes },
	{ "backfilld_replica_lag_known", "gauge",
		"Whether the lag of a standby is known, while jobs run here:"
		" 1, or 0, and no batch begins.",
		own_add_lag_known },
	{ "process_cpu_seconds_total", "counter",
		"CPU time of the daemon, user and system.", process_add_cpu },
	{ "process_resident_memory_bytes", "gauge",
		"Memory of the daemon that is resident.",
		process_add_resident },
	{ "process_virtual_memory_bytes", "gauge",
		"Address space of the daemon.", process_add_virtual },
	{ "process_open_fds", "gauge", "File descriptors that are open.",
		process_add_fds },
	{ "process_max_fds", "gauge", "File descriptors that may be open.",
		process_add_max_fds },
	{ "process_start_time_seconds", "gauge",
		"When the daemon was started, since the epoch.",
		process_add_start },
	{ NULL, NULL, NULL, NULL },
};

/* ---- what the database says ---- */

static size_t find_metric(const char *name)
{
	size_t i = 0;

	while (site_metrics[i].name != NULL &&
		strcmp(site_metrics[i].name, name) != 0) {
		i++;
	}
	return i;
}

static const char *value_of(const PGresult *rows, int row)
{
	const char *value = pgc_text(rows, row, 2);

	if (pgc_is_null(rows, row, 2)) {
		return "NaN";
	}
	if (strcmp(value, "Infinity") == 0) {
		return "+Inf";
	}
	return strcmp(value, "-Infinity") == 0 ? "-Inf" : value;
}

/* In a value, a quote has a backslash before it. */
static int64_t job_id_of(const char *labels)
{
	static const char label[] = "job_id=\"";
	const char *found = strstr(labels, label);

	return found != NULL ? strtoll(found + sizeof label - 1, NULL, 10) : 0;
}

static void forget(struct look *look)
{
	for (size_t i = 0; i < look->samples_count; i++) {
		free(look->samples[i].labels);
		free(look->samples[i].value);
	}
	free(look->samples);
	look->samples = NULL;
	look->samples_count = 0;
}

/* What the daemon knows better is left out. */
int metrics_take(struct look *look, const struct pgc_request *request)
{
	const PGresult *rows = screens_read_rows(request);
	int count = PQntuples(rows);

	forget(look);
	look->samples = mem_new((size_t)count + 1, sizeof look->samples[0]);
	for (int row = 0; row < count; row++) {
		size_t metric = find_metric(pgc_text(rows, row, 0));
		struct site_sample *s = &look->samples[look->samples_count];

		if (site_metrics[metric].name == NULL ||
			site_metrics[metric].add != NULL) {
			continue;
		}
		s->metric = metric;
		s->labels = mem_strdup(pgc_text(rows, row, 1));
		s->job_id = job_id_of(s->labels);
		s->value = mem_strdup(value_of(rows, row));
		look->samples_count++;
	}
	return 0;
}

static void add_samples(
	struct text *out, size_t metric, const struct site_database *db)
{
	const struct look *look = &db->metrics;

	for (size_t i = 0; i < look->samples_count; i++) {
		const struct site_sample *s = &look->samples[i];

		if (s->metric != metric) {
			continue;
		}
		text_addf(out, "%s{database=\"%s\"%s%s} %s\n",
			site_metrics[metric].name, site_database_name(db),
			s->labels[0] != '\0' ? "," : "", s->labels, s->value);
	}
}

int metrics_job_is_open(const struct site_database *db, int64_t job_id)
{
	for (size_t i = 0; i < db->metrics.samples_count; i++) {
		if (db->metrics.samples[i].job_id == job_id) {
			return 1;
		}
	}
	return 0;
}

/* ---- all of them ---- */

void metrics_add_label(struct text *out, const char *name, const char *value)
{
	text_addf(out, "%s=\"", name);
	for (; *value != '\0'; value++) {
		if (*value == '\n') {
			text_add(out, "\\n");
			continue;
		}
		if (*value == '\\' || *value == '"') {
			text_add(out, "\\");
		}
		text_add_bytes(out, value, 1);
	}
	text_add(out, "\"");
}

/* Text that was right when it was asked for: answers of a database that has
 * not answered for long tell nothing any more. */
static int is_of_now(const struct look *look, uint64_t now_ms)
{
	return look->answered_ms != 0 &&
		now_ms - look->answered_ms < METRICS_STALE_MS;
}

static void add_metric(struct text *out, size_t metric, struct site *site)
{
	const struct site_metric *m = &site_metrics[metric];
	struct text lines;

	text_init(&lines);
	if (m->add != NULL) {
		m->add(&lines, m, site);
	} else {
		for (size_t i = 0; i < site->count; i++) {
			add_samples(&lines, metric, &site->databases[i]);
		}
	}
	if (lines.length > 0) {
		text_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s", m->name,
			m->help, m->name, m->type, lines.data);
	}
	text_close(&lines);
}

void site_add_metrics(struct text *out, struct site *site)
{
	for (size_t i = 0; i < site->count; i++) {
		struct look *look = &site->databases[i].metrics;

		if (!is_of_now(look, site_now_ms(site))) {
			forget(look);
		}
	}
	for (size_t i = 0; site_metrics[i].name != NULL; i++) {
		add_metric(out, i, site);
	}
}
