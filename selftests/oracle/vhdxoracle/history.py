# SPDX-License-Identifier: GPL-2.0-only
"""What a question about changes is to be answered with: a model of points through layers.

    line = Line([Layer(path, unit, points, deltas, live), ...])      the oldest first
    line.points()                   every (name of a point), in order; the last is None: now
    line.answer(limit, target)      (RangeSet, unit, coarse, derived) to the byte

A layer's points were sealed while it was the leaf; deltas[i] lies before points[i + 1], live
behind the last one. What a layer has itself, the oracle reads from the file.
"""

from .bat import State
from .image import Image
from .ranges import RangeSet


def own_ranges(path):
    """What of the disk the container itself has: all that hides its parent."""
    with Image(path) as image:
        size, sector = image.geometry.block_size, image.geometry.logical_sector
        pairs = []
        for block in range(-(-image.size // size)):
            state, _ = image.block_entry(block)
            start = block * size
            if state == State.NOT_PRESENT:
                continue
            if state != State.PARTIALLY_PRESENT:
                pairs.append((start, start + size))
                continue
            bits = image.sector_bitmap(block)
            at = 0
            while bits >> at:
                rest = bits >> at
                at += (rest & -rest).bit_length() - 1
                rest = bits >> at
                count = (~rest & rest + 1).bit_length() - 1
                pairs.append((start + at * sector, start + (at + count) * sector))
                at += count
        return RangeSet(pairs).clip(0, image.size)


class Layer:
    """See the module's text."""

    # pylint: disable-next=too-many-arguments,too-many-positional-arguments
    def __init__(self, path, unit=None, points=(), deltas=(), live=RangeSet()):
        self.path, self.unit, self.points = path, unit, list(points)
        self.deltas, self.live = [None, *deltas], live
        with Image(path) as image:
            self.size = image.size
            self.sector = image.geometry.logical_sector

    @property
    def snapshot(self):
        """The id that it has as a parent: it changes whenever it is written."""
        with Image(self.path) as image:
            return f"{{{image.header.data_write_guid}}}"

    def own(self, below):
        """What changed since the layer below was frozen; behind its end everything did."""
        return own_ranges(self.path) | RangeSet([(below, self.size)] if below < self.size else [])


class Line:
    """Layers, the oldest first."""

    def __init__(self, layers):
        self.layers = layers
        self.places = {}
        for number, layer in enumerate(layers):
            for position, point in enumerate(layer.points):
                self.places[point] = (number, position)
            last = number == len(layers) - 1
            self.places[None if last else layer.snapshot] = (number, len(layer.points))

    def points(self):
        """In order; None is now."""
        return list(self.places)

    def answer(self, limit, target):
        """(what changed, the unit, coarse, derived)"""
        (first, position), (last, end) = self.places[limit], self.places[target]
        layer = self.layers[first]
        tracked = position < len(layer.points)
        if tracked:
            stop = end if last == first else len(layer.points)
            found = RangeSet()
            for delta in (*layer.deltas, layer.live)[position + 1:stop + 1]:
                found |= delta
            unit = layer.unit
        else:
            found, unit = RangeSet(), layer.sector
        for number in range(first + 1, last + 1):
            found |= self.layers[number].own(self.layers[number - 1].size)
        coarse = last > first and end < len(self.layers[last].points)
        size = self.layers[-1].size
        return found.widened(unit).clip(0, size), unit, coarse, last > first
