/* keyset.h: the SQL of windows and batches over a key. Pure: the catalog's
 * facts go in, text comes out.
 *
 * Every statement names the target by schema and says ONLY and its tableoid:
 * a table that takes its name later is not touched. Bounds are typed
 * literals, compared by the operators of the key's own index: whatever the
 * search_path holds, the walk is the index's order. Our names carry a
 * prefix that occurs in no clause; a clause stands in parentheses on lines
 * of its own, so that a comment at its end ends with the line. */
#ifndef BACKFILL_RULES_KEYSET_H
#define BACKFILL_RULES_KEYSET_H

#include <stdint.h>

#include "base/text.h"
#include "rules/key.h"

/* All texts are SQL, quoted already; owned. */
struct keyset_column {
	char *name;    /* "id", or "mood::public.mood" of a domain */
	char *type;    /* of literals: bigint */
	char *collate; /* " COLLATE pg_catalog.\"C\"", or "" */
	char *less;    /* OPERATOR(pg_catalog.<) … */
	char *less_equal;
	char *equal;
	char *greater_equal;
	char *greater;
	char *nulls; /* NULLS LAST or FIRST: the index's order, ascending */
};

struct keyset {
	char *table;	/* public.orders */
	char *relation; /* orders: how clauses know it */
	uint32_t table_oid;
	uint32_t index_oid;
	struct keyset_column columns[KEY_MAX_COLUMNS];
	int count;
	int row_comparison; /* (a, b) > (x, y) has one operator name */
	int is_delete;
	int lock_for_update; /* a delete, or SET names a unique column */
	char *set_clause;    /* NULL: a delete */
	char *from_clause;   /* NULL: none */
	char *where_clause;  /* NULL: all rows */
	char *prefix;	     /* of our names: __backfill_ */

	/* Of a delete that keeps its rows; archive NULL: it does not. */
	char *archive; /* public.orders_archive */
	uint32_t archive_oid;
	char **archive_columns; /* as both tables name them */
	int archive_count;
	int attributes; /* the table's pg_class.relnatts */
};

/* The fence of a range, as arguments of the functions. */
struct fence {
	int64_t job_id;
	int32_t range;
	int64_t epoch;
	int64_t seq;
};

void keyset_close(struct keyset *k);

/* Choose prefix once table, relation and clauses are set. */
void keyset_choose_prefix(struct keyset *k);

/* 'a''b', or E'a\\b' with a backslash. */
void keyset_add_literal(struct text *sql, const char *value);

/* The last key of the table: one row of texts, or none. */
void keyset_bound_sql(const struct keyset *k, struct text *sql);

/* The last of at most limit keys in (lo, hi]: a row of their number and the
 * key's texts, or none. lo may be no key. */
void keyset_window_sql(const struct keyset *k, struct text *sql,
	const struct key *lo, const struct key *hi, int64_t limit);

/* Whether a row in (lo, hi] has several matches in from_clause, which is not
 * NULL: one row of one boolean. */
void keyset_matches_sql(const struct keyset *k, struct text *sql,
	const struct key *lo, const struct key *hi);

/* What the checkpoint is told about a window. */
struct keyset_window {
	const struct key *lo; /* may be no key */
	const struct key *hi;
	int64_t rows_read; /* 0 for the window of a hole */
	int64_t size;	   /* rows asked for */
	int64_t hole;	   /* id of the window hole; 0: none */
};

/* The batch over a window: a row of eligible, locked, changed, and the WAL
 * position. With an archive, the statement that deletes rows puts them
 * there, and the checkpoint compares the counts. A row is eligible when
 * where_clause is true of it; with a from_clause, when it is true of it and of
 * at least one row of that. */
void keyset_batch_sql(const struct keyset *k, struct text *sql,
	const struct fence *fence, const struct keyset_window *window);

/* Lock the row of one key, waiting. */
void keyset_lock_sql(
	const struct keyset *k, struct text *sql, const struct key *key);

/* The batch over one key, which keyset_lock_sql locked; columns as above. */
void keyset_hole_sql(const struct keyset *k, struct text *sql,
	const struct fence *fence, const struct key *key, int64_t hole);

/* Statements that only have to parse (see store/catalog.h). In the form for
 * from_clause only one list of tables fits between USING and WHERE: neither
 * a WHERE of its own, nor a UNION, nor anything after one. */
void keyset_from_check_sql(const struct keyset *k, struct text *sql);
void keyset_set_check_sql(const struct keyset *k, struct text *sql);

/* Where where_clause stands; the tables of from_clause are there. */
enum keyset_form { KEYSET_IN_PARENTHESES, KEYSET_IN_ARRAY, KEYSET_IN_WHERE };
void keyset_where_check_sql(
	const struct keyset *k, struct text *sql, enum keyset_form form);

#endif
