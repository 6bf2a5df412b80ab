#!/usr/bin/env bash
# The monitoring kit: that Prometheus takes the rules, that they fire when
# they should, and that the dashboard's queries are queries. That they name
# metrics which there are, tests/integration/test_metrics.c sees.
. "$(dirname "$0")/../lib/shell.sh"

needs_promtool() {
	command -v promtool >/dev/null || skip_test "needs promtool"
}

alerts_are_rules() {
	needs_promtool
	promtool check rules conf/prometheus/alerts.yml
}

alerts_fire() {
	needs_promtool
	promtool test rules conf/prometheus/alerts_test.yml
}

# Each has what somebody needs who is woken by it, and a test.
alerts_say_what_to_do() {
	local name

	for name in $(sed -n 's/^ *- alert: //p' conf/prometheus/alerts.yml); do
		for word in summary description runbook; do
			sed -n "/- alert: $name\$/,/^\$/p" \
				conf/prometheus/alerts.yml |
				grep -q "^ *$word: ." || fail "$name: no $word"
		done
		grep -q "$name" conf/prometheus/alerts_test.yml ||
			fail "$name has no test"
	done
}

scrape_example_is_a_configuration() {
	needs_promtool
	promtool check config --syntax-only conf/prometheus/scrape.yml
}

# Grafana puts its own values in the place of $names.
expressions() {
	sed -n 's/^ *"expr": "\(.*\)",*$/\1/p' conf/grafana/backfilld.json |
		sed -e 's/\\"/"/g' -e 's/\$__rate_interval/1m/g' \
			-e 's/\$database/.*/g'
}

queries_of_the_dashboard() {
	local number=0 expression

	needs_promtool
	{
		printf 'groups:\n  - name: x\n    rules:\n'
		while IFS= read -r expression; do
			number=$((number + 1))
			printf '      - record: r%d\n        expr: |-\n' \
				"$number"
			printf '          %s\n' "$expression"
		done < <(expressions)
	} >"$scratch/rules.yml"
	promtool check rules "$scratch/rules.yml"
	[ "$(grep -c record "$scratch/rules.yml")" -ge 15 ]
}

run_test alerts_are_rules
run_test alerts_fire
run_test alerts_say_what_to_do
run_test scrape_example_is_a_configuration
run_test queries_of_the_dashboard
finish_tests
