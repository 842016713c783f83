#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_io_errors - the container fails in one place: what needs that place fails, nothing else
#
# On a block device and in a file. Tracking never under-reports, detach works, and once the
# device is well again the image is valid and has all that was flushed. A commit or a header
# that failed poisons writes until detach, and is never retried into success (rule V4).
#
# vm: timeout=900 own-vm takes=30
import contextlib
import errno
import os
import pathlib
import sys
import threading
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "vhdx/lib"))
# pylint: disable=wrong-import-position
from vhdxtest import dio, faulty, images, judge, ktap, uapi, udev  # noqa: E402
from vhdxtest.device import Control, Failure  # noqa: E402
from vhdxtest.disk import opened, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402
from vhdxtest.slots import Slots  # noqa: E402
import vhdxoracle  # noqa: E402
from vhdxoracle.headers import read_copy  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

BLOCK = MIB
DISK = 600 * MIB                # the BAT has two pages
FAR = 520 * MIB                 # a block of the second one
NEW = 10 * MIB                  # a block that is not there yet
UNIT = 16 * KIB
HEADERS = ((64 * KIB, 4 * KIB), (128 * KIB, 4 * KIB))
SECTOR = 512
CHANCE = ktap.chance()


def make(path):
    """A container with some blocks."""
    images.create(path, DISK, BLOCK, content=[(0, judge.pattern(1, 3 * MIB)),
                                              (FAR, judge.pattern(2, MIB))])


def refused(call, *arguments):
    """The call fails with EIO; the error."""
    return ktap.expect_errno(errno.EIO, call, *arguments)


class Bench:
    """A container that can be made to fail, its sidecar, and the content it must have."""

    def __init__(self, scratch, place, truth):
        self.scratch, self.place, self.truth = scratch, place, truth
        self.sidecar = scratch / "sidecar"
        self.point = None
        self.written = []       # (offset, length), since self.point, successful or not
        with vhdxoracle.open_disk(place.path) as image:
            self.log = (image.header.log_offset, image.header.log_length)
            self.bat = image.bat_offset(0)
            self.end = max(segment.at for start in (0, MIB, 2 * MIB, FAR)
                           for segment in image.segments(start, BLOCK)) + BLOCK

    def payload(self, offset, length):
        """Where a range of the disk, within one block, is in the container."""
        with vhdxoracle.open_disk(self.place.path) as image:
            segment, = image.segments(offset, length)
            return segment.at, length

    @contextlib.contextmanager
    def attached(self, closes=True):
        """The disk; the first time, with tracking just enabled."""
        first = not self.sidecar.exists()
        with raw_attached(self.place.path, None if first else self.sidecar,
                          closes=closes) as disk:
            if first:
                with opened(self.sidecar, os.O_RDWR | os.O_CREAT) as fd:
                    self.point = disk.handle.enable(fd, UNIT)
            yield disk

    def write(self, disk, offset, data):
        """A write that succeeds."""
        self.written.append((offset, len(data)))
        disk.write(offset, data)
        self.truth.write(offset, data)

    def write_refused(self, disk, offset, data):
        """A write that fails, and is perhaps there in part."""
        self.written.append((offset, len(data)))
        refused(disk.write, offset, data)

    def settle(self, read, offset, data):
        """Each sector of a range is what it was or what was written; now it is known which."""
        found, old = read(offset, len(data)), self.truth.read(offset, len(data))
        for at in range(0, len(data), SECTOR):
            one = slice(at, at + SECTOR)
            ktap.check(found[one] in (old[one], data[one]),
                       f"sector at {offset + at} is neither what it was nor what was written")
        self.truth.write(offset, found)

    def settle_detached(self, offset, data):
        """The same, as a replay of the log finds it."""
        with vhdxoracle.open_disk(self.place.path) as image:
            self.settle(image.read, offset, data)

    def covered(self, disk, exactly=False):
        """The answer has all that was written, or tried."""
        told = RangeSet.of_lengths(disk.handle.changes(self.point))
        written = RangeSet.of_lengths(self.written)
        ktap.check(not written - told, f"missing: {list(written - told)[:3]}")
        if exactly:
            extra = told - written.widened(UNIT)
            ktap.check(not extra, f"too much: {list(extra)[:3]}")

    def covered_or_gap(self, disk):
        """The answer has all of it, or there is none, and a reason."""
        try:
            self.covered(disk)
        except Failure as failure:
            ktap.equal(failure.errno, errno.ESTALE, "errno")
            ktap.check(failure.reason in (uapi.UNCLEAN, uapi.CHANGED_OFFLINE,
                                          uapi.TRACKING_ERROR), failure)

    def healthy(self, disk):
        """Everything works."""
        ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
        for offset in (8 * KIB, NEW + 8 * KIB, FAR + 8 * KIB, NEW + 5 * MIB):
            self.write(disk, offset, CHANCE.randbytes(4 * KIB))
        disk.data.flush()
        judge.same_disk(disk, self.truth)

    def poisoned(self, disk):
        """Nothing is written any more, and no point sealed; everything is read."""
        ktap.equal(disk.sysfs("poisoned"), "1", "poisoned")
        ktap.check(disk.handle.info().disk_flags & uapi.DISK_POISONED, "flags")
        self.write_refused(disk, 0, bytes(4 * KIB))
        self.write_refused(disk, NEW + 3 * MIB, bytes(4 * KIB))
        refused(disk.handle.seal)
        judge.same_disk(disk, self.truth)

    def ends_well(self, clean=True):
        """Detached, and well again: valid to all; and a new life, with an answer or a gap."""
        if clean:
            judge.valid(self.place.path)
            judge.same_to_oracle(self.place.path, self.truth)
            images.command("qemu-img", "check", "-q", "-f", "vhdx", self.place.path)
        else:
            judge.same_after_replay(self.place.path, self.scratch / "copy", self.truth)
        with self.attached() as disk:
            self.covered_or_gap(disk)
            self.healthy(disk)
            self.covered_or_gap(disk)
        judge.valid(self.place.path)
        judge.same_to_oracle(self.place.path, self.truth)


