# SPDX-License-Identifier: GPL-2.0-only
"""A device that takes its time: dm-delay over a loop device.

    with slow.device(directory / "backing", 16 * MIB) as below:
        below.delay(read=20)            milliseconds, from the next request on
        below.delay(read=20, where=(MIB, 2 * MIB))      only there
        below.delay()                   as fast as any
"""

from . import images, mapper
from .mapper import SECTOR


class Device(mapper.Device):
    """See the module's text."""

    def table(self, read=0, write=0, where=None):
        """How it is made."""
        start, end = where or (0, self.size)
        lines = []
        for first, last, delays in ((0, start, (0, 0)), (start, end, (read, write)),
                                    (end, self.size, (0, 0))):
            if first < last:
                below = f"{self.below} {first // SECTOR}"
                lines.append(f"{first // SECTOR} {(last - first) // SECTOR} delay "
                             f"{below} {delays[0]} {below} {delays[1]}\n")
        return "".join(lines)

    def delay(self, read=0, write=0, where=None):
        """Each request takes so many milliseconds more, or each to this part."""
        self.load(self.table(read, write, where))


def device(backing, size, name="slow"):
    """A context with a Device over a sparse file that is made here."""
    images.module("dm-delay")
    return mapper.over_file(Device, backing, size, name)
