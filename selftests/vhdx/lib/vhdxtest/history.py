# SPDX-License-Identifier: GPL-2.0-only
"""A model of points and deltas: what was written between any two moments of a disk's life.

    history = History(size, sector)
    history.write(offset, length)           to the newest layer
    history.reference(point, unit)          sealed now
    history.snapshot(point)                 the layer is frozen: there is a new one
    history.between(first, last)            points of history.points; None: now

It knows nothing of maps, sidecars and containers, but for the units that they round to.
"""

import collections

from vhdxoracle.ranges import RangeSet

# unit is that of the layer's sidecar; 0: a snapshot. moment orders points and writes.
Point = collections.namedtuple("Point", "id layer moment unit")

# What an answer must hold, what it may hold, and the unit that it is told by.
Truth = collections.namedtuple("Truth", "least most unit")


class History:
    """See the file's comment."""

    def __init__(self, size, sector=512):
        self.size = size
        self.sector = sector
        self.points = []
        self._writes = [[]]
        self._moment = 0

    @property
    def layer(self):
        """The newest one's number; the base's is 0."""
        return len(self._writes) - 1

    def write(self, offset, length):
        """To the newest layer."""
        self._moment += 1
        self._writes[-1].append((self._moment, offset, offset + length))

    def _point(self, name, unit):
        self._moment += 1
        self.points.append(Point(name, self.layer, self._moment, unit))

    def reference(self, name, unit):
        """Sealed now."""
        self._point(name, unit)

    def snapshot(self, name):
        """The newest layer is frozen from now on."""
        self._point(name, 0)
        self._writes.append([])

    def forget(self, point):
        """A reference is no point any more."""
        self.points.remove(point)

    def references(self):
        """Of the newest layer."""
        return [point for point in self.points if point.unit and point.layer == self.layer]

    def pairs(self):
        """All (first, last) that can be asked about."""
        for number, first in enumerate(self.points):
            for last in (*self.points[number:], None):
                yield first, last

    def _written(self, layer, after, until):
        return RangeSet((start, end) for moment, start, end in self._writes[layer]
                        if after < moment <= until)

    def _part(self, layer, first, last):
        """What of a layer lies between two points: least, most, unit."""
        whole = self._written(layer, 0, self._moment)
        ends_here = last and last.unit and last.layer == layer
        until = last.moment if ends_here else self._moment
        if first.unit and first.layer == layer:
            told = self._written(layer, first.moment, until)
            return told, told, first.unit
        if ends_here:
            # Of what the layer has, nobody recorded when it came: all of it may be told.
            return self._written(layer, 0, until), whole, self.sector
        return whole, whole, self.sector

    def between(self, first, last):
        """What was written from @first to @last, as it is told."""
        if first == last:
            return Truth(RangeSet(), RangeSet(), None)
        begin = first.layer + (0 if first.unit else 1)
        end = last.layer if last else self.layer
        parts = [self._part(layer, first, last) for layer in range(begin, end + 1)]
        unit = max(part[2] for part in parts)

        def told(which):
            ranges = RangeSet()
            for part in parts:
                ranges = ranges | part[which].widened(unit)
            return ranges.clip(0, self.size)
        return Truth(told(0), told(1), unit)
