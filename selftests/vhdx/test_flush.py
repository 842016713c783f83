#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_flush - what a flush waits for (rules V3, V4)
#
# For the container's log, where metadata is dirty; what is written in place is written after that,
# and all of it at once. And for nothing else: not for room that the log takes, nor for writes where
# nothing is dirty.
#
# vm: timeout=200 takes=12
import contextlib
import errno
import fcntl
import os
import pathlib
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import faulty, filesystem, images, judge, ktap, mapper  # noqa: E402
from vhdxtest.disk import raw_attached  # noqa: E402
from vhdxtest.images import MIB  # noqa: E402
from vhdxtest.mapper import SECTOR  # noqa: E402
import vhdxoracle  # noqa: E402

SIZE = 64 * MIB
BLOCK = MIB
# What a page of the BAT has entries of.
PAGE = 512 * BLOCK
PAGES = 24
SLOW = 4


class Partly(mapper.Device):
    """A device that writes one part of itself late, and flushes as fast as any."""

    def table(self, part=None, seconds=0):
        """How it is made."""
        cuts = sorted({0, self.size, *(part or ())})
        lines = []
        for start, end in zip(cuts, cuts[1:]):
            at, length = start // SECTOR, (end - start) // SECTOR
            if part and start == part[0]:
                where = f"{self.below} {at}"
                lines.append(f"{at} {length} delay {where} 0 {where} {seconds * 1000} {where} 0")
            else:
                lines.append(f"{at} {length} linear {self.below} {at}")
        return "\n".join(lines)


