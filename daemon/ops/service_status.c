#include "service_internal.h"

#include "rules/units.h"

/* What the server said may have several lines; the manager takes each for
 * one of the protocol. */
static void add_line(struct text *out, const char *s)
{
	for (; *s != '\0'; s++) {
		text_add_bytes(out, *s == '\n' || *s == '\r' ? " " : s, 1);
	}
}

static void add_jobs(struct text *out, const struct database_status *db,
	double rows_per_second)
{
	char rate[32];

	if (db->running + db->held == 0) {
		text_add(out, "no job");
		return;
	}
	text_addf(out, "%zu running", db->running);
	if (db->held > 0) {
		text_addf(out, ", %zu held", db->held);
	}
	text_addf(out, ", %s rows/s",
		units_format_short(rate, sizeof rate, rows_per_second));
}

static void add_database(
	const struct service *s, size_t number, struct text *out)
{
	struct database_status db;

	if (s->databases[number] == NULL) {
		text_addf(out, "%s: ended", s->config.databases[number].name);
		return;
	}
	database_status(s->databases[number], &db);
	text_addf(out, "%s: ", db.name);
	if (db.trouble != NULL) {
		text_add(out, db.was_tried ? "connecting: " : "");
		add_line(out, db.trouble);
		return;
	}
	add_jobs(out, &db, s->rows_per_second[number]);
}

void service_add_status(const struct service *s, struct text *out)
{
	if (s->stopping) {
		text_add(out, "stopping; ");
	}
	if (s->reload_errors > 0) {
		text_addf(out, "%zu error%s in %s, nothing reloaded; ",
			s->reload_errors, s->reload_errors == 1 ? "" : "s",
			s->path);
	}
	for (size_t i = 0; i < s->count; i++) {
		text_add(out, i > 0 ? "; " : "");
		add_database(s, i, out);
	}
}
