#include "work_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char BEGIN_SQL[] =
	"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

void work_add_call(
	struct text *sql, const char *function, const struct fence *f)
{
	text_addf(sql, "backfill.%s(%" PRId64 ", %" PRId32 ", %" PRId64,
		function, f->job_id, f->range, f->epoch);
}

void work_add_key(struct text *sql, const struct key *key)
{
	char *literal;

	if (key->count == 0) {
		text_add(sql, "NULL");
		return;
	}
	literal = key_format(key);
	keyset_add_literal(sql, literal);
	text_add(sql, "::pg_catalog.text[]");
	free(literal);
}

void work_add_value(struct text *sql, const char *value)
{
	if (value == NULL || value[0] == '\0') {
		text_add(sql, "NULL");
	} else {
		keyset_add_literal(sql, value);
	}
}

void work_add_text(struct pgc_request *r, struct text *sql)
{
	pgc_add(r, sql->data);
	text_close(sql);
}

struct pgc_request *work_begin(uint64_t deadline_ms)
{
	struct pgc_request *r = pgc_request_new(deadline_ms);

	pgc_add(r, BEGIN_SQL);
	return r;
}

/* ---- who answers ---- */

struct pgc_request *work_identify(void)
{
	struct pgc_request *r = pgc_request_new(SHORT_DEADLINE_MS);

	pgc_add(r, "SELECT pg_catalog.pg_backend_pid()");
	return r;
}

int work_check_backend(
	const struct pgc_request *r, int backend_pid, struct err *e)
{
	if (pgc_int(pgc_result(r, 0), 0, 0) == backend_pid) {
		return 0;
	}
	err_set(e, BFE_CONNECT, "the connection goes through a pooler");
	err_set_hint(e,
		"Give the connection string of the server itself as"
		" \"runner\".");
	return e->code;
}

/* ---- attach ---- */

enum { ATTACH_RESULT = 2 };

static void add_setting(struct text *sql, const char *name, const char *format,
	...) __attribute__((format(printf, 3, 4)));

static void add_setting(
	struct text *sql, const char *name, const char *format, ...)
{
	char value[64];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(value, sizeof value, format, args);
	va_end(args);
	text_addf(sql, "%spg_catalog.set_config('%s', ",
		sql->length > 0 ? ", " : "SELECT ", name);
	keyset_add_literal(sql, value);
	text_add(sql, ", false)");
}

static void add_settings(
	struct text *sql, const struct work_settings *s, int server_version)
{
	add_setting(sql, "search_path", "pg_catalog, pg_temp");
	add_setting(sql, "plan_cache_mode", "force_custom_plan");
	add_setting(sql, "jit", "off");
	/* A policy is an error, never a silent filter. */
	add_setting(sql, "row_security", "off");
	add_setting(sql, "extra_float_digits", "3");
	add_setting(sql, "bytea_output", "hex");
	add_setting(sql, "IntervalStyle", "postgres");
	add_setting(sql, "default_transaction_read_only", "off");
	add_setting(sql, "lock_timeout", "%" PRId64, s->lock_timeout_ms);
	add_setting(
		sql, "statement_timeout", "%" PRId64, s->statement_timeout_ms);
	add_setting(sql, "idle_in_transaction_session_timeout", "%" PRId64,
		s->idle_in_transaction_session_timeout_ms);
	add_setting(sql, "synchronous_commit", "%s", s->synchronous_commit);
	/* No timeout runs while the server waits for the rest of a request,
	 * with rows locked: it must notice by itself that we are gone. */
	add_setting(sql, "tcp_keepalives_idle", "10");
	add_setting(sql, "tcp_keepalives_interval", "5");
	add_setting(sql, "tcp_keepalives_count", "3");
	if (server_version >= 140000) {
		/* An orphan's statement ends with its client. */
		add_setting(sql, "client_connection_check_interval", "%" PRId64,
			s->client_connection_check_interval_ms);
		add_setting(sql, "idle_session_timeout", "0");
	}
	if (server_version >= 170000) {
		/* It would end whatever takes longer, such as an index build,
		 * each time that it is tried. */
		add_setting(sql, "transaction_timeout", "0");
	}
}

