#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_limits - what the container can or needs, the disk says of itself, as dm-linear does
#
# vm: on=uml,6.1 full=6.12,newest:stable*+atomic*+no_waiting takes=10
import errno
import os
import pathlib
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import dio, images, judge, ktap, scsi, udev  # noqa: E402
from vhdxtest.disk import opened, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402

SIZE = 24 * MIB
RWF_ATOMIC = 0x40


def limit(node, name):
    """A limit of a block device, or None where the kernel does not know it."""
    path = pathlib.Path(f"/sys/class/block/{os.path.basename(node)}/queue/{name}")
    return int(path.read_text(encoding="ascii")) if path.exists() else None


def need_stable_writes(device):
    """From now on, and those that are opened on it."""
    path = f"/sys/class/block/{os.path.basename(device)}/queue/stable_writes"
    pathlib.Path(path).write_text("1", encoding="ascii")


# ---- stable writes --------------------------------------------------------------------------

@ktap.case
def stable_writes_of_a_device():
    """Of one that has checksums, say."""
    with images.blank_device() as device:
        images.create(device, SIZE, MIB)
        for wanted in (0, 1):
            with raw_attached(device) as disk:
                ktap.equal(limit(disk.node, "stable_writes"), wanted, "stable_writes")
            need_stable_writes(device)


@ktap.case
def stable_writes_of_a_file_system():
    """Of one on such a device: direct I/O hands our pages down to it."""
    with images.blank_device() as device, images.directory() as where:
        need_stable_writes(device)
        images.command("mkfs.ext4", "-q", device)
        images.command("mount", device, where / ".")
        try:
            path = images.create(where / "disk.vhdx", SIZE, MIB)
            with raw_attached(path) as disk:
                ktap.equal(limit(disk.node, "stable_writes"), 1, "stable_writes")
        finally:
            images.command("umount", where)


# ---- atomic writes --------------------------------------------------------------------------

@ktap.case
def atomic_writes():
    """What the device writes as a whole, the disk does, but never across a block."""
    with scsi.disk("atomic_wr=1") as device:
        below = limit(device, "atomic_write_unit_max_bytes")
        if not below:
            ktap.skip("this kernel knows no atomic writes of SCSI disks")
        images.create(device, SIZE, MIB, content=[(0, b"o" * MIB)])
        with raw_attached(device) as disk:
            most = limit(disk.node, "atomic_write_unit_max_bytes")
            ktap.equal(most, min(below, MIB), "the largest unit")
            ktap.equal(limit(disk.node, "atomic_write_unit_min_bytes"),
                       limit(device, "atomic_write_unit_min_bytes"), "the smallest unit")
            ktap.check(limit(disk.node, "atomic_write_max_bytes") <= MIB, "more than a block")
            with opened(disk.node, os.O_RDWR | os.O_DIRECT) as fd:
                for offset in (0, MIB - most, 8 * MIB):
                    data = dio.aligned(most)
                    data[:] = judge.pattern(offset, most)
                    ktap.equal(os.pwritev(fd, [data], offset, RWF_ATOMIC), most, "written")
                    ktap.check(disk.read(offset, most) == bytes(data), f"content at {offset}")
                ktap.expect_errno(errno.EINVAL, os.pwritev, fd, [data], 4096, RWF_ATOMIC)


@ktap.case
def no_atomic_writes():
    """A file, and a device that has none: nothing is promised."""
    with images.directory() as scratch, images.blank_device() as device:
        for path in (scratch / "disk.vhdx", device):
            images.create(path, SIZE, MIB)
            with raw_attached(path) as disk:
                ktap.check(limit(disk.node, "atomic_write_unit_max_bytes") in (0, None), str(path))


# ---- I/O that does not wait -----------------------------------------------------------------

def nowait(disk, offset, data=None):
    """A transfer of 4 KiB that must not wait: what it read, or the errno."""
    buffer = dio.aligned(4 * KIB)
    try:
        if data is None:
            done = os.preadv(disk.data.fd, [buffer], offset, os.RWF_NOWAIT)
        else:
            buffer[:] = data
            done = os.pwritev(disk.data.fd, [buffer], offset, os.RWF_NOWAIT)
    except OSError as error:
        return error.errno
    ktap.equal(done, 4 * KIB, "bytes")
    return bytes(buffer)


