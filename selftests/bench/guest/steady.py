# SPDX-License-Identifier: GPL-2.0-only
"""Reads and writes in place, of units that changed already: tracked beside untracked."""

from measure import DIRECTIONS, figures, fill, places, row

GOAL = (">=", 0.99)


def rows():
    """Whether each met its goal."""
    with places() as paths:
        fill(paths)
        found = figures(paths)
        for kind in paths:
            for direction in DIRECTIONS:
                with_it, without = (found[kind, direction, tracking]
                                    for tracking in ("tracked", "untracked"))
                yield row(f"{kind} {direction}, tracked; untracked", f"{with_it} insn",
                          f"{without} insn", without / with_it, GOAL)
