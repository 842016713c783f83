#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_sidecar_errors - the sidecar fails: the disk goes on, and tracking says that it is off
#
# Invariant 6, and 1 above it: whatever fails in whichever step, writes succeed, and whoever
# asks is told all that was written, or that nobody knows. Only where the container's header
# can't be written either, to take the sidecar's word away, writes fail (rule T7).
#
# vm: timeout=900 own-vm takes=25
import contextlib
import errno
import os
import pathlib
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "vhdx/lib"))
# pylint: disable=wrong-import-position
from vhdxtest import faulty, images, judge, ktap, uapi, udev  # noqa: E402
from vhdxtest.device import Control, Failure, outcome  # noqa: E402
from vhdxtest.disk import opened, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
from vhdxtest.ledger import Ledger  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

DISK = 24 * MIB
SIDECAR = 4 * MIB
UNIT = 16 * KIB
CHANCE = ktap.chance()
HEADERS = ((64 * KIB, 4 * KIB), (128 * KIB, 4 * KIB))

# What an error of the sidecar may be remembered as.
GAPS = tuple((errno.ESTALE, reason) for reason in
             (uapi.TRACKING_ERROR, uapi.UNCLEAN, uapi.CHANGED_OFFLINE, uapi.DISABLED, uapi.RESET)) + \
    ((errno.EOPNOTSUPP, uapi.DISABLED), (errno.ENODATA, uapi.ID_MISSING))

# What of the sidecar fails.
PARTS = {"header": (0, 8 * KIB), "blocks": (8 * KIB, SIDECAR - 8 * KIB), "all": (0, SIDECAR)}


def make(path):
    """A container."""
    images.create(path, DISK, MIB)


def fails(call, *arguments):
    """The call fails, with a reason that this is about."""
    failure = ktap.expect_errno(errno.EIO, call, *arguments)
    ktap.check(failure.reason in (uapi.IO, uapi.TRACKING_ERROR), failure)


