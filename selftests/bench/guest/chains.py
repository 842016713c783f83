# SPDX-License-Identifier: GPL-2.0-only
"""Random reads through the layers of a differencing chain, beside the same of one layer.

All that describes the layers is in memory. The data is in the last layer, below others that are
empty, or that have a sector of each block; or it is in the leaf.
"""

import os
from pathlib import Path

from measure import MIB, SIZE, command, fill, images, instructions, places, row
from vhdxtest import knob, mapper
from vhdxtest.chains import copies
from vhdxtest.disk import raw_attached
from vhdxtest.images import KIB
from vhdxtest.mapper import SECTOR
import vhdxoracle

BLOCK = 2 * MIB
DEPTHS = (2, 8, 32, 64)
GOAL = (">=", 0.7)
DATA = b"x" * SIZE


def compare(what, one, layers, goal):
    """A row for each depth; layers(depth): their paths, the leaf first."""
    for depth in DEPTHS:
        leaf, *parents = layers(depth)
        with raw_attached(leaf, parents=parents) as disk:
            found = instructions(disk.node, "read")
        yield row(f"{what}, {depth} layers; one", f"{found} insn", f"{one} insn", one / found, goal)


def costs(kind, place, scratch):
    """Rows of one kind of container, which is at this place."""
    base, full = scratch / "base.vhdx", scratch / "full.vhdx"
    fill({"last": place, "base": base})
    with raw_attached(place) as disk:
        one = instructions(disk.node, "read")
    empty = copies(scratch / "empty", base, max(DEPTHS), block_size=BLOCK)
    yield from compare(f"{kind}, data in the last layer", one,
                       lambda depth: [*empty[:depth - 1], place], GOAL)
    sectors = copies(scratch / "sector", base, max(DEPTHS), block_size=BLOCK,
                     content=[(at, DATA[:4096]) for at in range(0, SIZE, BLOCK)])
    yield from compare(f"{kind}, all others have sectors", one,
                       lambda depth: [*sectors[:depth - 1], place], None)
    vhdxoracle.create(full, parent=base, block_size=BLOCK, content=[(0, DATA)])
    command("dd", f"if={full}", f"of={place}", "bs=1M", "conv=notrunc,fsync")
    yield from compare(f"{kind}, data in the leaf", one,
                       lambda depth: [place, *empty[:depth - 2], base], GOAL)


def reads_of(path, of_all_beside=False):
    """How many reads a device has ended: this one, or the one that this file lies on."""
    found = os.stat(path)
    number = found.st_dev if of_all_beside else found.st_rdev
    stat = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
    return int(stat.read_text().split()[0])


def read_all(disk, length):
    """Pieces of this length from everywhere; how many."""
    offsets = range(0, SIZE, max(length, 64 * KIB))
    for offset in offsets:
        disk.read(offset, length)
    return len(offsets)


def ios(place, scratch):
    """Rows: I/Os of the container that has the data, and of all above it, for each read."""
    with mapper.mapped("last", f"0 {3 * SIZE // SECTOR} linear {place} 0") as last:
        fill({"last": last})
        above = copies(scratch / "above", last, max(DEPTHS) - 1, block_size=BLOCK)
        with raw_attached(above[0], parents=[*above[1:], last]) as disk:
            for length in (4 * KIB, MIB):
                read_all(disk, length)
                before = reads_of(last), reads_of(above[0], True)
                count = read_all(disk, length)
                found = reads_of(last) - before[0] + reads_of(above[0], True) - before[1]
                yield row(f"I/Os, {len(above) + 1} layers; reads of {length // KIB} KiB", found,
                          count, found / count, ("<=", 1))


_TRACING = Path("/sys/kernel/tracing")


def stack_of(layers):
    """Bytes of the stack that are in use at the most, in all of the kernel, while it reads."""
    with raw_attached(layers[0], parents=layers[1:]) as disk:
        images.forget_pages()
        (_TRACING / "stack_max_size").write_text("0")
        with knob.turned("/proc/sys/kernel/stack_tracer_enabled", "1"):
            read_all(disk, 4 * KIB)
        return int((_TRACING / "stack_max_size").read_text())


def stacks(place, scratch):
    """Rows: a read through many layers takes no more than one through two."""
    layers = copies(scratch / "layer", place, max(DEPTHS) - 1, block_size=BLOCK)
    least, most = (stack_of([*layers[:depth - 1], place]) for depth in (min(DEPTHS), max(DEPTHS)))
    yield row(f"stack of reads, {max(DEPTHS)} layers; {min(DEPTHS)}", f"{most} B", f"{least} B",
              most / least, ("<=", 1))


def rows():
    """Whether each met its goal."""
    with places() as paths:
        for kind, place in paths.items():
            with images.directory() as scratch:
                yield from costs(kind, place, scratch)
        for part in (ios, stacks):
            with images.directory() as scratch:
                yield from part(paths["block"], scratch)
