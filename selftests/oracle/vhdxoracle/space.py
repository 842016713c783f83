# SPDX-License-Identifier: GPL-2.0-only
"""Placing objects in a container: 1 MiB aligned, clear of what is there already."""

from .layout import HEADER_SECTION, MIB, round_up


class Space:
    """Hands out space upwards from a cursor, jumping over what is taken."""

    def __init__(self, start=HEADER_SECTION):
        self.cursor = start
        self._taken = []

    def take(self, start, length):
        self._taken.append((start, start + round_up(length, MIB)))
        self._taken.sort()

    def allocate(self, length):
        start = self.cursor
        for low, high in self._taken:
            if low < start + length and start < high:
                start = high
        self.cursor = start + round_up(length, MIB)
        return start

    @property
    def end(self):
        """The end of everything handed out or taken."""
        return max([self.cursor] + [high for _, high in self._taken])
