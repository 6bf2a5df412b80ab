/* The distance is Damerau's and Levenshtein's: letters that are wrong,
 * missing, too many, or change places with the next one. */
#include "ctl/ctl_nearest.h"

#include <string.h>

enum { MOST = 32 };

void ctl_nearest_init(struct ctl_nearest *n, const char *wanted, size_t length)
{
	*n = (struct ctl_nearest){ .wanted = wanted, .length = length };
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t measure(
	const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t d[MOST + 1][MOST + 1];

	for (size_t i = 0; i <= a_length; i++) {
		d[i][0] = i;
	}
	for (size_t j = 0; j <= b_length; j++) {
		d[0][j] = j;
	}
	for (size_t i = 1; i <= a_length; i++) {
		for (size_t j = 1; j <= b_length; j++) {
			size_t change = a[i - 1] != b[j - 1];

			d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1,
				d[i - 1][j - 1] + change);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
				a[i - 2] == b[j - 1]) {
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
			}
		}
	}
	return d[a_length][b_length];
}

/* A slip in three letters; the beginning of a name counts as one. */
void ctl_nearest_try(struct ctl_nearest *n, const char *name)
{
	size_t length = strlen(name), distance;

	if (n->length == 0 || n->length > MOST || length > MOST) {
		return;
	}
	distance = measure(n->wanted, n->length, name, length);
	if (n->length >= 3 && n->length < length &&
		memcmp(n->wanted, name, n->length) == 0) {
		distance = 1;
	}
	if (distance <= (n->length + 1) / 3 &&
		(n->name == NULL || distance < n->distance)) {
		n->name = name;
		n->distance = distance;
	}
}
