/* test_ctl_seen.c: no event is told twice and none is left out, whatever the
 * order in which transactions begin, take ids and end. */
#include <stdlib.h>

#include "cmocka_all.h"

#include "ctl/ctl_events.h"

enum { MOST = 400, OPEN = 8, ROUNDS = 300 };

static void test_ids_out_of_order(void **state)
{
	struct ctl_seen s;

	(void)state;
	ctl_seen_init(&s);
	/* Transaction 100 has id 1 and runs; 101 has id 2. */
	assert_true(ctl_seen_add(&s, 2, 101));
	ctl_seen_end_look(&s, 100, 102, 0);
	assert_false(ctl_seen_add(&s, 2, 101));
	assert_true(ctl_seen_add(&s, 1, 100));
	ctl_seen_end_look(&s, 102, 102, 500);
	assert_false(ctl_seen_add(&s, 1, 100));
	assert_false(ctl_seen_add(&s, 2, 101));
	assert_true(ctl_seen_add(&s, 3, 102));
	ctl_seen_close(&s);
}

static void test_what_is_known_is_forgotten(void **state)
{
	struct ctl_seen s;

	(void)state;
	ctl_seen_init(&s);
	assert_true(ctl_seen_add(&s, 7, 100));
	ctl_seen_end_look(&s, 101, 101, 1000);
	assert_int_equal(s.count, 0);
	assert_int_equal(s.floor, 101);
	assert_int_equal(s.lowest, 0);
	/* A transaction without a number yet may have taken a smaller id. */
	ctl_seen_end_look(&s, 102, 102, 10999);
	assert_int_equal(s.lowest, 0);
	ctl_seen_end_look(&s, 102, 102, 11000);
	assert_int_equal(s.lowest, 7);
	ctl_seen_close(&s);
}

/* One that runs for hours keeps the lowest id where it is. */
static void test_a_long_transaction(void **state)
{
	struct ctl_seen s;

	(void)state;
	ctl_seen_init(&s);
	ctl_seen_end_look(&s, 50, 100, 0);
	for (int i = 0; i < 100; i++) {
		assert_true(ctl_seen_add(&s, 10 + i, 100 + i));
		ctl_seen_end_look(&s, 50, 101 + i, 100000u * (unsigned)i);
	}
	assert_int_equal(s.lowest, 0);
	assert_int_equal(s.count, 100);
	assert_true(ctl_seen_add(&s, 9, 50));
	ctl_seen_end_look(&s, 200, 200, 100000000);
	assert_int_equal(s.count, 0);
	ctl_seen_close(&s);
}

/* ---- a server in small: transactions with subtransactions that take numbers
 * and ids, and end in any order */

struct row {
	int64_t id, xid;
	int transaction; /* that is still running; -1: ended */
	int is_visible;
};

struct server {
	struct row rows[MOST];
	int count;
	int64_t next_id, next_xid;
	int64_t open[OPEN]; /* numbers of those that run; 0: none */
};

static void insert(struct server *v, int transaction)
{
	struct row *row = &v->rows[v->count++];

	row->id = v->next_id++;
	if (v->open[transaction] == 0) {
		v->open[transaction] = v->next_xid++;
	}
	/* In a subtransaction now and then, and a number goes elsewhere. */
	row->xid = rand() % 2 == 0 ? v->open[transaction] : v->next_xid++;
	v->next_xid += rand() % 2;
	row->transaction = transaction;
	row->is_visible = 0;
}

static void end(struct server *v, int transaction)
{
	int commits = rand() % 4 != 0;

	for (int i = 0; i < v->count; i++) {
		if (v->rows[i].transaction == transaction) {
			v->rows[i].transaction = -1;
			v->rows[i].is_visible = commits;
		}
	}
	v->open[transaction] = 0;
}

static int64_t xmin(const struct server *v)
{
	int64_t least = v->next_xid;

	for (int i = 0; i < OPEN; i++) {
		if (v->open[i] != 0 && v->open[i] < least) {
			least = v->open[i];
		}
	}
	return least;
}

static void look(
	const struct server *v, struct ctl_seen *s, int *told, uint64_t now_ms)
{
	int64_t floor = s->floor, lowest = s->lowest;

	for (int i = 0; i < v->count; i++) {
		const struct row *row = &v->rows[i];

		if (row->is_visible && row->id > lowest && row->xid >= floor &&
			ctl_seen_add(s, row->id, row->xid)) {
			told[i]++;
		}
	}
	ctl_seen_end_look(s, xmin(v), v->next_xid, now_ms);
}

static void run_one(unsigned seed)
{
	struct server v = { .next_id = 1, .next_xid = 700 };
	struct ctl_seen s;
	int told[MOST] = { 0 };
	uint64_t now_ms = 0;

	srand(seed);
	ctl_seen_init(&s);
	while (v.count < MOST) {
		int transaction = rand() % OPEN;

		switch (rand() % 4) {
		case 0:
			end(&v, transaction);
			break;
		case 1:
			now_ms += (uint64_t)(rand() % 9000);
			look(&v, &s, told, now_ms);
			break;
		default:
			insert(&v, transaction);
			break;
		}
	}
	for (int i = 0; i < OPEN; i++) {
		end(&v, i);
	}
	look(&v, &s, told, now_ms);
	look(&v, &s, told, now_ms + 500);
	for (int i = 0; i < v.count; i++) {
		if (told[i] != v.rows[i].is_visible) {
			fail_msg("seed %u: row %d is told %d times", seed, i,
				told[i]);
		}
	}
	assert_true(s.lowest > 0);
	ctl_seen_close(&s);
}

static void test_any_order(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= ROUNDS; seed++) {
		run_one(seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids_out_of_order),
		cmocka_unit_test(test_what_is_known_is_forgotten),
		cmocka_unit_test(test_a_long_transaction),
		cmocka_unit_test(test_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
