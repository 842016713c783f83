#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_allocated - what a first, full backup has to copy
#
# The oracle says of each sector of a chain which layer has it.
#
# vm: takes=10
import errno
import itertools
import os
import pathlib
import random
import signal
import sys
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import images, ktap, mapper, slow, uapi  # noqa: E402
from vhdxtest.chains import random_chain  # noqa: E402
from vhdxtest.device import expect_failure  # noqa: E402
from vhdxtest.disk import attached, raw_attached  # noqa: E402
from vhdxtest.images import GIB, KIB, MIB, TIB  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402


def present(path, parents=()):
    """What some layer has."""
    with vhdxoracle.open_disk(path, parents) as image:
        return RangeSet((one.offset, one.offset + one.length)
                        for one in image.segments(0, image.size) if one.view)


def told(handle, offset, length, capacity, **fields):
    """All calls: the ranges, and what they add up to; each is looked at."""
    ranges, end = [], offset + length
    while offset < end:
        argument, page = handle.allocated(offset, end - offset, capacity, **fields)
        done = argument.processed_byte_length
        ktap.check(done > 0, "no progress")
        ktap.check(all(offset <= one.byte_offset and
                       one.byte_offset + one.byte_length <= offset + done for one in page),
                   "a range beyond what was processed")
        for one, following in itertools.pairwise(page):
            gap = following.byte_offset - one.byte_offset - one.byte_length
            ktap.check(gap > 0 or (gap == 0 and one.flags != following.flags), "ranges touch")
        ktap.equal(argument.allocated_bytes,
                   sum(one.byte_length for one in page if not one.flags), "allocated_bytes")
        ranges += page
        offset += done
    return ranges


def as_set(ranges, flags=0):
    """Those with these flags."""
    return RangeSet((one.byte_offset, one.byte_offset + one.byte_length)
                    for one in ranges if one.flags == flags)


def check(handle, size, wanted, rng):
    """All of it, in pages of any length, and any part."""
    for capacity in (1, 3, 511, 513, 4096):
        if capacity == 1 and len(wanted.lengths()) > 300:
            continue
        ktap.equal(as_set(told(handle, 0, size, capacity)), wanted, f"{capacity} at a time")
    for _ in range(10):
        start, end = sorted(rng.randrange(size + 1) for _ in range(2))
        ktap.equal(as_set(told(handle, start, end - start, 64)), wanted.clip(start, end),
                   f"{start} to {end}")
    both = told(handle, 0, size, 4096, flags=uapi.ALLOCATED_ZEROES)
    ktap.equal(as_set(both), wanted, "with zeroes")
    ktap.equal(as_set(both, uapi.RANGE_ZERO), RangeSet([(0, size)]) - wanted, "zeroes")


