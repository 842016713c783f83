# SPDX-License-Identifier: GPL-2.0-only
"""File systems of a test's own.

    with filesystem.mounted("ext4", 96 * MIB) as where:        a directory
"""

import contextlib
import os

from . import images
from .images import MIB, command

MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-m", "0"),
    "xfs": ("mkfs.xfs", "-q", "-K"),
}


@contextlib.contextmanager
def mounted(kind, size=512 * MIB, sector_size=512):
    """One of a size, and what MAKE has on a device with these sectors.

    In memory are tmpfs, and ramfs: it has no size, and neither direct I/O nor fallocate(), so
    nothing can be reserved and no hole made.
    """
    with images.directory() as scratch, contextlib.ExitStack() as stack:
        where = scratch / "mounted"
        where.mkdir()
        if kind not in MAKE:
            command("mount", "-t", kind, "-o", f"size={size}", "none", where)
        else:
            (scratch / "backing").touch()
            os.truncate(scratch / "backing", size)
            device = stack.enter_context(images.loop(scratch / "backing", sector_size))
            command("modprobe", kind)
            command(*MAKE[kind], device)
            command("mount", "-t", kind, device, where)
        try:
            yield where
        finally:
            command("umount", where)