class Bench:
    """A disk with three points, and a sidecar that can be made to fail."""

    def __init__(self, place, sidecar, truth):
        self.place, self.sidecar, self.truth = place, sidecar, truth
        self.ledger = Ledger()
        self.numbers = iter(range(1, DISK // MIB))

    def attached(self):
        """The disk with its sidecar."""
        return raw_attached(self.place.path, self.sidecar.path)

    def write(self, disk):
        """Writes somewhere, in place and in a new block; must succeed."""
        for offset in (4 * KIB, next(self.numbers) * MIB + 40 * KIB):
            data = CHANCE.randbytes(8 * KIB)
            disk.write(offset, data)
            self.truth.write(offset, data)
            self.ledger.wrote(offset, len(data))
        disk.data.flush()

    def prepare(self):
        """The sidecar and its first points, with changes between them and after."""
        with raw_attached(self.place.path) as disk, opened(self.sidecar.path) as fd:
            self.ledger.sealed(disk.handle.enable(fd, UNIT))
            for _ in range(2):
                self.write(disk)
                self.ledger.sealed(disk.handle.seal())
            self.write(disk)

    def told(self, disk, lost=False):
        """Whoever asks is told all that was written, or that nobody knows. lost: nobody is."""
        answers = self.ledger.judge(disk.handle, GAPS)
        if lost:
            ktap.equal(answers, 0, "answers")

    def exact(self, disk):
        """Every answer is complete, and no more than that."""
        for point, written in self.ledger.points.items():
            ktap.equal(RangeSet.of_lengths(disk.handle.changes(point)),
                       RangeSet.of_lengths(written).widened(UNIT), f"the answer since {point}")

    @property
    def points(self):
        """The ids, oldest first."""
        return list(self.ledger.points)

    def goes_on(self, disk):
        """The disk works."""
        self.write(disk)
        ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
        judge.same_disk(disk, self.truth)

    def is_off(self, disk):
        """Tracking is, for this reason, and it shows."""
        state = disk.handle.state()
        ktap.equal((state.state, state.gap_reason), (uapi.TRACKING_OFF, uapi.TRACKING_ERROR), "state")
        self.told(disk, lost=True)

    def ends_well(self):
        """The sidecar is well again: a gap or all of it, and from a new point on the truth."""
        judge.same_container(self.place.path, self.truth)
        with self.attached() as disk:
            self.told(disk)
            self.goes_on(disk)
            self.told(disk)
            self.ledger.points.clear()
            if disk.handle.state().state == uapi.TRACKING_OFF:
                with opened(self.sidecar.path) as fd:
                    self.ledger.sealed(disk.handle.enable(fd, UNIT, uapi.ENABLE_OVERWRITE))
            elif disk.handle.state().state == uapi.TRACKING_DISABLED:
                self.ledger.sealed(disk.handle.enable())
            else:
                self.ledger.sealed(disk.handle.seal())
            self.goes_on(disk)
            self.exact(disk)


@contextlib.contextmanager
def bench():
    """A Bench that is prepared."""
    with images.directory() as scratch, \
            faulty.on_device(scratch, make) as place, \
            faulty.device(scratch / "sidecar", SIDECAR, "sidecar") as sidecar, \
            judge.Truth(scratch / "truth", DISK) as truth:
        made = Bench(place, sidecar, truth)
        made.prepare()
        yield made


# ---- what uses the sidecar ---------------------------------------------------------------

def seal(_, disk):
    """No point."""
    ids = disk.handle.ids()
    fails(disk.handle.seal)
    if disk.handle.state().state == uapi.TRACKING_OFF:
        ktap.equal(outcome(disk.handle.points), (errno.ESTALE, uapi.TRACKING_ERROR), "points")
    else:
        ktap.equal(disk.handle.ids(), ids, "points")


def forget(b, disk):
    """The one in the middle: its deltas must be merged."""
    fails(disk.handle.forget, b.points[1])


def forget_newest(b, disk):
    """Its delta goes into the live map."""
    fails(disk.handle.forget, b.points[2])


def disable(_, disk):
    """Off, but for the wrong reason."""
    fails(disk.handle.disable)


def reset(_, disk):
    """No point, and no trust in what was before."""
    fails(disk.handle.reset)


def in_session(operation, part):
    """The sidecar fails in the middle of a session."""
    with bench() as b:
        with b.attached() as disk:
            b.write(disk)
            b.sidecar.fail(PARTS[part])
            operation(b, disk)
            b.goes_on(disk)
            # What could not be read changed nothing; what could not be written ends it.
            if operation not in (forget, forget_newest) or part == "header":
                b.is_off(disk)
            b.sidecar.heal()
            b.goes_on(disk)
            b.told(disk)
        b.ends_well()


# Disabling writes the header only.
for one in (seal, forget, forget_newest, disable, reset):
    for where in ("header",) if one is disable else ("header", "blocks"):
        ktap.add(f"{one.__name__}_{where}", in_session, one, where)


@ktap.case
def flush():
    """A flush of the sidecar that fails is as bad as a write."""
    with bench() as b:
        with b.attached() as disk:
            b.write(disk)
            b.sidecar.fail_flushes()
            seal(b, disk)
            b.goes_on(disk)
            b.is_off(disk)
            b.sidecar.heal()
            b.goes_on(disk)
        b.ends_well()


def first_write(part):
    """The sidecar can't say that it is in use: the write goes out, the sidecar is no longer
    believed."""
    with bench() as b:
        with b.attached() as disk:
            b.told(disk)
            b.sidecar.fail(PARTS[part])
            b.goes_on(disk)
            b.is_off(disk)
            b.sidecar.heal()
            b.goes_on(disk)
        with b.attached() as disk:
            ktap.equal(disk.sysfs("reason"), "tracking_error", "reason")
            b.told(disk, lost=True)
        b.ends_well()


def close(part):
    """Changes that can't be saved are a gap, and detach succeeds."""
    with bench() as b:
        with b.attached() as disk:
            b.write(disk)
            b.sidecar.fail(PARTS[part])
        b.sidecar.heal()
        with b.attached() as disk:
            ktap.equal(disk.sysfs("reason"), "tracking_error", "reason")
            b.told(disk, lost=True)
        b.ends_well()


def enable(part):
    """No sidecar comes to be, and the disk goes on without."""
    with bench() as b:
        with raw_attached(b.place.path) as disk, opened(b.sidecar.path) as fd:
            b.goes_on(disk)
            b.sidecar.fail(PARTS[part])
            fails(disk.handle.enable, fd, UNIT, uapi.ENABLE_OVERWRITE)
            b.goes_on(disk)
            ktap.equal(disk.sysfs("tracking"), "off", "tracking")
            b.told(disk, lost=True)
            b.sidecar.heal()
            b.ledger.points.clear()
            b.ledger.sealed(disk.handle.enable(fd, UNIT, uapi.ENABLE_OVERWRITE))
            b.goes_on(disk)
            b.told(disk)
        b.ends_well()


# So does the first write.
for one in (first_write, close, enable):
    for where in ("header",) if one is first_write else ("header", "blocks"):
        ktap.add(f"{one.__name__}_{where}", one, where)


@ktap.case
def query():
    """A delta that can't be read is an error, for those who need it, and for no longer than
    that."""
    with bench() as b:
        with b.attached() as disk:
            b.sidecar.fail(PARTS["blocks"])
            for point in b.points[:2]:
                fails(disk.handle.changes, point)
            ktap.check(disk.handle.changes(b.points[2]), "the live delta is in memory")
            ktap.equal(disk.sysfs("tracking"), "on", "tracking")
            b.sidecar.heal()
            b.exact(disk)
            b.goes_on(disk)
        b.ends_well()


def attach(part):
    """A sidecar that can't be read does not keep the disk away."""
    with bench() as b:
        b.sidecar.fail(PARTS[part])
        with b.attached() as disk:
            state = disk.handle.state()
            ktap.check(disk.reason != uapi.NONE, "no reason")
            ktap.check(state.gap_reason != uapi.NONE, "no reason")
            for point in b.points:
                try:
                    disk.handle.changes(point)
                except Failure as failure:
                    ktap.check(failure.errno in (errno.ESTALE, errno.EIO), failure)
                else:
                    raise AssertionError("there is an answer")
            b.goes_on(disk)
        b.sidecar.heal()
        with b.attached() as disk:
            b.told(disk, lost=True)
        b.ends_well()


for where in ("header", "blocks"):
    ktap.add(f"attach_{where}", attach, where)


@ktap.case
def seal_of_two():
    """One of two sidecars fails: neither disk gets a point, and the other one knows all."""
    with bench() as b, images.directory() as scratch:
        other = images.create(scratch / "other.vhdx", DISK, block_size=MIB)
        sidecar = scratch / "other.lrct"
        with b.attached() as disk, raw_attached(other) as healthy:
            with opened(sidecar, os.O_RDWR | os.O_CREAT) as fd:
                first = healthy.handle.enable(fd, UNIT)
            healthy.write(0, bytes(4 * KIB))
            b.write(disk)
            b.sidecar.fail(PARTS["header"])
            for handles in ((healthy.handle, disk.handle), (disk.handle, healthy.handle)):
                try:
                    Control.seal_of(*handles)
                except Failure as failure:
                    ktap.equal(failure.argument.failed, handles.index(disk.handle), "failed")
                else:
                    raise AssertionError("sealed")
                ktap.equal(healthy.handle.ids(), [first], "points")
            ktap.equal(healthy.handle.changes(first), [(0, UNIT)], "changes")
            b.goes_on(disk)
            b.is_off(disk)
            b.sidecar.heal()
        with raw_attached(other, sidecar) as healthy:
            ktap.equal(healthy.handle.changes(first), [(0, UNIT)], "changes")
        b.ends_well()


# ---- with the header as well ---------------------------------------------------------------

def header_too(operation):
    """The sidecar fails, and the container can't be told: writes must fail."""
    with bench() as b:
        with b.attached() as disk:
            if operation:
                b.write(disk)
            b.sidecar.fail(PARTS["all"])
            b.place.fail(*HEADERS)
            if operation:
                operation(b, disk)
            for offset in (4 * KIB, DISK - MIB):
                try:
                    disk.write(offset, bytes(4 * KIB))
                except OSError as error:
                    ktap.equal(error.errno, errno.EIO, "errno")
                else:
                    raise AssertionError("a write succeeds")
            ktap.equal(disk.sysfs("poisoned"), "1", "poisoned")
            judge.same_disk(disk, b.truth)
            # A seal looks at the header first, and tracking goes on: its answers are in the
            # sidecar.
            if operation is not seal:
                b.told(disk)
            b.sidecar.heal()
            b.place.heal()
            b.told(disk)
            if disk.handle.state().state == uapi.TRACKING_OFF:
                # The header may have what the sidecar knows: that is no reason to believe it.
                with opened(b.sidecar.path) as fd:
                    fails(disk.handle.enable, fd, UNIT)
                b.told(disk, lost=True)
        b.ends_well()


for one in (None, seal, disable):
    ktap.add(f"header_too_{one.__name__ if one else 'first_write'}", header_too, one)

with udev.asleep():
    ktap.main(brief=3)
