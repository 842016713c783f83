# SPDX-License-Identifier: GPL-2.0-only
"""Writes in place with observers, who count what they are told, beside those with none; and answers
that a module gets beside those of the ioctl. The cheapest of some rounds."""

import contextlib
from pathlib import Path

from measure import command, fill, images, instructions, never_idle, places, row
from vhdxtest import kernel_calls, uapi
from vhdxtest.disk import attached

IMAGES = Path("/in/observers")
WATCH = Path("/sys/kernel/debug/vhdx_watch/control")
ROUNDS = 5
# A module that held the disk once costs its writes nothing.
IDLE_GOAL, ANSWER_GOAL = (">=", 0.99), (">=", 0.95)


def tell(text):
    """A command for vhdx_watch."""
    with open(WATCH, "wb", buffering=0) as control:
        control.write(text.encode())


@contextlib.contextmanager
def watching(disk):
    """The module is there, and holds the disk."""
    command("modprobe", "vhdx_watch")
    try:
        tell(f"hold {disk.node}")
        yield
    finally:
        command("rmmod", "vhdx_watch")


def of_writes():
    """Rows for each place, and for one and four observers."""
    with places() as paths, images.directory() as scratch:
        fill(paths)
        for kind, path in paths.items():
            with attached(path, "--track", "--sidecar", scratch / f"{kind}.lrct") as disk:
                none = instructions(disk.node, "write")
                with watching(disk):
                    for count in (1, 4):
                        tell(f"observe {count}")
                        some = instructions(disk.node, "write")
                        tell("unobserve")
                        yield row(f"{kind} write, {count} observers; none", f"{some} insn",
                                  f"{none} insn", some / none)
                    idle = instructions(disk.node, "write")
                    yield row(f"{kind} write, held and unobserved; none", f"{idle} insn",
                              f"{none} insn", none / idle, IDLE_GOAL)


def of_answers():
    """Rows for each image, and for live and sealed deltas."""
    for name in ("every", "few"):
        with attached(IMAGES / f"{name}.vhdx") as disk, kernel_calls.held(disk) as kernel:
            first, second = disk.handle.ids()
            for what, limit, target in (("live", second, uapi.NOW), ("sealed", first, second)):
                texts = [kernel_calls.id_text(one) for one in (limit, target)]
                beside, count = map(int, command("/in/changes", "flagged", disk.char, *texts,
                                                 ROUNDS).split())
                for form, capacity in (("each", 0), ("ranges", 1 << 17)):
                    took = []
                    for _ in range(ROUNDS):
                        kernel.ask(form, limit, target, 0, disk.size, capacity=capacity)
                        took.append(kernel.told["took"])
                    if kernel.told["count"] != count:
                        raise AssertionError(f"{kernel.told['count']} ranges, not {count}")
                    yield row(f"{count} ranges, {what}, {form}; ioctl", f"{min(took)}",
                              f"{beside}", beside / min(took), ANSWER_GOAL)


def rows():
    """All of them."""
    with never_idle():
        yield from of_answers()
    yield from of_writes()