def is_done(disk, offset, data, what):
    """A write that has nothing to wait for is done without; but not while another task looks for
    room, or has what it writes to in memory."""
    ktap.eventually(lambda: nowait(disk, offset, data) == data, what, 5)


@ktap.case
def no_waiting():
    """EAGAIN for what would wait: a page of the BAT, a session, the first new block. The rest is
    done, and so is all of it for whoever waits. A log of what changed has it."""
    old, new = b"o" * 4096, b"n" * 4096
    with images.directory() as scratch, images.blank_device() as device, udev.asleep():
        images.create(device, SIZE, MIB, content=[(0, b"o" * MIB)])
        with raw_attached(device) as disk:
            with opened(scratch / "sidecar", os.O_RDWR | os.O_CREAT) as fd:
                point = disk.handle.enable(fd)
        with raw_attached(device, scratch / "sidecar") as disk:
            # udev is asleep; the kernel itself looked for partitions.
            ktap.check(nowait(disk, 0) in (old, errno.EAGAIN), "a first read")
            disk.read(0, 4096)
            ktap.equal(nowait(disk, 0), old, "a read")
            ktap.equal(nowait(disk, 9 * MIB), bytes(4096), "a read of nothing")
            ktap.equal(nowait(disk, 0, new), errno.EAGAIN, "a first write")
            disk.write(4096, new)
            is_done(disk, 8192, new, "a write")
            ktap.equal(nowait(disk, 9 * MIB, new), errno.EAGAIN, "a new block")
            disk.write(9 * MIB, new)
            is_done(disk, 9 * MIB + 4096, new, "a write to what is new")
            is_done(disk, 10 * MIB, new, "a new block, for which room is ready")
            ktap.equal(disk.read(0, 12288), old + new + new, "content")
            told = disk.handle.changes(point)
            ktap.equal([start for start, _ in told], [0, 9 * MIB, 10 * MIB], "changes")


@ktap.case
def no_waiting_for_a_region():
    """A write whose region is not set yet would wait for that: EAGAIN, and nothing is set."""
    size, there = 256 * MIB, 128 * MIB
    new = b"n" * 4096
    with images.directory() as scratch, images.blank_device() as device, udev.asleep():
        images.create(device, size, MIB, content=[(0, b"o" * MIB), (there, b"o" * MIB)])
        with raw_attached(device) as disk:
            with opened(scratch / "sidecar", os.O_RDWR | os.O_CREAT) as fd:
                point = disk.handle.enable(fd)
            disk.write(0, new)
            disk.read(there, 4096)
            before = disk.sysfs("coarse_regions")
            for _ in range(3):
                ktap.equal(nowait(disk, there, new), errno.EAGAIN, "a write")
            ktap.equal(disk.sysfs("coarse_regions"), before, "regions")
            ktap.equal(disk.read(there, 4096), b"o" * 4096, "content")
            disk.write(there + 4096, new)
            is_done(disk, there, new, "a write to a region that is set")
            told = disk.handle.changes(point)
            ktap.equal([start for start, _ in told], [0, there], "changes")


@ktap.case
def no_waiting_in_a_file():
    """A worker waits for the file system, and whoever sends the I/O does not."""
    old, new = b"o" * 4096, b"n" * 4096
    with images.directory() as scratch, udev.asleep():
        path = images.create(scratch / "disk.vhdx", SIZE, MIB, content=[(0, b"o" * MIB)])
        with raw_attached(path) as disk:
            ktap.equal(nowait(disk, 0, new), errno.EAGAIN, "a first write")
            disk.write(4096, old)
            ktap.equal(nowait(disk, 0), old, "a read")
            is_done(disk, 0, new, "a write")
            ktap.equal(nowait(disk, 9 * MIB, new), errno.EAGAIN, "a new block")
            ktap.equal(disk.read(0, 8192), new + old, "content")


ktap.main()
