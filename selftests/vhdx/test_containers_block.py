#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Containers that are block devices: a virtio disk, a partition, a logical volume; sectors
of 4096 bytes; and devices that somebody uses.
"""

# vm: disk=256M on=uml,6.1:whole_disk+sectors*+in_use+*read_only*+page_cache* full=6.12:whole_disk+of_a_p*+in_use,newest:whole_disk+in_use long=uml-lockdep takes=15

import contextlib
import errno
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import ctl, dio, images, judge, ktap, mapper, uapi, udev
from vhdxtest.device import expect_failure
from vhdxtest.disk import attach_once, attached, opened, raw_attached
from vhdxtest.images import KIB, MIB

SIZE = 24 * MIB
DISK = os.environ["VHDX_DISK0"]


def works(device, sector=512):
    """Two sessions; others judge the device after each."""
    images.create(device, SIZE, 2 * MIB, sector, content=[(3 * MIB, judge.pattern(1, 2 * MIB))])
    with images.directory() as scratch, judge.Truth(scratch / "truth", SIZE, device) as truth:
        for session in range(2):
            with raw_attached(device) as disk:
                ktap.equal(disk.sysfs("io"), "block", "io")
                judge.same_disk(disk, truth)
                with dio.Direct(disk.node, True, os.O_DIRECT | os.O_DSYNC) as data:
                    for number, offset in enumerate((0, 5 * MIB - 4096, 9 * MIB + 4096, SIZE - 16 * KIB)):
                        content = judge.pattern(10 * session + number, 16 * KIB)
                        data.write(offset, content)
                        truth.write(offset, content)
                judge.same_disk(disk, truth)
            judge.same_container(device, truth, qemu=sector == 512)


@contextlib.contextmanager
def partition(device):
    """The second of two partitions, which is nowhere near the disk's beginning."""
    images.command("sfdisk", "--quiet", "--wipe=always", device, stdin="size=60M\nsize=180M\n")
    udev.settle()
    try:
        yield f"{device}2"
    finally:
        udev.settle()
        images.command("sfdisk", "--quiet", "--delete", device)
        images.command("wipefs", "--quiet", "--all", device)


def logical_volume(name, *parts):
    """A dm device of the parts (device, first sector, sectors) one behind the other, as LVM
    makes one."""
    table, at = "", 0
    for device, first, sectors in parts:
        table += f"{at} {sectors} linear {device} {first}\n"
        at += sectors
    return mapper.mapped(name, table)


@ktap.case
def whole_disk():
    """A virtio disk."""
    works(DISK)


@ktap.case
def whole_disk_of_4096():
    """A disk with larger sectors than its container's."""
    works(DISK, 4096)


@ktap.case
def of_a_partition():
    """Sector 0 of the container is not sector 0 of the disk."""
    with partition(DISK) as device:
        works(device)


@ktap.case
def of_a_logical_volume():
    """In two segments of different devices, the border within a block."""
    with images.blank_device() as device, \
            logical_volume("two", (DISK, 40 * 2048, 9 * 2048 + 128), (device, 16, 40 * 2048)) as volume:
        works(volume)


@ktap.case
def sectors_of_4096():
    """A device with sectors of 4096 bytes can't take a disk with 512; one with 4096 it can."""
    with images.blank_device(64 * MIB, 4096) as device:
        images.create(device, SIZE, 2 * MIB, 512)
        before = judge.fingerprint(device)
        for flags in (0, uapi.ATTACH_READ_ONLY):
            expect_failure(errno.EOPNOTSUPP, uapi.UNSUPPORTED, attach_once, device, flags=flags)
        said = ctl.run("attach", device, status=ctl.FAILED).stderr
        ktap.check("4096" in said and device in said, said)
        ktap.check(judge.fingerprint(device) == before, "a refused attach wrote")
        works(device, 4096)


@ktap.case
def in_use():
    """A device that is mounted, that dm has, or that a disk of ours has: EBUSY."""
    with images.directory() as scratch, images.blank_device() as device:
        def busy():
            expect_failure(errno.EBUSY, uapi.IN_USE, attach_once, device)
            ktap.check(device in ctl.run("attach", device, status=ctl.FAILED).stderr, "the message names it")

        images.command("mkfs.ext4", "-q", device)
        images.command("mount", device, scratch)
        try:
            busy()
        finally:
            images.command("umount", scratch)
        images.create(device, SIZE, 2 * MIB)
        with logical_volume("holder", (device, 0, 2048)):
            busy()
        with raw_attached(device) as disk:
            disk.write(0, bytes(4096))
            busy()
            done = images.command("sh", "-c", f"mount {device} {scratch} 2>&1 || echo refused")
            ktap.check("refused" in done, done)
            images.command("sh", "-c", f"! mkfs.ext4 -q {device} 2>&1")
        judge.valid(device)


