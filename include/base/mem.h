/* mem.h: allocation. Out of memory aborts, here only: the lease ends and
 * another daemon resumes from the checkpoint. */
#ifndef BACKFILL_BASE_MEM_H
#define BACKFILL_BASE_MEM_H

#include <stddef.h>

/* Zeroed memory for count items of size bytes; never NULL. free() it. */
void *mem_new(size_t count, size_t size);

/* As realloc(), never NULL. */
void *mem_resize(void *ptr, size_t size);

/* A heap copy of text; NULL for NULL. free() it. */
char *mem_strdup(const char *text);

#endif
