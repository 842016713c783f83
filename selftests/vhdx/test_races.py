#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_races - disks come and go while everything else is done to them
#
# Three disks: one that is tracked, and has a partition, and two children of one parent, of which one
# is tracked. Each step may find no disk, another one, or one that is going: what it may end with is
# listed. Anything else, a hang, or a complaint of the kernel, fails. Three seconds, and three minutes
# in a long run.
#
# vm: on=uml long=uml-lockdep timeout=200 takes=12
import contextlib
import errno
import fcntl
import mmap
import os
import pathlib
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import dio, images, judge, ktap, uapi, udev  # noqa: E402
from vhdxtest.chains import Chain  # noqa: E402
from vhdxtest.device import Control, Handle  # noqa: E402
from vhdxtest.disk import attached, opened, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402

SECONDS = 180 if ktap.LONG else 3
FIRST = 60                              # index of the first disk
SIZE = 12 * MIB
EXPECTED = (errno.EBUSY, errno.ENODEV, errno.ENOENT, errno.ENXIO, errno.EIO, errno.ENODATA,
            errno.EAGAIN, errno.EINVAL, errno.ESTALE, errno.EALREADY, errno.EOPNOTSUPP,
            errno.EEXIST)
BLKRRPART = 0x125F


class Disk:
    """One that comes and goes, always with one index."""

    def __init__(self, number, path, parents=(), tracked=True):
        self.index = FIRST + number
        self.path, self.parents, self.tracked = path, parents, tracked
        self.node, self.char = f"/dev/vhdx{self.index}", f"/dev/vhdxc{self.index}"
        self.sysfs = pathlib.Path(f"/sys/block/vhdx{self.index}")
        self.chance = ktap.chance(f"races {number}")
        # Somebody detaches it: most others let it be for a moment, or it would be open for ever.
        self.leaving = False

    # ---- steps: each raises OSError where the disk is not as it wants it --------------------

    def comes_and_goes(self):
        """Attached, now and then to be gone at the last close; and detached, by two at once."""
        with contextlib.ExitStack() as stack:
            control = stack.enter_context(Control())
            layers = [uapi.Layer(stack.enter_context(opened(self.path)),
                                 stack.enter_context(opened(f"{self.path}.lrct"))
                                 if self.tracked else -1)]
            layers += [uapi.Layer(stack.enter_context(opened(one, os.O_RDONLY)), -1)
                       for one in self.parents]
            flags = uapi.ATTACH_AUTOCLEAR * (not self.chance.randrange(4))
            control.attach_layers(layers, flags, self.index)
        self.leaving = False
        time.sleep(self.chance.uniform(0, 0.2))
        self.is_detached()

    def is_detached(self):
        """By whoever comes first."""
        end = time.monotonic() + 20
        self.leaving = True
        with Control() as control:
            while self.sysfs.exists():
                try:
                    control.detach(self.index)
                except OSError as failure:
                    if failure.errno == errno.ENODEV:
                        return
                    if failure.errno != errno.EBUSY or time.monotonic() > end:
                        raise
                    time.sleep(0.005)

    def is_written_and_read(self):
        """What is there and what is not, with and without a flush; zeroes and discards."""
        with dio.Direct(self.node, write=True) as device:
            for _ in range(10):
                at = self.chance.randrange(SIZE // (64 * KIB)) * 64 * KIB
                device.write(at, b"r" * 4 * KIB)
                device.read(at, 16 * KIB)
            device.flush()
            device.discard(self.chance.randrange(SIZE // MIB) * MIB, MIB)
            device.zero(self.chance.randrange(SIZE // MIB) * MIB, 64 * KIB)

    def is_mapped(self):
        """Through the page cache; written back by whoever closes it last."""
        with open(self.node, "r+b") as file, mmap.mmap(file.fileno(), MIB) as memory:
            memory[self.chance.randrange(MIB)] = 1
            memory.flush()

    def is_sealed(self):
        """And a point is forgotten."""
        with Handle(self.char, write=True) as handle:
            handle.seal()
            handle.forget(handle.references()[0])

    def is_asked(self):
        """Everything, on a descriptor that may outlive the disk."""
        with Handle(self.char) as handle:
            for _ in range(5):
                handle.info()
                handle.state()
                handle.layers()
                handle.allocated(capacity=8)
                for point in handle.ids()[:2]:
                    handle.changes(point, capacity=4)

    def is_turned_off_and_on(self):
        """Tracking. Whatever failed in the middle, the next one turns it on."""
        with Handle(self.char, write=True) as handle:
            with contextlib.suppress(OSError):
                handle.disable()
            handle.enable()

    def is_partitioned(self):
        """Partitions are read again while one is open, or none."""
        with opened(self.node, os.O_RDONLY) as whole:
            fcntl.ioctl(whole, BLKRRPART)
            with opened(f"{self.node}p1", os.O_RDONLY) as part:
                os.pread(part, 4096, 0)

    def is_looked_at(self):
        """All of sysfs."""
        for where in (self.sysfs / "vhdx", self.sysfs / "queue"):
            for name in os.listdir(where):
                with contextlib.suppress(PermissionError, IsADirectoryError):
                    (where / name).read_bytes()

    def steps(self):
        """Those that a disk of its kind has."""
        steps = [self.comes_and_goes, self.is_written_and_read, self.is_mapped, self.is_asked,
                 self.is_partitioned, self.is_looked_at]
        if self.tracked:
            steps += [self.is_sealed, self.is_turned_off_and_on]
        return steps


def all_are_sealed(disks):
    """At one instant, where all are there."""
    with contextlib.ExitStack() as stack:
        Control.seal_of(*(stack.enter_context(Handle(disk.char, write=True)) for disk in disks))


def driver_goes():
    """If nobody uses it; then it is back at once."""
    images.command("rmmod", "vhdx", check=False)
    images.command("modprobe", "vhdx", check=False)


class Race:
    """Steps, each over and over, until it is over."""

    def __init__(self):
        self.over, self.turns, self.bad = threading.Event(), {}, []

    def _run(self, name, step, arguments):
        disk = getattr(step, "__self__", None)
        while not self.over.is_set():
            if disk and disk.leaving and step != disk.comes_and_goes and disk.chance.randrange(8):
                time.sleep(0.02)
                continue
            try:
                step(*arguments)
                self.turns[name] = self.turns.get(name, 0) + 1
            except OSError as failure:
                if failure.errno not in EXPECTED:
                    self.bad.append(f"{name}: {failure}")
            except IndexError:
                # All points were forgotten meanwhile.
                pass
            except Exception as failure:  # pylint: disable=broad-exception-caught
                self.bad.append(f"{name}: {failure!r}")
            time.sleep(0.005)

    def _all_had_a_turn(self):
        had = {name.partition(" ")[0] for name in list(self.turns)}
        return had >= {"comes_and_goes", "is_written_and_read", "is_mapped", "is_asked",
                       "is_partitioned", "is_sealed", "is_looked_at", "driver_goes"}

    def run(self, *steps):
        """(step, argument...) each."""
        threads = []
        for number, (step, *arguments) in enumerate(steps):
            name = f"{step.__name__} {number}"
            threads.append(threading.Thread(target=self._run, args=(name, step, arguments),
                                            daemon=True))
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        try:
            ktap.eventually(self._all_had_a_turn, f"all had a turn: {self.turns}", 60)
        finally:
            self.over.set()
        for thread, (step, *_) in zip(threads, steps):
            thread.join(60)
            ktap.check(not thread.is_alive(), f"{step.__name__} hangs")
        ktap.diag(self.turns)
        ktap.check(not self.bad, self.bad[:3])


@contextlib.contextmanager
def disks_to_be():
    """See the head of this file; none is attached."""
    with images.directory() as scratch:
        images.create(scratch / "alone.vhdx", SIZE, MIB)
        with attached(scratch / "alone.vhdx", "--track") as disk:
            images.command("sfdisk", "-q", disk.node, stdin="1M,4M\n")
        chain = Chain(scratch, ktap.chance("races"), 2, size=SIZE, sector=512, states=False)
        child = scratch / "second.vhdx"
        images.command("vhdxctl", "create", "--parent", chain.parents[0], child)
        with attached(child, "--track"):
            pass
        yield [Disk(0, scratch / "alone.vhdx"),
               Disk(1, chain.leaf, chain.parents, tracked=False),
               Disk(2, child, chain.parents)]


@ktap.case
def everything():
    """The driver goes, too, as soon as it may. What is left is valid."""
    with disks_to_be() as disks:
        race = Race()
        race.run(*((step,) for disk in disks for step in disk.steps()),
                 (all_are_sealed, disks[::2]), (driver_goes,))
        images.command("modprobe", "vhdx")
        for disk in disks:
            disk.is_detached()
        ktap.eventually(lambda: not any(disk.sysfs.exists() for disk in disks), "all are gone")
        judge.valid(disks[0].path)
        with attached(disks[0].path) as disk:
            disk.write(0, b"x" * 4096)
            disk.handle.state()
        for one in disks[1:]:
            with raw_attached(one.path, parents=one.parents) as disk:
                disk.write(0, b"x" * 4096)


with udev.asleep():
    ktap.main()
