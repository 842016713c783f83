# SPDX-License-Identifier: GPL-2.0-only
"""How long writes are parked while several disks are sealed at one instant.

That is for one expedited grace period, which is compared with those that this makes by itself.
"""

import contextlib
import ctypes
import os
import statistics

import load
import probes
from measure import duration, row
from vhdxtest.device import Control
from vhdxtest.knob import turned

DISKS = 3
ROUNDS = 30
GOAL = ("<=", 2)
_MEMBARRIER, _GLOBAL = 324, 1


def grace_period():
    """An expedited one, waited for by this task."""
    libc = ctypes.CDLL(None, use_errno=True)
    with turned("/sys/kernel/rcu_expedited", "1"):
        if libc.syscall(_MEMBARRIER, _GLOBAL, 0, 0):
            raise OSError(ctypes.get_errno(), "membarrier: " + os.strerror(ctypes.get_errno()))


def span(events, first, last):
    """Seconds from the first of these events to the last of those."""
    begins, ends = ([at for name, at in events if name == wanted] for wanted in (first, last))
    if not begins or not ends:
        raise AssertionError(f"no {first}, or no {last}, in {events}")
    return max(ends) - min(begins)


@contextlib.contextmanager
def probed():
    """What closes and opens a gate, and what begins and ends a grace period."""
    with probes.of(close="p vhdx:vhdx_gate_close", open="r vhdx:vhdx_gate_open",
                   begin="p synchronize_rcu_expedited",
                   end="r synchronize_rcu_expedited") as happened:
        yield happened


def rows():
    """The time from the first gate that closes to the last one that opens. While they are closed
    nothing is written, so that a grace period is shorter than under load: beside its own, too."""
    found = []
    with load.disks(DISKS, pause=2000) as pairs, probed() as happened:
        for _ in range(ROUNDS):
            happened()
            Control.seal_of(*(disk.handle for disk, _ in pairs))
            # It has a thread of its own.
            seal = happened("close")
            grace_period()
            found.append((span(seal, "close", "open"), span(seal, "begin", "end"),
                          span(happened(), "begin", "end")))
    parked, within, bare = (statistics.median(times) * 1e9 for times in zip(*found))
    what = f"writes parked: {DISKS} disks sealed; "
    yield row(what + "a grace period", duration(parked), duration(bare), parked / bare, GOAL)
    yield row(what + "its own", duration(parked), duration(within),
              statistics.median(window / own for window, own, _ in found), GOAL)
