/* units.h: numbers with units, as PostgreSQL's configuration reads them
 * (PostgreSQL docs, 20.1.1 "Parameter Names and Values"): case-sensitive,
 * "250ms", "5s", "1min", "64MB". Pure. */
#ifndef BACKFILL_RULES_UNITS_H
#define BACKFILL_RULES_UNITS_H

#include <stddef.h>
#include <stdint.h>

/* Each parses the whole string into *value and returns 0, or returns -1
 * and points *hint to a constant sentence that says what is allowed.
 * Fractions are allowed ("1.5s"); the result is rounded to the nearest.
 * A time without a unit is refused unless it is 0: a bare 5 is too easily
 * read as another unit. Negative values are refused. */
int units_parse_time_ms(const char *text, int64_t *value, const char **hint);
int units_parse_bytes(const char *text, int64_t *value, const char **hint);
int units_parse_count(const char *text, int64_t *value, const char **hint);

/* The shortest exact form: 5000 -> "5s", 250 -> "250ms", 67108864 ->
 * "64MB". buffer holds at least 32 bytes; returned. */
char *units_format_time_ms(char *buffer, size_t size, int64_t value);
char *units_format_bytes(char *buffer, size_t size, int64_t value);

/* Four characters or so of a count that is not negative: "870", "18.4k",
 * "119.2M". As above. */
char *units_format_short(char *buffer, size_t size, double value);

#endif
