#!/usr/bin/env bash
# The dashboard in a browser, against a real primary, a standby and a daemon:
# see tests/browser/dashboard.js, which prints the lines of the tests.
. "$(dirname "$0")/../lib/shell.sh"

: "${BACKFILL_BUILD_DIR:=$PWD/build/release}"
export BACKFILL_BUILD_DIR
browser=$PWD/tests/browser

reason=$("$browser/prepare" 2>&1) || {
	echo "[  SKIPPED ] dashboard: ${reason##*$'\n'}"
	exit 0
}
"$browser/with_servers" node "$browser/dashboard.js"
