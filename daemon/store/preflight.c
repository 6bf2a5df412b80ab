#include "store/catalog.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void preflight_init(struct preflight *p)
{
	memset(p, 0, sizeof *p);
	text_init(&p->findings);
}

void preflight_close(struct preflight *p)
{
	text_close(&p->findings);
	free(p->key_signature);
	free(p->before_triggers);
	free(p->archive_triggers);
	free(p->moves_by);
	memset(p, 0, sizeof *p);
}

void preflight_tell(struct preflight *p, const char *format, ...)
{
	char line[2048];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (p->findings.length > 0) {
		text_add(&p->findings, "\n");
	}
	text_add(&p->findings, text_trim(line));
}
