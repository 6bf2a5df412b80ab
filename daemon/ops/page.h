/* page.h: dashboard.html as it is embedded (daemon/ops/embed). */
#ifndef BACKFILL_OPS_PAGE_H
#define BACKFILL_OPS_PAGE_H

/* What stands before and after the table of jobs. */
extern const char page_head[];
extern const char page_tail[];

/* Content-Security-Policy: its own script and style by their hashes, and
 * answers of this server. */
extern const char page_csp[];

#endif
