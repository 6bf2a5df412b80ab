#!/usr/bin/env bash
# The systemd units as installed: that systemd finds no fault with them, and
# how much of the machine they leave to the daemon. tests/fault runs them.
. "$(dirname "$0")/../lib/shell.sh"

build=${BACKFILL_BUILD_DIR:-build/release}

needs_systemd() {
	command -v systemd-analyze >/dev/null ||
		skip_test "needs systemd-analyze"
}

# With a prefix of their own, so that what they name is there.
install_here() {
	make -s -o all VARIANT="$(basename "$build")" \
		PREFIX="$scratch/usr" SYSCONFDIR="$scratch/etc" install
	units=$scratch/usr/lib/systemd/system
}

systemd_finds_no_fault() {
	local told

	needs_systemd
	install_here
	told=$(systemd-analyze verify --man=no "$units/backfilld.service" \
		"$units/backfilld@shop.service" 2>&1)
	[ -z "$told" ] || fail "$told"
}

# 1.5 of 10 on the scale of systemd-analyze(1), of which 0.5 are for having a
# network at all.
exposure_is_at_most_1_5() {
	needs_systemd
	install_here
	systemd-analyze security --offline=yes --threshold=15 \
		"$units/backfilld.service"
	systemd-analyze security --offline=yes --threshold=15 \
		"$units/backfilld@shop.service"
}

# Both say the same but for names.
instance_is_as_the_other() {
	diff <(sed -e '1,/^$/d' -e 's/ (%i)$//' -e 's/%i/backfilld/' \
		-e 's/edit backfilld@/edit backfilld/' \
		systemd/backfilld@.service) \
		<(sed '1,/^$/d' systemd/backfilld.service)
}

# Longer than the daemon's own patience with a batch: its statement_timeout
# by default and 5 s.
stop_is_longer_than_a_batch() {
	local statement stop

	statement=$(sed -n 's/^ *#statement_timeout: \([0-9]*\)s$/\1/p' \
		conf/backfilld.yaml)
	stop=$(sed -n 's/^TimeoutStopSec=\([0-9]*\)s$/\1/p' \
		systemd/backfilld.service)
	[ "$stop" -gt $((statement + 5)) ]
}

run_test systemd_finds_no_fault
run_test exposure_is_at_most_1_5
run_test instance_is_as_the_other
run_test stop_is_longer_than_a_batch
finish_tests
