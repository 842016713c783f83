#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: long=uml-lockdep,debug full=6.12:writers_of_one_block+detach_under* takes=35
"""Many at once: writers of one new block, readers beside them, commits, detach, unload."""

import contextlib
import errno
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import dio, filesystem, images, judge, ktap, mapper, udev
from vhdxtest.chains import random_chain
from vhdxtest.device import Control, Failure
from vhdxtest.disk import attached, detach_index, opened, raw_attached
from vhdxtest.images import KIB, MIB

SIZE = 40 * MIB
MODULE = "/sys/module/vhdx"


def together(*functions):
    """Runs functions in threads that start at the same time; raises what the first raised."""
    failures = []
    barrier = threading.Barrier(len(functions))

    def run(function):
        try:
            barrier.wait()
            function()
        except Exception as error:  # pylint: disable=broad-exception-caught
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def writers_of_one_block(flags, sector):
    """Eight threads, each its own part of a block that is nowhere: none is lost, the rest
    is zeros. Rule V1: neither the mapping nor the zero-fill may come over a write."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, 2 * MIB, sector)
        with judge.Truth(scratch / "truth", SIZE) as truth:
            with attached(path) as disk, dio.Direct(disk.node, True, os.O_DIRECT | flags) as data:
                for block in range(20):
                    jobs = []
                    for number in range(8):
                        offset = block * 2 * MIB + number * 256 * KIB + number * sector
                        content = judge.pattern(block * 8 + number, 3 * sector)
                        truth.write(offset, content)
                        jobs.append(lambda o=offset, c=content: data.write(o, c))
                    together(*jobs)
                judge.same_disk(disk, truth)
            judge.same_container(path, truth, qemu=sector == 512)


ktap.add("writers_of_one_block", writers_of_one_block, 0, 512)
ktap.add("writers_of_one_block_fua", writers_of_one_block, os.O_DSYNC, 512)
ktap.add("writers_of_one_block_4096", writers_of_one_block, 0, 4096)


@ktap.case
def while_a_block_is_made():
    """Other writes to it wait for it; reads do not: it is nowhere until it is complete."""
    with images.directory() as scratch, udev.asleep(), contextlib.ExitStack() as stack:
        backing = images.create(scratch / "backing", SIZE, MIB)
        border = backing.stat().st_size // mapper.SECTOR + MIB // mapper.SECTOR
        device = stack.enter_context(images.loop(backing, size=backing.stat().st_size + 64 * MIB))
        end = border + 32 * MIB // mapper.SECTOR
        half = stack.enter_context(mapper.mapped(
            "half", f"0 {end - border} linear {device} {border}"))
        whole = stack.enter_context(mapper.mapped("whole", f"0 {border} linear {device} 0\n"
                                                  f"{border} {end - border} linear {half} 0"))
        truth = stack.enter_context(judge.Truth(scratch / "truth", SIZE))
        disk = stack.enter_context(raw_attached(whole))
        # The session begins, and room is found: the next blocks lie behind the border.
        for block in range(2):
            disk.write(block * MIB, b"b" * 4096)
            truth.write(block * MIB, b"b" * 4096)
        threads = []
        read = []
        with mapper.hanging("half"):
            for offset in (5 * MIB + 8192, 5 * MIB + 65536):
                truth.write(offset, judge.pattern(offset, 4096))
                threads.append(threading.Thread(target=lambda o=offset: disk.write(
                    o, judge.pattern(o, 4096))))
                threads[-1].start()
                mapper.wait_until_stuck(threads[-1])
            threads.append(threading.Thread(target=lambda: read.append(disk.read(5 * MIB, MIB))))
            threads[-1].start()
            threads[-1].join(10)
            answered = list(read)
        for thread in threads:
            thread.join()
        ktap.equal(len(answered), 1, "reads that were answered while the block was made")
        ktap.check(not any(answered[0]), "what was read is not zeroes")
        judge.same_disk(disk, truth)


# Of the queue in which blocks are made.
WORKERS = 8


@ktap.case
def made_since_it_was_looked_up():
    """Two first writes of a block stand in line where blocks are made. The first one is acknowledged
    before it is the turn of the second one, which had found the block nowhere. A worker makes it:
    the device has to be written for zeroes."""
    with images.directory() as scratch, udev.asleep(), contextlib.ExitStack() as stack:
        ramfs = stack.enter_context(filesystem.mounted("ramfs"))
        backing = images.create(ramfs / "backing", SIZE, MIB)
        # Where new blocks go, one behind the other: those of the workers, all but the first on a
        # device that hangs longer; that of both writes; and one that keeps the first worker busy.
        start = backing.stat().st_size // MIB + 2
        device = stack.enter_context(images.loop(backing, direct=False, size=(start + 32) * MIB))
        whole = f"0 {(start + 32) * MIB // mapper.SECTOR} linear {device} 0"
        one, others = (stack.enter_context(mapper.mapped(name, whole)) for name in ("one", "others"))
        table, at = [], 0
        for length, below in ((start, device), (1, one), (WORKERS - 1, others), (1, device),
                              (1, others), (16, device)):
            length *= MIB // mapper.SECTOR
            table.append(f"{at} {length} linear {below} {at}")
            at += length
        disk = stack.enter_context(raw_attached(stack.enter_context(
            mapper.mapped("whole", "\n".join(table)))))
        truth = stack.enter_context(judge.Truth(scratch / "truth", SIZE))
        threads = []

        def write(offset):
            truth.write(offset, judge.pattern(offset, 4096))
            threads.append(threading.Thread(target=disk.write,
                                            args=(offset, judge.pattern(offset, 4096))))
            threads[-1].start()
            return threads[-1]

        for block in range(2):
            write(block * MIB).join()
        with mapper.hanging("others"):
            with mapper.hanging("one"):
                for block in range(2, 2 + WORKERS):
                    mapper.wait_until_stuck(write(block * MIB + 8192))
                for offset in (12 * MIB + 8192, 13 * MIB, 12 * MIB + 65536):
                    mapper.wait_until_stuck(write(offset))
            first, _, second = threads[-3:]
            first.join(10)
            ktap.check(not first.is_alive(), "the first one waits for more than a worker")
            ktap.check(second.is_alive(), "the second one does not wait for a worker")
        for thread in threads:
            thread.join()
        judge.same_disk(disk, truth)


class Sectors:
    """Sectors whose whole content is one number; a torn or foreign one shows."""

    def __init__(self, disk, length=4096):
        self.disk, self.length = disk, length

    def write(self, data, index, number):
        """Every 8 bytes are the number."""
        data.write(index * self.length, number.to_bytes(8, "little") * (self.length // 8))

    def read(self, data, index):
        """The number, or a failure if there is more than one."""
        content = data.read(index * self.length, self.length)
        if content != content[:8] * (self.length // 8):
            raise AssertionError(f"sector {index} has a mixture of contents")
        return int.from_bytes(content[:8], "little")


@ktap.case
def readers_beside_writers():
    """While blocks are made and commits go on, a reader sees what was there or
    what is written there, and never anything else; an acknowledged write stays."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, MIB)
        with attached(path) as disk, dio.Direct(disk.node, True) as data:
            sectors = Sectors(disk)
            places = SIZE // sectors.length
            acknowledged = {}
            written = [0]
            stop = threading.Event()

            def write(seed):
                order = random.Random(seed)
                for _ in range(250):
                    index = order.randrange(places // 4) * 4 + seed
                    sectors.write(data, index, index << 32 | seed + 1)
                    acknowledged[index] = index << 32 | seed + 1
                written[0] += 1
                if written[0] == 4:
                    stop.set()

            def read():
                order = random.Random(9)
                while not stop.is_set():
                    index = order.randrange(places)
                    must = acknowledged.get(index)
                    got = sectors.read(data, index)
                    ktap.check(got in ((must,) if must else (0, index << 32 | index % 4 + 1)),
                               f"sector {index} is {got:#x}, acknowledged is {must}")

            def commit():
                while not stop.is_set():
                    data.flush()
                    time.sleep(0.01)

            together(*(lambda s=seed: write(s) for seed in range(4)), read, read, commit)
            for index, number in acknowledged.items():
                ktap.equal(sectors.read(data, index), number, f"sector {index}")
        judge.valid(path)
        with attached(path) as disk, dio.Direct(disk.node) as data:
            for index, number in acknowledged.items():
                ktap.equal(sectors.read(data, index), number, f"sector {index} after detach")


@ktap.case
def fua_is_in_the_container():
    """When a FUA write returns, what leads to it is in the container, not only in memory;
    so for every write that a flush covers."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, MIB)
        with judge.Truth(scratch / "truth", SIZE) as truth, attached(path) as disk, \
                dio.Direct(disk.node, True, os.O_DIRECT | os.O_DSYNC) as synchronous:
            for number in range(3):
                for writer, flush in ((synchronous, None), (disk.data, disk.data.flush)):
                    offset = (2 * number + (flush is None)) * 5 * MIB + number * 512
                    data = judge.pattern(number, 8 * KIB)
                    writer.write(offset, data)
                    truth.write(offset, data)
                    if flush:
                        flush()
                    judge.snapshot(path, scratch / "copy.vhdx")
                    judge.same_to_oracle(scratch / "copy.vhdx", truth)
            # In place, where the mapping is durable already.
            synchronous.write(0, judge.pattern(7, 512))
            truth.write(0, judge.pattern(7, 512))
            judge.same_after_replay(path, scratch / "copy.vhdx", truth)


@ktap.case
def detach_under_fire():
    """While there is I/O on an open node, detach is EBUSY and disturbs nothing; when it
    is closed, detach waits for what is under way."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, MIB)
        for session in range(4):
            with Control() as control:
                with opened(path) as fd:
                    index = control.attach(fd).index
                with dio.Direct(f"/dev/vhdx{index}", True) as data:
                    stop = threading.Event()

                    def work(session=session, data=data, stop=stop):
                        for block in range(40):
                            data.write(block * MIB + session * 4096, judge.pattern(session << 8 | block, 4096))
                        stop.set()

                    def nag(control=control, index=index, stop=stop):
                        while not stop.is_set():
                            try:
                                control.detach(index)
                            except Failure as failure:
                                ktap.equal(failure.errno, errno.EBUSY, "errno")
                            else:
                                raise AssertionError("an open disk was detached")

                    together(work, nag)
                detach_index(control, index)
            judge.valid(path)
        with attached(path) as disk:
            for block in range(40):
                for session in range(4):
                    ktap.check(disk.read(block * MIB + session * 4096, 4096) ==
                               judge.pattern(session << 8 | block, 4096), f"block {block}, session {session}")


@ktap.case
def attach_write_detach_unload():
    """The module comes and goes; it can't go while a disk is attached."""
    with images.directory() as scratch:
        paths = [images.create(scratch / f"{n}.vhdx", SIZE, MIB) for n in range(3)]
        for turn in range(4):
            with attached(paths[0]) as one, attached(paths[1]) as two, attached(paths[2]) as three:
                disks = (one, two, three)
                together(*(lambda d=d: [d.write(block * MIB, bytes([turn + 1]) * 4096) for block in range(20)]
                           for d in disks))
                ktap.check("in use" in images.command("sh", "-c", "modprobe -r vhdx 2>&1 || :"),
                           "the module was unloaded under a disk")
            udev.settle()
            images.command("modprobe", "-r", "vhdx")
            ktap.check(not os.path.exists(MODULE), "the module is still there")
            images.command("modprobe", "vhdx")
            for path in paths:
                judge.valid(path)


@ktap.case
def metadata_is_reclaimed():
    """Memory is short all the time: pages of the BAT go and are read again, but for those
    whose changes are not in the container yet."""
    blocks, stride = 200, 327 * MIB
    done = []

    def use(data, mine):
        order = random.Random(mine[0])
        try:
            for at, number in enumerate(mine):
                data.write(number * stride, judge.pattern(number, 4 * KIB))
                for known in order.sample(mine[:at + 1], min(at + 1, 4)):
                    ktap.check(data.read(known * stride, 4 * KIB) ==
                               judge.pattern(known, 4 * KIB), f"block {known} after {number}")
                    ktap.check(not any(data.read((known + 1) * stride - MIB, 4 * KIB)),
                               f"what is before block {known + 1}")
        finally:
            done.append(mine)

    def reclaim():
        while len(done) < 2:
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")

    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", blocks * stride, MIB)
        with attached(path) as disk, dio.Direct(disk.node, True) as data:
            together(lambda: use(data, range(0, blocks, 2)), lambda: use(data, range(1, blocks, 2)),
                     reclaim)
        judge.valid(path)
        with attached(path) as disk:
            for number in range(blocks):
                ktap.check(disk.read(number * stride, 4 * KIB) == judge.pattern(number, 4 * KIB),
                           f"block {number}")


@ktap.case
def writers_of_one_bitmap():
    """Eight threads fill blocks of a child, sectors first and then the rest, side by side, while
    pages go: no sector is its parent's again, and none is lost when the block is full (rule V1)."""
    stripe, writers, done = 8 * KIB, 8, []

    def use(data, truth, number):
        order = random.Random(number)
        mine = [at + number * stripe for at in range(0, 3 * MIB, writers * stripe)]
        try:
            for whole in (False, True):
                order.shuffle(mine)
                for base in mine:
                    ktap.check(data.read(base, stripe) == truth.read(base, stripe), f"before a write at {base}")
                    at = base if whole else base + order.randrange(12) * 512
                    new = order.randbytes(stripe if whole else order.choice((1, 1, 4)) * 512)
                    data.write(at, new)
                    truth.write(at, new)
                    ktap.check(data.read(base, stripe) == truth.read(base, stripe), f"after a write at {at}")
        finally:
            done.append(number)

    def reclaim():
        while len(done) < writers:
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
            time.sleep(0.01)

    with images.directory() as scratch, udev.asleep():
        chain = random_chain(scratch, 15, depth=3, blocks=MIB, size=16 * MIB, sector=512,
                             states=False)
        with chain.truth(scratch / "truth") as truth:
            with chain.attached(0) as disk:
                with dio.Direct(disk.node, True) as data:
                    together(reclaim, *(lambda n=number: use(data, truth, n) for number in range(writers)))
                judge.same_disk(disk, truth)
            judge.valid(chain.leaf)
            with chain.attached() as disk:
                judge.same_disk(disk, truth)


ktap.main()
