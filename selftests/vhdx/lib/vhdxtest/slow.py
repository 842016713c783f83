# SPDX-License-Identifier: GPL-2.0-only
"""A device that takes its time: dm-delay over a loop device.

    with slow.device(directory / "backing", 16 * MIB) as below:
        below.delay(read=20)            milliseconds, from the next request on
        below.delay()                   as fast as any
"""

from . import images, mapper
from .mapper import SECTOR


class Device(mapper.Device):
    """See the module's text."""

    def table(self, read=0, write=0):
        """How it is made."""
        return f"0 {self.size // SECTOR} delay {self.below} 0 {read} {self.below} 0 {write}\n"

    def delay(self, read=0, write=0):
        """Each request takes so many milliseconds more."""
        self.load(self.table(read, write))


def device(backing, size, name="slow"):
    """A context with a Device over a sparse file that is made here."""
    images.module("dm-delay")
    return mapper.over_file(Device, backing, size, name)
