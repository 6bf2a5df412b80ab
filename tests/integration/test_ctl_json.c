/* test_ctl_json.c: what --json prints is JSON of the shape that the manual
 * tells, and what a terminal gets of it is harmless. */
#include <stdlib.h>

#include "ctl_drive.h"

/* One text of the output, by a path of jsonb; the server is the parser. */
static const char *at(const char *path)
{
	static char value[1024];
	const char *const values[] = { output, path };
	PGresult *result = PQexecParams(shop, "SELECT $1::jsonb #>> $2::text[]",
		2, NULL, values, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		fail_msg("%s of %s", PQerrorMessage(shop), output);
	}
	(void)snprintf(value, sizeof value, "%s",
		PQgetisnull(result, 0, 0) ? "(null)"
					  : PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

static void test_list_and_show(void **state)
{
	(void)state;
	assert_int_equal(CTL("list", "--json"), 0);
	assert_output("[]\n");
	run_for_an_hour();
	submit("two");
	assert_int_equal(CTL("-U", "mon", "list", "--json"), 0);
	assert_string_equal(at("{0,name}"), "orders.amount_cents");
	assert_string_equal(at("{0,rows_done}"), "64000001");
	assert_string_equal(at("{0,hold}"), "false");
	assert_string_equal(at("{1,state}"), "queued");
	assert_string_equal(at("{1,eta_seconds}"), "(null)");
	assert_string_equal(at("{2}"), "(null)");
	assert_int_equal(CTL("show", "two", "--json"), 0);
	assert_string_equal(at("{job,id}"), "2");
	assert_string_equal(at("{clauses,set_clause}"), "a = 'x'");
	assert_int_equal(CTL("show", "three", "--json"), 3);
	assert_has("BF002: job \"three\" does not exist\n");
}

static void test_errors_explain_plan(void **state)
{
	(void)state;
	submit("one");
	sql_exec(shop,
		"INSERT INTO backfill.row_errors (job_id, number, key,"
		" sqlstate, message, failed_at) VALUES (1, 1,"
		" '{8,\"b c\"}', '22012', 'division by zero',"
		" '2026-01-01 00:00:08+00')");
	assert_int_equal(CTL("errors", "1", "--json"), 0);
	assert_string_equal(at("{0,key,1}"), "b c");
	assert_string_equal(at("{0,sqlstate}"), "22012");
	assert_string_equal(at("{0,resolved_at}"), "(null)");

	assert_int_equal(CTL("explain", "1", "--json"), 0);
	assert_string_equal(at("{job,name}"), "one");
	assert_string_equal(at("{findings}"), "(null)");
	sql_exec(shop,
		"INSERT INTO backfill.events (actor, job_id, event, detail)"
		" VALUES ('x', 1, 'preflight', E'first\\nsecond');"
		"UPDATE backfill.jobs SET report = '{\"rows_sampled\": 7}'");
	assert_int_equal(CTL("explain", "1", "--json"), 0);
	assert_string_equal(at("{findings,1}"), "second");
	assert_string_equal(at("{report,rows_sampled}"), "7");

	sql_exec(app,
		"SELECT backfill.plan_ddl('users', $$ SELECT 1 $$,"
		" prefix => 'p')");
	assert_int_equal(CTL("-U", "app", "plan", "p", "--json"), 0);
	assert_string_equal(at("{0,step}"), "1");
	assert_string_equal(at("{0,target}"), "public.users");
	assert_int_equal(CTL("-U", "app", "cancel-plan", "p", "--json"), 0);
	assert_string_equal(at("{0,state}"), "cancelled");
}

static void test_check(void **state)
{
	(void)state;
	assert_int_equal(CTL("check", "--json", "--standby=none"), 3);
	assert_string_equal(at("{0,level}"), "ok");
	assert_string_equal(at("{0,database}"), "shop");
	assert_has("\"mend\": null}");
	assert_has("\"mend\": \"");
	assert_has("\"level\": \"failure\"");
	assert_lacks(" to mend");
	assert_int_equal(CTL("check", "--json", "-h", "/nowhere"), 2);
}

static void test_hostile_texts(void **state)
{
	(void)state;
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause) VALUES"
		" (E'\\033[2J\\n\\u009b1m\\u202e\\u00e9', 'users', 'a = 1')");
	assert_int_equal(CTL("list", "--json"), 0);
	assert_lacks("\x1b");
	assert_lacks("\xc2\x9b");
	assert_lacks("\xe2\x80\xae");
	assert_has("\xc3\xa9");
	assert_string_equal(at("{0,name}"),
		"\x1b[2J\n\xc2\x9b"
		"1m\xe2\x80\xae\xc3\xa9");
}

/* A command that has nothing to print says so. */
static void test_who_has_no_json(void **state)
{
	(void)state;
	assert_int_equal(CTL("pause", "1", "--json"), 1);
	assert_has("--json is not an option of \"pause\"\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_list_and_show),
		TEST(test_errors_explain_plan),
		TEST(test_check),
		TEST(test_hostile_texts),
		TEST(test_who_has_no_json),
	};

	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
