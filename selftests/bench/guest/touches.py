# SPDX-License-Identifier: GPL-2.0-only
"""First touches: writes to parts of a disk that nothing was written to since the last backup.

Our disk, and a dm-era that tells the same units apart, on devices of which a flush takes a
millisecond more. Both begin anew each round, with nothing touched.
"""

import contextlib
import errno
import statistics

import flushing
from measure import MIB, command, duration, never_idle, row, skip
from vhdxtest import dio, images, mapper, uapi
from vhdxtest.device import Failure
from vhdxtest.disk import attached, raw_attached
from vhdxtest.images import GIB, KIB
from vhdxtest.mapper import SECTOR

SIZE = 8 * GIB
UNIT = 16 * KIB
REGION = 4 * MIB
DEVICES = {"container": SIZE + 64 * MIB, "sidecar": 64 * MIB, "origin": SIZE, "metadata": 64 * MIB}
# Of a container, all but its blocks.
HEAD = 8 * MIB
ROUNDS = 3
GOAL = (">=", 5)
# What each write finds untouched: (name, distance, how many there are).
SPREADS = (("region", REGION, SIZE // REGION), ("unit", UNIT, 2048))
# {how many writes are under way: of how many}
DEPTHS = {1: 256, 32: 1024}


def touches(node, spread, depth):
    """Nanoseconds of each. One write before is for what the first of all does besides."""
    _, step, places = spread
    with dio.Direct(node, write=True) as disk:
        disk.write(SIZE - UNIT, bytes(4 * KIB))
    return float(command("/in/touches", node, step, places, DEPTHS[depth], depth))


def of_disk(nodes, spread, depth, flags=0):
    """A clean detach leaves no region set."""
    with raw_attached(nodes["container"], nodes["sidecar"], flags) as disk:
        return touches(disk.node, spread, depth)


def of_era(nodes, spread, depth):
    """A new one, so that none of an era before is being digested."""
    command("dd", "if=/dev/zero", f"of={nodes['metadata']}", "bs=4k", "count=1", "oflag=direct")
    with mapper.mapped("era", f"0 {SIZE // SECTOR} era {nodes['metadata']} {nodes['origin']} "
                              f"{UNIT // SECTOR}") as era:
        return touches(era, spread, depth)


def make_disk(nodes):
    """A fixed disk, tracked; its data is what the device has."""
    with images.container(SIZE, block_size=32 * MIB, fixed=True) as model:
        command("dd", f"if={model}", f"of={nodes['container']}", "bs=1M",
                f"count={HEAD // MIB}", "conv=notrunc,fsync")
    with attached(nodes["container"], "--track", "--unit", UNIT, "--sidecar", nodes["sidecar"]):
        pass


def refusal_of_strict(nodes):
    """Why this module does not attach strictly, or None."""
    try:
        with raw_attached(nodes["container"], nodes["sidecar"], uapi.ATTACH_STRICT):
            return None
    except Failure as failure:
        if failure.errno != errno.EOPNOTSUPP:
            raise
        return "this module refuses strict"


def compare(what, ours, those, goal=None):
    """A row of times that are measured by turns; the ratio is theirs by ours."""
    pairs = [(ours(), those()) for _ in range(ROUNDS)]
    mine, other = (statistics.median(times) for times in zip(*pairs))
    return row(what, duration(mine), duration(other),
               statistics.median(other / mine for mine, other in pairs), goal)


@contextlib.contextmanager
def prepared():
    """The devices, with a disk on them."""
    command("modprobe", "dm-era")
    with flushing.devices(1, **DEVICES) as nodes, never_idle():
        make_disk(nodes)
        yield nodes


def rows():
    """Whether each met its goal."""
    with prepared() as nodes:
        for spread in SPREADS:
            for depth in DEPTHS:
                yield compare(f"first touch of a {spread[0]}, depth {depth}; dm-era",
                              lambda: of_disk(nodes, spread, depth),
                              lambda: of_era(nodes, spread, depth), GOAL)
        why = refusal_of_strict(nodes)
        for depth in DEPTHS:
            what = f"first touch of a region, depth {depth}; strict"
            if why:
                skip(what, why)
            else:
                yield compare(what, lambda: of_disk(nodes, SPREADS[0], depth),
                              lambda: of_disk(nodes, SPREADS[0], depth, uapi.ATTACH_STRICT))
