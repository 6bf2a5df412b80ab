# container.sh: sourced by the shell tests that boot systemd in a container of
# the files in $root, instead of shell.sh, which it sources.
#
# All of it lives in namespaces of its own: when the program ends, however it
# does, the kernel ends the processes and drops the mounts.
# shellcheck shell=bash
if [ -z "${CONTAINER_APART:-}" ] && [ "$(id -u)" -eq 0 ] &&
	unshare --mount --pid --fork --mount-proc true 2>/dev/null; then
	export CONTAINER_APART=1
	exec unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
. "$(dirname "$0")/../lib/shell.sh"

root=$scratch/files/root
machine=backfilld-test-$(basename "$scratch")
machine=${machine//./-}
leader=

# wait_until SECONDS COMMAND...: until it succeeds.
wait_until() {
	local end=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "not so after all this time: $*"
			return 1
		fi
		sleep 0.1
	done
}

# inside COMMAND...: in the container. inside_but_of_our_net: as well, but
# with this machine's network, which the container has not.
inside() {
	enter -a -- "$@"
}

inside_but_of_our_net() {
	enter --mount --uts --ipc --pid --cgroup --root --wd -- "$@"
}

enter() {
	local namespaces=()

	while [ "$1" != -- ]; do
		namespaces+=("$1")
		shift
	done
	shift
	nsenter -t "$leader" "${namespaces[@]}" -- env -i LC_ALL=C.UTF-8 \
		HOME=/root \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		"$@"
}

# property UNIT NAME
property() {
	inside systemctl show -P "$2" "$1"
}

# Of each hierarchy that systemd keeps its processes in: a group of our own
# below ours, for two containers of one group would share theirs.
groups() {
	local id name path

	while IFS=: read -r id name path; do
		case $id:$name in
		0:) name=unified ;;
		*:name=systemd) name=systemd ;;
		*) continue ;;
		esac
		if [ "$name" = unified ] && [ ! -d /sys/fs/cgroup/unified ]; then
			name=
		fi
		echo "/sys/fs/cgroup/$name$path/$1"
	done </proc/self/cgroup
}

# mount_files SIZE: a memory file system, in which $root will be.
mount_files() {
	mkdir -p "$scratch/files" /run/systemd/nspawn
	# What nspawn leaves behind stays in our namespace.
	mount -t tmpfs tmpfs /run/systemd/nspawn &&
		mount -t tmpfs -o "mode=755,size=$1" tmpfs "$scratch/files"
}

# start_container UNIT: boots $root to that unit; what it says goes to
# $scratch/console.
start_container() {
	local group

	(
		for group in $(groups "$machine"); do
			mkdir "$group" && echo "$BASHPID" >"$group/cgroup.procs" ||
				exit
		done
		exec systemd-nspawn --quiet --boot --register=no --keep-unit \
			--directory="$root" --machine="$machine" \
			--private-network --resolv-conf=off \
			--link-journal=no --console=pipe -- --unit="$1"
	) >"$scratch/console" 2>&1 </dev/null &
	nspawn=$!
	# "degraded" is up too: the container may have units of this machine's.
	# shellcheck disable=SC2016
	wait_until 60 sh -c '
		leader=$(pgrep -P '"$nspawn"') &&
		nsenter -t "$leader" -a systemctl is-system-running |
			grep -E "^(running|degraded)$"' &&
		leader=$(pgrep -P "$nspawn")
}

# For the trap at EXIT.
stop_container() {
	local group

	if [ -n "$leader" ]; then
		kill -KILL "$leader"
		wait "$nspawn"
	fi
	for group in $(groups 'backfilld-test-*'); do
		# Those in use are not empty; the others may be left of a run
		# that was killed.
		[ ! -d "$group" ] || find "$group" -depth -type d \
			-exec rmdir {} + 2>/dev/null
	done
	umount -R "$scratch/files" 2>/dev/null
	rm -rf "$scratch"
}

# container_lacks [PROGRAM]...: the reasons why there can be no container here,
# a line each; nothing when there can.
container_lacks() {
	local program

	if [ "$(id -u)" -ne 0 ]; then
		echo "needs root"
	elif [ -z "${CONTAINER_APART:-}" ]; then
		echo "needs namespaces of mounts and processes"
	fi
	for program in systemd-nspawn nsenter pgrep "$@"; do
		command -v "$program" >/dev/null || echo "needs $program"
	done
}
