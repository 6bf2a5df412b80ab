/* test_examples.c: each example of conf/examples carried out, taken back, and
 * carried out again: the data is right, and the schema is what it was. */
#include "examples_drive.h"

#define COLUMN(table, column)                                                  \
	"(SELECT a FROM pg_attribute a WHERE a.attrelid = 'shop." table        \
	"'::regclass AND a.attname = '" column "' AND NOT a.attisdropped)"
#define NO_COLUMN(table, column) COLUMN(table, column) " IS NULL"
#define IS_NOT_NULL(table, column) "(" COLUMN(table, column) ").attnotnull"
#define DEFAULT(table, column)                                                 \
	"(SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef d"                \
	" WHERE d.adrelid = 'shop." table                                      \
	"'::regclass AND d.adnum = (" COLUMN(table, column) ").attnum)"
#define CONSTRAINT(name)                                                       \
	"(SELECT c FROM pg_constraint c WHERE c.conname = '" name "')"
#define IS_VALID(index)                                                        \
	"(SELECT i.indisvalid AND i.indisready FROM pg_index i"                \
	" WHERE i.indexrelid = 'shop." index "'::regclass)"
#define NONE(relation) "to_regclass('shop." relation "') IS NULL"

/* What must be so above, and below: conditions. */
static const struct data {
	const char *above;
	const char *below;
} data[EXAMPLES] = {
	/* 01_add_column */
	{ "(SELECT count(*) = 3000 AND count(phone) = 0 FROM shop.customers)",
		NO_COLUMN("customers", "phone") },
	/* 02_add_column_default: no row was written */
	{ "(SELECT count(*) = 3000 AND NOT bool_or(newsletter) FROM"
	  " shop.customers) AND " IS_NOT_NULL(
		  "customers", "newsletter") " AND (" COLUMN("customers",
		  "newsletter") ").atthasmissing",
		NO_COLUMN("customers", "newsletter") },
	/* 03_add_column_fill */
	{ "(SELECT count(*) FILTER (WHERE tier = 'founder') = 100 AND"
	  " count(*) FILTER (WHERE tier = 'basic') = 2900 FROM "
	  "shop.customers)"
	  " AND " DEFAULT("customers",
		  "tier") " = '''basic''::text'"
			  " AND " IS_NOT_NULL("customers",
				  "tier") " AND " CONSTRAINT("customers_"
							     "tier_"
							     "backfill_"
							     "check") " I"
								      "S "
								      "NU"
								      "L"
								      "L",
		NO_COLUMN("customers", "tier") },
	/* 04_add_column_volatile */
	{ "(SELECT count(DISTINCT created_token) = 6000 FROM shop.orders)"
	  " AND " DEFAULT("orders", "created_token") " = 'gen_random_uuid()'",
		NO_COLUMN("orders", "created_token") },
	/* 05_drop_column */
	{ NO_COLUMN("customers", "fax"),
		"(SELECT count(*) = 3000 AND count(fax) = 0 FROM"
		" shop.customers)" },
	/* 06_rename_column */
	{ "(SELECT count(*) FILTER (WHERE shipping_address = id ||"
	  " ' Main Street') = 6000 FROM shop.orders)"
	  " AND " NO_COLUMN("orders", "address"),
		"(SELECT count(*) FILTER (WHERE address = id ||"
		" ' Main Street') = 6000 FROM shop.orders)"
		" AND " NO_COLUMN("orders", "shipping_address") },
	/* 07_set_not_null */
	{ "(SELECT count(*) FILTER (WHERE country = 'DE') = 1000 AND"
	  " count(*) FILTER (WHERE country = 'FR') = 2000 FROM shop.customers)"
	  " AND " IS_NOT_NULL("customers", "country") " AND " CONSTRAINT(
		  "customers_country_backfill_check") " IS NULL",
		"(SELECT count(country) = 3000 FROM shop.customers)"
		" AND NOT " IS_NOT_NULL("customers", "country") },
	/* 08_add_check */
	{ "(SELECT count(*) FILTER (WHERE total_cents = 0) = 120 AND"
	  " min(total_cents) = 0 FROM shop.orders)"
	  " AND (" CONSTRAINT("orders_total_check") ").convalidated",
		CONSTRAINT("orders_total_check") " IS NULL" },
	/* 09_add_foreign_key */
	{ "(SELECT count(*) = 12000 FROM shop.items i JOIN shop.products p"
	  " ON p.id = i.product_id AND p.sku = i.sku)"
	  " AND (" CONSTRAINT(
		  "items_product_id_fkey") ").convalidated"
					   " AND " IS_VALID(
						   "items_product_id_idx"),
		NO_COLUMN("items", "product_id") },
	/* 10_create_index */
	{ IS_VALID("orders_customer_idx"), NONE("orders_customer_idx") },
	/* 11_create_unique_index */
	{ IS_VALID("customers_email_key") " AND (SELECT indisunique FROM"
					  " pg_index WHERE indexrelid ="
					  " 'shop.customers_email_key'::"
					  "regclass)",
		NONE("customers_email_key") },
	/* 12_create_partitioned_index: of the table and its partitions */
	{ "(SELECT count(*) FILTER (WHERE i.indisvalid) = 4 FROM"
	  " pg_partition_tree('shop.events_customer_idx') t"
	  " JOIN pg_index i ON i.indexrelid = t.relid)",
		NONE("events_customer_idx") },
	/* 13_drop_index */
	{ NONE("orders_note_idx"), IS_VALID("orders_note_idx") },
	/* 14_reindex: another index of the name */
	{ IS_VALID("items_sku_idx") " AND 'shop.items_sku_idx'::regclass::oid"
				    " <> (SELECT id FROM old_index)",
		IS_VALID("items_sku_idx") },
	/* 15_delete_archive */
	{ "(SELECT count(*) > 0 AND bool_and(changed_at < '2024-01-01 00:00Z')"
	  " FROM shop.carts_archive) AND (SELECT count(*) > 0 AND"
	  " bool_and(changed_at >= '2024-01-01 00:00Z') FROM shop.carts)"
	  " AND (SELECT count(*) = 6000 AND count(DISTINCT id) = 6000 FROM"
	  " (SELECT id FROM shop.carts UNION ALL"
	  " SELECT id FROM shop.carts_archive) c)",
		"(SELECT count(*) = 6000 AND sum(id) = 18003000"
		" FROM shop.carts) AND " NONE("carts_archive") },
	/* 16_statements */
	{ DEFAULT("products",
		  "stock") " = '0' AND"
			   " (SELECT count(*) = 0 FROM shop.sold_out)",
		DEFAULT("products", "stock") " IS NULL AND " NONE("sold_out") },
};

