/* What the daemon itself knows of its databases, jobs and standbys. */
#include "site_metrics.h"

#include <math.h>
#include <string.h>

#include "service_internal.h"

METRICS_ADD(own_add_build)
{
	(void)site;
	text_addf(out, "%s{", m->name);
	metrics_add_label(out, "version", BACKFILLD_VERSION);
	text_add(out, "} 1\n");
}

/* NAME{database="…", open for more labels. */
static void begin(struct text *out, const struct site_metric *m,
	const char *suffix, const struct site_database *db)
{
	text_addf(out, "%s%s{", m->name, suffix);
	metrics_add_label(out, "database", site_database_name(db));
}

/* ---- databases ---- */

METRICS_ADD(own_add_database_up)
{
	struct database_status status;

	for (size_t i = 0; i < site->count; i++) {
		struct site_database *db = &site->databases[i];
		int is_up = 0;

		if (site_database(db) != NULL) {
			database_status(site_database(db), &status);
			is_up = status.trouble == NULL;
		}
		begin(out, m, "", db);
		text_addf(out, "} %d\n", is_up);
	}
}

METRICS_ADD(own_add_reconnects)
{
	for (size_t i = 0; i < site->count; i++) {
		struct site_database *db = &site->databases[i];

		if (site_database(db) != NULL) {
			begin(out, m, "", db);
			text_addf(out, "} %llu\n",
				(unsigned long long)database_counters(
					site_database(db))
					->reconnects);
		}
	}
}

METRICS_ADD(own_add_errors)
{
	for (size_t i = 0; i < site->count; i++) {
		struct site_database *db = &site->databases[i];
		const struct counters *c;

		if (site_database(db) == NULL) {
			continue;
		}
		c = database_counters(site_database(db));
		for (size_t j = 0; j < c->errors_count; j++) {
			begin(out, m, "", db);
			text_add(out, ",");
			metrics_add_label(out, "sqlstate_class",
				c->errors[j].sqlstate_class);
			text_addf(out, "} %llu\n",
				(unsigned long long)c->errors[j].count);
		}
	}
}

/* ---- the daemon ---- */

METRICS_ADD(own_add_reload)
{
	text_addf(out, "%s %d\n", m->name, site->service->reload_errors == 0);
}

METRICS_ADD(own_add_reload_time)
{
	text_addf(out, "%s %.3f\n", m->name,
		(double)site->service->loaded_wall_ms / 1000);
}

METRICS_ADD(own_add_loop_lag)
{
	uint64_t longest_ns = site->longest_ns[0];

	if (site->longest_ns[1] > longest_ns) {
		longest_ns = site->longest_ns[1];
	}
	text_addf(out, "%s %.6f\n", m->name, (double)longest_ns / 1e9);
}

/* ---- jobs ---- */

static void add_job_label(struct text *out, const struct batch_times *t)
{
	text_addf(out, ",job_id=\"%lld\"", (long long)t->job_id);
}

static void add_histogram(struct text *out, const struct site_metric *m,
	const struct site_database *db, const struct batch_times *t)
{
	uint64_t below = 0;

	for (size_t i = 0; i <= COUNTERS_BOUNDS; i++) {
		below += t->buckets[i];
		begin(out, m, "_bucket", db);
		add_job_label(out, t);
		if (i < COUNTERS_BOUNDS) {
			text_addf(out, ",le=\"%g\"} %llu\n", counters_bounds[i],
				(unsigned long long)below);
		} else {
			text_addf(out, ",le=\"+Inf\"} %llu\n",
				(unsigned long long)below);
		}
	}
	begin(out, m, "_sum", db);
	add_job_label(out, t);
	text_addf(out, "} %.6f\n", t->sum_seconds);
	begin(out, m, "_count", db);
	add_job_label(out, t);
	text_addf(out, "} %llu\n", (unsigned long long)t->count);
}

METRICS_ADD(own_add_batch_times)
{
	for (size_t i = 0; i < site->count; i++) {
		struct site_database *db = &site->databases[i];
		const struct counters *c;

		if (site_database(db) == NULL) {
			continue;
		}
		c = database_counters(site_database(db));
		for (size_t j = 0; j < c->jobs_count; j++) {
			if (metrics_job_is_open(db, c->jobs[j].job_id)) {
				add_histogram(out, m, db, &c->jobs[j]);
			}
		}
	}
}

/* ---- standbys ---- */

struct standbys {
	struct text *out;
	const struct site_metric *m;
	const struct site_database *db;
};

static void each_standby(struct text *out, const struct site_metric *m,
	struct site *site, pacer_standby_cb cb)
{
	for (size_t i = 0; i < site->count; i++) {
		struct standbys s = { out, m, &site->databases[i] };

		if (site_database(s.db) != NULL) {
			database_each_standby(site_database(s.db), cb, &s);
		}
	}
}

static void add_number(struct text *out, double value)
{
	if (isnan(value)) {
		text_add(out, " NaN\n");
	} else {
		text_addf(out, " %.15g\n", value);
	}
}

static void add_standby(const struct standbys *s, const char *label,
	const char *name, double value)
{
	begin(s->out, s->m, "", s->db);
	text_add(s->out, ",");
	metrics_add_label(s->out, label, name);
	text_add(s->out, "}");
	add_number(s->out, value);
}

static void on_lag(
	void *data, const struct lag_standby *s, int is_known, int64_t limit_ms)
{
	(void)limit_ms;
	add_standby(data, "replica", s->name,
		is_known ? (double)s->lag_ms / 1000 : NAN);
}

METRICS_ADD(own_add_lag)
{
	each_standby(out, m, site, on_lag);
}

static void on_lag_bytes(
	void *data, const struct lag_standby *s, int is_known, int64_t limit_ms)
{
	(void)limit_ms;
	add_standby(data, "replica", s->name,
		is_known && s->behind_bytes != LAG_NONE
			? (double)s->behind_bytes
			: NAN);
}

METRICS_ADD(own_add_lag_bytes)
{
	each_standby(out, m, site, on_lag_bytes);
}

static void on_lag_known(
	void *data, const struct lag_standby *s, int is_known, int64_t limit_ms)
{
	(void)limit_ms;
	add_standby(data, "replica", s->name, is_known);
}

METRICS_ADD(own_add_lag_known)
{
	each_standby(out, m, site, on_lag_known);
}

static void on_utilization(
	void *data, const struct lag_standby *s, int is_known, int64_t limit_ms)
{
	struct standbys *all = data;

	begin(all->out, all->m, "", all->db);
	text_add(all->out, ",signal=\"replication_lag\",");
	metrics_add_label(all->out, "target", s->name);
	text_add(all->out, "}");
	add_number(all->out,
		is_known && limit_ms > 0 ? (double)s->lag_ms / (double)limit_ms
					 : NAN);
}

METRICS_ADD(own_add_utilization)
{
	each_standby(out, m, site, on_utilization);
}
