# SPDX-License-Identifier: GPL-2.0-only
"""What the guest is told to do, and the machine in which it does it."""

import os
import pathlib
import subprocess
import sys

SELFTESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SELFTESTS / "vhdx/lib"))
# pylint: disable=wrong-import-position
from vhdxtest import images, ktap  # noqa: E402
from vhdxtest.aftermath import AROUND  # noqa: E402
from vhdxtest.images import MIB  # noqa: E402

# Leaves of 128 MiB each, and regions of 4 MiB.
DISK = 480 * MIB
CONTAINER = 64 * MIB
SIDECAR = 4 * MIB
# Blocks that are written.
BLOCKS = 20
# Of an event on a disk.
ROOM = 16384
# What the container's device held before.
STALE = 0xA5


def windows(chance):
    """(start, end) of what is written: blocks here and there, some side by side."""
    blocks = set()
    while len(blocks) < BLOCKS:
        one = chance.randrange(DISK // MIB - 3)
        blocks |= set(range(one, one + chance.choice((1, 1, 2, 3))))
    return [(block * MIB, (block + 1) * MIB) for block in sorted(blocks)]


def plan(chance, sessions, writes, pause):
    """What the guest does: see guest/sessions.py.

    sessions    how many, from attach to detach
    writes      of each writer in each of them
    pause       in seconds, at most, between two points
    """
    return {"seed": chance.random(), "windows": windows(chance), "sizes": [CONTAINER, SIDECAR],
            "sessions": sessions, "writes": writes, "pause": pause, "number": 0, "new": True,
            "room": ROOM, "around": chance.choice((1, AROUND))}


def after_a_crash(before, chance, chronicle, **other):
    """The same for the sessions that follow a crash."""
    return before | {"seed": chance.random(), "number": max(chronicle.writes, default=0),
                     "new": not chronicle.points} | other


def new_disk(container, sidecar):
    """Both files, not tracked yet."""
    images.create(container, DISK, MIB)
    made = os.path.getsize(container)
    os.truncate(container, CONTAINER)
    with open(container, "r+b") as file:
        file.seek(made)
        for _ in range(made, CONTAINER, MIB):
            file.write(bytes([STALE]) * MIB)
    sidecar.touch()
    os.truncate(sidecar, SIDECAR)


def machine(kernel, directory, command, *disks, options=()):
    """Runs a command of selftests/crash/guest; its standard output. directory is /in; /out is
    directory/out afterwards."""
    arguments = [SELFTESTS / "vm/run", "--kernel", kernel, "--in", directory, *options]
    for disk in disks:
        arguments += ["--disk", disk]
    done = subprocess.run([str(word) for word in (*arguments, "--", *command)],
                          stdout=subprocess.PIPE, text=True, check=False)
    ktap.equal(done.returncode, 0, f"exit status of {command} in the machine")
    return done.stdout
