#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: disk=1G on=- full=6.1:on_ext4,6.12:on_btrfs takes=20
"""Who may use little memory uses a disk: what is swapped out, and what is written back, waits for
nobody who waits for the group's memory (rule K3)."""

import contextlib
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import filesystem, images, judge, ktap, pressure
from vhdxtest.disk import attached
from vhdxtest.images import MIB

MOST = 16 * MIB
SIZE = 400 * MIB


@contextlib.contextmanager
def sound(path):
    """A disk; afterwards nothing is wrong with it, nor with its container."""
    with attached(images.create(path, SIZE, 2 * MIB)) as disk:
        yield disk
        ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
    judge.valid(path)


def a_group_uses(path):
    """Twice its memory, and a file system."""
    with sound(path) as disk:
        with filesystem.swap(disk.node), pressure.group(MOST) as inside:
            for _ in pressure.seconds():
                ktap.diag(f"{pressure.swap_out(2 * MOST, inside):.1f} s to swap")
        with filesystem.made("ext4", disk.node) as where, pressure.group(MOST) as inside:
            for _ in pressure.seconds():
                ktap.diag(f"{pressure.write_back(where, 3 * MOST, inside):.1f} s to write back")
        images.command("e2fsck", "-f", "-n", disk.node)


def on(kind):
    """On a file system."""
    with filesystem.made(kind, os.environ["VHDX_DISK0"]) as where:
        a_group_uses(where / "disk.vhdx")


for _kind in ("ext4", "xfs", "btrfs"):
    ktap.add(f"on_{_kind}", on, _kind)


@ktap.case
def on_a_device():
    device = os.environ["VHDX_DISK0"]
    images.command("blkdiscard", "--force", "--zeroout", "--length", 64 * MIB, device)
    a_group_uses(device)


ktap.main()