@contextlib.contextmanager
def bench(where):
    """A Bench."""
    with images.directory() as scratch, where(scratch, make) as place, \
            judge.Truth(scratch / "truth", DISK, place.path) as truth:
        yield Bench(scratch, place, truth)


def everywhere(function, *arguments):
    """Registers a case for both kinds of containers."""
    for where in (faulty.on_device, faulty.in_file):
        more = "".join(f"_{one}" for one in arguments)
        ktap.add(f"{function.__name__}{more}_{where.__name__}", function, where, *arguments)


# ---- payload ---------------------------------------------------------------------------

def payload_read(where):
    """Sectors that can't be read are the only ones."""
    begin, length = 128 * KIB, 64 * KIB
    with bench(where) as b:
        with b.attached() as disk:
            b.place.fail(b.payload(begin, length))
            for offset in (begin, begin + length - SECTOR):
                refused(disk.read, offset, SECTOR)
            refused(disk.read, begin - 4 * KIB, length)
            judge.same_range(disk, b.truth, 0, begin)
            judge.same_range(disk, b.truth, begin + length, 3 * MIB)
            judge.same_range(disk, b.truth, FAR, BLOCK)
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
            b.place.heal()
            b.healthy(disk)
            b.covered(disk, exactly=True)
        b.ends_well()


def payload_write(where):
    """A write in place that fails is marked all the same, and poisons nothing."""
    begin, length = 128 * KIB, 64 * KIB
    with bench(where) as b:
        with b.attached() as disk:
            b.place.fail(b.payload(begin, length))
            inside, across = judge.pattern(3, 8 * KIB), judge.pattern(4, length)
            b.write_refused(disk, begin + 4 * KIB, inside)
            b.write_refused(disk, begin - 8 * KIB, across)
            b.write(disk, begin + length, judge.pattern(5, 4 * KIB))
            b.write(disk, NEW, judge.pattern(6, 4 * KIB))
            disk.data.flush()
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
            b.covered(disk, exactly=True)
            b.place.heal()
            b.settle(disk.read, begin - 8 * KIB, across)
            b.healthy(disk)
            b.covered(disk, exactly=True)
        b.ends_well()


def new_block(bad):
    """A place that can't be written costs the write that came upon it, and no other one."""
    with bench(faulty.on_device) as b:
        with b.attached() as disk:
            b.place.fail((b.end + bad, 4 * KIB))
            b.write_refused(disk, NEW, judge.pattern(3, 4 * KIB))
            judge.same_range(disk, b.truth, NEW, BLOCK)
            for number in range(1, 4):
                b.write(disk, NEW + number * BLOCK, judge.pattern(3, 4 * KIB))
            disk.data.flush()
            b.write(disk, NEW, judge.pattern(4, 4 * KIB))
            b.covered(disk, exactly=True)
            b.place.heal()
            b.healthy(disk)
        b.ends_well()


everywhere(payload_read)
everywhere(payload_write)
ktap.add("new_block_data", new_block, 0)
ktap.add("new_block_zeroes", new_block, BLOCK - 4 * KIB)


@ktap.case
def no_new_blocks():
    """Nowhere behind the last block can be written: only new blocks fail."""
    with bench(faulty.on_device) as b:
        with b.attached() as disk:
            b.place.fail((b.end, faulty.SIZE - b.end))
            for number in range(100):
                b.write_refused(disk, NEW + number % 7 * BLOCK, judge.pattern(3, 4 * KIB))
            b.write(disk, 0, judge.pattern(4, 4 * KIB))
            judge.same_disk(disk, b.truth)
            b.place.heal()
            b.healthy(disk)
        b.ends_well()


