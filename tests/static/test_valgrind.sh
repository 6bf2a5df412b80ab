#!/usr/bin/env bash
# The unit tests once more, under valgrind, and jobs on real servers with the
# daemon under it: started, stopped, nothing leaked.
. "$(dirname "$0")/../lib/shell.sh"

unit_tests_pass() {
	JOBS=1 TEST_LOGS=build/test-logs/valgrind \
		TEST_WRAPPER='valgrind -q --error-exitcode=99 --leak-check=full' \
		tests/run unit
}

jobs_run() {
	export BACKFILL_WRAPPER="valgrind -q --error-exitcode=99 \
--leak-check=full"
	JOBS=1 TEST_LOGS=build/test-logs/valgrind-jobs TESTS=test_job \
		tests/run integration
}

run_test unit_tests_pass
run_test jobs_run
finish_tests
