#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: on=uml,6.1:1M_blocks+2M_blocks*+fixed_2M+through*+detach* full=6.1:32M*+fixed_1M*,6.12:1M_blocks_4096+fixed_2M+through*+detach*,newest:1M_blocks+through* takes=30
"""Writing: in place and to blocks that are nowhere yet, on disks of many geometries.

After each detach the container is valid and has the right content, in the eyes of the
oracle and of QEMU; QEMU writes in between; and what it wrote reads right here.
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import dio, images, judge, ktap
from vhdxtest.disk import attached
from vhdxtest.images import GIB, KIB, MIB


class Writer:
    """Writes the same to a disk and to the truth, never the same bytes twice."""

    def __init__(self, disk, truth, seed):
        self.disk, self.truth, self.seed = disk, truth, seed
        self.done = []

    def write(self, offset, length):
        """A write of random bytes, cut at the disk's end."""
        length = min(length, self.truth.size - offset)
        self.seed += 1
        data = judge.pattern(self.seed, length)
        self.disk.write(offset, data)
        self.truth.write(offset, data)
        self.done.append((offset, length))


def allocating_writes(writer, block, sector):
    """One sector first, in the middle and last; a whole block; across borders; the end."""
    size = writer.truth.size
    blocks = -(-size // block)
    whole = min(block, 2 * MIB)
    where = [0, block + block // 2, 3 * block - sector, 4 * block - 4 * MIB, size - sector]
    if block <= 2 * MIB:
        where = [0, block + block // 2, 3 * block - sector, 3 * block, size - sector]
        writer.write(5 * block - sector, 2 * sector)
        writer.write(7 * block - 64 * KIB - sector, min(8 * MIB, size // 3 // sector * sector))
        writer.write((blocks - 2) * block, 2 * block)
    elif blocks > 2:
        writer.write(block - 4 * MIB, 8 * MIB)
    for offset in where:
        if 0 <= offset < size:
            writer.write(offset, whole if offset == 3 * block else sector)
    # In place, in what is there now; and parts of requests here, parts there.
    writer.write(sector, 3 * sector)
    writer.write(block // 2 - sector, 64 * KIB)
    writer.write(block - 8 * KIB, 16 * KIB)


def geometry(size, block, sector, fixed=False, shape=None):
    """Three sessions, the middle one QEMU's (where it can)."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", size, block, sector, fixed, seed=3, **(shape or {}))
        qemu = sector == 512
        with judge.Truth(scratch / "truth", size, path) as truth:
            with attached(path) as disk:
                writer = Writer(disk, truth, 100)
                allocating_writes(writer, block, sector)
                judge.same_disk(disk, truth, writer.done, sector)
                ktap.equal(disk.sysfs("scan"), "pending" if fixed else "ok", "scan")
            judge.same_container(path, truth, qemu=qemu)
            if qemu:
                # To a block that is there and to one that is not.
                for offset, byte in ((512, 0x31), ((size // block - 1) * block + 512, 0x32)):
                    judge.qemu_io(path, f"write -P {byte} {offset} 5k")
                    truth.write(offset, bytes([byte]) * 5 * KIB)
            with attached(path) as disk:
                judge.same_disk(disk, truth, writer.done, sector)
                writer.disk = disk
                writer.write(size - 8 * sector, 8 * sector)
                writer.write(size // 2 // sector * sector, MIB)
            judge.same_container(path, truth, strict=False, qemu=qemu)


ktap.add("1M_blocks", geometry, 20 * MIB + 512, MIB, 512)
ktap.add("1M_blocks_4096", geometry, 20 * MIB + 4096, MIB, 4096)
ktap.add("2M_blocks_shuffled", geometry, 24 * MIB, 2 * MIB, 512, False,
         {"content": [(MIB, b"x" * 7 * MIB)], "shuffle": True})
ktap.add("32M_blocks", geometry, 200 * MIB + 5 * 512, 32 * MIB, 512)
ktap.add("256M_blocks", geometry, 3 * GIB - 512, 256 * MIB, 512)
ktap.add("256M_blocks_4096", geometry, GIB + 4096, 256 * MIB, 4096)
ktap.add("fixed_2M", geometry, 30 * MIB + 512, 2 * MIB, 512, True)
ktap.add("fixed_1M_4096", geometry, 20 * MIB + 4096, MIB, 4096, True)
ktap.add("chunk_border", geometry, 12 * GIB + 512, 256 * MIB, 512, False,
         {"content": [(4 * GIB - 4096, b"c" * 8192)]})
ktap.add("structures_behind_payload", geometry, 20 * MIB, MIB, 512, False,
         {"log_length": 2 * MIB, "offsets": {"log": 60 * MIB, "metadata": 70 * MIB, "bat": 80 * MIB}})


@ktap.case
def every_state_written_in_part():
    """A sector into a block of each state: the rest of it is zeros."""
    size = 16 * MIB
    states = {1: "ZERO", 2: "UNMAPPED", 3: "UNDEFINED", 4: "NOT_PRESENT+", 5: "ZERO+", 6: "UNMAPPED+",
              7: "UNDEFINED+"}
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", size, MIB, states=states)
        with judge.Truth(scratch / "truth", size) as truth:
            with attached(path) as disk:
                writer = Writer(disk, truth, 1)
                for block in range(9):
                    writer.write(block * MIB + block * 64 * KIB, 512)
                judge.same_disk(disk, truth)
            judge.same_container(path, truth)


@ktap.case
def fixed_with_zero_blocks():
    """QEMU's fixed images may have blocks in state ZERO: a write makes them."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", 8 * MIB, MIB, fixed=True, states={2: "ZERO", 7: "ZERO"})
        with judge.Truth(scratch / "truth", 8 * MIB) as truth:
            with attached(path) as disk:
                writer = Writer(disk, truth, 1)
                writer.write(2 * MIB + 4096, 512)
                writer.write(7 * MIB + 4096, MIB)
                judge.same_disk(disk, truth)
            judge.same_container(path, truth)


@ktap.case
def through_the_page_cache():
    """Odd offsets and lengths, buffered; what is written is there for direct I/O after a flush."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", 9 * MIB, MIB)
        with judge.Truth(scratch / "truth", 9 * MIB) as truth:
            with attached(path) as disk:
                with dio.buffered(disk.node, write=True) as cache:
                    for number, offset in enumerate((1, MIB - 3, 3 * MIB + 511, 5 * MIB - 700000)):
                        data = judge.pattern(number, 1000 + 300000 * number)
                        os.pwrite(cache.fd, data, offset)
                        truth.write(offset, data)
                    cache.flush()
                    judge.same_disk(disk, truth)
            judge.same_container(path, truth)


@ktap.case
def detach_right_after_writes():
    """Nobody flushed: what was acknowledged is there all the same."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", 20 * MIB, MIB)
        with judge.Truth(scratch / "truth", 20 * MIB) as truth:
            for session in range(4):
                with attached(path) as disk:
                    writer = Writer(disk, truth, 10 * session)
                    for number in range(5):
                        writer.write((session * 5 + number) * MIB + 4096 * number, 9000 // 512 * 512)
                    if session % 2:
                        with open(disk.node, "r+b", buffering=0) as cache:
                            cache.write(bytes([session]) * 1000)
                        truth.write(0, bytes([session]) * 1000)
                judge.same_container(path, truth, qemu=session == 3)


ktap.main()
