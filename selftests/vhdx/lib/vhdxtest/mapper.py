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


def node(name):
    """The node that the kernel gives a device: names below /dev/mapper are udev's, who may be
    making them this moment, and whoever makes them beside him fails."""
    return "/dev/" + command("dmsetup", "info", "--columns", "--noheadings", "-o", "blkdevname",
                             name).strip()


@contextlib.contextmanager
def mapped(name, table):
    """The node of a new device, which is removed when udev is done with it."""
    command("modprobe", "dm-mod")
    command("dmsetup", "create", "--noudevsync", name, stdin=table)
    try:
        yield node(name)
    finally:
        udev.settle()
        command("dmsetup", "remove", "--noudevsync", "--retry", name)
