# SPDX-License-Identifier: GPL-2.0-only
"""What the guest is told to do, and the machine in which it does it."""

import os
import pathlib
import subprocess
import sys

SELFTESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SELFTESTS / "vhdx/lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ktap  # noqa: E402
from vhdxtest.aftermath import AROUND  # noqa: E402
from vhdxtest.images import GIB, MIB  # noqa: E402

# What is written: leaves of 128 MiB each, and regions of 4 MiB.
DISK = 480 * MIB
# In the leaf of a chain, half of it lies behind the border of two sector bitmaps: the entry of the
# first one is in a page of the BAT with those of the second one's blocks.
BORDER = 4 * GIB
CONTAINER = 64 * MIB
SIDECAR = 4 * MIB
# Blocks that are written.
BLOCKS = 20
# Of an event on a disk.
ROOM = 16384


def chain(chance):
    """How many parents a disk has: for half of them, none. VHDX_CRASH_PARENTS=N says how many."""
    number = chance.choice((0, 0, 1, 2))
    return int(os.environ.get("VHDX_CRASH_PARENTS") or number)


def windows(chance, apart=0):
    """(start, end) of what is written: blocks here and there, some side by side; half of the disk
    lies apart from the other half."""
    blocks = set()
    while len(blocks) < BLOCKS:
        one = chance.randrange(DISK // MIB - 3)
        blocks |= set(range(one, one + chance.choice((1, 1, 2, 3))))
    return [(start, start + MIB) for start in
            (block * MIB + (apart if block * MIB >= DISK // 2 else 0) for block in sorted(blocks))]


def plan(chance, sessions, writes, pause, parents=0):
    """What the guest does: see guest/sessions.py.

    sessions    how many, from attach to detach
    writes      of each writer in each of them
    pause       in seconds, at most, between two points
    parents     layers below the container
    """
    apart = BORDER - DISK // 2 if parents else 0
    return {"seed": chance.random(), "windows": windows(chance, apart), "size": DISK + apart,
            "sizes": [CONTAINER, SIDECAR], "parents": parents, "sessions": sessions,
            "writes": writes, "pause": pause, "number": 0, "new": True, "room": ROOM,
            "around": chance.choice((1, AROUND))}


def after_a_crash(before, chance, chronicle, **other):
    """The same for the sessions that follow a crash."""
    return before | {"seed": chance.random(), "number": max(chronicle.writes, default=0),
                     "new": not chronicle.points} | other


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
