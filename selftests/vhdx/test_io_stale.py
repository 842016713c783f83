#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: takes=15
"""No stale byte: what a new block had in the container before is never read.

All space behind the structures is full of 0xA5. It is not in the disk, so no read may
ever show it, whatever was written, failed or was given back.
"""

import contextlib
import errno
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import faulty, filesystem, images, judge, ktap
from vhdxtest.disk import attached, raw_attached
from vhdxtest.images import KIB, MIB

STALE = 0xA5
DISK = 24 * MIB
SPACE = 64 * MIB


def partial_writes(disk, truth, block):
    """A few sectors at the beginning, in the middle and at the end of new blocks."""
    for number, within in enumerate((0, block // 2 + 512, block - 512, 512)):
        offset = number * block + within
        if offset >= DISK:
            break
        data = judge.pattern(number, 512)
        disk.write(offset, data)
        truth.write(offset, data)
    data = judge.pattern(9, 64 * KIB)
    disk.write(DISK - 128 * KIB, data)
    truth.write(DISK - 128 * KIB, data)
    judge.same_disk(disk, truth)


def garbage_in_file(block, tail, kind=None):
    """A file that goes on behind the last block, to a length that is any multiple of 512."""
    with images.directory() as scratch, contextlib.ExitStack() as stack:
        where = stack.enter_context(filesystem.mounted(kind)) if kind else scratch
        path = images.create(where / "disk.vhdx", DISK, block)
        end = os.path.getsize(path)
        os.truncate(path, end + tail)
        judge.fill(path, STALE, end, end + tail)
        with judge.Truth(scratch / "truth", DISK) as truth:
            with attached(path) as disk:
                partial_writes(disk, truth, block)
            judge.same_container(path, truth)


ktap.add("file_1M", garbage_in_file, MIB, 20 * MIB)
ktap.add("file_disk2vhd_tail", garbage_in_file, MIB, 512)
ktap.add("file_odd_tail", garbage_in_file, 8 * MIB, 5 * MIB + 3 * 512)
ktap.add("file_tail_in_last_mib", garbage_in_file, 2 * MIB, 2 * MIB - 512)
# Where no hole can be made, zeroes are written.
ktap.add("file_without_holes", garbage_in_file, 2 * MIB, 9 * MIB + 512, "ramfs")


@contextlib.contextmanager
def loop_full_of_garbage(scratch, direct=True, size=SPACE):
    """A loop device over a file."""
    backing = images.sparse(scratch / "backing", size)
    judge.fill(backing, STALE, 0, size)
    with images.loop(backing, direct=direct) as device:
        yield device


def garbage_on_device(block, kind=None):
    """A block device that had another owner."""
    with images.directory() as scratch, contextlib.ExitStack() as stack:
        where = stack.enter_context(filesystem.mounted(kind)) if kind else scratch
        device = stack.enter_context(loop_full_of_garbage(where, direct=not kind))
        images.create(device, DISK, block)
        with judge.Truth(scratch / "truth", DISK) as truth:
            with raw_attached(device) as disk:
                ktap.equal(disk.sysfs("io"), "block", "io")
                partial_writes(disk, truth, block)
            judge.same_container(device, truth)
            with raw_attached(device) as disk:
                judge.same_disk(disk, truth)


ktap.add("device_1M", garbage_on_device, MIB)
# A device that has to be written for zeroes: each block is zeroed as it comes.
ktap.add("device_that_is_written_1M", garbage_on_device, MIB, "ramfs")
ktap.add("device_that_is_written_8M", garbage_on_device, 8 * MIB, "ramfs")
ktap.add("device_8M", garbage_on_device, 8 * MIB)


def written(device):
    """How many bytes were written to the device, or cleared."""
    return 512 * int(pathlib.Path("/sys/block", pathlib.Path(device).name, "stat")
                     .read_text(encoding="ascii").split()[6])


@ktap.case
def device_is_cleared_ahead():
    """Of a device that takes zeroes without having them written, many blocks at once; so that a
    first write is one write. All of this one is cleared with the first block, however long that
    takes."""
    blocks = DISK // MIB
    with images.directory() as scratch, loop_full_of_garbage(scratch, size=32 * MIB) as device:
        images.create(device, DISK, MIB)
        with judge.Truth(scratch / "truth", DISK) as truth:
            with raw_attached(device) as disk:
                for block in range(blocks):
                    if block == 1:
                        before = written(device)
                    data = judge.pattern(block, 4 * KIB)
                    disk.write(block * MIB + 16 * KIB, data)
                    truth.write(block * MIB + 16 * KIB, data)
                # A slow host has a commit with each.
                took = written(device) - before
                ktap.diag(f"{took} bytes")
                ktap.check(took < blocks * MIB // 4, "blocks were cleared one by one")
                judge.same_disk(disk, truth)
            judge.same_container(device, truth)


@ktap.case
def space_of_a_failed_write():
    """The first write of a block fails half way; its space is used again, as zeros, once there is
    no other."""
    with images.directory() as scratch, loop_full_of_garbage(scratch) as device, \
            faulty.over(device, 20 * MIB) as below:
        images.create(below.path, DISK, 2 * MIB)
        judge.fill(below.path, STALE, 4 * MIB, below.size)
        with judge.Truth(scratch / "truth", DISK) as truth:
            with raw_attached(below.path) as disk:
                data = judge.pattern(1, MIB)
                disk.write(0, data)
                truth.write(0, data)
                below.fail((7 * MIB, below.size - 7 * MIB))
                # The next block has the border in its middle, as the first one of these has.
                for offset, length in ((4 * MIB + 512 * KIB, MIB), (8 * MIB + 4096, MIB),
                                       (9 * MIB, MIB)):
                    ktap.expect_errno(errno.EIO, disk.write, offset, bytes([STALE]) * length)
                judge.same_disk(disk, truth)
                below.heal()
                # All the blocks that there is space for.
                for number, offset in enumerate((12 * MIB + 512, 16 * MIB, 20 * MIB - 512,
                                                 4 * MIB, 7 * MIB, 9 * MIB, 21 * MIB)):
                    data = judge.pattern(number, 512)
                    disk.write(offset, data)
                    truth.write(offset, data)
                judge.same_disk(disk, truth)
            judge.same_container(below.path, truth)


ktap.main()
