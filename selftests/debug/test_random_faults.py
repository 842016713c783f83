#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_random_faults - allocations or the container's requests fail at random, under load
#
# Writes, new blocks, flushes, seals, questions: each may fail, or succeed. No read is ever
# wrong and no answer ever too small, and once nothing fails any more everything works, or
# the disk is poisoned and whole after a reattach. On a block device a commit needs no memory:
# there a lack of it never poisons the disk (rule K3). Nor does anybody wait for memory that is
# his own to give back. Half of the disks are children, the seed decides which: no write is of all
# of a block, and all else is the parent's.
#
# vm: mem=3G timeout=300 takes=60
import collections
import contextlib
import errno
import pathlib
import sys
import threading
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "vhdx/lib"))
# pylint: disable=wrong-import-position
from vhdxtest import dio, faulty, images, inject, judge, ktap, mapper, slow, uapi, udev  # noqa: E402
from vhdxtest.chains import copies  # noqa: E402
from vhdxtest.device import Control, Failure  # noqa: E402
from vhdxtest.disk import attached, opened, raw_attached  # noqa: E402
from vhdxtest.images import GIB, KIB, MIB, forget_pages  # noqa: E402
from vhdxtest.ledger import Ledger  # noqa: E402
from vhdxtest.slots import Slots  # noqa: E402
import vhdxoracle  # noqa: E402

DISK = 600 * MIB
# Pages of the BAT, each with the entries of 512 blocks: several times what is kept in reserve.
PAGES = 40
PERCENT = (10,) if ktap.BRIEF else (2, 10, 30)
SECONDS = 4
THREADS = 4
UNIT = 4 * KIB
SHORT = (errno.ENOMEM, errno.EIO, errno.EAGAIN)
GAPS = ((errno.ESTALE, uapi.TRACKING_ERROR), (errno.ESTALE, uapi.UNCLEAN),
        (errno.ESTALE, uapi.CHANGED_OFFLINE))
# What a seal says after an error of tracking.
OFF = (errno.EOPNOTSUPP, uapi.TRACKING_ERROR)


class Layers:
    """A container, which may be a child, and its parents."""

    def __init__(self, scratch, slots):
        self.scratch, self.slots = scratch, slots
        self.parents = [scratch / "parent.vhdx"] if slots.child else []
        for parent in self.parents:
            images.create(parent, DISK, 2 * MIB, content=slots.of_parent())
        self.before = self._fingerprints()

    def _fingerprints(self):
        return [judge.fingerprint(parent) for parent in self.parents]

    def make(self, path):
        """The container, without a block."""
        vhdxoracle.create(path, DISK, block_size=MIB, parent=next(iter(self.parents), None))

    def truth(self):
        """What the disk holds at first."""
        truth = judge.Truth(self.scratch / "truth", DISK)
        for offset, data in self.slots.of_parent() if self.parents else ():
            truth.write(offset, data)
        return truth

    def judge(self, path, truth):
        """The container as it is now, perhaps dirty; and no parent was written."""
        if self.parents:
            judge.valid(path, clean=False)
            with vhdxoracle.open_disk(path, self.parents) as image:
                judge.same_image(image, truth)
        else:
            judge.same_after_replay(path, self.scratch / "copy", truth)
        ktap.check(self._fingerprints() == self.before, "a parent was written")


def may_fail(call, *arguments):
    """None if it failed for want of memory, or of the device."""
    try:
        return call(*arguments)
    except Failure as failure:
        if failure.errno not in SHORT and (failure.errno, failure.reason) not in (*GAPS, OFF):
            raise
    except OSError as error:
        if error.errno not in SHORT:
            raise
    return None


class Load:
    """Threads that write, each its own slots, and one that seals and asks."""

    def __init__(self, disk, slots, ledger):
        self.disk, self.slots, self.ledger = disk, slots, ledger
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.failures = []
        self.refused = 0

    def _write(self, mine):
        with dio.Direct(self.disk.node, True) as data:
            while not self.stop.is_set():
                for number in mine:
                    with self.lock:
                        self.ledger.wrote(self.slots.offset(number), 4 * KIB)
                    before = self.slots.written[number]
                    may_fail(self.slots.write, data, number)
                    self.refused += self.slots.written[number] == before
                    may_fail(self.slots.check, data.read, number, self.slots.written[number])
                may_fail(self.slots.flush, data, mine)

    def _seal(self):
        handle = self.disk.handle
        while not self.stop.is_set():
            point = may_fail(handle.seal)
            with self.lock:
                if point:
                    self.ledger.sealed(point)
                points = list(self.ledger.points)
            may_fail(handle.changes, points[0])
            if len(points) > 5:
                # Whether it is gone or not, nobody asks from there any more.
                may_fail(handle.forget, points[1])
                with self.lock:
                    self.ledger.forgot(points[1])

    def _guarded(self, job, *arguments):
        try:
            job(*arguments)
        except BaseException as failure:  # pylint: disable=broad-exception-caught
            self.failures.append(failure)
            self.stop.set()

    def run(self, failing):
        """For some seconds, in the context failing."""
        jobs = [(self._write, range(first, self.slots.count, THREADS)) for first in range(THREADS)]
        threads = [threading.Thread(target=self._guarded, args=job) for job in [*jobs, (self._seal,)]]
        with failing:
            for thread in threads:
                thread.start()
            self.stop.wait(SECONDS)
            self.stop.set()
            for thread in threads:
                thread.join()
        self.stop.clear()
        if self.failures:
            raise self.failures[0]


