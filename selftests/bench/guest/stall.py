# SPDX-License-Identifier: GPL-2.0-only
"""How long writes wait for a seal of their disk: they do not.

A seal waits for several flushes. A write that waited for one would take many times as long as any.
"""

import statistics
import time

import load
from measure import duration, never_idle, row

ROUNDS = 10
GOAL = ("<=", 1.2)


def rows():
    """The slowest write of a seal beside the slowest of a time as long without one."""
    quiet, sealing = [], []
    with never_idle(), load.disks(1, pause=500) as ((disk, writer),):
        for _ in range(ROUNDS):
            writer.slowest()
            start = time.monotonic()
            disk.handle.seal()
            sealing.append(writer.slowest())
            time.sleep(time.monotonic() - start)
            quiet.append(writer.slowest())
    these, those = statistics.median(sealing), statistics.median(quiet)
    yield row("slowest write: during a seal; without one", duration(these), duration(those),
              these / those, GOAL)
