#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_tracking_binding - a container and a sidecar of any two moments of a disk's life
#
# A disk lives: it is attached, written, sealed, closed, written by others. At every stage both
# files are copied. Every container is then put beside every sidecar: where they don't belong
# together each point is answered by an error with the right reason, and where they do, by all
# that differs. The library is asked about each pair, the driver about a part of them, which the
# seed decides.
#
# vm: timeout=600 takes=30
import collections
import errno
import pathlib
import shutil
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import filesystem, images, judge, ktap, library, uapi, udev  # noqa: E402
from vhdxtest.disk import attached, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB, command  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

SIZE = 16 * MIB
UNIT = 16 * KIB
GAP = (errno.ESTALE, uapi.CHANGED_OFFLINE)

# What a container has as its DWG, and which ones a sidecar knows: epochs are counted.
Stage = collections.namedtuple("Stage", "name directory epoch known content")


class Content:
    """What a disk holds, by units: of many moments, the most of it never written. All of it in
    memory for each of them would make a process that forks for minutes in User Mode Linux."""

    def __init__(self, units=()):
        self.units = dict(units)

    def write(self, place, data):
        """At any place."""
        while data:
            unit, within = place - place % UNIT, place % UNIT
            here, data = data[:UNIT - within], data[UNIT - within:]
            old = self.units.get(unit, bytes(UNIT))
            self.units[unit] = old[:within] + here + old[within + len(here):]
            place += len(here)

    def copy(self):
        """Of this moment."""
        return Content(self.units)

    def differences(self, other):
        """Units in which two contents differ."""
        zeroes = bytes(UNIT)
        return RangeSet((unit, unit + UNIT) for unit in sorted({*self.units, *other.units})
                        if self.units.get(unit, zeroes) != other.units.get(unit, zeroes))


class Life:
    """A disk, what it holds, and copies of its files."""

    def __init__(self, scratch, copy):
        self.scratch, self.copy = scratch, copy
        self.path = images.create(scratch / "disk.vhdx", SIZE, block_size=MIB)
        self.lrct = pathlib.Path(f"{self.path}.lrct")
        self.content = Content()
        self.at_points = {}         # id: the content then
        self.stages = []
        self.writes = 0

    def write(self, disk, place):
        """Writes a unit, and makes it durable; at the same place it is another each time."""
        self.writes += 1
        data = bytes([self.writes]) * 512
        disk.write(place, data)
        disk.data.flush()
        self.content.write(place, data)

    def seal(self, disk):
        """Seals a point."""
        self.at_points[disk.handle.seal()] = self.content.copy()

    def keep(self, name, epoch, known):
        """Copies both files."""
        directory = self.scratch / f"{len(self.stages)}"
        directory.mkdir()
        for path in (self.path, self.lrct):
            command("cp", *self.copy, path, directory)
        self.stages.append(Stage(name, directory, epoch, known, self.content.copy()))

    def first_session(self):
        """From enabling to a clean close."""
        with attached(self.path, "--track") as disk:
            point, = disk.handle.ids()
            self.at_points[point] = self.content.copy()
            self.write(disk, MIB)
            self.seal(disk)
            self.write(disk, 2 * MIB)
        self.keep("closed", 0, {0})

    def second_session(self):
        """With all that may happen in one."""
        with attached(self.path) as disk:
            self.keep("attached", 0, {0})
            self.write(disk, 3 * MIB)
            self.keep("begun", 1, {0, 1})
            # In a region of its own.
            self.write(disk, 9 * MIB)
            self.keep("written", 1, {0, 1})
            self.seal(disk)
            self.keep("sealed", 2, {2})
            self.write(disk, 9 * MIB)
            self.write(disk, 13 * MIB)
            self.keep("written behind the point", 2, {2})
            gone = list(self.at_points)[1]
            disk.handle.forget(gone)
            self.keep("forgotten", 2, {2})
        self.keep("closed again", 3, {3})

    def third_session(self):
        """One without a seal."""
        with attached(self.path) as disk:
            self.write(disk, 5 * MIB)
            self.keep("begun again", 4, {3, 4})
        self.keep("closed for good", 5, {5})

    def others(self):
        """The sidecar does not hear of any of these."""
        judge.qemu_io(self.path, f"write -P 200 {6 * MIB} 64k")
        self.content.write(6 * MIB, bytes([200]) * (64 * KIB))
        self.keep("written by qemu-io", 6, {5})
        vhdxoracle.dirty(str(self.path), [(7 * MIB, b"\x99" * 4096)], {})
        self.content.write(7 * MIB, b"\x99" * 4096)
        self.keep("written by the oracle", 7, {5})

    def live(self):
        """All of it."""
        self.first_session()
        self.second_session()
        self.third_session()
        self.others()