@contextlib.contextmanager
def read_only(*devices):
    """They are set read-only: which a loop device stays when it is given another file."""
    images.command("blockdev", "--setro", *devices)
    try:
        yield
    finally:
        images.command("blockdev", "--setrw", *devices)


def not_writable(function, *arguments):
    """EROFS, and why."""
    expect_failure(errno.EROFS, uapi.READ_ONLY, function, *arguments)


def attach_and_write(device):
    """What must not come about."""
    with raw_attached(device) as disk:
        disk.write(0, bytes(4096))


@ktap.case
def read_only_device():
    """A device that is set read-only can be opened for writing; it is not written, as the
    container or as the sidecar, and it can be read."""
    with images.directory() as scratch, images.blank_device() as device, \
            images.blank_device(16 * MIB) as side:
        images.create(device, SIZE, 2 * MIB, content=[(0, judge.pattern(1, MIB))])
        path = images.create(scratch / "disk.vhdx", SIZE, 2 * MIB)
        before = [judge.fingerprint(one) for one in (device, side)]
        with read_only(device, side):
            not_writable(attach_and_write, device)
            said = ctl.run("attach", device, status=ctl.FAILED).stderr
            ktap.check(f"{device}: cannot open it for writing" in said and "read-only" in said, said)
            with attached(path) as disk, opened(side) as fd:
                not_writable(disk.handle.enable, fd)
                said = ctl.run("track", "enable", "--sidecar", side, disk.node,
                               status=ctl.FAILED).stderr
                ktap.check(f"{side}: cannot open it for writing: Read-only" in said, said)
            with attached(device, "--read-only") as disk:
                ktap.equal(disk.read(0, MIB), judge.pattern(1, MIB), "content")
        ktap.check([judge.fingerprint(one) for one in (device, side)] == before, "it was written")


@ktap.case
def becomes_read_only():
    """Set read-only under a disk: its writes fail, it can be read, and what was flushed before
    is there when the device can be written again."""
    old, new = judge.pattern(1, MIB), judge.pattern(2, MIB)
    with images.blank_device() as device:
        images.create(device, SIZE, 2 * MIB)
        with contextlib.ExitStack() as stack:
            with raw_attached(device, closes=False) as disk:
                disk.write(0, old)
                disk.data.flush()
                before = judge.fingerprint(device)
                stack.enter_context(read_only(device))
                for offset in (0, 10 * MIB):
                    ktap.expect_errno(errno.EIO, disk.write, offset, new)
                ktap.equal(disk.read(0, MIB), old, "content")
            ktap.check(judge.fingerprint(device) == before, "it was written")
        with raw_attached(device) as disk:
            ktap.equal(disk.read(0, MIB), old, "what was flushed")
            disk.write(10 * MIB, new)
        judge.valid(device)


@ktap.case
def sidecar_becomes_read_only():
    """That is the end of its history, which is told; not of the disk's writes."""
    with images.directory() as scratch, images.blank_device(16 * MIB) as side:
        path = images.create(scratch / "disk.vhdx", SIZE, 2 * MIB)
        with attached(path, "--track", "--sidecar", side) as disk:
            before = judge.fingerprint(side)
            with read_only(side):
                expect_failure(errno.EROFS, uapi.IO, disk.handle.seal)
                ktap.equal(disk.sysfs("reason"), "tracking_error", "why tracking is off")
                disk.write(0, bytes(4096))
        ktap.check(judge.fingerprint(side) == before, "it was written")
        with attached(path, "--sidecar", side) as disk:
            state = disk.handle.state()
            ktap.check(state.gap_reason or not state.state, "a sidecar that was given up is believed")


@ktap.case
def page_cache_of_the_device():
    """What was read of the device before is not what is read after, and what lies in its
    page cache before is on the device when we read (rule K5)."""
    with images.blank_device() as device:
        images.create(device, SIZE, 2 * MIB)
        with open(device, "rb") as cached:
            old = cached.read(32 * MIB)
            with raw_attached(device) as disk:
                disk.write(0, b"n" * 4096)
            cached.seek(0)
            new = cached.read(32 * MIB)
            ktap.check(b"n" * 4096 in new and b"n" * 4096 not in old, "the page cache shows the old device")


@ktap.case
def command_needs_a_sidecar_path():
    """Never beside a device node; --sidecar says where."""
    with images.directory() as scratch, images.blank_device() as device:
        images.create(device, SIZE, 2 * MIB)
        said = ctl.run("attach", "--track", device, status=None)
        ktap.check(said.returncode in (ctl.FAILED, ctl.USAGE), f"{said}")
        ktap.check("--sidecar" in said.stderr, said.stderr)
        ktap.check(not os.path.exists(f"{device}.lrct"), "a sidecar beside a device node")
        with attached(device, "--track", "--sidecar", scratch / "side.lrct") as disk:
            disk.write(0, bytes(4096))
            ktap.equal(disk.sysfs("tracking"), "on", "tracking")
        judge.valid(device)


ktap.main()