struct pgc_request *work_attach(const struct fence *fence,
	const struct work_settings *s, int server_version)
{
	struct pgc_request *r = work_begin(SHORT_DEADLINE_MS);
	struct text sql;

	text_init(&sql);
	add_settings(&sql, s, server_version);
	work_add_text(r, &sql);

	text_init(&sql);
	text_add(&sql,
		"SELECT target, set_clause, where_clause, key_columns,"
		" search_path, timezone, datestyle, begun, target_oid,"
		" key_index_oid, hi, cursor, seq, finished, last_batch_rows,"
		" statement_timeout_ms, batch_rows, max_batch_rows,"
		" target_batch_time_ms, kind, from_clause, dry_run,"
		" record_errors, pass, key_signature, holes_first, rows_left,"
		" max_rows_per_second, max_replication_lag_ms,"
		" is_schema_kind, definition, archive_table, archive_oid,"
		" lock_timeout_ms FROM ");
	work_add_call(&sql, "attach", fence);
	text_add(&sql,
		", (SELECT a.backend_start FROM "
		"pg_catalog.pg_stat_get_activity("
		"pg_catalog.pg_backend_pid()) a))");
	work_add_text(r, &sql);

	pgc_add(r, "COMMIT");
	return r;
}

static char *copy_text(const PGresult *result, int column)
{
	return pgc_is_null(result, 0, column)
		? NULL
		: mem_strdup(pgc_text(result, 0, column));
}

int work_read_attach(
	const struct pgc_request *r, struct work_job *j, struct err *e)
{
	const PGresult *result = pgc_result(r, ATTACH_RESULT);

	work_job_close(j);
	j->target = copy_text(result, 0);
	j->set_clause = copy_text(result, 1);
	j->where_clause = copy_text(result, 2);
	j->key_columns = copy_text(result, 3);
	j->search_path = copy_text(result, 4);
	j->timezone = copy_text(result, 5);
	j->datestyle = copy_text(result, 6);
	j->begun = pgc_bool(result, 0, 7);
	j->target_oid = (uint32_t)pgc_int(result, 0, 8);
	j->key_index_oid = (uint32_t)pgc_int(result, 0, 9);
	j->seq = pgc_int(result, 0, 12);
	j->finished = pgc_bool(result, 0, 13);
	j->last_batch_rows = pgc_int(result, 0, 14);
	j->statement_timeout_ms = pgc_int(result, 0, 15);
	j->batch_rows = pgc_int(result, 0, 16);
	j->max_batch_rows = pgc_int(result, 0, 17);
	j->target_us = pgc_int(result, 0, 18) * 1000;
	j->is_delete = strcmp(pgc_text(result, 0, 19), "delete") == 0;
	j->from_clause = copy_text(result, 20);
	j->is_dry_run = pgc_bool(result, 0, 21);
	j->records_errors = pgc_bool(result, 0, 22);
	j->pass = (int)pgc_int(result, 0, 23);
	j->key_signature = copy_text(result, 24);
	j->holes_first = pgc_bool(result, 0, 25);
	j->rows_left = pgc_int(result, 0, 26);
	j->max_rows_per_second = pgc_int(result, 0, 27);
	j->max_replication_lag_ms = pgc_int(result, 0, 28);
	j->is_schema_kind = pgc_bool(result, 0, 29);
	j->definition = copy_text(result, 30);
	j->archive_table = copy_text(result, 31);
	j->archive_oid = (uint32_t)pgc_int(result, 0, 32);
	j->lock_timeout_ms = pgc_int(result, 0, 33);
	if (key_parse(&j->hi, pgc_text(result, 0, 10)) != 0 ||
		key_parse(&j->cursor, pgc_text(result, 0, 11)) != 0 ||
		j->target == NULL ||
		(j->set_clause == NULL && !j->is_delete &&
			!j->is_schema_kind)) {
		return err_set(e, BFE_PROTOCOL,
			"unexpected result of backfill.attach");
	}
	return 0;
}

void work_job_close(struct work_job *j)
{
	free(j->target);
	free(j->set_clause);
	free(j->from_clause);
	free(j->where_clause);
	free(j->key_signature);
	free(j->definition);
	free(j->archive_table);
	free(j->key_columns);
	free(j->search_path);
	free(j->timezone);
	free(j->datestyle);
	key_close(&j->hi);
	key_close(&j->cursor);
	memset(j, 0, sizeof *j);
}

/* Of the submitter's DateStyle the order counts for input; the output form
 * is ISO, which every order reads back alike. */
static const char *date_order(const char *datestyle)
{
	if (strstr(datestyle, "DMY") != NULL) {
		return "ISO, DMY";
	}
	return strstr(datestyle, "YMD") != NULL ? "ISO, YMD" : "ISO, MDY";
}

void work_add_surroundings(struct pgc_request *r, const struct work_job *j)
{
	const char *const values[] = { j->search_path, j->timezone,
		date_order(j->datestyle) };

	pgc_add_params(r,
		"SELECT pg_catalog.set_config('search_path', $1, false),"
		" pg_catalog.set_config('TimeZone', $2, false),"
		" pg_catalog.set_config('DateStyle', $3, false)",
		3, values);
}