def renewed(disk, sidecar, ledger):
    """Tracking is on and every answer is complete; or there is a gap, and a new beginning."""
    answers = ledger.judge(disk.handle, GAPS)
    if disk.handle.state().state == uapi.TRACKING_ON:
        if not answers:
            ledger.points.clear()
            ledger.sealed(disk.handle.seal())
        return
    ktap.diag("tracking is off")
    ktap.equal(answers, 0, "answers")
    ledger.points.clear()
    with opened(sidecar) as fd:
        ledger.sealed(disk.handle.enable(fd, UNIT, uapi.ENABLE_OVERWRITE))


def look(disk, subject):
    """Nothing fails any more: everything works."""
    slots, ledger = subject.slots, subject.ledger
    renewed(disk, subject.sidecar, ledger)
    with dio.Direct(disk.node, True) as data:
        for number in range(slots.count):
            ledger.wrote(slots.offset(number), 4 * KIB)
            slots.write(data, number)
        slots.flush(data, range(slots.count))
    ledger.judge(disk.handle)
    slots.judge(disk.read, slots.written)


def session(subject, percent, failing):
    """One attach: a load while something fails. True if it left the disk poisoned."""
    slots, ledger = subject.slots, subject.ledger
    with subject.attached(closes=None) as disk:
        load = Load(disk, slots, ledger)
        load.run(failing)
        ktap.diag(f"{percent}%: {sum(slots.tried)} writes, {load.refused} refused, "
                  f"{len(ledger.points)} points")
        poisoned = disk.sysfs("poisoned") == "1"
        if poisoned:
            ktap.diag("poisoned")
            ledger.judge(disk.handle, GAPS)
            slots.judge(disk.read, slots.written)
        else:
            look(disk, subject)
    return poisoned


def allocations(_, percent):
    """Of the driver, in whatever context."""
    return inject.failing(percent)


def requests(place, percent):
    """Of the device that has the container."""
    return inject.failing_requests(place.device.path, percent)


def sessions(where, fault, poisons):
    """Some, in each of which more fails than in the one before."""
    child = ktap.chance(f"{fault.__name__} {where.__name__}").randrange(2)
    slots, ledger = Slots(40, 14 * MIB + 20 * KIB, child), Ledger()
    with images.directory() as scratch:
        layers = Layers(scratch, slots)
        ktap.diag(f"{len(layers.parents)} parents")
        with where(scratch, layers.make) as place, layers.truth() as truth:
            lose_some(Subject(layers, place, truth, slots, ledger), fault, poisons)


class Subject(collections.namedtuple("Subject", "layers place truth slots ledger")):
    """A tracked disk, and what is known of it."""

    @property
    def sidecar(self):
        """Its path."""
        return self.layers.scratch / "sidecar"

    def attached(self, **how):
        """The disk."""
        return raw_attached(self.place.path, self.sidecar, parents=self.layers.parents, **how)

    def settle(self, before):
        """It is known now what is there of the writes since the ledger was taken down."""
        with vhdxoracle.open_disk(self.place.path, self.layers.parents) as image:
            self.slots.judge(image.read, self.slots.flushed)
            # The first thing that failed may have been a look at the header, and no write
            # left the driver.
            if all(image.read(*where) == self.truth.read(*where) for where in self.slots.ranges()):
                self.ledger.nothing_of_it(before)
            for offset, length in self.slots.ranges():
                self.truth.write(offset, image.read(offset, length))
        # What was written and not flushed may be lost.
        self.slots.written = list(self.slots.flushed)


