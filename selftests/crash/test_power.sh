#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_power - the machine loses its power in the middle of writes
#
# Boots three times: to prepare, to write until QEMU is killed, to verify. Invariants 1, 4
# and 5: the container is a valid VHDX for the oracle and for qemu-img, nothing that was
# acknowledged is lost, and tracking says that it doesn't know (UNCLEAN).

# vm: on=6.1

# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$(dirname "$0")/../lib/ktap.sh"

here=$(dirname "$(readlink -f "$0")")
kernel=${VHDX_TEST_KERNEL:-6.12}
[[ $kernel != uml* ]] ||
	ktap_skip_all "a User Mode Linux that is killed leaves a disk that wrote everything"
machine=("$here/../vm/run" --kernel "$kernel" --timeout 400)

# Writes and is killed; what was acknowledged goes to $work/in/acknowledged. On a slow
# host the machine may die before it wrote: then it gets more time.
write_and_kill() {
	local seconds
	for seconds in 15 40 90; do
		"${machine[@]}" "${disks[@]}" --kill-after "$seconds" -- \
			python3 /src/selftests/crash/guest/power.py write "$1" >"$work/told"
		# The last line may have been cut short.
		head -n -1 "$work/told" >"$work/in/acknowledged"
		[[ $(wc -l <"$work/in/acknowledged") -lt 20 ]] || return 0
	done
	fail "the machine did not get to write"
}

lose_power() {
	work=$(mktemp -d)
	mkdir "$work/in"
	truncate -s 1G "$work/disk0" "$work/disk1"
	disks=(--disk "$work/disk0" --disk "$work/disk1")
	"${machine[@]}" "${disks[@]}" -- python3 /src/selftests/crash/guest/power.py prepare "$1"
	write_and_kill "$1"
	echo "$(wc -l <"$work/in/acknowledged") writes were acknowledged"
	"${machine[@]}" "${disks[@]}" --in "$work/in" -- \
		python3 /src/selftests/crash/guest/power.py verify "$1"
	rm -r "$work"
}

container_in_a_file() {
	lose_power file
}

container_on_a_block_device() {
	lose_power block
}

ktap_run container_in_a_file container_on_a_block_device
