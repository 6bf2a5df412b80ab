#!/usr/bin/env bash
# The demonstration itself, as `make demo` runs it: its job is held while the
# standby lags, it succeeds, its proof holds, it leaves nothing behind.
. "$(dirname "$0")/../lib/shell.sh"

demo_proves_itself() {
	export TMPDIR=$scratch
	chmod 755 "$scratch"
	tests/demo >"$scratch/demo.out" || {
		cat "$scratch/demo.out"
		fail "the demonstration failed"
	}
	grep -q '  why  replay lag .* on standby "standby1"$' \
		"$scratch/demo.out"
	grep -q '^5. kill -9 in mid-job' "$scratch/demo.out"
	grep -q '    taken_over: by daemon 2' "$scratch/demo.out"
	grep -q '^job 1 succeeded$' "$scratch/demo.out"
	grep -q '^rows not changed exactly once: 0$' "$scratch/demo.out"
	[ "$(sed -n 's/^expected: //p' "$scratch/demo.out")" = \
		"$(sed -n 's/^found:    //p' "$scratch/demo.out")" ]
	[ "$(sed -n 's/^expected: //p' "$scratch/demo.out")" = \
		"$(sed -n 's/^standby:  //p' "$scratch/demo.out")" ]
	[ -z "$(ls -d "$scratch"/backfilld-demo.* 2>/dev/null)" ] ||
		fail "the demonstration left its directory"
}

# A checksum that does not match is a failure, not a line of text.
demo_notices_a_wrong_row() {
	export TMPDIR=$scratch ROWS=1000000
	chmod 755 "$scratch"
	sed 's/^actual=/user=app sql -c "UPDATE orders SET amount_cents = 1 \
WHERE id = 7"\n&/' tests/demo >"$scratch/demo-wrong"
	chmod +x "$scratch/demo-wrong"
	! "$scratch/demo-wrong" >"$scratch/wrong.out" 2>&1 ||
		fail "a wrong row was not noticed"
	grep -q '^the table is not what it should be$' "$scratch/wrong.out"
}

# Before it starts anything.
demo_wants_room() {
	export TMPDIR=$scratch ROWS=1000000000000
	! tests/demo >"$scratch/room.out" 2>"$scratch/room.err" ||
		fail "the demonstration had room for a million million rows"
	[ ! -s "$scratch/room.out" ]
	sed "s|$scratch|DIR|; s/and [0-9]* MB/and N MB/" "$scratch/room.err" |
		diff - <(
			echo "ERROR:  the demonstration has no room in DIR"
			echo "DETAIL:  It needs 1000000500 MB, and N MB are free."
			echo "HINT:  TMPDIR=/var/tmp puts it elsewhere," \
				"ROWS=200000 makes it smaller."
		)
	[ -z "$(ls -d "$scratch"/backfilld-demo.* 2>/dev/null)" ]
}

: "${BACKFILL_BUILD_DIR:=$PWD/build/release}"
export BACKFILL_BUILD_DIR
run_test demo_proves_itself
run_test demo_notices_a_wrong_row
run_test demo_wants_room
finish_tests
