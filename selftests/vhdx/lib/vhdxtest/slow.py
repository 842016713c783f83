# SPDX-License-Identifier: GPL-2.0-only
"""A device that takes its time: dm-delay over a loop device.

    with slow.device(directory / "backing", 16 * MIB) as below:
        below.delay(read=20)            milliseconds, from the next request on
        below.delay()                   as fast as any
"""

import contextlib
import os

from . import images, mapper

SECTOR = 512


class Device:
    """See the module's text."""

    def __init__(self, name, below, size):
        self.name, self.below, self.size = name, below, size
        self.path = None

    def table(self, read=0, write=0):
        """How it is made."""
        return f"0 {self.size // SECTOR} delay {self.below} 0 {read} {self.below} 0 {write}\n"

    def delay(self, read=0, write=0):
        """Each request takes so many milliseconds more."""
        mapper.load(self.name, self.table(read, write))


@contextlib.contextmanager
def device(backing, size, name="slow"):
    """A Device over a sparse file that is made here."""
    images.command("modprobe", "dm-delay")
    backing.touch()
    os.truncate(backing, size)
    with images.loop(backing) as below:
        made = Device(name, below, size)
        with mapper.mapped(name, made.table()) as made.path:
            try:
                yield made
            finally:
                made.delay()
