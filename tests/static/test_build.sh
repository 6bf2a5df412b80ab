#!/usr/bin/env bash
# Both compilers build everything without a warning.
. "$(dirname "$0")/../lib/shell.sh"

gcc_builds_without_a_warning() {
	make -j2 VARIANT=gcc CC=gcc WERROR=1 all tests
}

clang_builds_without_a_warning() {
	make -j2 VARIANT=clang CC=clang WERROR=1 all tests
}

run_test gcc_builds_without_a_warning
run_test clang_builds_without_a_warning
finish_tests
