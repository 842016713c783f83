# SPDX-License-Identifier: GPL-2.0-only
"""Device-mapper devices.

    with mapper.mapped("two", table) as path:
        mapper.load("two", other)       another table, from the next request on
"""

import contextlib
import pathlib
import subprocess
import time

from . import dm, images, udev

SECTOR = 512


def load(name, table):
    """Gives a device another table; waits for the requests that are on their way."""
    dm.load(name, table)
    dm.suspend(name, dm.SKIP_LOCKFS)
    dm.resume(name)


@contextlib.contextmanager
def hanging(name, flags=dm.NOFLUSH):
    """Requests to a device wait meanwhile."""
    dm.suspend(name, dm.SKIP_LOCKFS | flags)
    try:
        yield
    finally:
        dm.resume(name)


def is_open(name):
    """Does anybody have a device open?"""
    return dm.open_count(name) > 0


def wait_until_stuck(waiting):
    """Until this thread, or process, has waited for half a second where no signal handler runs:
    in the kernel, for I/O."""
    process = isinstance(waiting, subprocess.Popen)
    stat = pathlib.Path(f"/proc/{waiting.pid}/stat" if process else
                        f"/proc/self/task/{waiting.native_id}/stat")
    seen, end = 0, time.monotonic() + 30
    while seen < 10:
        ended = waiting.poll() is not None if process else not waiting.is_alive()
        if ended or time.monotonic() > end:
            raise AssertionError("it does not wait for I/O")
        state = stat.read_text(encoding="ascii").rpartition(")")[2].split()[0]
        seen = seen + 1 if state == "D" else 0
        time.sleep(0.05)


@contextlib.contextmanager
def mapped(name, table):
    """The node of a new device, which is removed when udev is done with it."""
    path = dm.create(name, table)
    try:
        yield path
    finally:
        udev.settle()
        dm.remove(name)


class Device:
    """A device over another one; its kinds differ in their tables."""

    def __init__(self, name, below, size):
        self.name, self.below, self.size = name, below, size
        self.path = None

    def table(self):
        """How it is made."""
        raise NotImplementedError

    def load(self, table):
        """Another table, from the next request on."""
        load(self.name, table)


@contextlib.contextmanager
def over(kind, below, size, name):
    """A Device of this kind over another one; in the end it has the table that it was made with."""
    made = kind(name, below, size)
    with mapped(name, made.table()) as made.path:
        try:
            yield made
        finally:
            made.load(made.table())


@contextlib.contextmanager
def over_file(kind, backing, size, name):
    """A Device of this kind over a sparse file that is made here."""
    with images.loop(backing, size=size) as below, over(kind, below, size, name) as made:
        yield made
