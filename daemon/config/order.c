#include "config/order.h"

#include "base/err.h"
#include "config/option.h"

static const struct {
	const char *section;
	const char *smaller;
	const char *larger;
	int may_be_equal;
} orders[] = {
	{ "batch", "batch_rows", "max_batch_rows", 1 },
	{ "batch", "lock_timeout", "statement_timeout", 0 },
};

/* What the value is, and where it comes from. */
static void add_value(
	struct text *out, const struct option_def *o, const struct node *given)
{
	text_addf(out, "\"%s\" is %s%s", o->name,
		given != NULL ? given->text : o->default_text,
		given != NULL ? "" : " by default");
}

static const struct node *find_given(
	const struct node *section, const char *name)
{
	const struct node *n =
		section != NULL ? node_find(section, name) : NULL;

	return n != NULL && n->kind != NODE_NULL ? n : NULL;
}

static void check_order(const struct config *c, const struct node *section,
	size_t number, struct problems *problems)
{
	const struct option_def *a =
		option_find(orders[number].section, orders[number].smaller);
	const struct option_def *b =
		option_find(orders[number].section, orders[number].larger);
	const struct node *a_given = find_given(section, a->name);
	const struct node *b_given = find_given(section, b->name);
	int64_t difference;
	struct text values;
	struct err *e;

	if ((a_given != NULL && a_given->kind == NODE_BAD) ||
		(b_given != NULL && b_given->kind == NODE_BAD)) {
		return;
	}
	difference = option_number(b, c) - option_number(a, c);
	if (difference > 0 ||
		(difference == 0 && orders[number].may_be_equal)) {
		return;
	}
	e = problems_add(problems, a_given != NULL ? a_given->at : b_given->at);
	err_set(e, BFE_INPUT, "option \"%s.%s\" must %s \"%s.%s\"", a->section,
		a->name,
		orders[number].may_be_equal ? "not be greater than"
					    : "be less than",
		b->section, b->name);
	text_init(&values);
	add_value(&values, a, a_given);
	text_add(&values, ", ");
	add_value(&values, b, b_given);
	err_set_detail(e, "%s.", values.data);
	text_close(&values);
}

void order_check(const struct config *c, const struct node *root,
	struct problems *problems)
{
	for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
		const struct node *section = node_find(root, orders[i].section);

		if (section == NULL || section->kind == NODE_MAPPING) {
			check_order(c, section, i, problems);
		}
	}
}
