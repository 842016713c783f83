# SPDX-License-Identifier: GPL-2.0-only
"""Power loss at any sector, by dm-log-writes: what a device held at every moment.

    with recorded(device, log_device, size) as recorder:
        ...                             I/O to recorder.path
        recorder.acknowledge(7)         a number that must not be lost from now on
    recording = Recording(log_device)
    for moment in recording.moments([(image, size)], map(torn, numbers), seed):
        ...                             the file image is what the power loss left

Where the device is cut into several, recorder.paths are the parts, and each has an image.

dm-log-writes puts down a write when a flush that covers it comes, or at once if it is
FUA. So what lies between two flushes is what a volatile cache may have lost any part of:
a moment is everything up to a flush, and of what follows the first writes, any of them, or
an arbitrary choice of sectors. A discard is a write of nobody knows what: here, of GARBAGE.
"""

import collections
import contextlib
import os
import random
import struct

from . import dm, mapper
from .images import MIB, module

_MAGIC = 0x6A736677736872
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD, _MARK = 1, 2, 4, 8
SECTOR = 512
GARBAGE = b"\x5a"

# Where power is lost: in this group of writes, and what of it is there.
Cut = collections.namedtuple("Cut", "group how count")
# What a power loss leaves: acknowledged is all that was acknowledged before it.
Moment = collections.namedtuple("Moment", "number acknowledged cut")
# at is where its data is in the log; of a discard, None.
_Write = collections.namedtuple("_Write", "offset length at")


def first(group, count):
    """The first so many writes of a group."""
    return Cut(group, "first", count)


def some(group):
    """Any of its writes, each of them whole."""
    return Cut(group, "some", 0)


def torn(group):
    """Any of its sectors."""
    return Cut(group, "torn", 0)


class Recorder:
    """The parts of the recorded device; the first of them is path."""

    def __init__(self, name, paths):
        self.name = name
        self.paths = paths
        self.path = paths[0]

    def acknowledge(self, number):
        """Puts a number down, behind all that is durable. It makes nothing durable itself."""
        dm.message(self.name, f"mark {number}")


@contextlib.contextmanager
def recorded(device, log, *sizes):
    """A Recorder on the device, which is cut into parts of these sizes."""
    module("dm_log_writes")
    with contextlib.ExitStack() as stack:
        whole = stack.enter_context(mapper.mapped(
            "recorded", f"0 {sum(sizes) // SECTOR} log-writes {device} {log}"))
        paths = [stack.enter_context(mapper.mapped(
            f"part{number}",
            f"0 {size // SECTOR} linear {whole} {sum(sizes[:number]) // SECTOR}"))
                 for number, size in enumerate(sizes)]
        yield Recorder("recorded", paths)


class _Images:
    """Files, one behind the other, that are together what the device holds."""

    def __init__(self, parts):
        self.parts, end = [], 0
        for path, size in parts:
            self.parts.append((end, end + size, os.open(path, os.O_RDWR | os.O_CLOEXEC)))
            end += size

    def _pieces(self, offset, length):
        for start, end, fd in self.parts:
            low, high = max(start, offset), min(end, offset + length)
            if low < high:
                yield fd, low - start, low - offset, high - low

    def read(self, offset, length):
        """What is there."""
        return b"".join(os.pread(fd, size, at).ljust(size, b"\0")
                        for fd, at, _, size in self._pieces(offset, length))

    def write(self, offset, data):
        """Puts it there."""
        for fd, at, start, size in self._pieces(offset, len(data)):
            os.pwrite(fd, data[start:start + size], at)

    def close(self):
        """Closes the files."""
        for _, _, fd in self.parts:
            os.close(fd)


