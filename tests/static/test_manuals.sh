#!/usr/bin/env bash
# The manual pages are well made, refer to each other, and name every option
# and exit code of the programs. That they name what is in the database,
# tests/integration/test_ctl_manual.c tells.
. "$(dirname "$0")/../lib/shell.sh"

: "${BACKFILL_BUILD_DIR:=$PWD/build/release}"
pages=(conf/man/*.[1-8])

# complaints PAGE: but for which pages of others this machine has.
complaints() {
	mandoc -T lint -W style "$1" 2>&1 |
		grep -v -e 'referenced manual not found' \
			-e 'outdated mandoc.db' || true
}

pages_are_free_of_complaints() {
	local page

	for page in "${pages[@]}"; do
		complaints "$page"
	done >"$scratch/lint"
	[ ! -s "$scratch/lint" ] || fail "$(cat "$scratch/lint")"
}

# What is well made and what is not, this test can tell apart.
complaints_are_heard() {
	sed 's/^\.Nm$/.Nonsense/' conf/man/backfilld.8 >"$scratch/wrong.8"
	complaints "$scratch/wrong.8" | grep -q 'unknown macro'
}

# references PAGE: "name section", a line each.
references() {
	sed -n 's/^\.Xr \([^ ]*\) \([0-9]\).*/\1.\2/p' "$1"
}

# Each page of ours names each other one under SEE ALSO, and none that is not.
pages_refer_to_each_other() {
	local page other

	for page in "${pages[@]}"; do
		sed -n '/^\.Sh SEE ALSO/,$p' "$page" >"$scratch/also"
		for other in "${pages[@]}"; do
			[ "$page" = "$other" ] || references "$scratch/also" |
				grep -qxF "${other##*/}" ||
				fail "$page: SEE ALSO lacks ${other##*/}"
		done
		references "$page" | grep '^backfill' | while read -r other; do
			[ -e "conf/man/$other" ] ||
				fail "$page names $other, which is none"
		done
	done
}

options_of_the_configuration_are_those_of_the_program() {
	sed -n '/^\.\\" Below is/,/^\.\\" Above is/{/^\.\\"/!p}' \
		conf/man/backfilld.yaml.5 >"$scratch/page"
	[ -s "$scratch/page" ] || fail "the page has no options"
	"$BACKFILL_BUILD_DIR/backfilld" --describe-config=mdoc |
		diff "$scratch/page" - || fail "to mend it: make describe"
	"$BACKFILL_BUILD_DIR/backfilld" --describe-config |
		diff conf/backfilld.yaml - || fail "to mend it: make describe"
}

# Once more from the other side: an option of the sample is an item.
page_has_every_option_of_the_sample() {
	local option count=0

	while read -r option; do
		grep -qx "\.It Cm $option" conf/man/backfilld.yaml.5 ||
			fail "backfilld.yaml.5 lacks $option"
		count=$((count + 1))
	done < <(sed -n 's/^ \{2,4\}[-#]\{0,1\} \{0,1\}\([a-z_0-9]*\): .*/\1/p' \
		conf/backfilld.yaml)
	[ "$count" -gt 20 ] || fail "the sample has but $count options"
	[ "$count" -eq "$(grep -c '^\.It Cm ' conf/man/backfilld.yaml.5)" ] ||
		fail "backfilld.yaml.5 has other options, too"
}

# Each display of the page is a file.
examples_of_the_configuration_are_accepted() {
	local count=0 example

	sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE/p' conf/man/backfilld.yaml.5 |
		awk -v to="$scratch/example" '
			/^\.Bd/ { file = to "." ++n ".yaml"; next }
			/^\.Ed/ { file = ""; next }
			file != "" { print > file }'
	for example in "$scratch"/example.*.yaml; do
		"$BACKFILL_BUILD_DIR/backfilld" --check-config -c "$example"
		count=$((count + 1))
	done
	[ "$count" -ge 3 ] || fail "the page has but $count examples"
}

# help_of PROGRAM: and of each of its commands, but for what stands for the
# columns of a job, which backfill(7) has.
help_of() {
	local command

	"$BACKFILL_BUILD_DIR/$1" --help
	[ "$1" = backfillctl ] || return 0
	for command in $(sed -n 's/^\.It Cm \([a-z-]*\).*/\1/p' \
		conf/man/backfillctl.1); do
		"$BACKFILL_BUILD_DIR/$1" help "$command" |
			sed '/^Columns/,$d'
	done
}

# options_of PROGRAM: of its help, "c" and "-config" a line each. What is in
# capitals stands for a name.
options_of() {
	help_of "$1" |
		grep -oE '(^|[^[:alnum:]-])-(-[a-z-]+|[[:alpha:]?])' |
		sed 's/^[^-]*-//' | sort -u
}

# flags_of PAGE: what it marks as an option after the synopsis, written in the
# same way. A comma does not end the macro Fl.
flags_of() {
	sed -n -e '1,/^\.Sh DESCRIPTION/d' -e '/^\./{s/\\&//g;p}' "$1" | awk '
		{ is_flag = 0 }
		{ for (i = 1; i <= NF; i++) {
			if ($i ~ /^\.?Fl$/)
				is_flag = 1
			else if (is_flag && $i ~ /^-?[A-Za-z?][a-z-]*$/) {
				print $i
				is_flag = 0
			} else if ($i == ",")
				is_flag = $(i + 1) ~ /^-/
		} }' | sort -u
}

pages_have_every_option() {
	local page program

	for page in conf/man/backfilld.8 conf/man/backfillctl.1; do
		program=$(basename "${page%.*}")
		options_of "$program" >"$scratch/options"
		[ "$(wc -l <"$scratch/options")" -ge 8 ] ||
			fail "$program has but few options"
		flags_of "$page" | comm -13 - "$scratch/options" \
			>"$scratch/lacking"
		[ ! -s "$scratch/lacking" ] ||
			fail "$page lacks: $(cat "$scratch/lacking")"
	done
}

# exit_codes NAMES FILE: of the constants whose names match.
exit_codes() {
	grep -ohE "($1) = [0-9]" "$2" | grep -o '[0-9]$' | sort -u
}

# told_codes PAGE: the items of its section.
told_codes() {
	sed -n '/^\.Sh EXIT STATUS/,/^\.El/s/^\.It //p' "$1"
}

pages_have_every_exit_code() {
	exit_codes 'EXIT_[A-Z]*' daemon/main.c >"$scratch/codes"
	[ "$(wc -l <"$scratch/codes")" -ge 2 ] || fail "no codes are found"
	told_codes conf/man/backfilld.8 | diff "$scratch/codes" -
	exit_codes 'CTL_OK|CTL_FATAL|CTL_CONNECTION|CTL_FAILED' \
		include/ctl/ctl.h >"$scratch/codes"
	[ "$(wc -l <"$scratch/codes")" -eq 4 ] || fail "no codes are found"
	told_codes conf/man/backfillctl.1 | diff "$scratch/codes" -
}

run_test pages_are_free_of_complaints
run_test complaints_are_heard
run_test pages_refer_to_each_other
run_test options_of_the_configuration_are_those_of_the_program
run_test page_has_every_option_of_the_sample
run_test examples_of_the_configuration_are_accepted
run_test pages_have_every_option
run_test pages_have_every_exit_code
finish_tests