def lose_some(subject, fault, poisons):
    """See sessions()."""
    subject.sidecar.touch()
    with raw_attached(subject.place.path, parents=subject.layers.parents) as disk, \
            opened(subject.sidecar) as fd:
        subject.ledger.sealed(disk.handle.enable(fd, UNIT))
    for percent in PERCENT:
        before = subject.ledger.taken_down()
        poisoned = session(subject, percent, fault(subject.place, percent))
        ktap.check(poisons or not poisoned, "a commit needs memory")
        subject.settle(before)
        subject.layers.judge(subject.place.path, subject.truth)
    with subject.attached() as disk:
        subject.ledger.judge(disk.handle, GAPS)
        look(disk, subject)
    judge.valid(subject.place.path)


def no_memory(child):
    """Nothing at all can be allocated: blocks are read, written and made all the same, and pages
    of the BAT, and of sector bitmaps, come and go (rule K3)."""
    where = [page * 512 * MIB + 4 * KIB * page for page in range(PAGES)]
    old = [(offset + 8 * KIB, judge.pattern(PAGES + page, 4 * KIB))
           for page, offset in enumerate(where)] if child else []
    with images.directory() as scratch:
        size, parents, shape = PAGES * 512 * MIB, [], {}
        if child:
            parents.append(images.create(scratch / "parent", size, MIB, content=old))
            shape["parent"] = parents[0]
        with faulty.on_device(scratch,
                              lambda path: images.create(path, size, MIB, **shape)) as place:
            with raw_attached(place.path, parents=parents) as disk:
                # The session, the scan of the BAT, a first commit.
                disk.write(MIB, judge.pattern(0, 4 * KIB))
                disk.data.flush()
                with inject.failing(100, inject.NEAR):
                    for page, offset in enumerate(where):
                        disk.write(offset, judge.pattern(page, 4 * KIB))
                    for page, offset in enumerate(where):
                        ktap.equal(disk.read(offset, 4 * KIB), judge.pattern(page, 4 * KIB),
                                   "content")
                    for offset, data in old:
                        ktap.equal(disk.read(offset, 4 * KIB), data, "a parent's content")
                    disk.data.flush()
                ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
            with vhdxoracle.open_disk(place.path, parents) as image:
                for page, offset in enumerate(where):
                    ktap.equal(image.read(offset, 4 * KIB), judge.pattern(page, 4 * KIB),
                               "content")
            judge.valid(place.path)


ktap.add("no_memory_on_a_block_device", no_memory, False)
ktap.add("no_memory_for_a_child", no_memory, True)


@ktap.case
def no_memory_where_chains_cross():
    """Two containers that are each a parent of the other one: of two disks that have both of them, in
    either order, none waits for pages that the other one holds (rule K3)."""
    with images.directory() as scratch, contextlib.ExitStack() as stack:
        base, *leaves = (stack.enter_context(images.blank_device()) for _ in range(3))
        parents = [stack.enter_context(slow.device(scratch / name, 64 * MIB, name)) for name in ("one", "other")]
        # Pages of the BAT and of sector bitmaps that are not those of the other disk.
        where = (0, 5 * GIB)
        images.create(base, 8 * GIB, MIB)
        for path in (*leaves, *(parent.path for parent in parents)):
            parental = path not in leaves
            copies(path, base, 1, block_size=MIB, content=[(at, b"x" * 4 * KIB) for at in where] * parental)
        disks = [stack.enter_context(raw_attached(leaf, flags=uapi.ATTACH_READ_ONLY,
                                                  parents=[*(one.path for one in order), base]))
                 for leaf, order in zip(leaves, (parents, parents[::-1]))]
        for disk in disks:
            disk.read(0, 4 * KIB)
        forget_pages()
        for parent in parents:
            parent.delay(read=200)
        found = []
        readers = [threading.Thread(target=lambda d=disk, at=at: found.append(d.read(at + 8 * KIB, 4 * KIB)))
                   for disk, at in zip(disks, where)]
        with inject.failing(100, inject.NEAR):
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join(20)
            hang = any(reader.is_alive() for reader in readers)
        for reader in readers:
            reader.join()
        ktap.check(not hang, "they wait for each other")
        ktap.equal(found, [bytes(4 * KIB)] * 2, "content")


@ktap.case
def no_memory_in_one_piece():
    """A disk of as many layers as there may be needs no pages that lie side by side."""
    with images.directory() as scratch:
        base = images.create(scratch / "base", 8 * MIB, MIB, content=[(0, b"b" * 4 * KIB)])
        layers = copies(scratch / "layer", base, uapi.LAYERS_MAX - 1, block_size=MIB)
        with inject.failing_pages(order=4):
            with raw_attached(layers[0], flags=uapi.ATTACH_READ_ONLY, parents=[*layers[1:], base]) as disk:
                ktap.equal(disk.read(0, 4 * KIB), b"b" * 4 * KIB, "content")


