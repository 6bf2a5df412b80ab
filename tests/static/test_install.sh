#!/usr/bin/env bash
# make install and uninstall below a DESTDIR.
. "$(dirname "$0")/../lib/shell.sh"

dest=$scratch/dest

run_make() {
	make VARIANT=install DESTDIR="$dest" PREFIX=/usr \
		SYSCONFDIR=/etc "$@"
}

files() {
	(cd "$dest" && find . -type f | sort)
}

expected() {
	local file

	echo ./etc/backfilld/backfilld.yaml
	if [ -e daemon/main.c ]; then
		echo ./usr/bin/backfilld
	fi
	if [ -e daemon/ctl/main.c ]; then
		echo ./usr/bin/backfillctl
	fi
	for file in systemd/*.service; do
		echo "./usr/lib/systemd/system/${file##*/}"
	done
	echo ./usr/lib/sysusers.d/backfilld.conf
	for file in daemon/sql/*.sql; do
		[ ! -e "$file" ] ||
			echo "./usr/share/backfilld/sql/${file##*/}"
	done
	echo ./usr/share/bash-completion/completions/backfillctl
	for file in conf/examples/*; do
		echo "./usr/share/doc/backfilld/examples/${file##*/}"
	done
	for file in conf/prometheus/* conf/grafana/*; do
		echo "./usr/share/doc/backfilld/${file##*/}"
	done
	for file in conf/man/*.[1-8]; do
		[ ! -e "$file" ] ||
			echo "./usr/share/man/man${file##*.}/${file##*/}"
	done
}

install_puts_every_file_in_its_place() {
	run_make install
	diff <(expected | sort) <(files)
	cmp conf/backfilld.yaml "$dest/etc/backfilld/backfilld.yaml"
}

# The permissions matter: a dsn may hold a password.
configuration_is_not_for_everyone() {
	run_make install
	[ "$(stat -c %a "$dest/etc/backfilld/backfilld.yaml")" = 640 ]
}

install_keeps_a_configuration_that_is_there() {
	mkdir -p "$dest/etc/backfilld"
	echo '# mine' >"$dest/etc/backfilld/backfilld.yaml"
	run_make install
	[ "$(cat "$dest/etc/backfilld/backfilld.yaml")" = '# mine' ]
}

units_name_the_places_of_the_install() {
	dest=$scratch/elsewhere
	run_make install UNITDIR=/units SYSCONFDIR=/conf
	grep -x 'ExecStart=/usr/bin/backfilld -c /conf/backfilld/%i.yaml' \
		"$dest/units/backfilld@.service"
	if grep -r -e /usr/local -e /etc/ "$dest/units"; then
		fail "a default is left"
	fi
	[ "$(stat -c %a "$dest"/units/*)" = "$(printf '644\n644')" ]
}

# The machine that packages are made on is left as it is; what is installed
# for use is made ready, as its last step.
only_an_install_in_place_is_settled() {
	run_make install >"$scratch/said"
	if grep -q 'What is next' "$scratch/said"; then
		fail "the machine was settled"
	fi
	make -n VARIANT=install install DESTDIR= >"$scratch/said"
	grep -q 'systemd-sysusers ./usr/local/lib/sysusers.d/backfilld.conf' \
		"$scratch/said"
	grep -q 'What is next' "$scratch/said"
}

uninstall_leaves_only_the_configuration() {
	run_make install
	run_make uninstall
	[ "$(files)" = ./etc/backfilld/backfilld.yaml ]
}

run_test install_puts_every_file_in_its_place
run_test configuration_is_not_for_everyone
run_test install_keeps_a_configuration_that_is_there
run_test units_name_the_places_of_the_install
run_test only_an_install_in_place_is_settled
run_test uninstall_leaves_only_the_configuration
finish_tests
