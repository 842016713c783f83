# SPDX-License-Identifier: GPL-2.0-only
"""SCSI disks in memory, which can be taken away.

    with scsi.disk("atomic_wr=1") as device:        "/dev/sda"
        scsi.remove(device)                         as if it was pulled out
"""

import contextlib
import os
import pathlib

import ktap

from . import images, udev


@contextlib.contextmanager
def disk(*options, size=64 * images.MIB):
    """Its node. In the end its driver is unloaded: nobody may have the disk any more, whether it
    was taken away or not."""
    before = set(os.listdir("/sys/block"))
    said = images.command("sh", "-c", f"modprobe sd_mod; modprobe scsi_debug "
                          f"dev_size_mb={size // images.MIB} {' '.join(options)} 2>&1 || "
                          "echo missing")
    if "missing" in said:
        ktap.skip("there is no scsi_debug that can do this")
    try:
        new = ktap.eventually(lambda: [one for one in set(os.listdir("/sys/block")) - before
                                       if one.startswith("sd")], "a SCSI disk comes")
        yield f"/dev/{new[0]}"
    finally:
        udev.settle()
        images.command("rmmod", "scsi_debug")


def remove(device):
    """Now. Whoever has it open is told errors from now on."""
    delete = pathlib.Path("/sys/block", os.path.basename(device), "device/delete")
    delete.write_text("1", encoding="ascii")
