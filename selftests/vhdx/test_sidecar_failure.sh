#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_sidecar_failure - tracking never stops the disk (invariant 6, rule T7)
#
# The sidecar is on a dm device that fails, or hangs, at will. Writes go on;
# tracking is off with a reason, and stays so when the sidecar is well again.
#
# vm: own-vm timeout=300 long=6.1,uml-lockdep,debug takes=10

# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$(dirname "$0")/../lib/ktap.sh"

timeout_ms=/sys/module/vhdx/parameters/sidecar_timeout_ms

# A sidecar of 64 MiB on a dm device, a disk that it tracks, one point.
setup() {
	modprobe dm_mod
	modprobe loop
	cd "$(mktemp -d)" || exit
	truncate -s 64M sidecar.raw
	loop=$(losetup --find --show sidecar.raw)
	table="0 131072 linear $loop 0"
	dmsetup create --noudevsync sidecar --table "$table"
	# By the node that the kernel gives it: names are udev's.
	sidecar=/dev/$(dmsetup info --columns --noheadings -o blkdevname sidecar)
	qemu-img create -q -f vhdx -o block_size=1M disk.vhdx 64M
	device=$(vhdxctl attach --track --sidecar "$sidecar" disk.vhdx)
	disk=${device##*/}
	point=$(vhdxctl seal "$disk")
}

reattach() {
	vhdxctl detach "$disk"
	device=$(vhdxctl attach --sidecar "$sidecar" disk.vhdx)
	disk=${device##*/}
}

teardown() {
	vhdxctl detach "$disk"
	dmsetup remove --noudevsync --retry sidecar
	losetup --detach "$loop"
}

attribute() {
	cat "/sys/block/$disk/vhdx/$1"
}

write_disk() {
	dd if=/dev/urandom of="$device" bs=64k count=4 seek="$1" oflag=direct conv=fsync status=none
}

# Tracking is off because of an error, and nobody is told that nothing changed.
expect_lost() {
	[[ $(attribute tracking) == off ]] || fail "tracking is $(attribute tracking)"
	[[ $(attribute reason) == "$1" ]] || fail "the reason is $(attribute reason), not $1"
	expect_status 3 vhdxctl changes "$disk" --since "$point"
}

first_write_with_failing_sidecar() {
	setup
	reattach
	dmsetup suspend --noflush sidecar
	dmsetup load sidecar --table "0 131072 error"
	dmsetup resume sidecar
	write_disk 0
	expect_lost tracking_error
	dmsetup load sidecar --table "$table"
	dmsetup suspend sidecar
	dmsetup resume sidecar
	write_disk 16
	reattach
	[[ $(attribute reason) == tracking_error ]] || fail "reattached: $(attribute reason)"
	expect_status 3 vhdxctl changes "$disk" --since "$point"
	teardown
}

first_write_with_hanging_sidecar() {
	setup
	reattach
	echo 2000 >"$timeout_ms"
	dmsetup suspend --noflush --nolockfs sidecar
	SECONDS=0
	write_disk 0
	((SECONDS < 60)) || fail "the write took $SECONDS seconds"
	expect_lost tracking_error
	dmsetup resume sidecar
	write_disk 16
	reattach
	[[ $(attribute reason) == tracking_error ]] || fail "reattached: $(attribute reason)"
	expect_status 3 vhdxctl changes "$disk" --since "$point"
	next=$(vhdxctl seal "$disk")
	write_disk 32
	[[ $(vhdxctl changes --noheadings --bytes "$disk" --since "$next" | tr -s ' ' | sed 's/^ //') == "2097152 262144" ]] ||
		fail "$(vhdxctl changes "$disk" --since "$next")"
	teardown
}

seal_with_failing_sidecar() {
	setup
	write_disk 0
	dmsetup suspend --noflush sidecar
	dmsetup load sidecar --table "0 131072 error"
	dmsetup resume sidecar
	expect_status 1 vhdxctl seal "$disk"
	write_disk 16
	expect_lost tracking_error
	dmsetup load sidecar --table "$table"
	dmsetup suspend sidecar
	dmsetup resume sidecar
	reattach
	expect_status 3 vhdxctl changes "$disk" --since "$point"
	teardown
}

ktap_run first_write_with_failing_sidecar first_write_with_hanging_sidecar \
	seal_with_failing_sidecar
