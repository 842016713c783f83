#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_shutdown - the machine is shut down in order, with disks attached
#
# Boots three times; guest/shutdown.py has what happens. Invariants 1, 3 and 5: a shutdown is no
# crash, and a disk that hangs keeps neither the others nor the machine.

# vm: on=- full=6.1 takes=50

# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$(dirname "$0")/../lib/ktap.sh"

here=$(dirname "$(readlink -f "$0")")
guest=(python3 /src/selftests/crash/guest/shutdown.py)

# A machine that reboots is one that ends without a verdict.
reboots() {
	expect_status 125 "${machine[@]}" --out "$work/out" -- "${guest[@]}" "$1" \
		>"$work/told" 2>"$work/errors"
	cat "$work/told"
	grep -q 'the machine ended without a verdict' "$work/errors" || fail "$(<"$work/errors")"
	grep -q 'vhdx-test: reboot' "$work/out/kernel.log" || fail "$(tail -n 30 "$work/errors")"
}

# Seconds between two messages of the kernel.
seconds_between() {
	awk -F'[][]' -v from="$1" -v to="$2" '
		index($0, from) { begin = $2 }
		index($0, to) { printf "%d\n", $2 - begin; exit }' "$work/out/kernel.log"
}

shut_down() {
	work=$(mktemp -d)
	truncate -s 1G "$work/disk0" "$work/disk1"
	machine=("$here/../vm/run" --kernel "${VHDX_TEST_KERNEL:-6.12}" --timeout 400
		--disk "$work/disk0" --disk "$work/disk1")
	reboots attach
	[[ $(<"$work/told") == "a write failed: Input/output error"$'\n'"read 2" ]] ||
		fail "what came after the disk was closed: $(<"$work/told")"
	[[ $(grep -c 'vhdx[0-9]*: closed before the shutdown' "$work/out/kernel.log") -eq 4 ]] ||
		fail "$(tail -n 30 "$work/out/kernel.log")"
	[[ $(grep -c 'vhdx[0-9]*: the sidecar was removed: ' "$work/out/kernel.log") -eq 1 ]] ||
		fail "$(tail -n 30 "$work/out/kernel.log")"
	# Told to shut down while it did.
	grep -q 'sysrq: Power Off' "$work/out/kernel.log" || fail "nobody said it a second time"
	! grep -E 'WARNING|BUG|Oops|called more than once' "$work/out/kernel.log" ||
		fail "the second shutdown"
	took=$(seconds_between 'vhdx-test: reboot' 'reboot: ')
	echo "the kernel took $took s"
	((took >= 9 && took < 30)) || fail "the kernel took $took s to reboot"
	reboots hibernate
	grep -q 'all but one were closed' "$work/told" || fail "$(<"$work/errors")"
	expect_status 0 "${machine[@]}" -- "${guest[@]}" verify
	rm -r "$work"
}

ktap_run shut_down
