# SPDX-License-Identifier: GPL-2.0-only
"""Containers to test with, and what they lie on."""

import contextlib
import errno
import fcntl
import functools
import os
import shutil
import struct
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import ktap
import vhdxoracle

from . import dio

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


def command(*arguments, check=True, stdin=None):
    """Runs a program; its stdout as text. Fails as it does, with what it says."""
    done = subprocess.run([str(one) for one in arguments], input=stdin, capture_output=True,
                          text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, arguments))}: status {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout


@functools.cache
def module(name):
    """The kernel has it from now on: nobody here takes one away but ours."""
    command("modprobe", name)


@contextlib.contextmanager
def directory():
    """A scratch directory on the guest's ext4."""
    path = Path(tempfile.mkdtemp(prefix="vhdx-", dir=os.environ.get("TMPDIR", "/tmp")))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def create(path, size, block_size=32 * MIB, sector_size=512, fixed=False, **shape):
    """A new container, made by the oracle; returns its path."""
    vhdxoracle.create(path, size, kind="fixed" if fixed else "dynamic", block_size=block_size,
                      logical_sector=sector_size, **shape)
    return path


@contextlib.contextmanager
def container(size=16 * MIB, block_size=MIB, **shape):
    """A new container in a directory of its own; its path."""
    with directory() as scratch:
        yield create(scratch / "disk.vhdx", size, block_size, **shape)


def sparse(path, size):
    """A new file, all of it a hole; its path."""
    path.touch()
    os.truncate(path, size)
    return path


# Of the kernel's include/uapi/linux/loop.h: struct loop_config has the file, the size of sectors,
# and in struct loop_info64 flags.
_LOOP_CONFIG = struct.Struct("=II40xIII I160x16x64x")
_LOOP_CONFIGURE, _LOOP_CLR_FD = 0x4C0A, 0x4C01
_LOOP_CTL_REMOVE, _LOOP_CTL_GET_FREE = 0x4C81, 0x4C82
_LOOP_READ_ONLY, _LOOP_DIRECT_IO = 1, 16


def _new_loop(file, sector_size, flags):
    """A descriptor of a loop device that nobody had, and its path."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE,
                            _LOOP_CONFIG.pack(file, sector_size, 0, 0, 0, flags))
                return device, path
            except OSError as failure:
                os.close(device)
                if failure.errno != errno.EBUSY:
                    raise
    finally:
        os.close(control)


@contextlib.contextmanager
def loop(path, sector_size=512, direct=True, size=None, read_only=False):
    """A loop device over a file, which is made here if it gets a size; its path."""
    if size:
        sparse(path, size)
    module("loop")
    file = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
    try:
        device, node = _new_loop(file, sector_size, _LOOP_DIRECT_IO * direct |
                                 _LOOP_READ_ONLY * read_only)
    finally:
        os.close(file)
    os.close(device)
    try:
        yield node
    finally:
        device = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.ioctl(device, _LOOP_CLR_FD)
        os.close(device)


def remove_loop(path):
    """A loop device that nobody has goes, with all that its queue was told."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        ktap.eventually(lambda: _is_removed(control, int(path.removeprefix("/dev/loop"))),
                        f"{path} goes")
    finally:
        os.close(control)


def _is_removed(control, number):
    """False: udev looks at it."""
    try:
        fcntl.ioctl(control, _LOOP_CTL_REMOVE, number)
    except OSError as failure:
        if failure.errno != errno.EBUSY:
            raise
        return False
    return True


@contextlib.contextmanager
def blank_device(size=64 * MIB, sector_size=512):
    """A loop device over a new file in a directory of its own."""
    with directory() as scratch, loop(scratch / "backing", sector_size, size=size) as device:
        yield device


def forget_pages():
    """The driver's pages of metadata that nobody uses at this moment."""
    Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")


def uuid_of(guid):
    """16 bytes in the order of MS-VHDX as a UUID."""
    return uuid.UUID(bytes_le=bytes(guid))


def end(running, patience=20):
    """Ends a program, again and again: qemu-nbd forgets a signal that comes as it starts."""
    latest = time.monotonic() + patience
    while running.poll() is None and time.monotonic() < latest:
        running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(0.5)
    running.kill()


@contextlib.contextmanager
def process(*arguments):
    """A program that runs meanwhile, and is then ended."""
    with subprocess.Popen([str(one) for one in arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            end(running)


def locks_of(path):
    """Locks as QEMU's on a file, as /proc/locks shows them; udev has others on devices."""
    found = os.stat(path)
    with open("/proc/locks", encoding="ascii") as locks:
        return [line for line in locks if line.split()[1] == "OFDLCK" and
                line.split()[5].endswith(f":{found.st_ino}")]


def wait_until_locked(path, patience=20):
    """Until somebody, QEMU say, has locks on it."""
    ktap.eventually(lambda: locks_of(path), f"{path} is locked", patience)


def raw_copy(node, path, size=None):
    """Copies a block device, read around the page cache, to a sparse file."""
    zeroes = bytes(MIB)
    with dio.Direct(node) as source, open(path, "wb") as target:
        size = source.size() if size is None else size
        for offset in range(0, size, MIB):
            data = source.read(offset, min(MIB, size - offset))
            if data != zeroes[:len(data)]:
                os.pwrite(target.fileno(), data, offset)
        target.truncate(size)
    return path


def differences(before, after, ranges):
    """Where two raw images differ outside these ranges: offsets of chunks of up to 64 KiB."""
    found = []
    with open(before, "rb") as one, open(after, "rb") as other:
        size = os.fstat(one.fileno()).st_size
        position = 0
        for offset, length in [*ranges, (size, 0)]:
            for at in range(position, offset, 64 * KIB):
                chunk = min(64 * KIB, offset - at)
                if os.pread(one.fileno(), chunk, at) != os.pread(other.fileno(), chunk, at):
                    found.append(at)
            position = offset + length
    return found
