#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: own-vm mem=256M disk=2G timeout=2400 on=uml:swap_on_ext4+loop*+table* long=6.12 takes=55
"""Memory that is swapped out to a disk, or written back to a file system on it: its writes have to
end before there is memory again (rule K3).

More memory is used than the machine has. Blocks of the disk are made meanwhile, on whatever its
container lies.
"""

import contextlib
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import dio, filesystem, images, judge, ktap, pressure, udev, watch
from vhdxtest.disk import attached
from vhdxtest.images import MIB, TIB

# What is left of memory, what is used, and what can be.
LEFT, LITTLE, SIZE = 32 * MIB, 56 * MIB, 400 * MIB
USED = 96 * MIB if ktap.LONG else LITTLE


# ---- where containers are -------------------------------------------------------------------

@contextlib.contextmanager
def container(kind, fixed=False):
    """One on such a file system; None: on a device. As good as new afterwards."""
    device = os.environ["VHDX_DISK0"]
    images.command("blkdiscard", "--force", "--zeroout", "--length", 64 * MIB, device)
    with contextlib.ExitStack() as stack:
        path = device
        if kind:
            path = stack.enter_context(filesystem.made(kind, device)) / "disk.vhdx"
        yield images.create(path, SIZE, 2 * MIB, fixed=fixed)
        judge.valid(path)


@contextlib.contextmanager
def sound(path):
    """A disk; afterwards nothing is wrong with it."""
    with attached(path) as disk:
        yield disk
        ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
        ktap.diag(f"{disk.sysfs('io')}, {disk.sysfs('commits')} commits, "
                  f"{disk.sysfs('cached_bytes')} bytes of metadata")


# ---- swapping -------------------------------------------------------------------------------

@ktap.case
def observed():
    """A module is told of each write, of large pages too, which are cut: its memory is no more than
    that of the writes under way."""
    if not os.path.exists("/sys/kernel/mm/transparent_hugepage"):
        ktap.skip("the kernel has no large pages")
    with container("ext4") as path, sound(path) as disk, watch.watched(disk):
        with filesystem.swap(disk.node):
            ktap.diag(f"{pressure.swap_out(pressure.machine() * 5 // 4, large=True):.0f} s")
        ktap.eventually(watch.settled, "the end of all")
        figures, _ = watch.told()
        ktap.diag(figures)
        ktap.check(figures["submitted_bytes"] > 64 * MIB, "nothing was swapped out")


def swap_on(kind, fixed=False):
    """More memory is used than there is."""
    with container(kind, fixed) as path, sound(path) as disk, filesystem.swap(disk.node), \
            pressure.hog(LEFT):
        for _ in pressure.seconds():
            ktap.diag(f"{pressure.swap_out(USED):.0f} s")


# On btrfs it can stand still for good, as with a loop device in the disk's place: its transaction
# waits for memory, and whatever is swapped out for the transaction. On ntfs3 as well, see the end.
for _kind in ("ext4", "xfs"):
    ktap.add(f"swap_on_{_kind}", swap_on, _kind)
ktap.add("swap_on_fixed_on_ext4", swap_on, "ext4", True)
ktap.add("swap_on_a_device", swap_on, None)


# ---- a file system on the disk --------------------------------------------------------------

@contextlib.contextmanager
def file_system(device):
    """One on a disk, sound afterwards."""
    with filesystem.made("ext4", device) as where:
        yield where
    images.command("e2fsck", "-f", "-n", device)


def fill(where):
    """More is written than there is memory for: most of it is in use."""
    with pressure.hog(LEFT):
        for _ in pressure.seconds():
            ktap.diag(f"{pressure.write_back(where, USED):.0f} s")


def written_back(kind):
    """To a disk in such a place."""
    with container(kind) as path, sound(path) as disk, file_system(disk.node) as where:
        fill(where)


for _kind in ("ext4", "xfs", "btrfs"):
    ktap.add(f"written_back_on_{_kind}", written_back, _kind)
ktap.add("written_back_on_a_device", written_back, None)


@ktap.case
def loop_between():
    """To a disk whose container is a loop device, in a file on a disk: what the lower one needs
    memory for, the upper one's writes wait for."""
    with container("ext4") as path, sound(path) as lower, file_system(lower.node) as where:
        inner = images.create(where / "inner.vhdx", SIZE // 2, 2 * MIB)
        # A device does not grow.
        os.truncate(inner, SIZE * 5 // 8)
        with images.loop(inner) as device, sound(device) as upper, \
                file_system(upper.node) as top:
            fill(top)
        # It is the loop device's as long as udev looks at that.
        udev.settle()
        judge.valid(inner)


# ---- the table of blocks --------------------------------------------------------------------

@ktap.case
def table_in_memory():
    """Of 64 TB in blocks of 1 MiB, read all over: a part of memory, whoever else needs it."""
    size, most = 64 * TIB, pressure.machine() // 16
    reads = most // 4096 * 9 // 8
    with filesystem.made("ext4", os.environ["VHDX_DISK0"]) as where:
        path = images.create(where / "disk.vhdx", size, MIB)
        with attached(path, "--track") as disk:
            for at in range(8):
                disk.write(at * size // 8, b"x" * 4096)
            buffer = dio.aligned(4096)
            for at in range(reads):
                os.preadv(disk.data.fd, [buffer], at * size // reads // 4096 * 4096)
            cached = int(disk.sysfs("cached_bytes"))
            ktap.diag(f"{cached} bytes after {reads} reads")
            ktap.check(most // 2 < cached <= most * 11 // 10, f"{cached} of {most} bytes")
            for at in range(8):
                ktap.equal(disk.read(at * size // 8, 4096), b"x" * 4096, "content")
            images.forget_pages()
            ktap.check(int(disk.sysfs("cached_bytes")) < MIB, "it stays in memory")
        judge.valid(path)


@ktap.case
def swap_on_ntfs3():
    """Used buffered: with more memory than this, or again and again, it was seen to stand still
    (Documentation/design.rst), and a machine that stands still tells nothing of the rest."""
    with container("ntfs3") as path, sound(path) as disk, filesystem.swap(disk.node), \
            pressure.hog(LEFT):
        ktap.diag(f"{pressure.swap_out(LITTLE):.0f} s")


ktap.main()
