# SPDX-License-Identifier: GPL-2.0-only
"""Attached disks, detached again whatever happens.

    with attached(path, "--track") as disk:             through vhdxctl
        disk.write(0, b"x" * 4096)
        point = disk.handle.seal()
    with raw_attached(path, sidecar, uapi.ATTACH_READ_ONLY) as disk:    the ioctl alone
"""

import contextlib
import errno
import os
import pathlib
import time

from . import ctl, dio, images, sidecar, uapi
from .device import Control, Failure, Handle
from .images import MIB

# udev probes disks when they appear and when a writer closes them.
PATIENCE = 10


class Disk:
    """An attached disk; handle is an open /dev/vhdxcN, for writing unless it is read-only."""

    def __init__(self, index, container, read_only=False):
        self.index = index
        self.container = str(container)
        self.read_only = read_only
        self.node = f"/dev/vhdx{index}"
        self.char = f"/dev/vhdxc{index}"
        self.handle = Handle(self.char, write=True)
        self._data = None

    @property
    def size(self):
        """In bytes."""
        return self.handle.info().virtual_disk_size

    @property
    def data(self):
        """The block device, open for direct I/O."""
        if self._data is None:
            self._data = dio.Direct(self.node, write=not self.read_only)
        return self._data

    def read(self, offset, length):
        """Reads with direct I/O."""
        return self.data.read(offset, length)

    def write(self, offset, data):
        """Writes with direct I/O."""
        self.data.write(offset, data)

    def sysfs(self, name):
        """An attribute below /sys/block/vhdxN/vhdx."""
        with open(f"/sys/block/vhdx{self.index}/vhdx/{name}", encoding="utf-8") as attribute:
            return attribute.read().rstrip("\n")

    def answers(self):
        """{text of the id: what changed since then, or [errno, reason]}"""
        def answer(point):
            try:
                return self.handle.changes(point)
            except Failure as failure:
                return [failure.errno, failure.reason]

        return {str(point): answer(point) for point in self.handle.ids()}

    def close(self):
        """Closes what is open: the disk can be detached."""
        if self._data:
            self._data.close()
            self._data = None
        self.handle.close()


def attach(path, *options):
    """Attaches through vhdxctl; to be detached by detach()."""
    device = ctl.line("attach", *options, path)
    return Disk(int(device.removeprefix("/dev/vhdx")), path, "--read-only" in options)


def detach(disk):
    """Detaches through vhdxctl."""
    disk.close()
    ctl.run("detach", disk.node)


@contextlib.contextmanager
def attached(path, *options):
    """A disk that vhdxctl attached with these options, and detaches."""
    disk = attach(path, *options)
    try:
        yield disk
    finally:
        detach(disk)


@contextlib.contextmanager
def tracked_container(size=16 * MIB, deltas=None, unit=None, block_size=MIB):
    """The path of a new container with a sidecar, not attached.

    deltas      its points instead of the first one, see sidecar.replace()
    unit        None: as the driver chooses
    """
    with images.container(size, block_size) as path:
        with attached(path, "--track", *(("--unit", unit) if unit else ())):
            pass
        if deltas:
            sidecar.replace(f"{path}.lrct", deltas)
        yield path


def uses_of_the_driver():
    """How many hold on to it: a disk does, who attaches one, and who has a node open."""
    return int(pathlib.Path("/sys/module/vhdx/refcnt").read_text(encoding="ascii"))


def detach_index(control, index, patience=PATIENCE):
    """Detaches by ioctl; waits while somebody has the disk open."""
    end = time.monotonic() + patience
    while True:
        try:
            return control.detach(index)
        except Failure as failure:
            if failure.errno != errno.EBUSY or time.monotonic() > end:
                raise
        time.sleep(0.05)


def detach_ending(control, index, closes):
    """Detaches a disk; fails unless it ends as it must, see raw_attached()."""
    failed = None
    try:
        detach_index(control, index)
    except Failure as failure:
        if closes or (failure.errno, failure.reason) != (errno.EIO, uapi.IO):
            raise
        failed = failure
    if closes is False and not failed:
        raise AssertionError("detach did not say that the container was not closed cleanly")
    if os.path.exists(f"/sys/block/vhdx{index}"):
        raise AssertionError("the disk is still there")


@contextlib.contextmanager
def opened(path, flags=os.O_RDWR):
    """A descriptor."""
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
# pylint: disable-next=too-many-arguments,too-many-positional-arguments
def raw_attached(path, sidecar=None, flags=0, index=uapi.INDEX_ANY, closes=True, parents=(),
                 past=None):
    """A disk that the ioctl attached: without locks, and with no sidecar but the given one.

    parents     paths of the layers below it, its own parent first
    past        {path of a parent: that of its sidecar}
    closes      False: it can't be closed cleanly: detach says so, and the disk is gone all
                the same; None: perhaps
    """
    mode = os.O_RDONLY if flags & uapi.ATTACH_READ_ONLY else os.O_RDWR
    with contextlib.ExitStack() as stack:
        control = stack.enter_context(Control())
        with contextlib.ExitStack() as files:
            layers = [uapi.Layer(files.enter_context(opened(path, mode)),
                                 files.enter_context(opened(sidecar, mode)) if sidecar else -1)]
            sidecars = [(past or {}).get(parent) for parent in parents]
            layers += [uapi.Layer(files.enter_context(opened(parent, os.O_RDONLY)),
                                  files.enter_context(opened(one, os.O_RDONLY)) if one else -1)
                       for parent, one in zip(parents, sidecars)]
            argument = control.attach_layers(layers, flags, index)
        disk = Disk(argument.index, path, bool(flags & uapi.ATTACH_READ_ONLY))
        disk.reason = argument.reason
        disk.message = control.message
        try:
            yield disk
        finally:
            disk.close()
            detach_ending(control, argument.index, closes)


def attach_once(path, sidecar=None, flags=0, parents=()):
    """Attaches by the ioctl, and detaches again: for attaches that are to be refused."""
    with raw_attached(path, sidecar, flags, parents=parents):
        pass