static void assert_is_so(const char *condition)
{
	if (!sql_true(shop.db, "SELECT %s", condition)) {
		fail_msg("it is not so: %s", condition);
	}
}

static void assert_dump(const char *expected)
{
	char *now = dump_shop();

	assert_string_equal(now, expected);
	free(now);
}

/* Run again, a file changes nothing. */
static void assert_idle(const char *name, void (*run)(const char *))
{
	char *before = dump_shop();
	int64_t jobs = count_jobs();

	run(name);
	assert_int_equal(count_jobs(), jobs);
	assert_dump(before);
	free(before);
}

static void run_up_only(const char *name)
{
	run_up(name, "");
}

static void test_example(void **state)
{
	const struct example *e = *state;
	const struct data *d = &data[e - examples];
	char *before;

	make_shop();
	sql_exec(shop.db,
		"DROP TABLE IF EXISTS old_index; CREATE TABLE old_index AS"
		" SELECT 'shop.items_sku_idx'::regclass::oid AS id");
	before = dump_shop();
	run_up(e->name, "");
	if (e->held != NULL) {
		wait_held(e);
		assert_false(sql_true(shop.db, "SELECT %s", d->above));
		approve(e);
	}
	wait_up(e->name);
	assert_is_so(d->above);
	assert_idle(e->name, run_up_only);
	assert_true(sql_true(shop.db,
		"SELECT count(*) > 0 AND bool_and(state = 'succeeded')"
		" FROM backfill.jobs"));

	run_down(e->name);
	wait_down(e->name);
	assert_is_so(d->below);
	assert_dump(before);
	assert_idle(e->name, run_down);
	assert_true(sql_true(shop.db,
		"SELECT bool_and(state = 'succeeded')"
		" FROM backfill.jobs"));

	go_up(e);
	assert_is_so(d->above);
	free(before);
}

/* None is left out: neither a file nor a row here. */
static void test_every_file_is_an_example(void **state)
{
	char output[8192], expected[8192] = "";
	char *const argv[] = { "sh", "-c",
		"cd conf/examples && ls *.sql | sort", NULL };
	struct child child = { .argv = argv, .uid = geteuid() };

	(void)state;
	(void)strncat(expected, "00_shop.sql\n", sizeof expected - 1);
	for (size_t i = 0; i < EXAMPLES; i++) {
		size_t used = strlen(expected);

		(void)snprintf(expected + used, sizeof expected - used,
			"%s.down.sql\n%s.up.sql\n", examples[i].name,
			examples[i].name);
	}
	assert_int_equal(child_run(&child, output, sizeof output), 0);
	assert_string_equal(output, expected);
}

int main(void)
{
	struct CMUnitTest tests[EXAMPLES + 1] = {
		cmocka_unit_test(test_every_file_is_an_example),
	};

	for (size_t i = 0; i < EXAMPLES; i++) {
		tests[i + 1] = (struct CMUnitTest){
			.name = examples[i].name,
			.test_func = test_example,
			.initial_state = (void *)&examples[i],
		};
	}
	return cmocka_run_group_tests(tests, examples_start, shop_stop);
}
