# SPDX-License-Identifier: GPL-2.0-only
"""Tracked disks that are being written, on devices of which a flush takes ten milliseconds.

    with load.disks(2, pause=500) as pairs:
        for disk, writer in pairs:
            writer.slowest()
"""

import contextlib
import subprocess

import flushing
from measure import MIB, command
from vhdxtest import images
from vhdxtest.disk import attached
from vhdxtest.images import KIB

SIZE = 64 * MIB
FLUSH_MS = 10
# How many writes are under way.
DEPTH = 4


class Writer:
    """Writes, and again after a pause, in microseconds."""

    def __init__(self, node, pause):
        self.program = subprocess.Popen(["/in/latency", node, str(DEPTH), str(pause)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def slowest(self):
        """Nanoseconds of the slowest write since it was asked before."""
        self.program.stdin.write("\n")
        self.program.stdin.flush()
        longest, count = map(int, self.program.stdout.readline().split())
        if not count:
            raise AssertionError("nothing was written meanwhile")
        return longest

    def close(self):
        """Ends it."""
        self.program.stdin.close()
        if self.program.wait():
            raise AssertionError("a write failed")


@contextlib.contextmanager
def disks(count, pause):
    """[(disk, Writer)]; what is written was written before."""
    sizes = {}
    for number in range(count):
        sizes |= {f"container{number}": SIZE + 16 * MIB, f"sidecar{number}": 16 * MIB}
    with contextlib.ExitStack() as stack, images.container(SIZE, fixed=True) as model:
        nodes = stack.enter_context(flushing.devices(FLUSH_MS, **sizes))
        found = []
        for number in range(count):
            container = nodes[f"container{number}"]
            command("dd", f"if={model}", f"of={container}", "bs=1M", "conv=notrunc,fsync")
            disk = stack.enter_context(attached(container, "--track", "--sidecar",
                                                nodes[f"sidecar{number}"]))
            disk.write(0, bytes(64 * KIB))
            writer = Writer(disk.node, pause)
            stack.callback(writer.close)
            found.append((disk, writer))
        yield found
