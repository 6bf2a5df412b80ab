/* test_bad_batches.c: jobs that fail in the middle: the error is the server's,
 * whole; what was committed before stays and is counted. Batches are of 50
 * rows. */
#include <stdio.h>

#include "cmocka_all.h"
#include "shop.h"

static void make_table(const char *table)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n bigint,"
		" code int UNIQUE);"
		"INSERT INTO %s SELECT generate_series(1, 1000)",
		table, table);
}

/* What was committed stays, in so many batches: the rows up to this id and no
 * other. */
static void assert_kept(
	const char *name, const char *table, int last, int batches)
{
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM %s"
				 " WHERE (n IS NOT NULL) <> (id <= %d)",
				 table, last),
		0);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', rows_done, rows_read, batches,"
			" coalesce(key, '-')) FROM backfill.progress"
			" WHERE name = '%s'",
			name),
		last == 0 ? "0 0 0 -"
			  : sql_text(shop.db, "SELECT '%d %d %d %d'", last,
				    last, batches, last));
}

/* What was done before the row is kept, and the row is named: never by the
 * server's detail, which may quote it. */
#define MEND                                                                   \
	"Mend the row, then backfill.retry(job) goes on from there. A job"     \
	" with on_row_error = 'record' sets such rows aside and goes on."

static void test_error_of_row_500(void **state)
{
	(void)state;
	make_table("divided");
	job_submit(
		"divided", "divided", 50, "n = 1000 / (id - 500)", NULL, NULL);
	job_fails("divided", "22012", "division by zero",
		"It is the row with key (500).", MEND);
	/* 9 of 50 rows, then 25, 13, 6, 3 and 2: row 500 stands alone. */
	assert_kept("divided", "divided", 499, 14);
	assert_string_equal(job_events("divided"),
		"submitted,started,preflight,begun,failed");
	assert_string_equal(sql_text(shop.db,
				    "SELECT detail FROM backfill.events"
				    " WHERE job_id = %lld AND event ="
				    " 'failed'",
				    (long long)job_id("divided")),
		"22012: division by zero");
}

static void test_violated_constraints(void **state)
{
	(void)state;
	make_table("coded");
	job_submit("coded", "coded", 50, "n = 1, code = least(id, 120)", NULL,
		NULL);
	job_fails("coded", "23505",
		"duplicate key value violates unique constraint"
		" \"coded_code_key\"",
		"It is the row with key (121), constraint \"coded_code_key\".",
		MEND);
	assert_kept("coded", "coded", 120, 5);

	/* Checked at the end of the batch, not by its COMMIT. */
	make_table("deferred");
	sql_exec(shop.app,
		"ALTER TABLE deferred ADD CONSTRAINT deferred_fkey"
		" FOREIGN KEY (n) REFERENCES divided"
		" DEFERRABLE INITIALLY DEFERRED");
	job_submit("deferred", "deferred", 50, "n = id + 820", NULL, NULL);
	job_fails("deferred", "23503",
		"insert or update on table \"deferred\" violates foreign key"
		" constraint \"deferred_fkey\"",
		"It is the row with key (181), constraint \"deferred_fkey\".",
		MEND);
	assert_kept("deferred", "deferred", 180, 6);
}

static void add_trigger(const char *table, const char *body)
{
	sql_exec(shop.app,
		"CREATE FUNCTION %s_trigger() RETURNS trigger"
		" LANGUAGE plpgsql AS $$ BEGIN %s END $$;"
		"CREATE TRIGGER t BEFORE UPDATE ON %s FOR EACH ROW"
		" EXECUTE FUNCTION %s_trigger()",
		table, body, table, table);
}

static void test_trigger_that_changes_the_key(void **state)
{
	char message[128];

	(void)state;
	make_table("rekeyed");
	add_trigger("rekeyed",
		"IF OLD.id % 100 = 99 THEN NEW.id := -OLD.id; END IF;"
		" RETURN NEW;");
	job_submit("rekeyed", "rekeyed", 50, "n = 1", NULL, NULL);
	(void)snprintf(message, sizeof message,
		"a batch of job %lld changed the key of 1 rows",
		(long long)job_id("rekeyed"));
	job_fails("rekeyed", "BF021", message,
		"A row whose key changes would be met twice or not at all.",
		"Does one of the table's BEFORE triggers assign a key column:"
		" t?");
	assert_kept("rekeyed", "rekeyed", 50, 1);
}

/* First it looks like a held row; once it is locked, it is a fault. */
static void test_trigger_that_skips_a_row(void **state)
{
	char message[128];

	(void)state;
	make_table("skipped");
	add_trigger("skipped",
		"IF OLD.id = 77 THEN RETURN NULL; END IF; RETURN NEW;");
	job_submit("skipped", "skipped", 50, "n = 1", NULL, NULL);
	(void)snprintf(message, sizeof message,
		"a row of job %lld was locked and still not updated",
		(long long)job_id("skipped"));
	job_fails("skipped", "BF014", message, "It is the row with key (77).",
		"Does one of the table's BEFORE triggers return NULL: t?");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT string_agg(id::text, ' ') FROM skipped"
			" WHERE n IS NULL"),
		"77");
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', rows_done, holes)"
			" FROM backfill.progress WHERE name = 'skipped'"),
		"999 1");
	assert_string_equal(sql_text(shop.db,
				    "SELECT hi::text FROM backfill.holes"
				    " WHERE job_id = %lld",
				    (long long)job_id("skipped")),
		"{77}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_of_row_500),
		cmocka_unit_test(test_violated_constraints),
		cmocka_unit_test(test_trigger_that_changes_the_key),
		cmocka_unit_test(test_trigger_that_skips_a_row),
	};

	return cmocka_run_group_tests(tests, shop_start_patient, shop_stop);
}
