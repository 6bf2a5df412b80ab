#!/usr/bin/env bash
# The unit tests once more, under the sanitizers of both compilers; and jobs
# on real servers, with the daemon under gcc's: started, stopped, nothing
# leaked. Under valgrind: test_valgrind.sh.
. "$(dirname "$0")/../lib/shell.sh"

# Each in a folder of its own: make may build elsewhere at the same time.
run_unit() {
	JOBS=1 TEST_LOGS=build/test-logs/$1 TEST_WRAPPER=$2 tests/run unit
}

unit_tests_pass_under_gcc_sanitizers() {
	make -j2 VARIANT=asan CC=gcc all unit
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99
	BACKFILL_BUILD_DIR=$PWD/build/asan run_unit asan env
}

unit_tests_pass_under_clang_sanitizers() {
	make -j2 VARIANT=asan-clang CC=clang all unit
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99
	BACKFILL_BUILD_DIR=$PWD/build/asan-clang run_unit asan-clang env
}

run_jobs() {
	JOBS=1 TEST_LOGS=build/test-logs/$1 TESTS=$2 tests/run integration
}

jobs_run_under_gcc_sanitizers() {
	local programs=(test_job test_job_control test_engine_close
		test_pgc_close test_http test_http_status)

	make -j2 VARIANT=asan CC=gcc \
		"${programs[@]/#/build/asan/tests/integration/}"
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99
	BACKFILL_BUILD_DIR=$PWD/build/asan run_jobs asan-jobs "${programs[*]}"
}

run_test unit_tests_pass_under_gcc_sanitizers
run_test unit_tests_pass_under_clang_sanitizers
run_test jobs_run_under_gcc_sanitizers
finish_tests
