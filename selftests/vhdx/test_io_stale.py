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
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import faulty, filesystem, images, judge, ktap, mapper, slow
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
def loop_full_of_garbage(scratch, size=SPACE):
    """A loop device over a file."""
    backing = images.sparse(scratch / "backing", size)
    judge.fill(backing, STALE, 0, size)
    with images.loop(backing) as device:
        yield device


@contextlib.contextmanager
def written_full_of_garbage(scratch):
    """A device that has to be written for zeroes, as dm-delay has."""
    with slow.device(scratch / "backing", SPACE) as below:
        judge.fill(below.path, STALE, 0, SPACE)
        queue = pathlib.Path("/sys/block", pathlib.Path(below.path).name, "queue")
        ktap.equal((queue / "write_zeroes_max_bytes").read_text(encoding="ascii"), "0\n",
                   "write_zeroes_max_bytes")
        yield below.path


def garbage_on_device(block, full_of_garbage=loop_full_of_garbage):
    """A block device that had another owner."""
    with images.directory() as scratch, full_of_garbage(scratch) as device:
        images.create(device, DISK, block)
        with judge.Truth(scratch / "truth", DISK) as truth:
            with raw_attached(device) as disk:
                ktap.equal(disk.sysfs("io"), "block", "io")
                partial_writes(disk, truth, block)
            judge.same_container(device, truth)
            with raw_attached(device) as disk:
                judge.same_disk(disk, truth)


ktap.add("device_1M", garbage_on_device, MIB)
# Each block is zeroed as it comes.
ktap.add("device_that_is_written_1M", garbage_on_device, MIB, written_full_of_garbage)
ktap.add("device_that_is_written_8M", garbage_on_device, 8 * MIB, written_full_of_garbage)
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


# A block of a device that is cleared in pieces, and the first of these.
LARGE = 128 * MIB
PIECE = 32 * MIB


class LateDevice:
    """A disk whose first block is written, on a device that is being cleared behind that. Of the
    next two pieces, each is cleared when what holds it is closed; so is the disk detached."""

    def __init__(self, path):
        self.path = path
        self.holds = [contextlib.ExitStack() for _ in range(2)]
        self.attached = contextlib.ExitStack()
        self.disk = None
        self.before = 0

    def cleared(self):
        """How many bytes were, since the disk was attached; and some that a commit wrote."""
        return written(self.path) - self.before

    def holds_piece(self):
        """Is one that is held under way, and has been for longer than a quick one takes? Not
        where the host was so slow that the device is left alone already."""
        inflight = pathlib.Path("/sys/block", pathlib.Path(self.path).name, "inflight")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if int(inflight.read_text(encoding="ascii").split()[1]):
                time.sleep(0.1)
                return True
            time.sleep(0.02)
        return False

    def attach(self):
        """And write the first block. Is a piece held?"""
        for hold, name in zip(self.holds, ("low", "high")):
            hold.enter_context(mapper.hanging(name))
        self.disk = self.attached.enter_context(raw_attached(self.path))
        self.disk.write(4 * KIB, judge.pattern(0, 4 * KIB))
        os.fsync(self.disk.data.fd)
        self.before = written(self.path)
        return self.holds_piece()

    def close(self):
        """Whatever happened."""
        for hold in self.holds:
            hold.close()
        self.attached.close()


@contextlib.contextmanager
def late_device():
    """A LateDevice."""
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(images.directory())
        below = stack.enter_context(images.loop(scratch / "backing", size=8 * LARGE))
        low = os.path.getsize(images.create(scratch / "other", 4 * LARGE, LARGE)) + LARGE
        rest = low + 2 * PIECE

        def linear(at, length, where, start):
            return f"{at // 512} {length // 512} linear {where} {start // 512}\n"

        held = [stack.enter_context(mapper.mapped(name, linear(0, PIECE, below, start)))
                for name, start in (("low", low), ("high", low + PIECE))]
        path = stack.enter_context(mapper.mapped("late", (
            linear(0, low, below, 0) + linear(low, PIECE, held[0], 0) +
            linear(low + PIECE, PIECE, held[1], 0) + linear(rest, 8 * LARGE - rest, below, rest))))
        # A flush would be one of those that are held, too.
        pathlib.Path("/sys/block", pathlib.Path(path).name, "queue/write_cache").write_text(
            "write through", encoding="ascii")
        late = LateDevice(path)
        stack.callback(late.close)
        for _ in range(10):
            images.create(path, 4 * LARGE, LARGE)
            for start in (low, rest, low + LARGE):
                judge.fill(path, STALE, start, start + MIB)
            if late.attach():
                break
            late.close()
        yield late


@ktap.case
def late_device_is_left_alone():
    """One that takes long to clear is not cleared ahead any more: it writes the zeroes."""
    with late_device() as late:
        late.holds[0].close()
        ktap.eventually(lambda: late.cleared() >= PIECE, "the first piece is cleared")
        if late.holds_piece():
            late.holds[1].close()
            ktap.eventually(lambda: late.cleared() >= 2 * PIECE, "the second one is cleared")
        late.holds[1].close()
        time.sleep(0.5)
        ktap.check(late.cleared() < 2 * PIECE + MIB, f"{late.cleared()} bytes were cleared")
        # Part of the one block's room is cleared, nothing of the other's.
        for block in range(1, 3):
            data = judge.pattern(block, 4 * KIB)
            late.disk.write(block * LARGE + 8 * KIB, data)
            ktap.check(late.disk.read(block * LARGE, MIB) ==
                       bytes(8 * KIB) + data + bytes(MIB - 12 * KIB), f"block {block} is stale")
            ktap.check(not any(late.disk.read(block * LARGE + 2 * PIECE, MIB)),
                       f"block {block} is stale in its middle")


@ktap.case
def late_device_is_detached():
    """It is cleared in pieces, and detach waits for no more than one."""
    for attempt in range(1, 6):
        with late_device() as late:
            detaching = threading.Thread(target=late.attached.close)
            detaching.start()
            # It may take some time to get where it waits.
            time.sleep(0.3 * attempt)
            late.holds[0].close()
            detaching.join(5)
            if not detaching.is_alive():
                return
            late.holds[1].close()
            detaching.join()
    ktap.check(False, "detach waited for all that was to be cleared")


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