# ---- metadata ---------------------------------------------------------------------------

def bat_read(where):
    """Blocks whose page can't be read fail, and so does the scan before the first new block;
    neither is for ever."""
    with bench(where) as b:
        with b.attached():
            pass
        b.place.fail((b.bat + 4 * KIB, 4 * KIB))
        with b.attached() as disk:
            refused(disk.read, FAR, 4 * KIB)
            b.write_refused(disk, FAR, bytes(4 * KIB))
            judge.same_range(disk, b.truth, 0, 3 * MIB)
            b.write(disk, 0, judge.pattern(3, 4 * KIB))
            b.write_refused(disk, NEW, bytes(4 * KIB))
            disk.data.flush()
            ktap.equal(disk.sysfs("scan"), "pending", "scan")
            b.place.heal()
            b.healthy(disk)
            b.covered(disk, exactly=True)
        b.ends_well()


def commit(where, what):
    """A commit that fails: everybody who waits for it fails, and all that is written after. If only
    the pages can't be written in place, those who wait have what they wait for: the log has it."""
    with bench(where) as b:
        lost = judge.pattern(3, 8 * KIB)
        with b.attached(closes=False) as disk:
            if what != "first_entry":
                b.write(disk, NEW + MIB, judge.pattern(4, 4 * KIB))
                disk.data.flush()
                # This one begins when what the other one logged is in place.
                disk.data.flush()
            if what == "bat":
                b.place.fail((b.bat, 4 * KIB))
            else:
                b.place.fail(b.log)
            b.written.append((NEW, len(lost)))
            disk.write(NEW, lost)
            if what == "bat":
                disk.data.flush()
                ktap.eventually(lambda: disk.sysfs("poisoned") == "1", "poisoned")
            else:
                refused(disk.data.flush)
            ktap.equal(disk.read(NEW, len(lost)), lost, "what was written")
            b.place.heal()
            refused(disk.data.flush)
            with dio.Direct(disk.node, True, os.O_DIRECT | os.O_DSYNC) as fua:
                refused(fua.write, 0, bytes(4 * KIB))
            b.truth.write(NEW, lost)
            b.poisoned(disk)
            if what != "bat":
                b.truth.write(NEW, bytes(len(lost)))
            b.covered(disk)
        if what == "bat":
            with vhdxoracle.open_disk(b.place.path) as image:
                ktap.equal(image.read(NEW, len(lost)), lost, "what was flushed")
        else:
            b.settle_detached(NEW, lost)
        b.ends_well(clean=False)


everywhere(bat_read)
ktap.add("commit_first_entry_on_device", commit, faulty.on_device, "first_entry")
for one in ("entry", "bat"):
    everywhere(commit, one)


@ktap.case
def log_in_a_file():
    """Room in the log is made before the first new block: without it, that alone fails."""
    with bench(faulty.in_file) as b:
        with b.attached() as disk:
            b.place.fail(b.log)
            b.write_refused(disk, NEW, bytes(4 * KIB))
            b.write(disk, 0, judge.pattern(3, 4 * KIB))
            disk.data.flush()
            judge.same_disk(disk, b.truth)
            b.place.heal()
            b.healthy(disk)
            b.covered(disk)
        b.ends_well()


@ktap.case
def flush():
    """A flush that fails is a commit that fails."""
    with bench(faulty.on_device) as b:
        with b.attached(closes=False) as disk:
            b.place.device.fail_flushes()
            b.write(disk, 0, judge.pattern(3, 4 * KIB))
            refused(disk.data.flush)
            b.place.heal()
            refused(disk.data.flush)
            b.poisoned(disk)
            b.covered(disk)
        b.ends_well(clean=False)


# ---- headers ----------------------------------------------------------------------------

def header_at_first_write(where, *slots):
    """No session, no write: neither the disk nor the sidecar has changed."""
    with bench(where) as b:
        with b.attached() as disk:
            b.write(disk, 4 * KIB, judge.pattern(3, 4 * KIB))
        before = judge.fingerprint(b.place.path)
        with b.attached() as disk:
            b.place.fail(*(HEADERS[slot] for slot in slots))
            b.write_refused(disk, 0, bytes(4 * KIB))
            b.place.heal()
            if where is faulty.in_file:
                # Room for both copies in the file comes first: no session was to begin yet.
                ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
            else:
                b.poisoned(disk)
            b.covered_or_gap(disk)
        # None of these writes went out, and the next attach knows.
        b.written = [(4 * KIB, 4 * KIB)]
        if len(slots) == 2:
            ktap.check(judge.fingerprint(b.place.path) == before, "the container changed")
        b.ends_well()


