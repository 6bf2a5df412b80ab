/* ctl_format.h: numbers, times and texts as the screens show them. Pure.
 * NAN is "unknown" everywhere and becomes "-", never 0. What has a buffer
 * writes into it, at most FORMAT_BYTES, and returns it. */
#ifndef BACKFILL_CTL_CTL_FORMAT_H
#define BACKFILL_CTL_CTL_FORMAT_H

#include "base/text.h"

enum { FORMAT_BYTES = 40 };

/* "64,120,331" */
char *ctl_format_count(char *buffer, double value);

/* Four characters or so: "870", "18.4k", "119.2M" */
char *ctl_format_short(char *buffer, double value);

/* "7s", "52min", "1h02m", "3d04h"; below zero is zero. */
char *ctl_format_duration(char *buffer, double seconds);

/* A time of day in UTC, "12:57Z"; with the date, "11-24 08:10Z", when it is
 * a day or more after now. Both are seconds since the epoch. */
char *ctl_format_clock(char *buffer, double at, double now);

/* "53.8%"; nothing below 100 shows as 100. */
char *ctl_format_percent(char *buffer, double percent);

/* Of less than a minute also the fraction: "7ms", "250ms", "1.2s", "38s". */
char *ctl_format_span(char *buffer, double seconds);

/* "2026-11-22 12:04:31Z" */
char *ctl_format_time(char *buffer, double at);

/* Add "[#####--------------------]" with so many cells: full at 100 only. */
void ctl_format_bar(struct text *t, double percent, size_t cells);

/* Add s so that a terminal shows it and does nothing else: tabs and line
 * ends become a space; other control characters, marks that turn the
 * direction of writing, and bytes that are not UTF-8 become '?'. */
void ctl_format_inert(struct text *t, const char *s);

/* Add a JSON text so that a terminal does nothing else: what acts on one is
 * escaped, which means the same to who reads JSON. */
void ctl_format_json(struct text *t, const char *json);

/* As ctl_format_inert(), but a line end stays one and the next line is
 * indented: it cannot pass for a line of ours. */
void ctl_format_lines(struct text *t, const char *s);

#endif
