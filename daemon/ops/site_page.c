/* The page: what is embedded, around a plain table per database, which a
 * browser without scripts shows, and lynx. The script puts its own in the
 * place of them. */
#include "site.h"

#include "base/html.h"
#include "page.h"
#include "service_internal.h"
#include "store/screens.h"

static void add_cell(struct text *out, const char *tag, const char *s)
{
	text_addf(out, "<%s>", tag);
	html_add_text(out, s);
	text_addf(out, "</%s>", tag);
}

int page_take_table(struct look *look, const struct pgc_request *request)
{
	const PGresult *rows = screens_read_rows(request);
	struct text *out = &look->answer;

	text_reset(out);
	for (int row = 0; row < PQntuples(rows); row++) {
		text_add(out, "<tr>");
		for (int i = 0; screens_table_titles[i] != NULL; i++) {
			add_cell(out, "td",
				pgc_is_null(rows, row, i)
					? "-"
					: pgc_text(rows, row, i));
		}
		text_add(out, "</tr>\n");
	}
	return 0;
}

static void add_trouble(struct text *out, const struct look *look)
{
	const char *trouble = look_trouble(look);
	uint64_t now_ms = uv_now(&look->db->site->service->loop);

	if (trouble == NULL) {
		return;
	}
	text_add(out, "<p>");
	html_add_text(out, trouble);
	if (look->answered_ms != 0) {
		text_addf(out, " (what follows is %.0f s old)",
			(double)(now_ms - look->answered_ms) / 1000);
	}
	text_add(out, "</p>\n");
}

static void add_database(struct text *out, const struct site_database *db)
{
	const struct look *look = &db->table;

	text_add(out, "<h2>");
	html_add_text(out, site_database_name(db));
	text_add(out, "</h2>\n");
	add_trouble(out, look);
	if (look->answer.length == 0) {
		text_add(out, "<p>no job</p>\n");
		return;
	}
	text_add(out, "<table>\n<tr>");
	for (int i = 0; screens_table_titles[i] != NULL; i++) {
		add_cell(out, "th", screens_table_titles[i]);
	}
	text_addf(out, "</tr>\n%s</table>\n", look->answer.data);
}

void page_add(struct text *out, struct site *site)
{
	text_add(out, page_head);
	for (size_t i = 0; i < site->count; i++) {
		add_database(out, &site->databases[i]);
	}
	text_add(out, page_tail);
}