def header_at_seal(where, *slots):
    """No point comes to be, and nothing is written after it."""
    with bench(where) as b:
        with b.attached() as disk:
            b.write(disk, 0, judge.pattern(3, 4 * KIB))
            ids = disk.handle.ids()
            b.place.fail(*(HEADERS[slot] for slot in slots))
            refused(disk.handle.seal)
            ktap.equal(disk.handle.ids(), ids, "points")
            b.covered(disk)
            b.place.heal()
            b.poisoned(disk)
        b.ends_well()


def header_at_close(where, *slots):
    """The log stays, for the next attach; the container is valid before and after."""
    with bench(where) as b:
        with b.attached(closes=False) as disk:
            b.write(disk, NEW, judge.pattern(3, 4 * KIB))
            disk.data.flush()
            b.write(disk, NEW + MIB, judge.pattern(4, 4 * KIB))
            b.place.fail(*(HEADERS[slot] for slot in slots))
        b.place.heal()
        b.ends_well(clean=False)


for one in (header_at_first_write, header_at_seal, header_at_close):
    everywhere(one, 0, 1)
    for number in (0, 1):
        ktap.add(f"{one.__name__}_{number}", one, faulty.on_device, number)


def sequences(path):
    """Of both header copies; 0: not a valid one."""
    with dio.Direct(path) as device:
        copies = [read_copy(device, slot) for slot in (0, 1)]
    return [0 if copy.fault else copy.header.sequence for copy in copies]


@ktap.case
def half_an_update():
    """One header copy fails in the middle of an update, and what is in it is torn: the next
    update repairs that one before it touches the only good one."""
    with bench(faulty.on_device) as b:
        device, backing = b.place.device, b.scratch / "backing"
        with contextlib.ExitStack() as stack:
            with b.attached(closes=False) as disk:
                b.write(disk, 0, judge.pattern(3, 4 * KIB))
                before = sequences(b.place.path)
                torn = before.index(max(before))
                with device.read_only(backing, *HEADERS[torn]):
                    refused(disk.handle.seal)
                with dio.Direct(b.place.path, True) as raw:
                    raw.write(HEADERS[torn][0], b"torn" * KIB)
                after = sequences(b.place.path)
                ktap.check(not after[torn] and after[1 - torn] > max(before), f"{before} {after}")
                stack.enter_context(device.read_only(backing, *HEADERS[1 - torn]))
        ktap.check(min(sequences(b.place.path)), "the only good copy was to be written over")
        b.ends_well(clean=False)


# ---- attach -----------------------------------------------------------------------------

@ktap.case
def attach():
    """A structure that can't be read: the message says which; it is well again, all works."""
    with bench(faulty.on_device) as b, Control() as control:
        with vhdxoracle.open_disk(b.place.path) as image:
            metadata = max(region.offset for region in image.regions.values()
                           if region.offset != b.bat)
        for what, where in (("file identifier", 0), ("header", HEADERS[0][0]),
                            ("region table", 192 * KIB), ("metadata", metadata)):
            b.place.fail((where, 4 * KIB))
            with opened(b.place.path) as fd:
                error = refused(control.attach, fd)
            ktap.diag(f"{what}: {control.message}")
            ktap.equal(error.reason, uapi.IO, "reason")
            ktap.check(what in control.message, control.message)
        b.place.heal()
        with b.attached() as disk:
            b.healthy(disk)
        b.ends_well()


# ---- everything -------------------------------------------------------------------------

def write_until_refused(disk, slots, mine):
    """Writes and flushes blocks that are there, and more and more that are not."""
    with dio.Direct(disk.node, True) as data, contextlib.suppress(OSError):
        while True:
            for number in mine:
                slots.write(data, number)
            slots.flush(data, mine)


def lost_device(where):
    """The device goes away while it is written and sealed; what was flushed is there."""
    with bench(where) as b:
        with b.attached(closes=False) as disk:
            slots = Slots(24, BLOCK + 20 * KIB)
            threads = [threading.Thread(target=write_until_refused,
                                        args=(disk, slots, range(first, slots.count, 3)))
                       for first in range(3)]
            for thread in threads:
                thread.start()
            while min(slots.flushed) < 3:
                disk.handle.seal()
            b.place.fail((0, faulty.SIZE))
            with contextlib.suppress(Failure):
                while True:
                    disk.handle.seal()
            for thread in threads:
                thread.join()
            b.written = slots.ranges()
            b.covered_or_gap(disk)
        b.place.heal()
        with vhdxoracle.open_disk(b.place.path) as image:
            slots.judge(image.read, slots.flushed)
            for offset, length in slots.ranges():
                b.truth.write(offset, image.read(offset, length))
        b.ends_well(clean=False)


everywhere(lost_device)
with udev.asleep():
    ktap.main(brief=3)
