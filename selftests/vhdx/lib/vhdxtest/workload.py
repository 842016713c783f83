# SPDX-License-Identifier: GPL-2.0-only
"""Random writes with a journal, and what answers must say about them.

    load = Workload(disk.node, disk.size, sector_size)
    history = History(disk.size, unit)
    history.sealed(None, disk.handle.seal)
    with load.running(threads=3):
        history.sealed("one", disk.handle.seal)         while it is written
    history.writes += load.journal()
    faults = history.faults(disk.handle.changes)

A write is known by the time before its system call and the time after it (after fsync
where it is buffered); so is a seal. One that had ended when a seal began belongs before
the point, one that began when the seal had ended belongs behind it, and one that was
under way belongs to either side or both.
"""

import collections
import contextlib
import ctypes
import itertools
import mmap
import multiprocessing
import os
import random
import shutil
import struct
import tempfile
import threading
import time

from vhdxoracle.ranges import RangeSet

from . import dio

KIB, MIB = 1 << 10, 1 << 20

# (largest length in bytes, how often)
LENGTHS = ((0, 6), (4 * KIB, 6), (64 * KIB, 6), (512 * KIB, 3), (8 * MIB, 1))
POOL = 9 * MIB

FALLOC_FL_ZERO_RANGE = 0x10
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]

Write = collections.namedtuple("Write", "offset length begin end")
_RECORD = struct.Struct("=QQQQ")


