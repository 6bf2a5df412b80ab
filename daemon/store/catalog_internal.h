/* catalog_internal.h: what catalog*.c share. */
#ifndef BACKFILL_STORE_CATALOG_INTERNAL_H
#define BACKFILL_STORE_CATALOG_INTERNAL_H

#include "store/catalog.h"

/* For statements that read catalogs and clauses, and no rows. */
enum { CATALOG_DEADLINE_MS = 15000 };

/* Set the SQLSTATE; returns e->code. */
int catalog_set_sqlstate(struct err *e, const char *sqlstate);

/* The key: values are the table's OID and the wanted columns or NULL. Fills
 * the key's part of k and p; BF020 when there is none, BF021 when columns,
 * which SET names, has one of it. k->table is set. */
void catalog_add_key(struct pgc_request *r, const char *const values[]);
int catalog_read_key(const PGresult *rows, const struct work_job *j,
	const struct setlist *columns, struct keyset *k, struct preflight *p,
	struct err *e);
int catalog_is_key_column(const PGresult *key, const char *name);

/* What the clauses call, under the search_path of catalog_resolve(). Fills
 * findings, may_wait and moves_by of p. */
void catalog_add_calls(struct pgc_request *r, const struct work_job *j);
void catalog_read_calls(const struct pgc_request *r, int index,
	const struct work_job *j, struct preflight *p);

/* The texts of the queries below. */
struct catalog_values {
	const char *oid;
	const char *is_delete; /* "t" or "f" */
	const char *columns;   /* that SET names, as a text[] literal */
};

/* What hangs on the table and the columns that change: rules, triggers,
 * foreign keys, indexes. So many results, which begin at first. Fills findings,
 * before_triggers and may_wait of p, lock_for_update of k. */
enum { CATALOG_FACTS = 6 };
void catalog_add_facts(
	struct pgc_request *r, const struct catalog_values *values);
int catalog_read_rules(const struct pgc_request *r, int first,
	const struct keyset *k, struct err *e);
int catalog_read_facts(const struct pgc_request *r, int first,
	const PGresult *key, struct keyset *k, struct preflight *p,
	struct err *e);

/* The archive of k->archive_oid, which is to have the rows of k->table_oid.
 * Its results begin at first. Fills what k knows of it, findings, may_wait
 * and archive_triggers of p. */
void catalog_add_archive(struct pgc_request *r, const struct keyset *k);
int catalog_read_archive(const struct pgc_request *r, int first,
	struct keyset *k, struct preflight *p, struct err *e);

#endif
