# SPDX-License-Identifier: GPL-2.0-only
"""Devices and files that fail where, and when, a test wants.

    with faulty.device(backing, size) as device:        a block device over a new file
    with faulty.over("/dev/vdx", size) as device:       one over another
        device.fail((offset, length))       reads and writes there fail
        device.fail_writes()                every write and every flush fails
        device.heal()
    with faulty.on_device(scratch, make) as place:      a container on it, place.path
    with faulty.in_file(scratch, make) as place:        one in a file of an ext4 on it
        place.fail((offset, length))        offsets in the container

Nothing but the given ranges fails: a flush goes through, and so does the file system's own
metadata.
"""

import contextlib
import fcntl
import os
import struct

from vhdxoracle.ranges import RangeSet

from . import images, mapper
from .images import MIB, command, module
from .mapper import SECTOR

# What make() may fill.
SIZE = 64 * MIB

_FIEMAP = 0xC020660B
_FIEMAP_SYNC = 1
_FIEMAP_HEAD = struct.Struct("=QQIIII")
_FIEMAP_EXTENT = struct.Struct("=QQQ16xI12x")
_EXTENTS = 256


class Device(mapper.Device):
    """See the module's text."""

    def table(self, failing=RangeSet()):
        """Lines of a table with these parts missing."""
        def linear(start, end):
            return f"{start // SECTOR} {(end - start) // SECTOR} linear {self.below} {start // SECTOR}"

        lines, at = [], 0
        for start, end in failing.clip(0, self.size):
            if at < start:
                lines.append(linear(at, start))
            lines.append(f"{start // SECTOR} {(end - start) // SECTOR} error")
            at = end
        if at < self.size:
            lines.append(linear(at, self.size))
        return "\n".join(lines)

    def fail(self, *ranges):
        """Reads and writes of these (offset, length) fail, and no others."""
        self.load(self.table(RangeSet.of_lengths(ranges)))

    def fail_all(self):
        """Everything fails."""
        self.fail((0, self.size))

    def fail_writes(self):
        """Writes and flushes fail, reads do not."""
        self.load(f"0 {self.size // SECTOR} flakey {self.below} 0 0 1 1 error_writes")

    @contextlib.contextmanager
    def read_only(self, backing, offset, length):
        """Meanwhile writes of this part fail, and nothing else does, flushes neither: it is
        mapped to a second loop device over the file, which can only be read."""
        with images.loop(backing, read_only=True) as other:
            lines, at = [], 0
            for end, below in ((offset, self.below), (offset + length, other),
                               (self.size, self.below)):
                lines.append(f"{at // SECTOR} {(end - at) // SECTOR} linear {below} {at // SECTOR}")
                at = end
            try:
                self.load("\n".join(lines))
                yield
            finally:
                self.heal()

    def fail_flushes(self):
        """Flushes fail, and writes to the last sector."""
        rest = self.size // SECTOR - 1
        self.load(f"0 {rest} linear {self.below} 0\n"
                  f"{rest} 1 flakey {self.below} {rest} 0 1 1 error_writes")

    def heal(self):
        """Nothing fails any more."""
        self.load(self.table())


def over(below, size=SIZE, name="faulty"):
    """A context with a Device over another one."""
    module("dm-flakey")
    return mapper.over(Device, below, size, name)


def device(backing, size=SIZE, name="faulty"):
    """A context with a Device over a sparse file that is made here."""
    module("dm-flakey")
    return mapper.over_file(Device, backing, size, name)


def _extents(path):
    """(offset in the file, offset on the device, length) of a file."""
    with open(path, "rb") as file:
        request = bytearray(_FIEMAP_HEAD.size + _EXTENTS * _FIEMAP_EXTENT.size)
        _FIEMAP_HEAD.pack_into(request, 0, 0, 2 ** 64 - 1, _FIEMAP_SYNC, 0, _EXTENTS, 0)
        fcntl.ioctl(file, _FIEMAP, request)
    count = _FIEMAP_HEAD.unpack_from(request)[3]
    return [_FIEMAP_EXTENT.unpack_from(request, _FIEMAP_HEAD.size + at * _FIEMAP_EXTENT.size)[:3]
            for at in range(count)]


class Place:
    """A container, and the device that has it: all of it, or these extents of it."""

    def __init__(self, below, path, extents):
        self.device, self.path, self.extents = below, path, extents

    def fail(self, *ranges):
        """Reads and writes of these (offset, length) of the container fail."""
        failing = RangeSet.of_lengths(ranges)
        there = []
        for logical, physical, length in self.extents:
            there += [(physical + start - logical, end - start)
                      for start, end in failing.clip(logical, logical + length)]
        self.device.fail(*there)

    def heal(self):
        """Nothing fails any more."""
        self.device.heal()


@contextlib.contextmanager
def on_device(scratch, make):
    """The Place of a container that make(path) makes on a block device."""
    with device(scratch / "backing") as below:
        make(below.path)
        yield Place(below, below.path, [(0, 0, below.size)])


@contextlib.contextmanager
def in_file(scratch, make):
    """The Place of a container that make(path) makes in a file, without holes."""
    mounted = scratch / "mounted"
    mounted.mkdir()
    with device(scratch / "backing") as below:
        command("mkfs.ext4", "-q", "-F", "-m", "0", below.path)
        command("mount", below.path, mounted)
        try:
            path = mounted / "disk.vhdx"
            make(path)
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            yield Place(below, path, _extents(path))
        finally:
            below.heal()
            command("umount", mounted)
