#include "base/log_limit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct rate {
	uint64_t burst;
	uint64_t period_ms;
};

static const struct rate of_kind = { LOG_LIMIT_BURST, LOG_LIMIT_PERIOD_MS };
static const struct rate of_site = { LOG_LIMIT_SITE_BURST,
	LOG_LIMIT_SITE_PERIOD_MS };

void log_limit_close(struct log_limit *l)
{
	for (size_t i = 0; i < LOG_LIMIT_KINDS; i++) {
		log_line_free(l->kinds[i].last);
	}
	memset(l, 0, sizeof *l);
}

/* ---- lines ---- */

static char *copy(const char *text)
{
	return text != NULL ? mem_strdup(text) : NULL;
}

static struct log_line *copy_line(const struct log_line *line)
{
	struct log_line *kept = mem_new(1, sizeof *kept);

	kept->level = line->level;
	kept->about.job = line->about.job;
	kept->about.database = copy(line->about.database);
	kept->about.job_name = copy(line->about.job_name);
	kept->about.sqlstate = copy(line->about.sqlstate);
	kept->text = copy(line->text);
	return kept;
}

void log_line_free(struct log_line *line)
{
	if (line == NULL) {
		return;
	}
	free((char *)line->about.database);
	free((char *)line->about.job_name);
	free((char *)line->about.sqlstate);
	free((char *)line->text);
	free(line);
}

/* ---- keys: FNV-1a ---- */

static uint64_t add_byte(uint64_t key, unsigned char byte)
{
	return (key ^ byte) * 0x100000001b3u;
}

static uint64_t add_bytes(uint64_t key, const void *bytes, size_t length)
{
	const unsigned char *at = bytes;

	while (length-- > 0) {
		key = add_byte(key, *at++);
	}
	return key;
}

static uint64_t add_text(uint64_t key, const char *text)
{
	return text != NULL ? add_bytes(key, text, strlen(text) + 1) : key;
}

static int is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Any number is as good as another. */
static uint64_t add_words(uint64_t key, const char *text)
{
	for (; *text != '\0'; text++) {
		if (!is_digit(*text)) {
			key = add_byte(key, (unsigned char)*text);
		} else if (!is_digit(text[1])) {
			key = add_byte(key, '0');
		}
	}
	return key;
}

static uint64_t key_of_site(const void *site, const struct log_line *line)
{
	uint64_t key = 0xcbf29ce484222325u;

	key = add_bytes(key, &site, sizeof site);
	key = add_bytes(key, &line->about.job, sizeof line->about.job);
	key = add_text(key, line->about.database);
	return key;
}

static uint64_t key_of_kind(uint64_t site_key, const struct log_line *line)
{
	uint64_t key = add_text(site_key, line->about.sqlstate);

	return add_words(add_byte(key, (unsigned char)line->level), line->text);
}

/* ---- buckets ---- */

/* A kind of which nothing is left to tell may be forgotten: at worst its burst
 * is there again too early. */
static struct log_kind *find(struct log_kind *kinds, size_t count, uint64_t key)
{
	struct log_kind *oldest = NULL;

	for (size_t i = 1; i < count; i++) {
		struct log_kind *k = &kinds[i];

		if (k->key == key) {
			return k;
		}
		if (k->left_out == 0 &&
			(oldest == NULL || k->used < oldest->used)) {
			oldest = k;
		}
	}
	if (oldest == NULL) {
		return &kinds[0];
	}
	memset(oldest, 0, sizeof *oldest);
	oldest->key = key;
	return oldest;
}

static int may_pass(
	const struct log_kind *k, const struct rate *r, uint64_t now_ms)
{
	return k->full_ms <= now_ms ||
		k->full_ms - now_ms <= (r->burst - 1) * r->period_ms;
}

static void spend(struct log_kind *k, const struct rate *r, uint64_t now_ms)
{
	k->full_ms = (k->full_ms > now_ms ? k->full_ms : now_ms) + r->period_ms;
}

/* The count of the kind goes with the line. */
static void tell(struct log_kind *k, struct log_line *line, uint64_t now_ms)
{
	line->left_out = k->left_out;
	line->over_ms = k->left_out > 0 ? now_ms - k->since_ms : 0;
	k->left_out = 0;
	log_line_free(k->last);
	k->last = NULL;
}

static void leave_out(
	struct log_kind *k, const struct log_line *line, uint64_t now_ms)
{
	if (k->left_out++ == 0) {
		k->since_ms = now_ms;
	}
	log_line_free(k->last);
	k->last = copy_line(line);
}

int log_limit_take(struct log_limit *l, const void *site, struct log_line *line,
	uint64_t now_ms)
{
	uint64_t site_key = key_of_site(site, line);
	struct log_kind *of_all = find(l->sites, LOG_LIMIT_SITES, site_key);
	struct log_kind *kind =
		find(l->kinds, LOG_LIMIT_KINDS, key_of_kind(site_key, line));

	of_all->used = kind->used = ++l->uses;
	if (!may_pass(kind, &of_kind, now_ms) ||
		!may_pass(of_all, &of_site, now_ms)) {
		leave_out(kind, line, now_ms);
		return 0;
	}
	spend(of_all, &of_site, now_ms);
	spend(kind, &of_kind, now_ms);
	tell(kind, line, now_ms);
	return 1;
}

struct log_line *log_limit_due(struct log_limit *l, uint64_t now_ms, int is_end)
{
	for (size_t i = 0; i < LOG_LIMIT_KINDS; i++) {
		struct log_kind *k = &l->kinds[i];
		struct log_line *line = k->last;

		if (k->left_out == 0 ||
			(!is_end && now_ms - k->since_ms < LOG_LIMIT_TELL_MS)) {
			continue;
		}
		k->last = NULL;
		tell(k, line, now_ms);
		return line;
	}
	return NULL;
}
