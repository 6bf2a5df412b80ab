#include "rules/sqlstate.h"

#include <stddef.h>
#include <string.h>

/* The first prefix that matches decides. */
static const struct {
	const char *prefix;
	enum sqlstate_class class;
} rules[] = {
	{ "BF010", SQLSTATE_FORGET }, { "BF011", SQLSTATE_STOPPED },
	{ "BF013", SQLSTATE_HELD },
	{ "40001", SQLSTATE_RETRY },	 /* serialization_failure */
	{ "40P01", SQLSTATE_RETRY },	 /* deadlock_detected */
	{ "55P03", SQLSTATE_RETRY },	 /* lock_not_available */
	{ "57014", SQLSTATE_SHRINK },	 /* query_canceled: a timeout */
	{ "53200", SQLSTATE_SHRINK },	 /* out_of_memory */
	{ "57P03", SQLSTATE_WAIT },	 /* cannot_connect_now */
	{ "25006", SQLSTATE_WAIT },	 /* read_only_sql_transaction */
	{ "53", SQLSTATE_WAIT },	 /* insufficient_resources */
	{ "08", SQLSTATE_RECONNECT },	 /* connection_exception */
	{ "57P01", SQLSTATE_RECONNECT }, /* admin_shutdown */
	{ "57P02", SQLSTATE_RECONNECT }, /* crash_shutdown */
	{ "57P05", SQLSTATE_RECONNECT }, /* idle_session_timeout */
	{ "25P03", SQLSTATE_RECONNECT }, /* idle_in_transaction_… */
	{ "25P04", SQLSTATE_RECONNECT }, /* transaction_timeout (17) */
};

enum sqlstate_class sqlstate_classify(const struct err *e)
{
	switch (e->code) {
	case BFE_CONNECT:
	case BFE_LOST:
	case BFE_TIMEOUT:
	case BFE_CLOSED:
		return SQLSTATE_RECONNECT;
	default:
		break;
	}
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		if (strncmp(e->sqlstate, rules[i].prefix,
			    strlen(rules[i].prefix)) == 0) {
			return rules[i].class;
		}
	}
	return SQLSTATE_STOP;
}