def older_of_the_same_epoch(container, sidecar, stages):
    """What only strict mode finds: the sidecar is older, and the container's DWG is one that it
    knows, with a session under way."""
    return container.epoch in sidecar.known and stages.index(sidecar) < stages.index(container)


def judge_pair(life, container, sidecar, answer):
    """answer(point) is of a container that has a sidecar of another stage beside it; how many
    were answered."""
    what = f"container '{container.name}', sidecar '{sidecar.name}'"
    answered = 0
    for point, content in life.at_points.items():
        told = answer(point)
        if told == (errno.ENODATA, uapi.ID_MISSING):
            continue            # not sealed yet, or forgotten
        if container.epoch not in sidecar.known:
            ktap.equal(told, GAP, f"{what}, since {point}")
            continue
        ktap.check(isinstance(told, RangeSet), f"{what}, since {point}: {told}")
        if not older_of_the_same_epoch(container, sidecar, life.stages):
            missing = content.differences(container.content) - told
            ktap.check(not missing, f"{what}, since {point}: missing {missing}")
            answered += 1
    return answered


def of_library(files, point):
    """Ranges, or (errno, reason)."""
    try:
        return files.changes(point).ranges
    except library.Refused as refused:
        return refused.errno, refused.reason


def of_driver(handle, point):
    """The same, of an attached disk."""
    try:
        return RangeSet.of_lengths(handle.changes(point))
    except OSError as failure:
        return failure.errno, failure.reason


def ask_driver(life, container, sidecar, told):
    """It says what the library said."""
    path, lrct = life.scratch / "pair.vhdx", life.scratch / "pair.lrct"
    shutil.copy(container.directory / life.path.name, path)
    shutil.copy(sidecar.directory / life.lrct.name, lrct)
    with raw_attached(path, lrct) as disk:
        ktap.equal({point: of_driver(disk.handle, point) for point in told}, told,
                   f"the driver's answers, {container.name}, {sidecar.name}")


def every_pair(scratch, copy, attaches):
    """See the head of this file."""
    life = Life(scratch, copy)
    life.live()
    pairs = [(container, sidecar) for container in life.stages for sidecar in life.stages]
    attach_too = ktap.chance().sample(pairs, attaches)
    answered = 0
    for pair in pairs:
        container, sidecar = pair
        with library.Files(container.directory / life.path.name,
                           sidecar.directory / life.lrct.name) as files:
            told = {point: of_library(files, point) for point in life.at_points}
        answered += judge_pair(life, *pair, told.get)
        if pair in attach_too:
            ask_driver(life, *pair, told)
    ktap.diag(f"{len(pairs)} pairs, {answered} answers")
    ktap.check(answered >= 4, "hardly anything was answered")


@ktap.case
def plain_copies():
    with images.directory() as scratch:
        every_pair(scratch, ("--reflink=never",), 24)


@ktap.case
def reflink_copies():
    """Of a moment, while the disk may be written."""
    with filesystem.mounted("xfs", 1024 * MIB) as where:
        every_pair(where, ("--reflink=always",), 8)


@ktap.case
def fork():
    """Two copies of both files go on, each for itself: neither's sidecar is the other's, and no id
    names two states."""
    with images.directory() as scratch:
        life = Life(scratch, ())
        life.first_session()
        both = {}
        for name in ("one", "other"):
            path = scratch / f"{name}.vhdx"
            shutil.copy(life.path, path)
            shutil.copy(life.lrct, f"{path}.lrct")
            with attached(path) as disk:
                disk.write(4 * MIB, name.encode().ljust(512))
                both[path] = disk.handle.seal()
        one, other = both
        ktap.check(both[one] != both[other], "an id names two states")
        for path, lrct, own in ((one, other, both[other]), (other, one, both[one])):
            with raw_attached(path, f"{lrct}.lrct") as disk:
                for point in (*life.at_points, own):
                    ktap.equal(of_driver(disk.handle, point), GAP, f"since {point}")
                ktap.equal(of_driver(disk.handle, both[path]),
                           (errno.ENODATA, uapi.ID_MISSING), "the container's own point")


@ktap.case
def swapped():
    """The sidecars of two disks: each is refused, and left as it is."""
    with images.directory() as first, images.directory() as second:
        lives = Life(first, ()), Life(second, ())
        for life in lives:
            life.first_session()
        for life, other in (lives, lives[::-1]):
            before = other.lrct.read_bytes()
            with raw_attached(life.path, other.lrct) as disk:
                ktap.equal(disk.reason, uapi.CHANGED_OFFLINE, "reason of the attach")
                for point in (*life.at_points, *other.at_points):
                    ktap.equal(of_driver(disk.handle, point), GAP, f"since {point}")
                disk.write(0, b"w" * 512)
            ktap.check(other.lrct.read_bytes() == before, "a foreign sidecar was written")


with udev.asleep():
    ktap.main()
