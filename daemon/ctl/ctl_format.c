#include "ctl/ctl_format.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/utf8.h"
#include "rules/units.h"

static char *unknown(char *buffer)
{
	return strcpy(buffer, "-");
}

char *ctl_format_count(char *buffer, double value)
{
	char digits[32];
	size_t length, out = 0;

	if (isnan(value)) {
		return unknown(buffer);
	}
	(void)snprintf(digits, sizeof digits, "%.0f", value);
	length = strlen(digits);
	for (size_t i = 0; i < length && out + 2 < FORMAT_BYTES; i++) {
		if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') {
			buffer[out++] = ',';
		}
		buffer[out++] = digits[i];
	}
	buffer[out] = '\0';
	return buffer;
}

char *ctl_format_short(char *buffer, double value)
{
	return isnan(value) ? unknown(buffer)
			    : units_format_short(buffer, FORMAT_BYTES, value);
}

char *ctl_format_duration(char *buffer, double seconds)
{
	int64_t s;

	if (isnan(seconds)) {
		return unknown(buffer);
	}
	s = seconds <= 0	 ? 0
		: seconds > 1e12 ? INT64_C(1000000000000)
				 : (int64_t)seconds;
	if (s < 60) {
		(void)snprintf(buffer, FORMAT_BYTES, "%ds", (int)s);
	} else if (s < 3600) {
		(void)snprintf(buffer, FORMAT_BYTES, "%dmin", (int)(s / 60));
	} else if (s < 86400) {
		(void)snprintf(buffer, FORMAT_BYTES, "%dh%02dm",
			(int)(s / 3600), (int)(s / 60 % 60));
	} else {
		(void)snprintf(buffer, FORMAT_BYTES, "%lldd%02dh",
			(long long)(s / 86400), (int)(s / 3600 % 24));
	}
	return buffer;
}

char *ctl_format_clock(char *buffer, double at, double now)
{
	struct tm utc;
	time_t when;

	if (isnan(at) || at < -1e12 || at > 1e12) {
		return unknown(buffer);
	}
	when = (time_t)at;
	if (gmtime_r(&when, &utc) == NULL) {
		return unknown(buffer);
	}
	(void)strftime(buffer, FORMAT_BYTES,
		at - now >= 86400 ? "%m-%d %H:%MZ" : "%H:%MZ", &utc);
	return buffer;
}

char *ctl_format_percent(char *buffer, double percent)
{
	int tenths;

	if (isnan(percent)) {
		return unknown(buffer);
	}
	if (percent >= 100) {
		return strcpy(buffer, "100.0%");
	}
	tenths = percent <= 0 ? 0 : (int)(percent * 10 + 1e-6);
	(void)snprintf(
		buffer, FORMAT_BYTES, "%d.%d%%", tenths / 10, tenths % 10);
	return buffer;
}

char *ctl_format_span(char *buffer, double seconds)
{
	if (isnan(seconds) || seconds >= 60) {
		return ctl_format_duration(buffer, seconds);
	}
	if (seconds < 0.9995) {
		(void)snprintf(buffer, FORMAT_BYTES, "%.0fms",
			seconds > 0 ? seconds * 1000 : 0);
	} else {
		(void)snprintf(buffer, FORMAT_BYTES, "%.*fs",
			seconds < 9.95 ? 1 : 0, seconds);
	}
	return buffer;
}

char *ctl_format_time(char *buffer, double at)
{
	struct tm utc;
	time_t when;

	if (isnan(at) || at < -1e10 || at > 1e11) {
		return unknown(buffer);
	}
	when = (time_t)at;
	if (gmtime_r(&when, &utc) == NULL) {
		return unknown(buffer);
	}
	(void)strftime(buffer, FORMAT_BYTES, "%Y-%m-%d %H:%M:%SZ", &utc);
	return buffer;
}

void ctl_format_bar(struct text *t, double percent, size_t cells)
{
	size_t full = 0;

	if (percent >= 100) {
		full = cells;
	} else if (percent > 0) {
		full = (size_t)(percent / 100 * (double)cells);
	}
	text_add(t, "[");
	for (size_t i = 0; i < cells; i++) {
		text_add(t, i < full ? "#" : "-");
	}
	text_add(t, "]");
}

static void add_inert(struct text *t, const char *s, const char *line_end)
{
	uint32_t point = 0;

	while (*s != '\0') {
		size_t length = utf8_decode(s, strnlen(s, 4), &point);

		if (length == 0) {
			text_add(t, "?");
			s++;
			continue;
		}
		if (*s == '\n') {
			text_add(t, line_end);
		} else if (*s == '\t' || *s == '\r') {
			text_add(t, " ");
		} else if (utf8_is_control(point)) {
			text_add(t, "?");
		} else {
			text_add_bytes(t, s, length);
		}
		s += length;
	}
}

void ctl_format_inert(struct text *t, const char *s)
{
	add_inert(t, s, " ");
}

/* Blanks between its tokens are the only controls that JSON may have; what is
 * no UTF-8 the server does not send. */
void ctl_format_json(struct text *t, const char *json)
{
	uint32_t point = 0;

	while (*json != '\0') {
		size_t length = utf8_decode(json, strnlen(json, 4), &point);

		if (length == 0) {
			text_add(t, "?");
			length = 1;
		} else if (*json == '\n' || !utf8_is_control(point)) {
			text_add_bytes(t, json, length);
		} else {
			text_addf(t, "\\u%04x", (unsigned)point);
		}
		json += length;
	}
}

void ctl_format_lines(struct text *t, const char *s)
{
	add_inert(t, s, "\n        ");
}