class Bench:
    """A disk on such a device."""

    def __init__(self, below, scratch, disk, truth):
        self.below, self.scratch, self.disk, self.truth = below, scratch, disk, truth
        with vhdxoracle.open_disk(below.path) as image:
            self.bat = image.bat_offset(0)

    def late(self, start, end):
        """Writes of this part of the container are late from now on."""
        self.below.load(self.below.table((start, end), SLOW))

    def soon(self):
        """None is."""
        self.below.load(self.below.table())

    def write(self, offset, seed):
        """A sector of a new block."""
        data = judge.pattern(seed, 512)
        self.disk.write(offset, data)
        self.truth.write(offset, data)

    def entry(self, offset):
        """What the BAT says in place."""
        with open(self.scratch / "backing", "rb") as file:
            return os.pread(file.fileno(), 8, self.bat + offset // BLOCK * 8)

    def number(self, name):
        """A statistic of the disk."""
        return int(self.disk.sysfs(name))


@contextlib.contextmanager
def bench(size=PAGE):
    """An empty disk with one block, which is in place."""
    images.module("dm-delay")
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(images.directory())
        below = stack.enter_context(mapper.over_file(Partly, scratch / "backing", SIZE, "partly"))
        images.create(below.path, size, BLOCK)
        truth = stack.enter_context(judge.Truth(scratch / "truth", size))
        with raw_attached(below.path) as disk:
            made = Bench(below, scratch, disk, truth)
            made.write(0, 1)
            disk.data.flush()
            # Behind it, what it wrote is in place.
            made.write(BLOCK, 2)
            disk.data.flush()
            yield made
            made.soon()
        judge.same_container(below.path, truth)


def acknowledged_at_logged():
    """A flush is over when the log has it; power fails before the BAT has it in place."""
    with bench() as b:
        b.write(9 * BLOCK, 3)
        b.late(b.bat, b.bat + MIB)
        b.disk.data.flush()
        ktap.equal(b.entry(9 * BLOCK), bytes(8), "in place when the flush ended")
        judge.snapshot(b.scratch / "backing", b.scratch / "cut")
        # Not before what was logged is in place (rule V3).
        b.write(10 * BLOCK, 4)
        b.disk.data.flush()
        ktap.check(b.entry(9 * BLOCK) != bytes(8), "the next entry came before")
        cut = judge.Truth(b.scratch / "truth of the cut", PAGE)
        with cut:
            for number, seed in ((0, 1), (1, 2), (9, 3)):
                cut.write(number * BLOCK, judge.pattern(seed, 512))
            judge.same_after_replay(b.scratch / "cut", b.scratch / "replayed", cut)


def applied_together():
    """Pages of one entry are under way at once: they take as long as one."""
    with bench(PAGES * PAGE) as b:
        for page in range(PAGES):
            b.write(page * PAGE + 3 * BLOCK, page)
        b.late(b.bat, b.bat + MIB)
        begin = time.monotonic()
        b.disk.data.flush()
        b.write(4 * BLOCK, 5)
        b.disk.data.flush()
        took = time.monotonic() - begin
        ktap.check(took < PAGES * SLOW / 2, f"{PAGES} pages took {took:.1f} s, {SLOW} s each")


def failure_is_final():
    """A flush fails, with nothing to log: neither flushes nor writes succeed after it."""
    with images.directory() as scratch, faulty.device(scratch / "backing", SIZE) as below:
        images.create(below.path, PAGE, BLOCK, content=[(0, judge.pattern(1, MIB))])
        with raw_attached(below.path, closes=False) as disk:
            disk.write(0, bytes(512))
            disk.data.flush()
            below.fail_flushes()
            ktap.expect_errno(errno.EIO, disk.data.flush)
            below.heal()
            ktap.equal(disk.sysfs("poisoned"), "1", "poisoned")
            ktap.expect_errno(errno.EIO, disk.data.flush)
            ktap.expect_errno(errno.EIO, disk.write, 0, bytes(512))
            disk.read(0, 512)


def in_a_file():
    """A file is flushed by its commits; each tells what it wrote."""
    with images.container(PAGE, BLOCK) as path, raw_attached(path) as disk:
        disk.write(0, bytes(512))
        disk.data.flush()
        ktap.equal((disk.sysfs("commits"), disk.sysfs("commit_waits")), ("1", "1"), "commits")
        # A header of the entry, a page in it, and the page in place.
        ktap.equal(disk.sysfs("commit_bytes"), str(3 * 4096), "bytes")
        disk.data.flush()
        ktap.equal((disk.sysfs("commits"), disk.sysfs("commit_waits")), ("1", "2"), "commits")
        ktap.check(int(disk.sysfs("commit_wait_us")) > 0, "no wait took any time")


def nothing_is_dirty():
    """The container is flushed, and nothing is written to it: neither its log nor a header."""
    def written(below):
        name = os.path.basename(below.path)
        return pathlib.Path(f"/sys/block/{name}/stat").read_text(encoding="ascii").split()[6]

    with bench() as b:
        b.disk.write(0, judge.pattern(1, 512))
        before = b.number("commit_waits"), b.number("commit_bytes"), written(b.below)
        b.disk.data.flush()
        after = b.number("commit_waits"), b.number("commit_bytes"), written(b.below)
        ktap.equal(after, (before[0] + 1, *before[1:]), "waits, bytes of commits, sectors written")


# FS_IOC_FIEMAP, and of an extent: where it begins, how long it is, and its flags.
_FIEMAP, _HEAD, _EXTENT = 0xC020660B, struct.Struct("=QQ4I"), struct.Struct("=QQQ16xI12x")
_SYNC, _UNWRITTEN, _MOST = 1, 0x800, 64


def written_extents(path, start, length):
    """How many bytes of this range of a file are neither holes nor unwritten."""
    request = bytearray(_HEAD.pack(start, length, _SYNC, 0, _MOST, 0) + bytes(_MOST * _EXTENT.size))
    with open(path, "rb") as file:
        fcntl.ioctl(file.fileno(), _FIEMAP, request)
    count = _HEAD.unpack_from(request)[3]
    extents = [_EXTENT.unpack_from(request, _HEAD.size + number * _EXTENT.size)
               for number in range(count)]
    ktap.check(count < _MOST, f"{count} extents")
    return sum(min(at + size, start + length) - max(at, start)
               for at, _, size, flags in extents if not flags & _UNWRITTEN)


def log_is_there():
    """Before the first commit all of the log has been written: otherwise each flush would wait for
    the file system, which gives it room, or converts extents that were never written."""
    with filesystem.mounted("ext4", 48 * MIB) as where:
        path = images.create(where / "disk.vhdx", 64 * MIB, MIB)
        with vhdxoracle.Image(path) as image:
            log = image.header.log_offset, image.header.log_length
        ktap.check(written_extents(path, *log) < log[1], "it was there before")
        with raw_attached(path) as disk:
            disk.write(0, bytes(512))
            disk.data.flush()
            ktap.equal(written_extents(path, *log), log[1], "bytes of the log that were written")


ktap.add("acknowledged_at_logged", acknowledged_at_logged)
ktap.add("applied_together", applied_together)
ktap.add("failure_is_final", failure_is_final)
ktap.add("in_a_file", in_a_file)
ktap.add("nothing_is_dirty", nothing_is_dirty)
ktap.add("log_is_there", log_is_there)
ktap.main()
