#!/usr/bin/env bash
# What reads the source: floors, format, cppcheck, shellcheck. "make tidy" reads
# more, and its alarms are to be looked at one by one.
. "$(dirname "$0")/../lib/shell.sh"

includes_go_downwards() {
	make layers
}

c_files_are_formatted() {
	make format-check
}

cppcheck_finds_nothing() {
	make cppcheck
}

shellcheck_finds_nothing() {
	grep -rlE --exclude-dir=build --exclude-dir=.git \
		'^#!(/bin/sh|/usr/bin/env bash)' . |
		xargs shellcheck -S warning -x -P SCRIPTDIR
}

run_test includes_go_downwards
run_test c_files_are_formatted
run_test cppcheck_finds_nothing
run_test shellcheck_finds_nothing
finish_tests
