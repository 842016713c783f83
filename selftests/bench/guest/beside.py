# SPDX-License-Identifier: GPL-2.0-only
"""Reads and writes in place, beside what the kernel has for the same without a format: a loop
device with direct I/O on the same file, dm-linear on the same block device."""

from measure import DIRECTIONS, SIZE, fill, images, instructions, places, row
from vhdxtest import mapper
from vhdxtest.disk import raw_attached
from vhdxtest.mapper import SECTOR

# How the I/Os are sent: (order, how many together).
WAYS = (("random", 16), ("random", 1), ("sequential", 16), ("sequential", 1))
# What is beside us, of which kind of container: {kind: (its name, {way: goal})}
BESIDE = {
    "file": ("loop", dict(zip(WAYS, ((">=", 1.3), (">=", 1), (">=", 1), (">=", 1))))),
    "block": ("dm-linear", dict.fromkeys(WAYS, (">=", 0.99))),
}


def opened(kind, path):
    """A context: the device beside us."""
    if kind == "file":
        return images.loop(path)
    return mapper.mapped("beside", f"0 {SIZE // SECTOR} linear {path} 0")


def measured(node):
    """{(way, direction): instructions}"""
    return {(way, direction): instructions(node, direction, way[1], way[0])
            for way in WAYS for direction in DIRECTIONS}


def rows():
    """Whether each met its goal."""
    with places() as paths:
        for kind, path in paths.items():
            name, goals = BESIDE[kind]
            fill(paths)
            with opened(kind, path) as node:
                those = measured(node)
            fill(paths)
            with raw_attached(path) as disk:
                these = measured(disk.node)
            for case, figure in these.items():
                way, direction = case
                yield row(f"{kind} {direction}, {way[0]}, {way[1]} together; {name}",
                          f"{figure} insn", f"{those[case]} insn", those[case] / figure,
                          goals[way])
