#!/usr/bin/env bash
# How screens are drawn to a moving picture: tests/bench/frames_svg.awk.
. "$(dirname "$0")/../lib/shell.sh"

svg=$scratch/picture.svg

draw() {
	awk -v command='backfillctl status' -f tests/bench/frames_svg.awk \
		"$@" >"$svg"
}

make_frames() {
	printf '%s\n' '1 it runs' 'shop  running 1' '' \
		'#1 users.phone          RUNNING' \
		'  [####----]  50.0%  5 of ~10 rows' >"$scratch/1"
	printf '%s\n' '3 still it is held' '#1 users.phone     HELD 4s' \
		'  why  lag 6.9 s > 2 s' >"$scratch/2"
	printf '%s\n' '1 it goes on' '#1 users.phone     RUNNING' \
		>"$scratch/3"
}

# The text of a picture, as it is read.
words() {
	sed -n '/^<text class="text"/s/<[^>]*>//gp' "$svg"
}

frames_follow_each_other() {
	make_frames
	draw "$scratch/1" "$scratch/2" "$scratch/3"
	[ "$(grep -c '^<g id="f[123]" class="frame' "$svg")" = 3 ]
	grep -qxF '#f2{animation:f2 5s step-end infinite}' "$svg"
	grep -qxF '@keyframes f1{0.00%{visibility:visible}20.00%{visibility:hidden}}' \
		"$svg"
	grep -qxF '@keyframes f2{0%{visibility:hidden}20.00%{visibility:visible}80.00%{visibility:hidden}}' \
		"$svg"
	grep -qxF '@keyframes f3{0%{visibility:hidden}80.00%{visibility:visible}}' \
		"$svg"
	[ "$(tail -n 1 "$svg")" = '</svg>' ]
}

# Movement is what is asked for; else there is the one frame.
the_still_one_is_shown_without_movement() {
	make_frames
	draw "$scratch/1" "$scratch/2" "$scratch/3"
	grep -qxF '.frame{visibility:hidden} .still{visibility:visible}' "$svg"
	[ "$(grep -c 'class="frame still"' "$svg")" = 1 ]
	grep -qxF '<g id="f2" class="frame still">' "$svg"
	grep -qxF '@media (prefers-reduced-motion:no-preference){' "$svg"
	[ "$(sed -n '/^@media/,/^}/p' "$svg" | grep -c animation)" = 3 ]
	[ "$(grep -c animation "$svg")" = 3 ]
}

what_is_drawn_is_what_was_there() {
	make_frames
	draw "$scratch/1" "$scratch/2" "$scratch/3"
	diff <(sed '1d;s/>/\&gt;/' "$scratch/1"
		sed '1d;s/>/\&gt;/' "$scratch/2"
		sed 1d "$scratch/3") <(words)
	grep -qF '<tspan class="held">HELD 4s</tspan>' "$svg"
	grep -qF '<tspan class="good">####</tspan><tspan class="dim">----<' \
		"$svg"
}

# A name may hold anything; the line is as long as a terminal's.
hostile_text_is_inert_and_long_lines_go_on() {
	printf '1 a "b" <c>\n#1 <script>&amp;"\033[1m RUNNING\n%0100d\n' 7 \
		>"$scratch/1"
	draw "$scratch/1"
	if grep -q '<script\|<c>' "$svg" || grep -q "$(printf '\033')" "$svg"
	then
		fail "it is not escaped"
	fi
	grep -qF '#1 &lt;script&gt;&amp;amp;&quot;?[1m' "$svg"
	words | grep -qxE '0{80}'
	words | grep -qxE '0{19}7'
}

run_test frames_follow_each_other
run_test the_still_one_is_shown_without_movement
run_test what_is_drawn_is_what_was_there
run_test hostile_text_is_inert_and_long_lines_go_on
finish_tests