static void add_archive_oid(struct text *sql, const struct keyset *k)
{
	if (k->archive != NULL) {
		text_addf(sql, ", %" PRIu32, k->archive_oid);
	} else {
		text_add(sql, ", NULL");
	}
}

struct pgc_request *work_adopt_key(
	const struct fence *fence, const struct keyset *k)
{
	struct pgc_request *r = work_begin(SHORT_DEADLINE_MS);
	struct text sql;

	text_init(&sql);
	text_add(&sql, "SELECT ");
	work_add_call(&sql, "adopt_key", fence);
	text_addf(&sql, ", %" PRIu32, k->index_oid);
	add_archive_oid(&sql, k);
	text_add(&sql, ")");
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

/* ---- begin ---- */

enum { BOUND_KEY = 1, BOUND_PLAN = 2, BOUND_OID = 3 };

struct pgc_request *work_bound(const struct keyset *k)
{
	struct pgc_request *r = work_begin(SHORT_DEADLINE_MS);
	struct text sql;

	text_init(&sql);
	keyset_bound_sql(k, &sql);
	work_add_text(r, &sql);

	text_init(&sql);
	text_addf(&sql, "EXPLAIN SELECT FROM ONLY %s", k->table);
	work_add_text(r, &sql);

	/* The first statement has locked whatever bears the name: it cannot
	 * be given to another table before the transaction ends. */
	text_init(&sql);
	text_add(&sql, "SELECT pg_catalog.to_regclass(");
	keyset_add_literal(&sql, k->table);
	text_add(&sql, ")::pg_catalog.oid");
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

int work_read_bound(const struct pgc_request *r, const struct keyset *k,
	struct key *bound, int64_t *rows_estimate, struct err *e)
{
	const PGresult *row = pgc_result(r, BOUND_KEY);
	const char *plan = pgc_text(pgc_result(r, BOUND_PLAN), 0, 0);
	const char *rows = strstr(plan, "rows=");
	int64_t oid = pgc_int(pgc_result(r, BOUND_OID), 0, 0);

	if (oid != k->table_oid) {
		err_set(e, BFE_SQL, "table %s is not the one that was examined",
			k->table);
		memcpy(e->sqlstate, "BF022", 6);
		err_set_detail(e,
			"It was dropped or renamed while the job waited; its"
			" OID was %" PRIu32 " and is %" PRId64 ".",
			k->table_oid, oid);
		err_set_hint(e, "backfill.retry(job) examines it anew.");
		return e->code;
	}
	key_close(bound);
	for (int i = 0; i < k->count && PQntuples(row) > 0; i++) {
		key_add(bound, pgc_text(row, 0, i));
	}
	*rows_estimate = 0;
	if (rows != NULL && bound->count > 0) {
		*rows_estimate = strtoll(rows + strlen("rows="), NULL, 10);
	}
	return 0;
}

struct pgc_request *work_begin_job(const struct fence *fence,
	const struct keyset *k, const struct work_begin *begin)
{
	struct pgc_request *r = work_begin(SHORT_DEADLINE_MS);
	struct text sql;

	text_init(&sql);
	text_add(&sql, "SELECT ");
	work_add_call(&sql, "begin_job", fence);
	text_addf(&sql, ", %" PRIu32 ", %" PRIu32 ", ", k->table_oid,
		k->index_oid);
	work_add_key(&sql, begin->bound);
	text_addf(&sql, ", %" PRId64 ", ", begin->rows_estimate);
	work_add_value(&sql, begin->key_signature);
	text_add(&sql, ", ");
	work_add_value(&sql, begin->findings);
	text_add(&sql, ", ");
	work_add_value(&sql, k->table);
	text_add(&sql, ", ");
	work_add_value(&sql, begin->moves_by);
	add_archive_oid(&sql, k);
	text_add(&sql, ", ");
	work_add_value(&sql, k->archive);
	text_add(&sql, ")");
	work_add_text(r, &sql);
	pgc_add(r, "COMMIT");
	return r;
}

int work_read_begun(const struct pgc_request *r, struct err *e)
{
	enum { BEGUN = 1 };

	if (pgc_bool(pgc_result(r, BEGUN), 0, 0)) {
		return 0;
	}
	/* The job is queued already, with a reason that names the other. */
	err_set(e, BFE_SQL, "waits: another job runs on the table");
	memcpy(e->sqlstate, "BF011", sizeof e->sqlstate);
	return e->code;
}
