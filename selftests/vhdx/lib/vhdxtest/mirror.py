# SPDX-License-Identifier: GPL-2.0-only
"""The module that keeps a device like a disk (selftests/modules/vhdx_mirror).

    with mirror.loaded(), mirror.mirrored(disk, target) as one:
        one.round()
        mirror.same(disk, target)
        one.full            a figure of debugfs
"""

import contextlib
import errno
import pathlib

import ktap

from . import dio, modules
from .images import MIB

DEBUGFS = modules.DEBUGFS / "vhdx_mirror"
STOP_IN = "/sys/module/vhdx_mirror/parameters/stop_in"


def tell(*words):
    """A command for the module; raises OSError as it fails."""
    modules.tell(DEBUGFS, *words)


def loaded():
    """The module is there, and has let go of everything when it goes."""
    return modules.loaded("vhdx_mirror")


class Mirror:
    """A disk that is mirrored."""

    def __init__(self, disk, target, interval=3600000, lag=0):
        self.target = target
        self.figures = DEBUGFS / pathlib.Path(target).name
        tell("start", disk.node, target, interval, lag)

    def round(self):
        """One that begins now; when it is done."""
        tell("round", self.target)

    def fails(self, number=errno.EIO):
        """One that ends with this error."""
        ktap.expect_errno(number, self.round)
        ktap.equal(self.error, -number, "error")

    def stop(self):
        """It ends where it is."""
        tell("stop", self.target)

    def __getattr__(self, name):
        """A figure of debugfs."""
        lines = self.figures.read_text(encoding="ascii").splitlines()
        value = dict(line.split(" ", 1) for line in lines)[name]
        return int(value) if value.lstrip("-").isdigit() else value


@contextlib.contextmanager
def mirrored(disk, target, **options):
    """Until the end."""
    mirror = Mirror(disk, target, **options)
    try:
        yield mirror
    finally:
        mirror.stop()


def same(disk, target):
    """The target has what the disk has."""
    with dio.Direct(target) as copy:
        for offset in range(0, disk.size, MIB):
            length = min(MIB, disk.size - offset)
            ktap.check(disk.read(offset, length) == copy.read(offset, length),
                       f"they differ in [{offset}, {offset + length})")


def points(disk):
    """How many of its points are of rounds."""
    return [one.text for one in disk.handle.points()].count("vhdx_mirror")
