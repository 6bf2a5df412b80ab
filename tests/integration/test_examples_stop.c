/* test_examples_stop.c: each example called off before each of its jobs, and
 * taken back: the schema is what it was. */
#include "examples_drive.h"

/* The plan stands before this job of the example, which is paused before a
 * daemon sees it. */
static void stop_before(const struct example *e, const char *job)
{
	char more[4096], jobs[4096];

	(void)snprintf(more, sizeof more, "SELECT backfill.pause('%s.%s')",
		e->name, job);
	run_up(e->name, more);
	if (e->held != NULL) {
		approve(e);
	}
	(void)snprintf(jobs, sizeof jobs,
		"SELECT * FROM backfill.jobs WHERE id < (SELECT id FROM"
		" backfill.jobs WHERE name = '%s.%s')",
		e->name, job);
	if (sql_true(shop.db, "SELECT EXISTS (%s)", jobs)) {
		jobs_wait(e->name, jobs);
	}
}

static void take_back_from(const struct example *e, const char *job)
{
	char *before;

	make_shop();
	before = dump_shop();
	stop_before(e, job);
	assert_down(e, before);
	free(before);
}

/* From each of its jobs on, by their names. */
static void test_taken_back(void **state)
{
	const struct example *e = *state;
	char names[16][128];
	int count;

	make_shop();
	go_up(e);
	count = (int)count_jobs();
	assert_in_range(count, 1, 16);
	for (int i = 0; i < count; i++) {
		(void)snprintf(names[i], sizeof names[i], "%s",
			sql_text(shop.db,
				"SELECT right(name, -length(plan) - 1) FROM"
				" backfill.jobs ORDER BY id OFFSET %d LIMIT 1",
				i));
	}
	for (int i = 0; i < count; i++) {
		take_back_from(e, names[i]);
	}
}

int main(void)
{
	struct CMUnitTest tests[EXAMPLES];

	for (size_t i = 0; i < EXAMPLES; i++) {
		tests[i] = (struct CMUnitTest){
			.name = examples[i].name,
			.test_func = test_taken_back,
			.initial_state = (void *)&examples[i],
		};
	}
	return cmocka_run_group_tests(tests, examples_start, shop_stop);
}
