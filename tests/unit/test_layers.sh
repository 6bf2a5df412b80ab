#!/usr/bin/env bash
# The check of the floors finds what it is for.
. "$(dirname "$0")/../lib/shell.sh"

layers=$PWD/tests/lib/layers.sh

# copy: a copy of the tree's C files in which a test breaks a rule.
copy() {
	rm -rf "$scratch/tree"
	mkdir -p "$scratch/tree"
	cp -r daemon include "$scratch/tree"
	mkdir -p "$scratch/tree/daemon/ctl" "$scratch/tree/include/engine"
}

# complains LINE: the copy is refused, with this line and no other.
complains() {
	local found

	if found=$("$layers" "$scratch/tree"); then
		fail "the broken tree was accepted"
	fi
	if [ "$found" != "$1" ]; then
		fail "expected: $1"$'\n'"found:    $found"
	fi
}

tree_is_accepted() {
	"$layers" .
	copy
	"$layers" "$scratch/tree"
}

include_of_a_higher_floor_is_refused() {
	copy
	printf '%s\n' '/* x */' '#include "base/err.h"' \
		'#include "engine/worker.h"' >"$scratch/tree/daemon/base/x.c"
	complains 'daemon/base/x.c:3: base/ must not include engine/worker.h of a higher floor'
}

header_that_goes_up_is_refused() {
	copy
	echo '# include <pg/pgc.h>' >"$scratch/tree/include/rules/x.h"
	complains 'include/rules/x.h:1: rules/ must not include pg/pgc.h of a higher floor'
}

pure_floors_know_neither_libuv_nor_libpq() {
	copy
	echo '#include <uv.h>' >"$scratch/tree/daemon/rules/x.c"
	complains 'daemon/rules/x.c:1: rules/ must not include uv.h'
	echo '#include <libpq-fe.h>' >"$scratch/tree/daemon/rules/x.c"
	complains 'daemon/rules/x.c:1: rules/ must not include libpq-fe.h'
}

client_is_no_daemon() {
	copy
	echo '#include "engine/x.h"' >"$scratch/tree/daemon/ctl/x.c"
	complains 'daemon/ctl/x.c:1: ctl/ must not include engine/x.h'
	echo '#include "store/queue.h"' >"$scratch/tree/daemon/ctl/x.c"
	complains 'daemon/ctl/x.c:1: ctl/ must not include store/queue.h'
	echo '#include "store/scripts.h"' >"$scratch/tree/daemon/ctl/x.c"
	"$layers" "$scratch/tree"
}

unknown_floor_is_refused() {
	copy
	mkdir "$scratch/tree/daemon/misc"
	echo '/* x */' >"$scratch/tree/daemon/misc/x.c"
	complains 'daemon/misc/x.c:1: "misc" is not one of the floors'
}

run_test tree_is_accepted
run_test include_of_a_higher_floor_is_refused
run_test header_that_goes_up_is_refused
run_test pure_floors_know_neither_libuv_nor_libpq
run_test client_is_no_daemon
run_test unknown_floor_is_refused
finish_tests
