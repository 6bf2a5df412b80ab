#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *ptr)
{
	if (ptr == NULL) {
		fputs("backfilld: out of memory -> abort\n", stderr);
		abort();
	}
	return ptr;
}

void *mem_new(size_t count, size_t size)
{
	/* calloc() may answer NULL for nothing, which is not a failure. */
	return checked(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *mem_resize(void *ptr, size_t size)
{
	return checked(realloc(ptr, size > 0 ? size : 1));
}

char *mem_strdup(const char *text)
{
	return text == NULL ? NULL : checked(strdup(text));
}
