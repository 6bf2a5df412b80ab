#!/usr/bin/env bash
# That the picture of README.md can be made, from a smaller table: it has the
# hold with its reason, and the resume. How it is drawn: tests/static.
. "$(dirname "$0")/../lib/shell.sh"

picture_is_made_from_a_real_run() {
	export TMPDIR=$scratch ROWS=800000
	export PICTURE=$scratch/status.svg FRAMES=$scratch/frames
	chmod 755 "$scratch"
	tests/bench/picture.sh >"$scratch/picture.out" 2>&1 || {
		cat "$scratch/picture.out"
		fail "there is no picture"
	}
	[ "$(find "$FRAMES" -name '*.txt' | wc -l)" = 12 ]
	[ "$(grep -l 'why  replay lag .* on standby' "$FRAMES"/*.txt |
		xargs -n 1 basename | tr '\n' ' ')" = '04.txt 05.txt ' ]
	grep -q '^3 still ' "$FRAMES/05.txt"
	grep -q '100.0%' "$FRAMES/99.txt"
	[ "$(grep -c '^<g id=' "$PICTURE")" = 12 ]
	[ -z "$(ls -d "$scratch"/backfilld-picture.* 2>/dev/null)" ] ||
		fail "it left its directory"
}

: "${BACKFILL_BUILD_DIR:=$PWD/build/release}"
export BACKFILL_BUILD_DIR
run_test picture_is_made_from_a_real_run
finish_tests
