# SPDX-License-Identifier: GPL-2.0-only
"""How much CPU time a program takes, with all that it starts.

Where others use the host too, that says more of a suite than the seconds it took.
"""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# Of what /proc/PID/stat has behind the name: the parent; user and system time of a process, and
# of those of its children that it has waited for.
_PARENT, _TIMES = 1, slice(11, 15)


def _processes():
    """{process: (its parent, ticks)}"""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        found[int(path.parent.name)] = int(fields[_PARENT]), sum(map(int, fields[_TIMES]))
    return found


class Meter:
    """The CPU time of one program."""

    def __init__(self):
        self.process = None
        self._taken = 0

    def seconds(self):
        """Until now, or until it ended."""
        if self.process:
            there = _processes()
            mine = {self.process}
            while more := {one for one, (parent, _) in there.items() if parent in mine} - mine:
                mine |= more
            self._taken = sum(there[one][1] for one in mine & there.keys()) / _TICKS
        return self._taken

    def end(self):
        """It has ended, and nobody has waited for it yet."""
        os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOWAIT)
        self.seconds()
        self.process = None
