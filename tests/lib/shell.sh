# shell.sh: sourced by the shell tests. Each test is a function; its lines
# are those of cmocka, so that tests/run counts both alike.
# shellcheck shell=bash
set -u
cd "$(dirname "$0")/../.." || exit 1

failures=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# run_test FUNCTION: in a subshell with errexit, its output shown when it
# fails. A test that cannot run says why with skip_test.
run_test() {
	local rc

	echo "[ RUN      ] $1"
	(
		set -e
		"$1"
	) >"$scratch/output" 2>&1
	rc=$?
	if [ "$rc" -eq 0 ]; then
		echo "[       OK ] $1"
	elif [ "$rc" -eq 77 ]; then
		echo "[  SKIPPED ] $1: $(tail -n 1 "$scratch/output")"
	else
		cat "$scratch/output"
		echo "[  FAILED  ] $1"
		failures=$((failures + 1))
	fi
}

skip_test() {
	echo "$*"
	exit 77
}

# fail MESSAGE: for the tests' own assertions.
fail() {
	echo "$*"
	exit 1
}

finish_tests() {
	[ "$failures" -eq 0 ]
	exit
}
