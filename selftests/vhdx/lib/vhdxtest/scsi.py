# SPDX-License-Identifier: GPL-2.0-only
"""SCSI disks in memory, by scsi_debug."""

import contextlib
import os

import ktap

from . import images, udev


@contextlib.contextmanager
def disk(*options):
    """The node of one of 64 MiB with these options of the module; the case is skipped where there
    is none."""
    before = set(os.listdir("/sys/block"))
    said = images.command("sh", "-c", f"modprobe sd_mod; modprobe scsi_debug dev_size_mb=64 "
                          f"{' '.join(options)} 2>&1 || echo missing")
    if "missing" in said:
        ktap.skip("there is no scsi_debug that can do this")
    try:
        new = ktap.eventually(lambda: [one for one in set(os.listdir("/sys/block")) - before
                                       if one.startswith("sd")], "a SCSI disk comes")
        yield f"/dev/{new[0]}"
    finally:
        udev.settle()
        images.command("rmmod", "scsi_debug")
