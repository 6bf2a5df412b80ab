#!/usr/bin/env bash
# install-packages.sh demo|check: the one list of Debian packages that
# building, the demonstration and the tests need. As root it installs what
# is missing; as anyone else it prints the command and fails.
set -eu

build=(gcc libc6-dev make pkg-config libpq-dev libuv1-dev libyaml-dev
	libmicrohttpd-dev)
server=(postgresql util-linux procps)
tests=(libcmocka-dev clang clang-format clang-tidy libclang-rt-14-dev
	cppcheck valgrind shellcheck mandoc faketime pgbouncer openssl libssl-dev
	systemd systemd-container dbus mmdebstrap prometheus tmux
	bash-completion chromium)
# Node.js may be of another origin, with which Debian's npm conflicts.
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
	tests+=(nodejs npm)
fi

case ${1:-} in
demo) packages=("${build[@]}" "${server[@]}") ;;
check) packages=("${build[@]}" "${server[@]}" "${tests[@]}") ;;
*)
	echo "usage: $0 demo|check" >&2
	exit 1
	;;
esac

if ! command -v dpkg-query >/dev/null; then
	echo "$0: not a Debian system: these packages or their like are" \
		"needed: ${packages[*]}" >&2
	exit 0
fi

missing=()
for package in "${packages[@]}"; do
	status=$(dpkg-query -W -f='${db:Status-Status}' "$package" \
		2>/dev/null || true)
	if [ "$status" != installed ]; then
		missing+=("$package")
	fi
done
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
	echo "packages are missing; as root:" >&2
	echo "apt-get install -y --no-install-recommends ${missing[*]}" >&2
	exit 1
fi

# The tests start servers of their own: Debian shall not make and start one
# because the package was installed.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
	mkdir -p /etc/postgresql-common
	echo 'create_main_cluster = false' \
		>/etc/postgresql-common/createcluster.conf
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
	-o Dpkg::Options::=--force-confold "${missing[@]}" >/dev/null
