#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_mirror - a module in the kernel keeps a device like a disk (selftests/modules/vhdx_mirror)
#
# vm: on=uml full=6.1:rounds,6.12:rounds takes=20
import contextlib
import errno
import os
import pathlib
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import dio, images, ktap  # noqa: E402
from vhdxtest.disk import attach, attached, detach  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402

DEBUGFS = pathlib.Path("/sys/kernel/debug/vhdx_mirror")
SIZE = 24 * MIB


def tell(*words):
    """A command for the module; raises OSError as it fails."""
    control = os.open(DEBUGFS / "control", os.O_WRONLY)
    try:
        os.write(control, " ".join(map(str, words)).encode())
    finally:
        os.close(control)


@contextlib.contextmanager
def loaded():
    """The module is there."""
    images.command("modprobe", "vhdx_mirror")
    try:
        yield
    finally:
        images.command("rmmod", "vhdx_mirror")


class Mirror:
    """A disk that is mirrored."""

    def __init__(self, disk, target, interval=3600000, lag=0):
        self.target = target
        self.figures = DEBUGFS / pathlib.Path(target).name
        tell("start", disk.node, target, interval, lag)

    def round(self):
        """One that begins now; when it is done."""
        tell("round", self.target)

    def stop(self):
        """It ends where it is."""
        tell("stop", self.target)

    def __getattr__(self, name):
        """A figure of debugfs."""
        lines = self.figures.read_text(encoding="ascii").splitlines()
        value = dict(line.split(" ", 1) for line in lines)[name]
        return int(value) if value.lstrip("-").isdigit() else value


@contextlib.contextmanager
def mirrored(disk, target, **options):
    """Until the end."""
    mirror = Mirror(disk, target, **options)
    try:
        yield mirror
    finally:
        mirror.stop()


def same(disk, target):
    """The target has what the disk has."""
    with dio.Direct(target) as copy:
        for offset in range(0, disk.size, MIB):
            length = min(MIB, disk.size - offset)
            ktap.check(disk.read(offset, length) == copy.read(offset, length),
                       f"they differ in [{offset}, {offset + length})")


def write_some(disk, rng, count):
    """Anywhere."""
    written = set()
    for _ in range(count):
        length = rng.choice((512, 4 * KIB, 64 * KIB))
        offset = rng.randrange((disk.size - length) // 512) * 512
        disk.write(offset, rng.randbytes(512) * (length // 512))
        written.update(range(offset // (4 * KIB), -(-(offset + length) // (4 * KIB))))
    return len(written) * 4 * KIB


@contextlib.contextmanager
def pair(unit=4 * KIB):
    """The path of a disk that is not attached but tracked, and a target."""
    with images.container(SIZE) as path, images.blank_device(SIZE + MIB) as target, loaded():
        with attached(path, "--track", "--unit", unit):
            pass
        # What was there before is none of the disk's.
        with dio.Direct(target, write=True) as device:
            device.write(5 * MIB, b"old" + bytes(509))
        yield path, target


@ktap.case
def rounds():
    """All at first, then what changed; equal after each."""
    rng = ktap.chance("rounds")
    with pair() as (path, target), attached(path) as disk:
        write_some(disk, rng, 10)
        with mirrored(disk, target) as mirror:
            mirror.round()
            same(disk, target)
            ktap.equal(mirror.full, 1, "full copies")
            before = mirror.copied
            for _ in range(3):
                told = write_some(disk, rng, 10)
                mirror.round()
                same(disk, target)
                ktap.check(mirror.copied - before <= told, "more was copied than was written")
                before = mirror.copied
            ktap.equal((mirror.full, mirror.error), (1, 0), "full copies, error")
            ktap.equal(disk.sysfs("holders"), "vhdx_mirror", "holders")
        ktap.equal(disk.sysfs("holders"), "", "holders")
        # One point is left of all its rounds.
        ktap.equal([one.text for one in disk.handle.points()].count("vhdx_mirror"), 1, "points")


@ktap.case
def goes_on_where_it_was():
    """After a stop, a detach, and with another module that was loaded."""
    rng = ktap.chance("goes_on")
    with pair() as (path, target):
        for number in range(3):
            with attached(path) as disk:
                write_some(disk, rng, 5)
                with mirrored(disk, target) as mirror:
                    mirror.round()
                    ktap.equal(mirror.full, int(not number), "full copies")
                    same(disk, target)
                write_some(disk, rng, 5)


@ktap.case
def gap_takes_a_full_copy():
    """Nothing that was written meanwhile is missed."""
    rng = ktap.chance("gap")
    with pair() as (path, target):
        with attached(path) as disk, mirrored(disk, target) as mirror:
            mirror.round()
        with attached(path, "--no-track") as disk:
            write_some(disk, rng, 10)
        with attached(path) as disk, mirrored(disk, target) as mirror:
            mirror.round()
            same(disk, target)
            ktap.equal(mirror.full, 1, "full copies")


@ktap.case
def load_while_it_copies():
    """Whatever is written in the middle of a round is in the next one."""
    rng = ktap.chance("load")
    with pair() as (path, target), attached(path) as disk:
        over = threading.Event()

        def load():
            while not over.is_set():
                write_some(disk, rng, 5)

        with mirrored(disk, target, interval=1) as mirror:
            writer = threading.Thread(target=load)
            writer.start()
            ktap.eventually(lambda: mirror.rounds >= 5, "five rounds", patience=60)
            over.set()
            writer.join()
            mirror.round()
            same(disk, target)
            ktap.equal((mirror.full, mirror.error), (1, 0), "full copies, error")


@ktap.case
def lag_is_bounded():
    """The observer's count makes a round come early."""
    with pair() as (path, target), attached(path) as disk:
        with mirrored(disk, target, lag=MIB) as mirror:
            mirror.round()
            before = mirror.rounds
            for number in range(8):
                disk.write(number * 256 * KIB, b"x" * 256 * KIB)
            ktap.eventually(lambda: mirror.rounds > before, "a round")
            disk.write(0, b"y" * 4096)
            ktap.eventually(lambda: mirror.lag < MIB, "less lag")


@ktap.case
def detach_while_it_is_held():
    """The module is told, and lets go; the disk is gone when detach returns."""
    with pair() as (path, target):
        disk = attach(path)
        mirror = Mirror(disk, target)
        mirror.round()
        begun = time.monotonic()
        detach(disk)
        ktap.check(time.monotonic() - begun < 5, "it took as long as a holder may take")
        ktap.check(not os.path.exists(disk.node), "the disk is still there")
        ktap.equal(mirror.state, "detached", "state")
        ktap.expect_errno(errno.ENODEV, mirror.round)
        mirror.stop()


@ktap.case
def what_is_no_disk():
    with pair() as (path, target), attached(path) as disk:
        ktap.expect_errno(errno.ENODEV, Mirror, _Node(target), target)
        ktap.expect_errno(errno.EINVAL, tell, "start", disk.node)
        ktap.expect_errno(errno.ENOENT, tell, "round", "/dev/nothing")
        with images.blank_device(SIZE) as small:
            ktap.expect_errno(errno.ENOSPC, Mirror, disk, small)
        ktap.equal(disk.sysfs("holders"), "", "holders")


class _Node:
    """A device that is no disk of ours."""

    def __init__(self, node):
        self.node = node


ktap.main()
