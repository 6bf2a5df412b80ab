#!/usr/bin/env bash
# What is embedded is what the files hold, whatever they hold.
. "$(dirname "$0")/../lib/shell.sh"

embed=$PWD/daemon/sql/embed
include=$PWD/include

# refused MESSAGE FILE...: embed says no.
refused() {
	local expected=$1 said

	shift
	if said=$("$embed" "$@" 2>&1 >/dev/null); then
		fail "accepted: $*"
	fi
	[ "$said" = "daemon/sql/embed: $expected" ] || fail "said: $said"
}

embedded_text_is_the_file() {
	cd "$scratch"
	printf '%s\n' 'SELECT E'\''\\n "x" \_'\'', '\''??/ ?'\'';' \
		$'\ttab, caf\xc3\xa9, 100%s' '-- \' '' >001_odd.up.sql
	: >001_odd.down.sql
	seq 200000 | sed 's/^/SELECT /' >002_long.up.sql
	echo 'DROP SCHEMA x;' >002_long.down.sql

	"$embed" 001_odd.down.sql 001_odd.up.sql 002_long.down.sql \
		002_long.up.sql >scripts.c
	cat >main.c <<'END'
#include <stdio.h>
#include "store/scripts.h"
int main(void)
{
	for (size_t i = 0; i < scripts_count; i++) {
		char name[64];
		FILE *f;
		snprintf(name, sizeof name, "%d_%s.up", scripts[i].version,
			scripts[i].name);
		f = fopen(name, "w");
		fputs(scripts[i].up, f);
		fclose(f);
		snprintf(name, sizeof name, "%d_%s.down", scripts[i].version,
			scripts[i].name);
		f = fopen(name, "w");
		fputs(scripts[i].down, f);
		fclose(f);
	}
	return scripts[scripts_count].name != NULL;
}
END
	cc -std=c11 -Wall -Wextra -Werror -I"$include" -o main main.c scripts.c
	./main
	cmp 001_odd.up.sql 1_odd.up
	cmp 001_odd.down.sql 1_odd.down
	cmp 002_long.up.sql 2_long.up
	cmp 002_long.down.sql 2_long.down
}

script_without_its_counterpart_is_refused() {
	cd "$scratch"
	touch 003_a.up.sql 004_b.down.sql
	refused '003_a.up.sql has no down script' 003_a.up.sql
	refused '004_b.down.sql has no up script' 004_b.down.sql
}

version_that_does_not_grow_is_refused() {
	cd "$scratch"
	touch 005_a.up.sql 005_a.down.sql 005_b.up.sql 005_b.down.sql
	refused '005_b.up.sql: version is not above 5' 005_a.up.sql 005_b.up.sql
}

other_names_are_refused() {
	cd "$scratch"
	touch 6_a.up.sql 6_a.down.sql x.sql
	refused '6_a.up.sql does not begin with three digits and a _' 6_a.up.sql
	refused 'x.sql is not called NNN_name.up.sql or NNN_name.down.sql' x.sql
}

run_test embedded_text_is_the_file
run_test script_without_its_counterpart_is_refused
run_test version_that_does_not_grow_is_refused
run_test other_names_are_refused
finish_tests
