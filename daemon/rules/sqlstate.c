#include "rules/sqlstate.h"

#include <string.h>

/* clang-format off */
static const struct sqlstate_rule rules[] = {
	{ "BF010", SQLSTATE_FORGET, "stale epoch" },
	{ "BF011", SQLSTATE_STOPPED, "may not run now" },
	{ "BF013", SQLSTATE_HELD, "too many held rows" },
	{ "BF014", SQLSTATE_ROW, "row locked and still not changed" },
	{ "BF037", SQLSTATE_ROW, "row deleted and not archived" },
	{ "40001", SQLSTATE_RETRY, "serialization_failure" },
	{ "40P01", SQLSTATE_RETRY, "deadlock_detected" },
	{ "55P03", SQLSTATE_RETRY, "lock_not_available" },
	{ "57014", SQLSTATE_SHRINK, "query_canceled" },
	{ "53200", SQLSTATE_SHRINK, "out_of_memory" },
	{ "53100", SQLSTATE_WAIT, "disk_full" },
	{ "53300", SQLSTATE_WAIT, "too_many_connections" },
	{ "53", SQLSTATE_WAIT, "insufficient_resources" },
	{ "57P03", SQLSTATE_WAIT, "cannot_connect_now" },
	{ "25006", SQLSTATE_WAIT, "read_only_sql_transaction" },
	{ "08", SQLSTATE_RECONNECT, "connection_exception" },
	{ "57P01", SQLSTATE_RECONNECT, "admin_shutdown" },
	{ "57P02", SQLSTATE_RECONNECT, "crash_shutdown" },
	{ "57P05", SQLSTATE_RECONNECT, "idle_session_timeout" },
	{ "25P03", SQLSTATE_RECONNECT,
		"idle_in_transaction_session_timeout" },
	{ "25P04", SQLSTATE_RECONNECT, "transaction_timeout" },
	{ "21000", SQLSTATE_ROW, "cardinality_violation" },
	{ "22", SQLSTATE_ROW, "data_exception" },
	{ "23", SQLSTATE_ROW, "integrity_constraint_violation" },
	/* A value too long for an index is one of these. */
	{ "54000", SQLSTATE_ROW, "program_limit_exceeded" },
	/* A function or trigger says so: RAISE, INTO STRICT, ASSERT. */
	{ "P0", SQLSTATE_ROW, "plpgsql_error" },
	{ "0A", SQLSTATE_STOP, "feature_not_supported" },
	{ "28", SQLSTATE_STOP, "invalid_authorization_specification" },
	{ "42", SQLSTATE_STOP, "syntax_error_or_access_rule_violation" },
	{ "", SQLSTATE_STOP, "everything else" },
};

static const struct sqlstate_plan plans[] = {
	[SQLSTATE_STOP] = { "stop", "-", "the job fails" },
	[SQLSTATE_FORGET] = { "forget", "-",
		"another daemon has the job: it is let go" },
	[SQLSTATE_STOPPED] = { "stopped", "-",
		"the job is given back; its reason says why" },
	[SQLSTATE_HELD] = { "held", "hole_timeout",
		"the rows are worked off after the walk" },
	[SQLSTATE_RETRY] = { "retry", "1 hour",
		"tried again after a growing pause; a row in the way becomes"
		" a hole" },
	[SQLSTATE_SHRINK] = { "shrink", "1 hour",
		"tried again with half the rows" },
	[SQLSTATE_WAIT] = { "wait", "1 hour",
		"tried again after a growing pause" },
	[SQLSTATE_RECONNECT] = { "reconnect", "1 hour",
		"connected again, the checkpoint is read" },
	[SQLSTATE_ROW] = { "row", "max_row_errors",
		"halved down to the row; then as on_row_error says" },
};
/* clang-format on */

enum sqlstate_class sqlstate_classify(const struct err *e)
{
	size_t i = 0;

	switch (e->code) {
	case BFE_CONNECT:
	case BFE_LOST:
	case BFE_TIMEOUT:
	case BFE_CLOSED:
		return SQLSTATE_RECONNECT;
	default:
		break;
	}
	while (strncmp(e->sqlstate, rules[i].prefix, strlen(rules[i].prefix)) !=
		0) {
		i++;
	}
	return rules[i].class;
}

const struct sqlstate_rule *sqlstate_rule(size_t i)
{
	return i < sizeof rules / sizeof rules[0] ? &rules[i] : NULL;
}

const struct sqlstate_plan *sqlstate_plan(enum sqlstate_class class)
{
	return &plans[class];
}
