#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_power - the machine loses its power in the middle of writes
#
# Boots three times: to prepare, to write until QEMU is killed, to verify. Invariants 1, 4
# and 5: the container is a valid VHDX for the oracle and for qemu-img, nothing that was
# acknowledged is lost, and what was discarded has nothing of what got its space; and invariant 1,
# what was written or discarded since a point is told. All kinds of containers are in the same
# machine; each is a case.

# vm: on=- full=6.1 takes=100

# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$(dirname "$0")/../lib/ktap.sh"

here=$(dirname "$(readlink -f "$0")")
kernel=${VHDX_TEST_KERNEL:-6.12}
[[ $kernel != uml* ]] ||
	ktap_skip_all "a User Mode Linux that is killed leaves a disk that wrote everything"
layouts=(file block)
# A brief run has one of them; which, the seed decides.
[[ -z ${VHDX_BRIEF-} ]] || layouts=("${layouts[${VHDX_SEED:-0} % 2]}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a command in the machine, with its disks.
machine() {
	"$here/../vm/run" --kernel "$kernel" --timeout 400 --disk "$work/disk0" --disk "$work/disk1" \
		"$@"
}

guest=/src/selftests/crash/guest/power.py

# Were enough writes of each acknowledged?
has_written() {
	local layout
	for layout in "${layouts[@]}"; do
		[[ $(grep -c "^$layout " "$work/in/acknowledged") -ge 20 ]] || return 1
	done
}

# Writes and is killed; what was acknowledged goes to $work/in/acknowledged. On a slow
# host the machine may die before it wrote: then it gets more time, on disks as they were
# prepared.
write_and_kill() {
	local seconds
	for seconds in 8 25 90; do
		cp --sparse=always "$work"/prepared/* "$work/"
		machine --kill-after "$seconds" -- "$guest" write "${layouts[@]}" >"$work/told"
		# The last line may have been cut short.
		head -n -1 "$work/told" >"$work/in/acknowledged"
		! has_written || return 0
	done
	fail "the machine did not get to write"
}

# All of it, once: what was found is in $work/found.
lose_power() {
	[[ ! -e $work/found ]] || return 0
	rm -rf "$work/in" "$work/disk0" "$work/disk1"
	mkdir "$work/in"
	truncate -s 1G "$work/disk0" "$work/disk1"
	machine -- "$guest" prepare "${layouts[@]}"
	mkdir -p "$work/prepared"
	cp --sparse=always "$work/disk0" "$work/disk1" "$work/prepared/"
	write_and_kill
	# shellcheck disable=SC2016 # for the guest
	machine --in "$work/in" --out "$work/out" -- sh -c 'for layout; do
			"$0" verify "$layout" >"/out/$layout" 2>&1
			echo $? >"/out/$layout.status"
		done' "$guest" "${layouts[@]}"
	mv "$work/out" "$work/found"
}

survives() {
	lose_power
	echo "$(grep -c "^$1 " "$work/in/acknowledged") writes were acknowledged"
	cat "$work/found/$1"
	[[ $(<"$work/found/$1.status") -eq 0 ]] || fail "see above"
}

container_in_a_file() {
	survives file
}

container_on_a_block_device() {
	survives block
}

declare -A cases=([file]=container_in_a_file [block]=container_on_a_block_device)
chosen=()
for layout in "${layouts[@]}"; do
	chosen+=("${cases[$layout]}")
done
ktap_run "${chosen[@]}"
