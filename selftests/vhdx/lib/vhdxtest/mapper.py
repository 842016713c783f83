# SPDX-License-Identifier: GPL-2.0-only
"""Device-mapper devices.

    with mapper.mapped("two", table) as path:
        mapper.load("two", other)       another table, from the next request on
"""

import contextlib

from . import udev
from .images import command


def load(name, table):
    """Gives a device another table; waits for the requests that are on their way."""
    command("dmsetup", "load", name, stdin=table)
    command("dmsetup", "suspend", "--nolockfs", "--noudevsync", name)
    command("dmsetup", "resume", "--noudevsync", name)


@contextlib.contextmanager
def mapped(name, table):
    """The path of a new device, which is removed when udev is done with it."""
    command("modprobe", "dm-mod")
    command("dmsetup", "create", "--noudevsync", name, stdin=table)
    command("dmsetup", "mknodes")
    try:
        yield f"/dev/mapper/{name}"
    finally:
        udev.settle()
        command("dmsetup", "remove", "--noudevsync", "--retry", name)
