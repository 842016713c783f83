# SPDX-License-Identifier: GPL-2.0-only
"""Pieces of a disk that say what was written last, for devices that may fail at any time.

    slots = Slots(24, MIB + 20 * KIB)
    slots.write(disk, 3)            or it raises, and either version may be there
    slots.flush(disk, [3])
    slots.judge(disk.read, slots.flushed)

Each slot is one thread's.
"""

import struct

import ktap

LENGTH = 4096
SECTOR = 512
_STAMP = struct.Struct("<4sII4x")


def _stamped(number, version):
    return _STAMP.pack(b"SLOT", number, version) * (LENGTH // _STAMP.size)


class Slots:
    """Of one disk: count of them, one every stride bytes; of a child, all are in its parent."""

    def __init__(self, count, stride, child=False):
        self.count, self.stride, self.child = count, stride, child
        self.tried = [0] * count
        self.written = [0] * count
        self.flushed = [0] * count

    def offset(self, number):
        """Where one begins."""
        return number * self.stride

    def ranges(self):
        """(offset, length) of all."""
        return [(self.offset(number), LENGTH) for number in range(self.count)]

    def of_parent(self):
        """[(offset, content)] of all, not written yet."""
        return [(self.offset(number), _stamped(number, 0)) for number in range(self.count)]

    def write(self, target, number):
        """The next version."""
        self.tried[number] += 1
        target.write(self.offset(number), _stamped(number, self.tried[number]))
        self.written[number] = self.tried[number]

    def flush(self, target, mine):
        """What was written of these is not lost from now on."""
        now = {number: self.written[number] for number in mine}
        target.flush()
        for number, version in now.items():
            self.flushed[number] = version

    def check(self, read, number, least):
        """Each sector is of this version, or of a later one that was tried."""
        data = read(self.offset(number), LENGTH)
        for at in range(0, LENGTH, SECTOR):
            magic, slot, version = _STAMP.unpack_from(data, at)
            if magic == b"SLOT":
                ktap.equal(slot, number, "slot")
            else:
                ktap.check(not self.child and not any(data[at:at + SECTOR]),
                           f"slot {number} holds {data[at:at + 16]}")
                version = 0
            ktap.check(least <= version <= self.tried[number],
                       f"slot {number} has version {version}, not {least} "
                       f"to {self.tried[number]}")

    def judge(self, read, least):
        """All of them; least is self.written or self.flushed."""
        for number in range(self.count):
            self.check(read, number, least[number])
