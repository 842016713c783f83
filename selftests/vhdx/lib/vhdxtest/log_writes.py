# SPDX-License-Identifier: GPL-2.0-only
"""Power loss at any sector, by dm-log-writes: what a device held at every moment.

    with recorded(device, log_device, size) as recorder:
        ...                             I/O to recorder.path
        recorder.acknowledge(7)         a number that must not be lost from now on
    recording = Recording(log_device, size)
    for moment in recording.moments(image, numbers, random.Random(1)):
        ...                             the file image is what the power loss left

dm-log-writes puts down a write when a flush that covers it comes, or at once if it is
FUA. So what lies between two flushes is what a volatile cache may have lost any part of:
a moment is everything up to a flush, and of what follows an arbitrary choice of sectors.
"""

import collections
import contextlib
import os
import struct
import threading

from . import dio, mapper
from .images import MIB, command

_MAGIC = 0x6A736677736872
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD, _MARK = 1, 2, 4, 8
SECTOR = 512

# What a power loss leaves: acknowledged is all that was acknowledged before it.
Moment = collections.namedtuple("Moment", "number acknowledged")
_Write = collections.namedtuple("_Write", "offset length at")


class Recorder:
    """The part of the recorded device that is the container's, and the sector behind it
    that takes acknowledgements: they are in the recording where they happened."""

    def __init__(self, path, whole, size):
        self.path = path
        self.size = size
        self.lock = threading.Lock()
        self.target = dio.Direct(whole, True, os.O_DIRECT | os.O_DSYNC)

    def acknowledge(self, number):
        """Puts a number down."""
        with self.lock:
            self.target.write(self.size, number.to_bytes(8, "little").ljust(SECTOR, b"\0"))


@contextlib.contextmanager
def recorded(device, log, size):
    """A Recorder on the device, which has room for size bytes and a MiB."""
    command("modprobe", "dm_log_writes")
    with mapper.mapped("recorded", f"0 {(size + MIB) // SECTOR} log-writes {device} {log}") as whole, \
            mapper.mapped("container", f"0 {size // SECTOR} linear {whole} 0") as path:
        recorder = Recorder(path, whole, size)
        try:
            yield recorder
        finally:
            recorder.target.close()


class Recording:
    """Groups of writes, each up to the flush, or the FUA write, that makes them durable."""

    def __init__(self, log, size):
        self.size = size
        self.groups = [[]]
        self.acknowledged = [()]   # by group: what was acknowledged before its flush
        self.fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        magic, version, count, self.block = _SUPER.unpack(os.pread(self.fd, _SUPER.size, 0))
        if magic != _MAGIC or version != 1:
            raise AssertionError(f"{log} holds no log of dm-log-writes")
        at = self.block
        for _ in range(count):
            at = self._entry(at)

    def _entry(self, at):
        """Takes the entry at this offset of the log; returns where the next one is."""
        sector, sectors, flags, _ = _ENTRY.unpack(os.pread(self.fd, _ENTRY.size, at))
        at += self.block
        if flags & (_MARK | _DISCARD):
            return at
        length = sectors * self.block
        if sector * self.block == self.size:
            number = int.from_bytes(os.pread(self.fd, 8, at), "little")
            self.acknowledged[-1] += (number,)
            return at + length
        if length:
            self.groups[-1].append(_Write(sector * self.block, length, at))
        if flags & (_FLUSH | _FUA):
            self.groups.append([])
            self.acknowledged.append(())
        return at + length

    def close(self):
        """Closes the log."""
        os.close(self.fd)

    def _apply(self, fd, write, ranges=None):
        """Writes it to the image: all of it, or only these (start, end) of it."""
        for start, end in [(0, write.length)] if ranges is None else ranges:
            for at in range(start, end, MIB):
                os.pwrite(fd, os.pread(self.fd, min(MIB, end - at), write.at + at), write.offset + at)

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

    @contextlib.contextmanager
    def _partly(self, fd, group, chance):
        """Some sectors of the group's writes are in the image, for the time being."""
        undo = []
        for write in group:
            ranges = self._part(write, chance)
            undo += [(write.offset + start, os.pread(fd, end - start, write.offset + start))
                     for start, end in ranges]
            self._apply(fd, write, ranges)
        try:
            yield
        finally:
            for offset, data in reversed(undo):
                os.pwrite(fd, data, offset)

    def moments(self, image, numbers, chance):
        """A Moment for each of these numbers of groups; the file image, which is as the
        device was when the recording began, is as a power loss then would leave it."""
        fd = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        numbers = set(numbers)
        acknowledged = []
        try:
            for number, group in enumerate(self.groups):
                # All earlier groups are durable. What was acknowledged since needed no more
                # than these; the writes of this group are still on their way.
                acknowledged += self.acknowledged[number]
                if number in numbers:
                    with self._partly(fd, group, chance):
                        yield Moment(number, tuple(acknowledged))
                for write in group:
                    self._apply(fd, write)
        finally:
            os.close(fd)