def chains(seed):
    """Of any geometry, read-only and as it is written."""
    rng = random.Random(seed)
    with images.directory() as scratch:
        chain = random_chain(scratch, seed, size=12 * MIB)
        with chain.attached() as disk:
            check(disk.handle, disk.size, present(chain.leaf, chain.parents), rng)
        with chain.attached(0) as disk:
            for _ in range(20):
                disk.write(rng.randrange(disk.size // chain.sector) * chain.sector,
                           b"w" * chain.sector)
            disk.data.flush()
            ranges = as_set(told(disk.handle, 0, disk.size, 4096))
        ktap.equal(ranges, present(chain.leaf, chain.parents), "written")


for _seed in (31, 32, 33):
    ktap.add(f"chain_{_seed}", chains, _seed)


@ktap.case
def blocks_of_a_dynamic_disk():
    """None, then those that were written; they are there before a flush."""
    with images.container(GIB, 2 * MIB) as path, attached(path) as disk:
        ktap.equal(told(disk.handle, 0, GIB, 4096), [], "of an empty disk")
        disk.write(5 * MIB, b"x" * 512)
        disk.write(100 * MIB, b"x" * 512)
        disk.write(GIB - 512, b"x" * 512)
        wanted = RangeSet([(4 * MIB, 6 * MIB), (100 * MIB, 102 * MIB), (GIB - 2 * MIB, GIB)])
        check(disk.handle, GIB, wanted, random.Random(5))
        argument, page = disk.handle.allocated(min_gap=94 * MIB)
        ktap.equal(len(page), 3, "a gap of 94 MiB")
        argument, page = disk.handle.allocated(min_gap=94 * MIB + 1)
        ktap.equal((page[0].byte_offset, page[0].byte_length), (4 * MIB, 98 * MIB), "closed")
        ktap.equal(argument.allocated_bytes, 100 * MIB, "allocated_bytes")
        # Tracking is not needed, and neither is the right to write.
        ktap.equal(disk.sysfs("tracking"), "off", "tracking")


@ktap.case
def huge_disk():
    """64 TiB of which a block is there: little to look through."""
    with images.container(64 * TIB, 256 * MIB) as path, attached(path) as disk:
        disk.write(50 * TIB, b"x" * 512)
        ktap.equal(as_set(told(disk.handle, 0, 64 * TIB, 4)),
                   RangeSet([(50 * TIB, 50 * TIB + 256 * MIB)]))


@ktap.case
def a_long_table():
    """Read in long parts where it is not in memory: what is in memory is newer than the file."""
    rng = random.Random(6)
    with images.container(TIB, MIB) as path, attached(path) as disk:
        written = RangeSet()
        for _ in range(4):
            for _ in range(12):
                block = rng.choice((0, 511, 512, TIB // MIB - 1, rng.randrange(TIB // MIB)))
                disk.write(block * MIB + rng.randrange(256) * 4096, b"x" * 4096)
                written |= RangeSet([(block * MIB, (block + 1) * MIB)])
            for capacity in (3, 4096):
                ktap.equal(as_set(told(disk.handle, 0, TIB, capacity)), written, "written")
            ktap.equal(as_set(told(disk.handle, 5 * MIB, TIB // 2, 4096)),
                       written.clip(5 * MIB, TIB // 2 + 5 * MIB), "a part")
            if rng.randrange(2):
                disk.data.flush()
                images.forget_pages()
                ktap.equal(as_set(told(disk.handle, 0, TIB, 4096)), written, "read again")


@ktap.case
def states_of_a_long_table():
    """Each of them where nothing is in memory, beside each other and at the ends of pages."""
    with images.container(TIB, MIB) as path:
        with vhdxoracle.Image(path) as image:
            table, ratio = image.bat_offset(0), image.geometry.chunk_ratio
        where = -(-path.stat().st_size // MIB) * MIB
        states = {0: 2, 1: 1, 510: 6, 511: 6, 512: 6, 513: 3, 40000: 7 | 1 << 50, 40001: 6}
        with open(path, "r+b") as file:
            file.truncate(where + 8 * MIB)
            for number, (block, state) in enumerate(states.items()):
                file.seek(table + (block + block // ratio) * 8)
                if state == 6:
                    state |= where + number * MIB
                file.write(state.to_bytes(8, "little"))
        with raw_attached(path, flags=uapi.ATTACH_READ_ONLY) as disk:
            ktap.equal(as_set(told(disk.handle, 0, TIB, 4096)),
                       RangeSet([(510 * MIB, 513 * MIB), (40000 * MIB, 40002 * MIB)]))


@ktap.case
def what_can_not_be_read_is_told():
    """The reader gets the error; not to tell would say that it is zeroes."""
    with images.directory() as scratch:
        path = scratch / "bad.vhdx"
        vhdxoracle.create(path, 16 * MIB, block_size=MIB, content=[(3 * MIB, b"x" * 4096)])
        with vhdxoracle.open_disk(path) as image:
            at = image.bat_offset(5)
        with open(path, "r+b") as file:
            file.seek(at)
            file.write((7 | 1 << 50).to_bytes(8, "little"))
        with raw_attached(path, flags=uapi.ATTACH_READ_ONLY) as disk:
            ktap.expect_errno(errno.EIO, disk.read, 5 * MIB, 4096)
            found = as_set(told(disk.handle, 0, disk.size, 16))
        ktap.equal(found, RangeSet([(3 * MIB, 4 * MIB), (5 * MIB, 6 * MIB)]))


@ktap.case
def killed_while_the_container_hangs():
    """Where a page of the BAT is read that nobody has asked for: a worker waits for it."""
    with images.directory() as directory, slow.device(directory / "backing", 64 * MIB) as below:
        images.create(below.path, 16 * GIB, block_size=MIB)
        with raw_attached(below.path) as disk:
            told(disk.handle, 0, MIB, 1)
            with mapper.hanging(below.name):
                child = os.fork()
                if not child:
                    disk.handle.allocated(15 * GIB, MIB)
                    os._exit(0)
                time.sleep(0.5)
                os.kill(child, signal.SIGKILL)
                status = None
                for _ in range(20):
                    time.sleep(0.05)
                    pid, status = os.waitpid(child, os.WNOHANG)
                    if pid:
                        break
            if not pid:
                os.waitpid(child, 0)
            ktap.check(pid and os.WIFSIGNALED(status), "it did not die")
            ktap.equal(told(disk.handle, 15 * GIB, MIB, 1), [], "afterwards")


@ktap.case
def wrong_questions():
    with images.container(16 * MIB, MIB) as path, attached(path) as disk:
        most = (1 << 64) - 1
        for fields in ({"offset": 16 * MIB + 1, "length": 0}, {"length": 16 * MIB + 1},
                       {"offset": 1, "length": most}, {"capacity": 0}, {"range_size": 8},
                       {"range_size": 20},
                       {"range_size": 16, "flags": uapi.ALLOCATED_ZEROES},
                       {"min_gap": 1, "flags": uapi.ALLOCATED_ZEROES}):
            failure = expect_failure(errno.EINVAL, uapi.ARGUMENT, disk.handle.allocated, **fields)
            ktap.equal(failure.argument.processed_byte_length, 0, "processed")
            ktap.equal(failure.argument.virtual_disk_size, 16 * MIB, "virtual_disk_size")
        argument, _ = disk.handle.allocated(16 * MIB, 0)
        ktap.equal(argument.processed_byte_length, 0, "nothing")
        argument, _ = disk.handle.allocated(4 * KIB, MIB, range_size=16)
        ktap.equal(argument.processed_byte_length, MIB, "short ranges")


ktap.main()
