#!/usr/bin/env bash
# tests/run counts right, above all what went wrong.
. "$(dirname "$0")/../lib/shell.sh"

tree=$scratch/tree

# given NAME: a test that runs the script on standard input.
given() {
	mkdir -p "$tree/tests/unit" "$tree/tests/fault"
	cp tests/run "$tree/tests/run"
	{
		echo '#!/bin/sh'
		cat
	} >"$tree/tests/$1"
	chmod +x "$tree/tests/$1"
}

# ends STATUS LINE [VARIABLE=VALUE]...: how the run ends.
ends() {
	local status=0 expected=$1 line=$2

	shift 2
	env "$@" "$tree/tests/run" >"$scratch/run" 2>&1 || status=$?
	[ "$(tail -n 1 "$scratch/run")" = "$line" ] ||
		fail "expected: $line"$'\n'"$(cat "$scratch/run")"
	[ "$status" -eq "$expected" ] || fail "exit status $status"
}

passed_and_skipped_are_counted() {
	rm -rf "$tree"
	given unit/test_a.sh <<'END'
echo '[       OK ] one'
echo '[  SKIPPED ] two: no server'
END
	given fault/test_b.sh <<'END'
echo '[       OK ] three'
echo 'skip: too small'
echo '[  SKIPPED ] four'
END
	ends 0 '2 passed, 0 failed, 2 skipped'
	grep -qx '    test_a two: no server' "$scratch/run"
	grep -qx '    test_b four: too small' "$scratch/run"
}

failure_is_counted_and_shown() {
	rm -rf "$tree"
	given unit/test_a.sh <<'END'
echo '[       OK ] one'
echo 'expected 1, found 2'
echo '[  FAILED  ] two'
exit 1
END
	ends 1 '1 passed, 1 failed, 0 skipped'
	grep -qx '    | expected 1, found 2' "$scratch/run"
	# Its name stands at the end, too, where a long run is read first.
	[ "$(tail -n 3 "$scratch/run" | head -n 2)" = \
		$'failed:\n    test_a two' ]
}

summary_of_cmocka_is_not_counted_again() {
	rm -rf "$tree"
	given unit/test_a.sh <<'END'
echo '[==========] Running 2 test(s).'
echo '[       OK ] one'
echo '[  FAILED  ] two'
echo '[==========] 2 test(s) run.'
echo '[  PASSED  ] 1 test(s).'
echo '[  FAILED  ] 1 test(s), listed below:'
echo '[  FAILED  ] two'
exit 1
END
	ends 1 '1 passed, 1 failed, 0 skipped'
	[ "$(grep -cx '    test_a two' "$scratch/run")" -eq 1 ]
}

crash_is_a_failure() {
	rm -rf "$tree"
	given unit/test_a.sh <<'END'
echo '[       OK ] one'
kill -SEGV $$
END
	ends 1 '1 passed, 1 failed, 0 skipped'
	grep -q 'killed by signal 11' "$scratch/run"
	grep -qx '    test_a: killed by signal 11' "$scratch/run"
}

sanitizer_report_is_a_failure() {
	rm -rf "$tree"
	given unit/test_a.sh <<'END'
echo '[       OK ] one'
exit 99
END
	ends 1 '1 passed, 1 failed, 0 skipped'
}

program_without_a_test_is_a_failure() {
	rm -rf "$tree"
	given unit/test_a.sh <<'END'
exit 0
END
	ends 1 '0 passed, 1 failed, 0 skipped'
	grep -q 'ran no test' "$scratch/run"
}

program_that_hangs_is_a_failure() {
	rm -rf "$tree"
	given unit/test_a.sh <<'END'
echo '[       OK ] one'
exec sleep 600
END
	ends 1 '1 passed, 1 failed, 0 skipped' TEST_TIMEOUT=5
	grep -q 'timed out after 5 s' "$scratch/run"
}

program_that_was_not_built_is_a_failure() {
	rm -rf "$tree"
	given unit/test_a.sh <<'END'
echo '[       OK ] one'
END
	touch "$tree/tests/unit/test_b.c"
	ends 1 '1 passed, 1 failed, 0 skipped'
}

tests_are_selected_by_name() {
	rm -rf "$tree"
	given unit/test_a.sh <<'END'
echo '[       OK ] one'
END
	given unit/test_b.sh <<'END'
exit 1
END
	ends 0 '1 passed, 0 failed, 0 skipped' TESTS=test_a
	ends 1 '0 passed, 1 failed, 0 skipped' TESTS=test_c
}

for test in passed_and_skipped_are_counted failure_is_counted_and_shown \
	summary_of_cmocka_is_not_counted_again crash_is_a_failure \
	sanitizer_report_is_a_failure program_without_a_test_is_a_failure \
	program_that_hangs_is_a_failure program_that_was_not_built_is_a_failure \
	tests_are_selected_by_name; do
	run_test "$test"
done
finish_tests