class Recording:
    """Groups of writes, each up to the flush, or the FUA write, that makes them durable."""

    def __init__(self, log):
        self.groups = [[]]
        self.acknowledged = [()]   # by group: what was acknowledged before its flush
        self.fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        magic, version, count, self.block = _SUPER.unpack(os.pread(self.fd, _SUPER.size, 0))
        if magic != _MAGIC or version != 1:
            raise AssertionError(f"{log} holds no log of dm-log-writes")
        at = self.block
        for _ in range(count):
            at = self._entry(at)

    def _mark(self, at, length):
        """Takes a number; marks made by the kernel's end of the log are words."""
        text = os.pread(self.fd, length, at + _ENTRY.size).rstrip(b"\0")
        if text.isdigit():
            self.acknowledged[-1] += (int(text),)

    def _entry(self, at):
        """Takes the entry at this offset of the log; returns where the next one is."""
        sector, sectors, flags, extra = _ENTRY.unpack(os.pread(self.fd, _ENTRY.size, at))
        if flags & _MARK:
            self._mark(at, extra)
            return at + self.block
        at += self.block
        length = sectors * self.block
        if flags & _DISCARD:
            self.groups[-1].append(_Write(sector * self.block, length, None))
            return at
        if flags & _FLUSH:
            self._end_group()
        if length:
            self.groups[-1].append(_Write(sector * self.block, length, at))
        if flags & _FUA:
            self._end_group()
        return at + length

    def _end_group(self):
        self.groups.append([])
        self.acknowledged.append(())

    def discards(self):
        """How many there are."""
        return sum(write.at is None for group in self.groups for write in group)

    def close(self):
        """Closes the log."""
        os.close(self.fd)

    def boundaries(self):
        """A Cut behind every write."""
        return [first(number, count) for number, group in enumerate(self.groups)
                for count in range(len(group) + 1)]

    def _data(self, write, at, length):
        """A part of what it wrote."""
        if write.at is None:
            return GARBAGE * length
        return os.pread(self.fd, length, write.at + at)

    def _apply(self, images, write, ranges=None):
        """Writes it to the images: all of it, or only these (start, end) of it."""
        for start, end in [(0, write.length)] if ranges is None else ranges:
            for at in range(start, end, MIB):
                images.write(write.offset + at, self._data(write, at, min(MIB, end - at)))

    @staticmethod
    def _part(write, chance):
        """Some of its sectors, as (start, end)."""
        count = write.length // SECTOR
        how = chance.randrange(4)
        if how == 0 or not count:
            return []
        if how == 1:
            return [(0, write.length)]
        if how == 2:
            return [(0, chance.randrange(count) * SECTOR)]
        chosen = chance.sample(range(count), min(count, chance.randrange(1, 9)))
        return [(one * SECTOR, (one + 1) * SECTOR) for one in sorted(chosen)]

    def _chosen(self, cut, chance):
        """(write, its ranges) of what is there of the group."""
        for number, write in enumerate(self.groups[cut.group]):
            if cut.how == "torn":
                yield write, self._part(write, chance)
            elif number < cut.count if cut.how == "first" else chance.randrange(2):
                yield write, [(0, write.length)]

    @contextlib.contextmanager
    def _partly(self, images, cut, chance):
        """What the cut leaves of its group is in the images, for the time being."""
        undo = []
        for write, ranges in self._chosen(cut, chance):
            undo += [(write.offset + start, images.read(write.offset + start, end - start))
                     for start, end in ranges]
            self._apply(images, write, ranges)
        try:
            yield
        finally:
            for offset, data in reversed(undo):
                images.write(offset, data)

    def moments(self, parts, cuts, seed):
        """A Moment for each of these cuts; the images, [(path, size)], which are as the device
        was when the recording began, are as a power loss then would leave them. seed says
        which writes and sectors are there."""
        images = _Images(parts)
        of_group = collections.defaultdict(list)
        for cut in cuts:
            of_group[cut.group].append(cut)
        acknowledged = []
        try:
            for number, group in enumerate(self.groups):
                # All earlier groups are durable. What was acknowledged since needed no more
                # than these; the writes of this group are still on their way.
                acknowledged += self.acknowledged[number]
                for cut in of_group[number]:
                    with self._partly(images, cut, random.Random(f"{seed} {cut}")):
                        yield Moment(number, tuple(acknowledged), cut)
                for write in group:
                    self._apply(images, write)
        finally:
            images.close()
