# SPDX-License-Identifier: GPL-2.0-only
"""What the guest's parts of the benchmarks share."""

import contextlib
import sys
from pathlib import Path

SELFTESTS = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SELFTESTS / "vhdx/lib"))
from vhdxtest import images  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import MIB, command  # noqa: E402

SIZE = 64 * MIB
DEVICE, FILE_SYSTEM = "/dev/ram0", "/dev/ram1"
DIRECTIONS = ("read", "write")
TRACKING = ("untracked", "tracked")


@contextlib.contextmanager
def places():
    """Where containers lie, a block device and a file, both in memory: {kind: path}."""
    command("modprobe", "brd", "rd_nr=2", f"rd_size={3 * SIZE >> 10}")
    with images.directory() as scratch:
        command("mke2fs", "-q", "-t", "ext4", FILE_SYSTEM)
        command("mount", "-o", "noatime,lazytime", FILE_SYSTEM, scratch)
        try:
            yield {"block": DEVICE, "file": scratch / "disk.vhdx"}
        finally:
            command("umount", scratch)


def fill(paths):
    """Puts the same fixed disk there, every byte of it written."""
    with images.container(SIZE, fixed=True) as model:
        for path in paths.values():
            command("dd", f"if={model}", f"of={path}", "bs=1M", "conv=notrunc,fsync")


def instructions(path, direction, depth=16, order="random"):
    """Of one 4 KiB read or write, of this many that are sent together."""
    return int(command("/in/instructions", path, direction, depth, order))


def figures(paths):
    """Of the module that is loaded: {(kind, direction, tracking): instructions}."""
    found = {}
    with images.directory() as scratch:
        for kind, path in paths.items():
            for tracking in TRACKING:
                sidecar = ("--track", "--sidecar", scratch / f"{kind}.lrct")
                options = sidecar if tracking == "tracked" else ()
                with attached(path, *options) as disk:
                    for direction in DIRECTIONS:
                        found[kind, direction, tracking] = instructions(disk.node, direction)
    return found


def row(what, these, those, ratio, goal=None):
    """Prints a row of the table of selftests/bench/tracking; whether the goal is met.

    goal    (">=" or "<=", limit), or None
    """
    met = goal is None or (ratio >= goal[1] if goal[0] == ">=" else ratio <= goal[1])
    said = f"{goal[0]} {goal[1]}" if goal else "-"
    print(f"{what:50}{these:>10}{those:>12}{ratio:10.3f}{said:>9}{'' if met else '  missed'}",
          flush=True)
    return met


def skip(what, why):
    """Prints a row for what can't be measured."""
    print(f"{what:50}  skipped: {why}", flush=True)


def duration(nanoseconds):
    """A time in a row."""
    return f"{nanoseconds / 1000:.0f} us"


def never_idle():
    """A context in which the CPU always has something to do. While it has not, the clock of a
    machine that counts instructions is the host's, and what else the host does is measured."""
    return images.process("chrt", "--idle", "0", "sh", "-c", "while :; do :; done")
