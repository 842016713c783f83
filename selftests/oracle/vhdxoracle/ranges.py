# SPDX-License-Identifier: GPL-2.0-only
"""Sets of byte ranges: sorted, disjoint, coalesced half-open intervals."""

from bisect import bisect_left, bisect_right


class RangeSet:
    """An immutable set of bytes, held as [(start, end), ...]."""

    def __init__(self, pairs=()):
        merged = []
        for start, end in sorted(p for p in pairs if p[0] < p[1]):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        self._pairs = [tuple(p) for p in merged]

    @classmethod
    def _of_disjoint(cls, pairs):
        """From pairs that are sorted, and do not touch each other."""
        made = cls.__new__(cls)
        made._pairs = pairs
        return made

    @classmethod
    def of_lengths(cls, pairs):
        """From (offset, length) pairs."""
        return cls((offset, offset + length) for offset, length in pairs)

    def __iter__(self):
        return iter(self._pairs)

    def __len__(self):
        return len(self._pairs)

    def __bool__(self):
        return bool(self._pairs)

    def __eq__(self, other):
        return isinstance(other, RangeSet) and self._pairs == other._pairs

    def __hash__(self):
        return hash(tuple(self._pairs))

    def __repr__(self):
        return f"RangeSet({self._pairs})"

    def __or__(self, other):
        return RangeSet(self._pairs + list(other))

    def __and__(self, other):
        result, mine, theirs = [], list(self), list(other)
        i = j = 0
        while i < len(mine) and j < len(theirs):
            start, end = max(mine[i][0], theirs[j][0]), min(mine[i][1], theirs[j][1])
            if start < end:
                result.append((start, end))
            if mine[i][1] < theirs[j][1]:
                i += 1
            else:
                j += 1
        return self._of_disjoint(result)

    def __sub__(self, other):
        result, holes = [], list(other)
        j = 0
        for start, end in self:
            while j < len(holes) and holes[j][1] <= start:
                j += 1
            k = j
            while k < len(holes) and holes[k][0] < end:
                if holes[k][0] > start:
                    result.append((start, holes[k][0]))
                start = max(start, holes[k][1])
                k += 1
            if start < end:
                result.append((start, end))
        return self._of_disjoint(result)

    def __contains__(self, byte):
        index = bisect_right(self._pairs, (byte, float("inf"))) - 1
        return index >= 0 and byte < self._pairs[index][1]

    def clip(self, start, end):
        if start >= end:
            return RangeSet()
        first = bisect_right(self._pairs, start, key=lambda pair: pair[1])
        last = bisect_left(self._pairs, end, lo=first, key=lambda pair: pair[0])
        inside = self._pairs[first:last]
        if inside:
            inside[0] = max(inside[0][0], start), inside[0][1]
            inside[-1] = inside[-1][0], min(inside[-1][1], end)
        return self._of_disjoint(inside)

    def widened(self, unit):
        """Grown outwards to whole units."""
        return RangeSet((s // unit * unit, -(-e // unit) * unit) for s, e in self)

    def total(self):
        return sum(end - start for start, end in self)

    def lengths(self):
        """As (offset, length) pairs."""
        return [(start, end - start) for start, end in self]
