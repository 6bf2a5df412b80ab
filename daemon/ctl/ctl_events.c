#include "ctl/ctl_events.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* A statement takes its id a moment before its transaction has a number. */
enum { GRACE_MS = 10000 };

void ctl_seen_init(struct ctl_seen *s)
{
	memset(s, 0, sizeof *s);
}

void ctl_seen_close(struct ctl_seen *s)
{
	free(s->events);
	memset(s, 0, sizeof *s);
}

int ctl_seen_add(struct ctl_seen *s, int64_t id, int64_t xid)
{
	if (xid < s->floor || id <= s->lowest) {
		return 0;
	}
	for (size_t i = 0; i < s->count; i++) {
		if (s->events[i].id == id) {
			return 0;
		}
	}
	s->largest = id > s->largest ? id : s->largest;
	s->events = mem_resize(s->events, (s->count + 1) * sizeof *s->events);
	s->events[s->count++] = (struct ctl_seen_event){ .id = id, .xid = xid };
	return 1;
}

static void raise_lowest(
	struct ctl_seen *s, int64_t xmin, int64_t xmax, uint64_t now_ms)
{
	if (s->next_xmax != 0) {
		if (xmin < s->next_xmax ||
			now_ms - s->next_since_ms < GRACE_MS) {
			return;
		}
		s->lowest = s->next_lowest;
	}
	s->next_lowest = s->largest;
	s->next_xmax = xmax;
	s->next_since_ms = now_ms;
}

void ctl_seen_end_look(
	struct ctl_seen *s, int64_t xmin, int64_t xmax, uint64_t now_ms)
{
	size_t kept = 0;

	s->floor = xmin > s->floor ? xmin : s->floor;
	raise_lowest(s, xmin, xmax, now_ms);
	for (size_t i = 0; i < s->count; i++) {
		if (s->events[i].xid >= s->floor &&
			s->events[i].id > s->lowest) {
			s->events[kept++] = s->events[i];
		}
	}
	s->count = kept;
}