WRITERS, SEALS = 8, 30


def write_across_blocks(data, number, stop):
    """Writes, of which each is of several blocks, to a part of the disk; what is there in the end."""
    content = judge.pattern(number, 4 * MIB)
    while not stop.is_set():
        data.write(number * 5 * MIB + MIB // 2, content)
    return content


def seal_often(handles):
    """Together."""
    for _ in range(SEALS):
        Control.seal_of(*handles)


@ktap.case
def no_memory_to_cut_while_sealed():
    """Writes across blocks are held up by the seals of a disk and of the one that its container
    lies on: neither who seals nor anybody else waits for the memory that those have (rule K1)."""
    with images.directory() as scratch, udev.asleep(), contextlib.ExitStack() as stack:
        lower = images.create(scratch / "lower", 128 * MIB, MIB)
        upper = images.create(scratch / "upper", 64 * MIB, MIB)
        below = stack.enter_context(attached(lower, "--track"))
        images.command("dd", f"if={upper}", f"of={below.node}", "bs=1M", "conv=fsync")
        disk = stack.enter_context(attached(below.node, "--track", "--sidecar", scratch / "lrct"))
        # No two neighbours lie side by side: each is found by itself.
        for block in reversed(range(5 * WRITERS)):
            disk.write(block * MIB, bytes(4 * KIB))
        data = stack.enter_context(dio.Direct(disk.node, True))
        stop, contents = threading.Event(), {}
        writers = [threading.Thread(target=lambda n=number: contents.update(
            {n: write_across_blocks(data, n, stop)})) for number in range(WRITERS)]
        handles = [disk.handle, below.handle]
        sealing = [threading.Thread(target=seal_often, args=(order,))
                   for order in (handles, handles[::-1])]
        with inject.failing_below("bio_split"):
            for thread in (*writers, *sealing):
                thread.start()
            for thread in sealing:
                thread.join(60)
            hang = any(thread.is_alive() for thread in sealing)
            stop.set()
        for thread in (*writers, *sealing):
            thread.join()
        ktap.check(not hang, "a seal waits for ever")
        for number, content in contents.items():
            ktap.check(disk.read(number * 5 * MIB + MIB // 2, 4 * MIB) == content, "content")
        ktap.equal(len(disk.handle.references()), 1 + 2 * SEALS, "points")


# Of kmod/disk/swap_out.h.
SWAP_OUTS = 128


@ktap.case
def memory_to_cut_writes_under_way():
    """As many as there are swap-outs under way: none waits for the memory that others were cut
    with, while the container does not answer (rule K1)."""
    size = SWAP_OUTS * 2 * MIB
    with images.directory() as scratch, udev.asleep(), contextlib.ExitStack() as stack:
        path = images.create(scratch / "disk.vhdx", size, MIB)
        with attached(path, "--no-track") as disk:
            # No two neighbours lie side by side: each is found by itself.
            for block in reversed(range(2 * SWAP_OUTS)):
                disk.write(block * MIB, bytes(4 * KIB))
        device = stack.enter_context(images.loop(path))
        sectors = path.stat().st_size // mapper.SECTOR
        below = stack.enter_context(mapper.mapped("hung", f"0 {sectors} linear {device} 0"))
        disk = stack.enter_context(raw_attached(below))
        data = stack.enter_context(dio.Direct(disk.node, True))
        data.write(0, bytes(4 * KIB))
        inflight = pathlib.Path(f"/sys/block/vhdx{disk.index}/inflight")

        def under_way():
            return int(inflight.read_text(encoding="ascii").split()[1])
        writers = [threading.Thread(target=data.write,
                                    args=((2 * number + 1) * MIB - 4 * KIB, bytes(8 * KIB)))
                   for number in range(SWAP_OUTS)]
        with mapper.hanging("hung"):
            with inject.failing_below("bio_split"):
                for thread in writers:
                    thread.start()
                # A piece on each side.
                end = time.monotonic() + 20
                while under_way() < 2 * SWAP_OUTS and time.monotonic() < end:
                    time.sleep(0.1)
                found = under_way()
        for thread in writers:
            thread.join()
        ktap.equal(found, 2 * SWAP_OUTS, "pieces under way")


inject.require()
ktap.add("allocations_on_a_block_device", sessions, faulty.on_device, allocations, False)
ktap.add("allocations_in_a_file", sessions, faulty.in_file, allocations, True)
# Not below a file system: it is not the driver's fault what becomes of that.
ktap.add("requests_on_a_block_device", sessions, faulty.on_device, requests, True)
with udev.asleep():
    ktap.main()
