#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# test_filesystems - what people put on a disk: file systems, partitions, fio
#
# vm: timeout=900 on=uml,6.1:partitions full=6.1:xfs,6.12:partitions+fio_in_parallel takes=80

# shellcheck source=SCRIPTDIR/../lib/ktap.sh
. "$(dirname "$0")/../lib/ktap.sh"

# A fresh disk of size $1, attached. Its names are in $image, $device and $disk.
new_disk() {
	cd "$(mktemp -d /tmp/fs.XXXXXX)" || exit
	image=$PWD/disk.vhdx
	qemu-img create -q -f vhdx -o "block_size=${2:-1M}" "$image" "$1"
	device=$(vhdxctl attach --track "$image")
	disk=${device##*/}
}

# Detached, the container is valid, and qemu reads what the device showed. It compares by itself: both
# in files, zeroes and all, would fill the page cache twice.
close_and_compare() {
	dd if="$device" of=shown.raw bs=1M iflag=direct conv=sparse status=none
	truncate -s "$(blockdev --getsize64 "$device")" shown.raw
	vhdxctl detach "$disk"
	qemu-img check -q "$image"
	[[ $(qemu-img info -f vhdx "$image") == *"($(stat -c %s shown.raw) bytes)"* ]]
	qemu-img compare -q -f vhdx -F raw "$image" shown.raw
	cd /
	rm -r "${image%/*}"
}

# Filled, unmounted, checked; and again after the disk was away.
fill_and_check() {
	local mkfs=$1 fsck=$2
	mkdir mnt
	$mkfs "$device"
	mount "$device" mnt
	cp -r /usr/lib/python3* mnt/
	sync -f mnt
	rm -r mnt/python3.*/email
	(cd mnt && find . -type f -print0 | sort -z | xargs -0 sha256sum) >before
	umount mnt
	$fsck "$device"
	vhdxctl detach "$disk"
	device=$(vhdxctl attach "$image")
	disk=${device##*/}
	mount "$device" mnt
	(cd mnt && find . -type f -print0 | sort -z | xargs -0 sha256sum) >after
	umount mnt
	cmp before after
	[[ $(wc -l <after) -gt 500 ]]
}

ext4() {
	new_disk 256M
	fill_and_check "mke2fs -q -t ext4" "e2fsck -fn"
	close_and_compare
}

xfs() {
	modprobe xfs
	new_disk 400M 2M
	fill_and_check "mkfs.xfs -q" "xfs_repair -n"
	close_and_compare
}

partitions() {
	new_disk 128M
	printf 'label: gpt\nsize=32M\nsize=64M\n' | sfdisk -q "$device"
	# It may miss that udev is done: asked again, it sees it.
	udevadm settle --timeout=20 || udevadm settle --timeout=100
	[[ $(blockdev --getsize64 "${device}p2") -eq $((64 << 20)) ]]
	mke2fs -q -t ext4 "${device}p2"
	mkdir mnt
	mount "${device}p2" mnt
	# A mounted partition keeps the disk.
	expect_status 1 timeout 60 vhdxctl detach "$disk"
	umount mnt
	e2fsck -fn "${device}p2"
	close_and_compare
}

verify_with_fio() {
	fio --name=verify --filename="$device" --direct=1 --ioengine=libaio --iodepth=16 \
		--rw=randwrite --verify=crc32c --verify_fatal=1 --do_verify=1 --size=48M \
		--output=fio.log "$@" || fail "$(cat fio.log)"
}

fio_any_size() {
	new_disk 64M
	verify_with_fio --bsrange=512-256k --bs_unaligned=0 --blockalign=512
	close_and_compare
}

fio_with_flushes() {
	new_disk 64M
	verify_with_fio --bs=4k --fdatasync=16 --size=16M
	close_and_compare
}

fio_with_fua() {
	new_disk 64M
	verify_with_fio --bs=16k --sync=1 --size=16M
	close_and_compare
}

fio_in_parallel() {
	new_disk 128M
	fio --name=verify --filename="$device" --direct=1 --ioengine=libaio --iodepth=8 \
		--rw=randwrite --verify=crc32c --verify_fatal=1 --bs=8k --size=16M --numjobs=4 \
		--offset_increment=24M --output=fio.log || fail "$(cat fio.log)"
	close_and_compare
}

# Pairs of files, the same number in both, the first one first: of one instant is what has
# them alike or the first one ahead by one. And names that come and go. A process alone: to
# start programs would take most of the time.
keep_writing() {
	python3 - <<-'EOF2'
	import itertools, os, pathlib, shutil, time
	where = pathlib.Path("mnt")
	pair = [os.open(where / name, os.O_WRONLY) for name in ("first", "second")]
	for number in itertools.takewhile(lambda _: (where / "go").exists(), itertools.count(1)):
	    for file in pair:
	        os.pwrite(file, f"{number:8}\n".encode(), 0)
	        os.fsync(file)
	    (where / str(number)).mkdir()
	    (where / str(number) / "data").write_bytes(os.urandom(100000))
	    shutil.rmtree(where / str(number - 5), ignore_errors=True)
	    time.sleep(0.05)
	EOF2
}

# $1 is a sound file system, as it was at one moment.
is_of_one_instant() {
	local first second
	e2fsck -fn "$1"
	mkdir -p seen
	mount -o loop,ro "$1" seen
	first=$(<seen/first)
	second=$(<seen/second)
	umount seen
	echo "# first $first, second $second"
	[[ $first -eq $second || $first -eq $((second + 1)) ]]
}

# The recipe of Documentation/agent-guide.rst, a full backup and two that are not.
backup_of_one_instant() {
	local recipe
	recipe=$(readlink -f "${0%/*}/../../userspace/examples/backup-frozen")
	modprobe loop
	new_disk 64M
	mke2fs -q -t ext4 "$device"
	mkdir mnt
	mount "$device" mnt
	touch mnt/go
	# The writer ends with the case, however that ends.
	# shellcheck disable=SC2064 # it is here now
	trap "rm -f '$PWD/mnt/go'" EXIT
	printf '%8d\n' 0 | tee mnt/first >mnt/second
	keep_writing &
	for _ in 1 2 3; do
		sleep 2
		"$recipe" "$device" mnt image
		is_of_one_instant image
		# The one that tracking began with, and the newest.
		[[ $(vhdxctl points --noheadings "$disk" | wc -l) -eq 2 ]]
	done
	rm mnt/go
	wait
	# A full one again, when the history is lost, in whatever way; none is without an id for
	# long, and none of tracking that is disabled has one.
	vhdxctl track reset "$disk"
	"$recipe" "$device" mnt image
	is_of_one_instant image
	for damage in 'echo garbage >image.id' 'truncate -s 0 image.id' 'rm image'; do
		eval "$damage"
		"$recipe" "$device" mnt image
		is_of_one_instant image
		vhdxctl changes "$disk" --since "$(<image.id)"
	done
	vhdxctl track disable "$disk"
	touch mnt/untracked
	"$recipe" "$device" mnt image
	is_of_one_instant image
	[[ $(debugfs -R ls image 2>&1) == *untracked* ]]
	[[ ! -e image.id ]]
	umount mnt
	close_and_compare
}

# It refuses $2… with the words $1, in time, and nothing is frozen, sealed or made.
recipe_refuses() {
	local said status=0 words=$1
	shift
	said=$(timeout -k 1 20 "$recipe" "$@" 2>&1) || status=$?
	echo "# $said"
	[[ $status -ne 0 && $status -ne 124 && $said == *"$words"* ]]
	touch mnt/alive other/alive
	[[ $(vhdxctl points --noheadings "$disk" | wc -l) -eq 1 && ! -e image ]]
}

# What would not be of one instant, or would wait for itself, is said before anything is frozen.
backup_of_the_wrong_thing() {
	local recipe
	recipe=$(readlink -f "${0%/*}/../../userspace/examples/backup-frozen")
	new_disk 64M
	printf 'label: gpt\n,20M\n,20M\n' | sfdisk -q "$device"
	udevadm settle --timeout=20 || udevadm settle --timeout=100
	mke2fs -q -t ext4 "${device}p1"
	mke2fs -q -t ext4 "${device}p2"
	mkdir mnt other
	mount "${device}p1" mnt
	mount -t tmpfs tmpfs other
	recipe_refuses usage: "$device" mnt
	recipe_refuses "not a block device" "$disk" mnt image
	recipe_refuses "nothing is mounted" "$device" . image
	recipe_refuses "not on $device" "$device" other image
	recipe_refuses "on $device itself" "$device" mnt mnt/image
	ln -s mnt/image link
	recipe_refuses "on $device itself" "$device" mnt link
	umount other
	mount "${device}p2" other
	recipe_refuses "${device}p2 is mounted too" "$device" mnt image
	umount other
	"$recipe" "$device" mnt image
	umount mnt
	close_and_compare
}

ktap_run backup_of_the_wrong_thing backup_of_one_instant ext4 xfs partitions fio_any_size fio_with_flushes fio_with_fua fio_in_parallel
