#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_fsx - a disk, and a file system on it, against a model, by a chance that can be repeated
#
# Writes, discards, zeroes, flushes, seals and new lives of a disk in each kind of container; and the
# same of a file in an ext4 on it, which is truncated, punched, mapped and read back. A long run goes
# on for ten minutes in each container.
#
# vm: timeout=600 takes=15
import contextlib
import mmap
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, dio, filesystem, images, judge, ktap  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

DISK = 40 * MIB + 128 * KIB     # the last block is a short one
UNIT = 16 * KIB
LIVES, STEPS = 2, 80
SECONDS = 600 if ktap.LONG else 0


class Model:
    """What a disk has to be, and what is done to it."""

    def __init__(self, truth, block, sector, chance):
        self.truth, self.block, self.sector, self.chance = truth, block, sector, chance
        self.disk = None
        self.done = []
        self.points = []                # (point, what was written since then)

    def extent(self):
        """Somewhere: a sector, a few blocks, now and then whole ones."""
        rng = self.chance
        if rng.random() < 0.3:
            start = rng.randrange(self.truth.size // self.block + 1) * self.block
            length = rng.randint(1, 3) * self.block
        else:
            start = rng.randrange(self.truth.size // self.sector) * self.sector
            most = rng.choice((1, 8, 128, 5 * self.block // 2 // self.sector))
            length = rng.randint(1, most) * self.sector
        start = min(start, self.truth.size - self.sector)
        length = min(length, self.truth.size - start)
        self.done[-1] = f"{start:#x}+{length:#x}"
        return start, length

    def changed(self, start, length):
        """These bytes of the disk may not be told as what they were."""
        for _, written in self.points:
            written.append((start, length))

    def write(self):
        """Of data, sometimes of such that is durable at once."""
        start, length = self.extent()
        data = self.chance.randbytes(length)
        if self.chance.random() < 0.1:
            with dio.Direct(self.disk.node, True, os.O_DIRECT | os.O_DSYNC) as durable:
                durable.write(start, data)
        else:
            self.disk.write(start, data)
        self.truth.write(start, data)
        self.changed(start, length)

    def read(self):
        """It is what was written."""
        judge.same_range(self.disk, self.truth, *self.extent())

    def discard(self):
        """Whole blocks are zeroes afterwards, and the rest is what it was."""
        start, length = self.extent()
        self.disk.data.discard(start, length)
        first = -(-start // self.block) * self.block
        end = start + length
        if end < self.truth.size:
            end = end // self.block * self.block
        if first < end:
            self.truth.write(first, bytes(end - first))
            self.changed(first, end - first)

    def zero(self):
        """All of it is zeroes, with the space kept or not."""
        start, length = self.extent()
        self.disk.data.zero(start, length, keep=self.chance.random() < 0.5)
        self.truth.write(start, bytes(length))
        self.changed(start, length)

    def flush(self):
        """Makes it durable."""
        self.disk.data.flush()

    def seal(self):
        """A point; what is told since each one has all that was written."""
        if len(self.points) < 6:
            self.points.append((self.disk.handle.seal(), []))
        for point, written in self.points:
            told = RangeSet.of_lengths(self.disk.handle.changes(point))
            missing = RangeSet.of_lengths(written) - told
            ktap.check(not missing, f"missing since {point}: {list(missing)[:3]}")

    def tell(self, kind, *_):
        """What was done, if it went wrong."""
        if kind:
            print(f"after {len(self.done)} steps:", *self.done[-400:], file=sys.stderr)

    def step(self):
        """One of them."""
        self.done.append("")
        what = self.chance.choices((self.write, self.read, self.discard, self.zero, self.flush,
                                    self.seal), (10, 5, 3, 3, 2, 1))[0]
        try:
            what()
        finally:
            self.done[-1] = f"{what.__name__} {self.done[-1]}"


@contextlib.contextmanager
def in_file(scratch, block, sector):
    """A container in a file."""
    yield images.create(scratch / "disk.vhdx", DISK, block, sector)


@contextlib.contextmanager
def on_device(_, block, sector):
    """One on a block device."""
    with images.blank_device(96 * MIB, sector) as device:
        images.create(device, DISK, block, sector)
        yield device


@contextlib.contextmanager
def child(scratch, block, sector):
    """A differencing disk over one that has data."""
    parent = images.create(scratch / "parent.vhdx", DISK, block, sector,
                           content=[(at, judge.pattern(at, 96 * KIB + sector))
                                    for at in range(0, DISK - MIB, 3 * MIB)])
    path = scratch / "child.vhdx"
    ctl.run("create", "--parent", parent, "--block-size", block, path)
    yield path


def lives(where, block, sector=512):
    """A disk is used, detached, judged, and attached again."""
    chance = ktap.chance(f"{where.__name__} {block} {sector}")
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(images.directory())
        path = stack.enter_context(where(scratch, block, sector))
        truth = stack.enter_context(judge.Truth(scratch / "truth", DISK, path))
        model = Model(truth, block, sector, chance)
        stack.push(model.tell)
        end, life = time.monotonic() + SECONDS, 0
        while life < LIVES or time.monotonic() < end:
            with attached(path, "--sidecar", scratch / "sidecar",
                          *(("--track", "--unit", UNIT) if not life else ())) as model.disk:
                for _ in range(STEPS):
                    model.step()
                model.seal()
                judge.same_disk(model.disk, truth, sector=sector)
            judge.same_container(path, truth, qemu=where is not child and sector == 512)
            life += 1


ktap.add("file_1M", lives, in_file, MIB)
ktap.add("file_8M_4096", lives, in_file, 8 * MIB, 4096)
ktap.add("device_2M", lives, on_device, 2 * MIB)
ktap.add("child_1M", lives, child, MIB)
ktap.add("child_2M_4096", lives, child, 2 * MIB, 4096)


# ---- a file on it --------------------------------------------------------------------------

LARGEST = 6 * MIB


class File:
    """A file, and what it has to be."""

    def __init__(self, path, chance):
        self.path, self.chance = path, chance
        self.content = bytearray()
        self.fd = -1

    def place(self):
        """A part of it, or one that it grows by."""
        start = self.chance.randrange(LARGEST)
        return start, self.chance.randint(1, min(self.chance.choice((1000, 70000, 800000)),
                                                 LARGEST - start))

    def put(self, start, data):
        """What the model has there from now on."""
        if start > len(self.content):
            self.content.extend(bytes(start - len(self.content)))
        self.content[start:start + len(data)] = data

    def write(self):
        """Anywhere."""
        start, length = self.place()
        data = self.chance.randbytes(length)
        os.pwrite(self.fd, data, start)
        self.put(start, data)

    def truncate(self):
        """To any length."""
        size = self.chance.randrange(LARGEST)
        os.ftruncate(self.fd, size)
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))

    def punch(self):
        """A hole, of what there is."""
        start, length = self.place()
        length = min(length, len(self.content) - start)
        if length > 0:
            dio.punch(self.fd, start, length)
            self.put(start, bytes(length))

    def through_memory(self):
        """Written as it is mapped."""
        if self.content:
            start = self.chance.randrange(len(self.content))
            data = self.chance.randbytes(min(5000, len(self.content) - start))
            with mmap.mmap(self.fd, len(self.content)) as memory:
                memory[start:start + len(data)] = data
            self.put(start, data)

    def settle(self):
        """Durable, and not in memory any more."""
        os.fsync(self.fd)
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def check(self):
        """It is what it has to be."""
        with open(self.path, "rb") as file:
            ktap.check(file.read() == bytes(self.content), f"{self.path} is not what was written")

    def step(self):
        """One of them."""
        what = self.chance.choices((self.write, self.truncate, self.punch, self.through_memory,
                                    self.settle, self.check), (10, 3, 3, 3, 2, 2))[0]
        what()


def use(files, chance, mounted):
    """They are what they were; then they are changed for a while."""
    with contextlib.ExitStack() as stack:
        for file in files:
            file.fd = os.open(file.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, file.fd)
            file.check()
        for number in range(STEPS):
            chance.choice(files).step()
            if number % 40 == 39:
                images.command("fstrim", mounted)
        for file in files:
            file.settle()
            file.check()


def file_system(block):
    """Files are used while the file system gives back what they don't use; all is there next time,
    and the file system finds no fault with itself."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", DISK, block)
        chance = ktap.chance(f"file_system {block}")
        mounted = scratch / "mounted"
        mounted.mkdir()
        files, end, life = [], time.monotonic() + SECONDS, 0
        while life < LIVES or time.monotonic() < end:
            with attached(path) as disk:
                if not life:
                    images.command("mkfs.ext4", "-q", "-F", "-m", "0", disk.node)
                with filesystem.mount(disk.node, mounted):
                    files = files or [File(mounted / f"file {number}", chance)
                                      for number in range(3)]
                    use(files, chance, mounted)
                images.command("e2fsck", "-f", "-n", disk.node)
            judge.valid(path)
            life += 1


ktap.add("file_system_1M", file_system, MIB)
ktap.add("file_system_32M", file_system, 32 * MIB)
ktap.main()