def zero_range(fd, offset, length):
    """Writes zeroes to a block device by fallocate()."""
    if _libc.fallocate(fd, FALLOC_FL_ZERO_RANGE, offset, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _Writer:
    """One thread or process that writes until it is told to stop."""

    def __init__(self, load, seed, how, path):
        self.load = load
        self.random = random.Random(seed)
        self.how = how
        self.path = path

    def extent(self):
        """Where to write next: now anywhere, now in a few hot spots, now across an edge."""
        load, rng = self.load, self.random
        sector = load.sector_size
        most = rng.choices([length for length, _ in LENGTHS],
                           [weight for _, weight in LENGTHS])[0]
        length = sector if not most else rng.randint(1, most // sector) * sector
        length = min(length, load.size)
        place = rng.random()
        if place < 0.4:
            start = rng.randrange(load.size // sector) * sector
        elif place < 0.6:
            start = rng.choice(load.hot) + rng.randrange(64) * sector
        elif place < 0.9:
            edge = rng.randrange(load.size // load.edge + 1) * load.edge
            start = edge - rng.randint(0, length // sector) * sector
        else:
            start = load.size - length
        return max(0, min(start, load.size - length)), length

    def write(self, target, offset, length):
        """One write, by now one way and then another."""
        if self.random.random() < 0.03:
            zero_range(target.fd, offset, length)
            return
        at = self.random.randrange((POOL - length) // mmap.PAGESIZE + 1) * mmap.PAGESIZE
        data = memoryview(self.load.pool)[at:at + length]
        done = 0
        while done < length:
            done += os.pwrite(target.fd, data[done:], offset + done)

    def run(self):
        """Writes and keeps the journal."""
        direct = self.how == "direct"
        opened = dio.Direct(self.load.node, write=True) if direct else \
            dio.buffered(self.load.node, write=True)
        with opened as target, open(self.path, "wb") as journal:
            while not self.load.stop.is_set():
                offset, length = self.extent()
                begin = time.monotonic_ns()
                self.write(target, offset, length)
                if not direct:
                    target.flush()
                journal.write(_RECORD.pack(offset, length, begin, time.monotonic_ns()))
                if self.load.pause:
                    time.sleep(self.random.uniform(0, self.load.pause))


class Workload:
    """Writers of one block device."""

    def __init__(self, node, size, sector_size, edge=MIB, seed=0, pause=0):
        self.node = node
        self.size = size
        self.sector_size = sector_size
        self.edge = edge
        self.pause = pause
        self.stop = multiprocessing.Event()
        self.seeds = itertools.count(seed * 1000)
        rng = random.Random(seed)
        self.hot = [rng.randrange(size // sector_size) * sector_size for _ in range(3)]
        self.failures = []
        self.pool = mmap.mmap(-1, POOL)
        self.pool[:] = rng.randbytes(MIB) * (POOL // MIB)
        self._directory = tempfile.mkdtemp(prefix="journal-")
        self._writes = []

    def _guarded(self, writer):
        try:
            writer.run()
        except BaseException as failure:  # pylint: disable=broad-exception-caught
            self.failures.append(failure)

    def _start(self, kind, how):
        seed = next(self.seeds)
        path = os.path.join(self._directory, str(seed))
        writer = _Writer(self, seed, how, path)
        if kind is threading.Thread:
            job = kind(target=self._guarded, args=(writer,))
        else:
            job = kind(target=writer.run)
        job.start()
        return job, path

    def _collect(self, path):
        with open(path, "rb") as journal:
            self._writes += [Write(*record) for record in _RECORD.iter_unpack(journal.read())]

    @contextlib.contextmanager
    def running(self, threads=2, processes=1, how="direct"):
        """Writers at work: all "direct", or all "buffered" with an fsync behind each write.

        Not both at once: Linux reports direct writes that cross dirty pages as errors.
        """
        self.stop.clear()
        fork = multiprocessing.get_context("fork").Process
        # Processes first: a fork of a process with threads is a bad beginning.
        jobs = [self._start(fork, how) for _ in range(processes)]
        jobs += [self._start(threading.Thread, how) for _ in range(threads)]
        try:
            yield self
        finally:
            self.stop.set()
            for job, path in jobs:
                job.join()
                if getattr(job, "exitcode", 0):
                    self.failures.append(RuntimeError(f"a writer died: {job.exitcode}"))
                self._collect(path)
        if self.failures:
            raise self.failures[0]

    def journal(self):
        """What was written since the last time that this was asked."""
        writes, self._writes = self._writes, []
        return writes

    def close(self):
        """Removes the journals."""
        shutil.rmtree(self._directory, ignore_errors=True)


Point = collections.namedtuple("Point", "name id begin end")
Asked = collections.namedtuple("Asked", "position begin end ranges")


class History:
    """Points, writes and live answers of one disk, to judge answers by."""

    def __init__(self, size, unit):
        self.size = size
        self.unit = unit
        self.points = []
        self.writes = []
        self.asked = []

    def sealed(self, name, seal):
        """Has seal() called, which returns the id; remembers when."""
        begin = time.monotonic_ns()
        point = seal()
        self.points.append(Point(name, point, begin, time.monotonic_ns()))
        return point

    def ask_live(self, position, changes):
        """Asks what changed since a point until now, while it may be written."""
        begin = time.monotonic_ns()
        ranges = changes(self.points[position].id)
        self.asked.append(Asked(position, begin, time.monotonic_ns(), ranges))

    def forget(self, position):
        """The point is gone; its neighbours stay."""
        return self.points.pop(position)

    def _groups(self):
        """{(first, last): [spans]} of the writes; delta i follows points[i], and a write that
        was surely behind point first and before point last + 1 is in one of first .. last."""
        groups = collections.defaultdict(list)
        for write in self.writes:
            first = sum(point.end < write.begin for point in self.points) - 1
            last = sum(point.begin <= write.end for point in self.points) - 1
            groups[first, last].append((write.offset, write.offset + write.length))
        return {deltas: RangeSet(spans) for deltas, spans in groups.items()}

    def _until(self, position, moment):
        """(must, may) of an answer since a point that was given at some moment."""
        point = self.points[position]
        must, may = [], []
        for write in self.writes:
            span = (write.offset, write.offset + write.length)
            if write.end >= point.begin and write.begin <= moment.end:
                may.append(span)
                if write.begin > point.end and write.end < moment.begin:
                    must.append(span)
        return RangeSet(must), RangeSet(may)

    def _judge(self, what, ranges, must, may):
        told = RangeSet.of_lengths(ranges)
        missed = must - told
        if missed:
            yield f"{what}: missing {missed.lengths()[:3]} ({missed.total()} bytes)"
        extra = told - RangeSet((s, min(e, self.size)) for s, e in may.widened(self.unit))
        if extra:
            yield f"{what}: too much {extra.lengths()[:3]} ({extra.total()} bytes)"

    def _judge_span(self, groups, first, end, ranges):
        """An answer about the deltas first .. end - 1."""
        def union(wanted):
            return RangeSet(span for deltas, spans in groups.items() if wanted(*deltas)
                            for span in spans)
        until = self.points[end].name if end < len(self.points) else "now"
        return self._judge(f"{self.points[first].name} to {until}", ranges,
                           union(lambda low, high: low >= first and high < end),
                           union(lambda low, high: high >= first and low < end))

    def _lost(self, groups, deltas):
        """What a write that was under way at a point may have changed, and no delta has."""
        for (low, high), spans in groups.items():
            told = RangeSet(pair for delta in deltas[low:high + 1] for pair in delta)
            lost = spans - told
            if lost:
                yield (f"written during or after {self.points[low].name}, until "
                       f"{self.points[high].name} or later, and in no delta: "
                       f"{lost.lengths()[:3]} ({lost.total()} bytes)")

    def faults(self, changes):
        """What is wrong with the answers between all pairs of points, and until now.

        changes(limit, target) gives [(offset, length)]; without a target, until now.
        """
        groups = self._groups()
        faults = []
        deltas = []
        for first, limit in enumerate(self.points):
            for end in range(first + 1, len(self.points) + 1):
                ranges = changes(limit.id, self.points[end].id) if end < len(self.points) else \
                    changes(limit.id)
                faults += self._judge_span(groups, first, end, ranges)
                if end == first + 1:
                    deltas.append(RangeSet.of_lengths(ranges))
        faults += self._lost(groups, deltas)
        for one in self.asked:
            faults += self._judge(f"{self.points[one.position].name} to a moment in between",
                                  one.ranges, *self._until(one.position, one))
        return faults
