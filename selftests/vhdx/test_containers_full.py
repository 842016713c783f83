#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: full=6.1:ext4+device takes=10
"""No room to grow: the write that needs a block fails with ENOSPC; the disk goes on, and
nothing is lost. When there is room again, the same write succeeds.
"""

import errno
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import faulty, filesystem, images, judge, ktap
from vhdxtest.disk import attached, raw_attached
from vhdxtest.images import KIB, MIB

SIZE = 60 * MIB


def fill(disk, truth, block):
    """Writes a sector-aligned piece into each new block until there is no room; the first
    block that could not be made."""
    for number in range(SIZE // block):
        data = judge.pattern(number, 256 * KIB)
        try:
            disk.write(number * block + 4096, data)
        except OSError as error:
            ktap.equal(error.errno, errno.ENOSPC, "errno")
            return number
        truth.write(number * block + 4096, data)
    raise AssertionError("there was room for all of it")


def refused(disk, offset, error):
    """A write of 512 KiB fails with this errno."""
    ktap.expect_errno(error, disk.write, offset, bytes([1]) * 512 * KIB)


def goes_on(disk, truth, block, failed):
    """Reads, writes in place, flushes; and new blocks fail again, with the same error."""
    ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
    judge.same_disk(disk, truth)
    for number in range(0, failed, 3):
        data = judge.pattern(1000 + number, 4096)
        disk.write(number * block + 8192, data)
        truth.write(number * block + 8192, data)
    disk.data.flush()
    for number in (failed, failed + 3):
        refused(disk, number * block, errno.ENOSPC)
    ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
    judge.same_disk(disk, truth)


@ktap.case
def device():
    """A logical volume, or anything that is as large as it is."""
    block = 2 * MIB
    with images.directory() as scratch:
        with images.blank_device(31 * MIB + 512 * KIB) as path, \
                judge.Truth(scratch / "truth", SIZE) as truth:
            images.create(path, SIZE, block)
            with raw_attached(path) as disk:
                failed = fill(disk, truth, block)
                ktap.equal(failed, 13, "blocks that fit into 31.5 MiB behind 4 MiB of structures")
                goes_on(disk, truth, block, failed)
            judge.same_container(path, truth)
            with raw_attached(path) as disk:
                judge.same_disk(disk, truth)
                goes_on(disk, truth, block, failed)
            judge.same_container(path, truth)


@ktap.case
def bad_place_is_the_last_resort():
    """Where a write failed, a block is tried again when there is no other room; once that
    works the place is a block like any other."""
    block = 2 * MIB
    with images.directory() as scratch, judge.Truth(scratch / "truth", SIZE) as truth, \
            faulty.device(scratch / "backing", 31 * MIB + 512 * KIB) as below:
        images.create(below.path, SIZE, block)

        def write(number):
            data = judge.pattern(number, 64 * KIB)
            disk.write(number * block + 4096, data)
            truth.write(number * block + 4096, data)

        with raw_attached(below.path) as disk:
            # Behind the structures and the first block.
            below.fail((4 * MIB + block, block))
            write(0)
            refused(disk, block, errno.EIO)
            for number in range(1, 12):
                write(number)
            for _ in range(2):
                refused(disk, 12 * block, errno.EIO)
            judge.same_disk(disk, truth)
            below.heal()
            write(12)
            refused(disk, 13 * block, errno.ENOSPC)
            goes_on(disk, truth, block, 13)
        judge.same_container(below.path, truth)


def full(kind):
    """The container's file is sparse: growing it succeeds, filling it does not."""
    block = MIB
    with filesystem.mounted(kind, 24 * MIB) as where, images.directory() as scratch, \
            judge.Truth(scratch / "truth", SIZE) as truth:
        path = images.create(where / "disk.vhdx", SIZE, block)
        hog = where / "hog"
        hog.write_bytes(b"h" * (9 * MIB))
        with attached(path) as disk:
            # A first commit while there is room, then none.
            disk.write(SIZE - 4096, b"e" * 4096)
            truth.write(SIZE - 4096, b"e" * 4096)
            disk.data.flush()
            failed = fill(disk, truth, block)
            ktap.diag(f"{failed} blocks fit")
            filesystem.fill_up(hog)
            goes_on(disk, truth, block, failed)
            hog.unlink()
            data = judge.pattern(7, 64 * KIB)
            disk.write(failed * block + 4096, data)
            truth.write(failed * block + 4096, data)
            judge.same_disk(disk, truth)
            disk.data.flush()
        judge.same_container(path, truth)


ktap.add("ext4", full, "ext4")
ktap.add("tmpfs", full, "tmpfs")


@ktap.case
def full_from_the_start():
    """Not even the log's own space is in the file: whatever fails, nothing that was
    acknowledged is lost, and detach leaves a container that can be used."""
    with filesystem.mounted("ext4", 24 * MIB) as where, images.directory() as scratch, \
            judge.Truth(scratch / "truth", SIZE) as truth:
        path = images.create(where / "disk.vhdx", SIZE, MIB, content=[(0, b"old" * 4096)])
        truth.write(0, b"old" * 4096)
        filesystem.fill_up(where / "hog")
        acknowledged = True
        with attached(path) as disk:
            disk.write(0, b"new" * 4096)
            truth.write(0, b"new" * 4096)
            try:
                disk.write(8 * MIB, b"n" * 4096)
                disk.data.flush()
            except OSError as error:
                ktap.equal(error.errno, errno.ENOSPC, "errno")
                acknowledged = False
            else:
                truth.write(8 * MIB, b"n" * 4096)
            ktap.equal(disk.read(0, 12 * KIB), b"new" * 4096, "what was written in place")
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
        ktap.diag(f"a new block was {'' if acknowledged else 'not '}made")
        judge.same_container(path, truth)


@ktap.case
def header_in_a_hole():
    """A sparse copy of a container has no room for the zeroes of its headers, where blocks are
    small: the first write fails, nothing is changed, and no attach is needed to go on."""
    with filesystem.mounted("ext4", 24 * MIB) as where, images.directory() as scratch, \
            judge.Truth(scratch / "truth", SIZE) as truth:
        ktap.equal(os.statvfs(where).f_bsize, KIB, "bytes of a block")
        path = images.create(where / "disk.vhdx", SIZE, MIB, content=[(0, b"old" * 4096)])
        truth.write(0, b"old" * 4096)
        images.command("fallocate", "--dig-holes", path)
        before = path.read_bytes()
        hog = where / "hog"
        filesystem.fill_up(hog)
        with attached(path) as disk:
            for _ in range(2):
                ktap.expect_errno(errno.ENOSPC, disk.write, 0, b"new" * 4096)
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
            judge.same_disk(disk, truth)
            ktap.check(path.read_bytes() == before, "the container was changed")
            hog.unlink()
            disk.write(0, b"new" * 4096)
            truth.write(0, b"new" * 4096)
            judge.same_disk(disk, truth)
        judge.same_container(path, truth)


ktap.main()
