# SPDX-License-Identifier: GPL-2.0-only
"""A disk that is tracked, on a device that loses its power.

    with power.machine(64 * MIB) as machine:
        with machine.attached("--track") as disk:
            ...                         I/O
            machine.lose_power()        at this instant; what happens since is undone
        with machine.attached() as disk:
            ...                         what was found then

Container and sidecar are parts of one device, so that there is one instant for both: all that
had reached the device by then is there, and nothing else. What its cache had is not lost; that
is for dm-log-writes.
"""

import contextlib
import os

from . import images, mapper
from .disk import attached
from .images import MIB, command

SIDECAR = 4 * MIB


class Machine:
    """See the module's text."""

    def __init__(self, directory, size, **shape):
        self.backing = directory / "disk.vhdx"
        self.found = directory / "found"
        images.create(self.backing, size, **shape)
        self.sidecar_at = size + 64 * MIB
        os.truncate(self.backing, self.sidecar_at + SIDECAR)

    @contextlib.contextmanager
    def attached(self, *options):
        """The disk, until it is detached; if power was lost meanwhile all is as it was then."""
        sectors = self.sidecar_at // mapper.SECTOR
        more = SIDECAR // mapper.SECTOR
        with images.loop(self.backing, direct=False) as below, \
                mapper.mapped("power", f"0 {sectors + more} linear {below} 0") as whole, \
                mapper.mapped("container", f"0 {sectors} linear {whole} 0") as container, \
                mapper.mapped("sidecar", f"0 {more} linear {whole} {sectors}") as lrct, \
                attached(container, "--sidecar", lrct, *options) as disk:
            yield disk
        if self.found.exists():
            self.found.replace(self.backing)

    def lose_power(self):
        """What is on the device now is what the next attach finds."""
        with mapper.hanging("power"):
            command("cp", "--sparse=always", self.backing, self.found)

    def sidecar(self):
        """The bytes of the sidecar, while nothing is attached."""
        with open(self.backing, "rb") as backing:
            backing.seek(self.sidecar_at)
            return backing.read()


@contextlib.contextmanager
def machine(size, **shape):
    """A Machine with a new container of this size, not attached."""
    with images.directory() as directory:
        yield Machine(directory, size, **shape)
