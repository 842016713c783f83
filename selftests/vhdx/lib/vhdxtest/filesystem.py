# SPDX-License-Identifier: GPL-2.0-only
"""File systems of a test's own.

    with filesystem.mounted("ext4", 96 * MIB) as where:        a directory
    with filesystem.made("ntfs3", device) as where:            on a device that is there
    with filesystem.mounted_at(device, where):                 in a directory that is told
    with filesystem.overlay(lower, upper):                     one over a directory
    filesystem.fill_up(where / "hog")                          until it is full
    with filesystem.swap(device):                              none at all
"""

import contextlib
import subprocess

import ktap

from . import images
from .images import MIB, command

MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-m", "0"),
    "xfs": ("mkfs.xfs", "-q", "-f", "-K"),
    "btrfs": ("mkfs.btrfs", "-q", "-f", "-K"),
    "ntfs3": ("mkfs.ntfs", "-q", "-Q", "-F"),
    "ntfs-3g": ("mkfs.ntfs", "-q", "-Q", "-F"),
}

# Of what is not a module of that name.
MODULE = {"ntfs-3g": "fuse"}


def fill_up(path):
    """Appends to a file until the file system is full."""
    with open(path, "ab", buffering=0) as hog, contextlib.suppress(OSError):
        while True:
            hog.write(b"h" * 4096)


@contextlib.contextmanager
def mount(device, where, *options):
    """What is on a device, in a directory that is there."""
    command("mount", *options, device, where)
    try:
        yield where
    finally:
        command("umount", where)


@contextlib.contextmanager
def made(kind, device):
    """One of those in MAKE on a device; the case is skipped where the kernel hasn't got it."""
    if subprocess.run(["modprobe", MODULE.get(kind, kind)], capture_output=True,
                      check=False).returncode:
        ktap.skip(f"the kernel has no {kind}")
    command(*MAKE[kind], device)
    with images.directory() as where, mount(device, where, "-t", kind):
        yield where


@contextlib.contextmanager
def mounted_at(device, where):
    """An ext4 on a device, whatever was there before."""
    command("mkfs.ext4", "-q", "-F", device)
    where.mkdir(exist_ok=True)
    with mount(device, where):
        yield where


@contextlib.contextmanager
def overlay(lower, upper):
    """Where an overlay of what is in lower is mounted; what is written goes to upper, which is
    made."""
    if "missing" in command("sh", "-c", "modprobe -q overlay || grep -w overlay "
                            "/proc/filesystems || echo missing"):
        ktap.skip("this kernel has no overlay")
    work = upper.with_name("work")
    for directory in (upper, work):
        directory.mkdir()
    with images.directory() as merged:
        command("mount", "-t", "overlay", "-o",
                f"lowerdir={lower},upperdir={upper},workdir={work}", "none", merged)
        try:
            yield merged
        finally:
            command("umount", merged)


@contextlib.contextmanager
def swap(device):
    """Swap space on a device."""
    command("mkswap", device)
    command("swapon", device)
    try:
        yield
    finally:
        command("swapoff", device)


@contextlib.contextmanager
def mounted(kind, size=512 * MIB, sector_size=512):
    """One of a size, and what MAKE has on a device with these sectors.

    In memory are tmpfs, and ramfs: it has no size, and neither direct I/O nor fallocate(), so
    nothing can be reserved and no hole made.
    """
    with images.directory() as scratch:
        if kind in MAKE:
            with images.loop(scratch / "backing", sector_size, size=size) as device, \
                    made(kind, device) as where:
                yield where
            return
        where = scratch / "mounted"
        where.mkdir()
        command("mount", "-t", kind, "-o", f"size={size}", "none", where)
        try:
            yield where
        finally:
            command("umount", where)
