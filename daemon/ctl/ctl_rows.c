#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/ctl_table.h"

enum { MAX_COLUMNS = 8 };

int ctl_print_json_value(
	struct ctl *ctl, const char *sql, int count, const char *const *values)
{
	PGresult *row = ctl_query(ctl, sql, count, values);

	if (row != NULL) {
		ctl_say_json(ctl_value(row, 0, "json"));
	}
	PQclear(row);
	return ctl->code;
}

int ctl_print_json(
	struct ctl *ctl, const char *sql, int count, const char *const *values)
{
	struct text query;

	text_init(&query);
	text_addf(&query,
		"SELECT '[' || coalesce(string_agg(row_to_json(r)::text,"
		" E',\\n '), '') || ']' AS json FROM (%s) r",
		sql);
	(void)ctl_print_json_value(ctl, query.data, count, values);
	text_close(&query);
	return ctl->code;
}

int ctl_print_rows(struct ctl *ctl, const char *title, const char *sql,
	const char *align, const char *id)
{
	const char *const values[] = { id };
	PGresult *rows = ctl_query(ctl, sql, 1, values);
	const char *headers[MAX_COLUMNS];
	struct ctl_table table;

	if (rows == NULL || PQntuples(rows) == 0) {
		PQclear(rows);
		return ctl->code;
	}
	assert(PQnfields(rows) == (int)strlen(align));
	assert(PQnfields(rows) <= MAX_COLUMNS);
	for (int i = 0; i < PQnfields(rows); i++) {
		headers[i] = PQfname(rows, i);
	}
	ctl_table_init(&table, headers, align);
	for (int i = 0; i < PQntuples(rows); i++) {
		for (int n = 0; n < PQnfields(rows); n++) {
			ctl_table_add(&table, PQgetvalue(rows, i, n));
		}
	}
	if (title != NULL) {
		printf("\n%s\n", title);
	}
	ctl_table_print(&table, stdout, ctl_table_width(stdout));
	ctl_table_close(&table);
	PQclear(rows);
	return CTL_OK;
}
