# SPDX-License-Identifier: GPL-2.0-only
"""Containers to test with, and what they lie on."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

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
def loop(path, sector_size=512, direct=True):
    """A loop device over a file; its path."""
    command("modprobe", "loop")
    device = command("losetup", "--find", "--show", f"--sector-size={sector_size}",
                     f"--direct-io={'on' if direct else 'off'}", path).strip()
    try:
        yield device
    finally:
        command("losetup", "--detach", device)


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
    end = time.monotonic() + patience
    while not locks_of(path):
        if time.monotonic() > end:
            raise AssertionError(f"nobody locks {path}")
        time.sleep(0.05)


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
