# SPDX-License-Identifier: GPL-2.0-only
"""What dmsetup does, by ioctls of the process that runs: to start a program takes longer than
any of these, and some tests do dozens.

    dm.create("two", table)             its node; table as dmsetup has it
    dm.load("two", other)
    dm.suspend("two", dm.NOFLUSH | dm.SKIP_LOCKFS)
    dm.resume("two")                    with the table that was loaded
    dm.remove("two")

None of them waits for udev, and the only node is the one that the kernel makes.
"""

import ctypes
import errno
import os
import struct
import time

from .device import ioctl
from .images import module

# Flags of struct dm_ioctl.
_SUSPEND, SKIP_LOCKFS, NOFLUSH = 1 << 1, 1 << 10, 1 << 11

# struct dm_ioctl, from data_size on, up to its padding; struct dm_target_spec.
_HEAD = struct.Struct("=3I2I Ii3IQ128s129s7x")
_TARGET = struct.Struct("=QQiI16s")
_CREATE, _REMOVE, _SUSPEND_OR_RESUME, _STATUS, _LOAD, _MESSAGE = 3, 4, 6, 7, 9, 14


def _call(command, name, flags=0, targets=0, content=b""):
    """One ioctl: (how often it is open, its number)."""
    module("dm-mod")
    size = _HEAD.size + len(content)
    request = ctypes.create_string_buffer(
        _HEAD.pack(4, 0, 0, size, _HEAD.size, targets, 0, flags, 0, 0, 0, name.encode(), b"") +
        content, size)
    control = os.open("/dev/mapper/control", os.O_RDWR | os.O_CLOEXEC)
    try:
        number = ioctl(control, 0xC138FD00 | command, request)
    finally:
        os.close(control)
    if number:
        raise OSError(number, f"device-mapper's ioctl {command} of {name}: {os.strerror(number)}")
    answer = _HEAD.unpack_from(request)
    return answer[6], answer[10]


def node(name):
    """The node that the kernel gives a device: names below /dev/mapper are udev's, which may be
    making them at this moment."""
    number = _call(_STATUS, name)[1]
    return f"/dev/dm-{number & 0xff | number >> 12 & 0xfff00}"


def load(name, table):
    """Gives a device another table, which is used when it is resumed."""
    targets = []
    for line in table.strip().splitlines():
        start, length, kind, *words = line.split(maxsplit=3)
        words = " ".join(words).encode() + b"\0"
        words += bytes(-len(words) % 8)
        targets.append(_TARGET.pack(int(start), int(length), 0, _TARGET.size + len(words),
                                    kind.encode()) + words)
    _call(_LOAD, name, 0, len(targets), b"".join(targets))


def suspend(name, flags=0):
    """Requests wait from now on; without NOFLUSH those that are on their way are waited for."""
    _call(_SUSPEND_OR_RESUME, name, _SUSPEND | flags)


def resume(name):
    """They go on."""
    _call(_SUSPEND_OR_RESUME, name)


def remove(name, patience=10):
    """Waits so long while somebody has it open."""
    end = time.monotonic() + patience
    while True:
        try:
            return _call(_REMOVE, name)
        except OSError as failure:
            if failure.errno != errno.EBUSY or time.monotonic() > end:
                raise
        time.sleep(0.05)


def create(name, table):
    """A new device; its node."""
    _call(_CREATE, name)
    try:
        load(name, table)
        resume(name)
    except BaseException:
        remove(name)
        raise
    return node(name)


def open_count(name):
    """How often a device is open."""
    return _call(_STATUS, name)[0]


def message(name, text):
    """Tells the target at sector 0 something."""
    _call(_MESSAGE, name, content=bytes(8) + text.encode() + b"\0")
