#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The guest's part of a case of test_log_writes: an ext4 on a tracked disk, recorded as recorded.py
has it.

    file_system.py write        makes it, seals when it is clean, and writes it
    file_system.py recover      mounts what the power loss left of it, and writes it
"""

import json
import os
import pathlib
import random
import sys

sys.path.insert(0, "/src/selftests/vhdx/lib")
from recorded import below, recorded  # noqa: E402
from vhdxtest import udev  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import KIB, command  # noqa: E402

MOUNT = pathlib.Path("/mnt")
MAKE = ("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-N", "512", "-J", "size=4",
        "-E", "nodiscard")


def write_files(chance, count, name):
    """Files that come, grow, get other names and go; most are made durable, some are not."""
    for number in range(count):
        path = MOUNT / f"{name}{chance.randrange(count // 2)}"
        with open(path, "ab") as file:
            file.write(chance.randbytes(chance.randrange(1, 200 * KIB)))
            if number % 3:
                os.fsync(file.fileno())
        if number % 5 == 0:
            path.rename(MOUNT / f"other{number}")
        elif number % 7 == 0:
            path.unlink()


def write(disk, chance, note):
    """See the module's text."""
    command(*MAKE, disk.node)
    command("mount", disk.node, MOUNT)
    write_files(chance, 10, "old")
    command("sync")
    # What is free goes, and blocks get the space of others.
    command("fstrim", MOUNT)
    note("seal")
    note("point", str(disk.handle.seal()))
    write_files(chance, 15, "new")
    command("fstrim", MOUNT)
    write_files(chance, 15, "newer")
    note("written")
    command("umount", MOUNT)


def recover(disk, chance, note):
    """See the module's text."""
    note("answers", disk.answers())
    command("mount", disk.node, MOUNT)
    write_files(chance, 10, "newest")
    command("fstrim", MOUNT)
    command("umount", MOUNT)
    command("e2fsck", "-f", "-n", disk.node)


def main(job, options):
    """What both have in common."""
    plan = json.loads(pathlib.Path("/in/plan").read_text(encoding="ascii"))
    with recorded(plan) as (container, sidecar, listener):
        events = []

        def note(*event):
            listener(len(events), event)
            events.append(event)

        with attached(container, "--sidecar", sidecar, *below(plan), *options) as disk:
            job(disk, random.Random(plan["seed"]), note)
        note("detached")


with udev.asleep():
    main(*{"write": (write, ("--track", "--unit", "4K")), "recover": (recover, ())}[sys.argv[1]])
