# SPDX-License-Identifier: GPL-2.0-only
"""A brute-force model of change tracking, and what an answer must satisfy against it.

The lower bound of an answer is what differs between raw images taken before and after;
the upper bound is the units that writes touched.  An answer is a dict as `vhdxctl
changes --json` prints it: offset, length, processed, unit, coarse, and ranges, a list of
{"offset", "length"}.
"""

import re

from .container import Container
from .layout import MIB
from .ranges import RangeSet

_NONZERO = re.compile(rb"[^\0]+", re.DOTALL)


def _differing_chunks(one, other, start, end):
    """(offset, bytes, bytes) of chunks that differ; holes in both are not read."""
    extents = RangeSet(list(one.data_extents(start, end)) + list(other.data_extents(start, end)))
    for low, high in extents:
        for at in range(low, high, MIB):
            length = min(MIB, high - at)
            left, right = one.read(at, length), other.read(at, length)
            if left != right:
                yield at, left, right


def _differences(one, other, unit, start, end):
    for at, left, right in _differing_chunks(one, other, start, end):
        if unit == 1:
            mix = int.from_bytes(left, "little") ^ int.from_bytes(right, "little")
            for match in _NONZERO.finditer(mix.to_bytes(len(left), "little")):
                yield at + match.start(), at + match.end()
            continue
        position = at
        while position < at + len(left):
            stop = min(position // unit * unit + unit, at + len(left))
            if left[position - at:stop - at] != right[position - at:stop - at]:
                yield position // unit * unit, min(position // unit * unit + unit, end)
            position = stop


def compare(before, after, unit=1, start=0, end=None):
    """The RangeSet of units in which two raw images (files or devices) differ."""
    with Container(before) as one, Container(after) as other:
        if end is None:
            end = max(one.size, other.size)
        return RangeSet(_differences(one, other, unit, start, end))


def ranges_of(answer):
    return RangeSet.of_lengths((r["offset"], r["length"]) for r in answer["ranges"])


def _form_faults(answer):
    """Ascending, disjoint, coalesced, clipped; progress."""
    offset, length, processed = answer["offset"], answer["length"], answer["processed"]
    unit = answer["unit"]
    if processed > length:
        yield f"processed {processed} of {length} bytes"
    if processed < min(length, unit - offset % unit):
        yield f"processed only {processed} of {length} bytes, a unit has {unit}"
    end, last = offset + processed, None
    for number, entry in enumerate(answer["ranges"]):
        start, stop = entry["offset"], entry["offset"] + entry["length"]
        where = f"range {number} ({start}..{stop})"
        if start >= stop:
            yield f"{where} is empty"
        if start < offset or stop > end:
            yield f"{where} is not inside what was processed ({offset}..{end})"
        if last is not None and start < last:
            yield f"{where} starts before the one before it ends ({last})"
        elif last is not None and start == last:
            yield f"{where} touches the one before it"
        last = stop


def _with_gaps_closed(ranges, min_gap):
    pairs = list(ranges)
    gaps = [(a[1], b[0]) for a, b in zip(pairs, pairs[1:]) if b[0] - a[1] < min_gap]
    return ranges | RangeSet(gaps)


def check_answer(answer, before=None, after=None, writes=None, granularity=0, min_gap=0):
    """What is wrong with an answer, as a list of sentences; empty if it is right.

    before, after    raw images at the answer's limit and target: every byte that differs
                     must lie in a range (rule 1)
    writes           (offset, length) pairs or a RangeSet of all that was written between:
                     no range covers a unit that no write touched (rule 2; a coarse answer
                     is exempt).  granularity and min_gap are those of the query.
    """
    faults = list(_form_faults(answer))
    start, end = answer["offset"], answer["offset"] + answer["processed"]
    told = ranges_of(answer)
    if before is not None:
        for low, high in RangeSet([(start, end)]) - told:
            missed = compare(before, after, 1, low, high)
            if missed:
                first = next(iter(missed))
                faults.append(f"bytes {first[0]}..{first[1]} differ, but no range covers them "
                              f"({missed.total()} missed bytes in {low}..{high})")
    if writes is not None and not answer.get("coarse"):
        written = writes if isinstance(writes, RangeSet) else RangeSet.of_lengths(writes)
        allowed = _with_gaps_closed(written.widened(max(answer["unit"], granularity or 0)), min_gap)
        extra = told - allowed
        if extra:
            first = next(iter(extra))
            faults.append(f"bytes {first[0]}..{first[1]} are reported, but were not written "
                          f"({extra.total()} bytes too many)")
    return faults


def join(answers):
    """One answer out of the pages of a query, which must follow each other without gap."""
    answers = list(answers)
    position = answers[0]["offset"]
    for page in answers:
        if page["offset"] != position:
            raise ValueError(f"a page starts at {page['offset']}, the one before it ended at {position}")
        position += page["processed"]
    told = RangeSet(pair for page in answers for pair in ranges_of(page))
    return {"offset": answers[0]["offset"], "length": position - answers[0]["offset"],
            "processed": position - answers[0]["offset"], "unit": answers[0]["unit"],
            "coarse": any(page.get("coarse") for page in answers),
            "ranges": [{"offset": o, "length": n} for o, n in told.lengths()]}


def same_answer(ways):
    """None if every way of cutting one query gives the same ranges, else a sentence.

    ways   a list of lists of pages
    """
    joined = [join(pages) for pages in ways]
    first = joined[0]
    for number, other in enumerate(joined[1:], 1):
        if (first["offset"], first["length"]) != (other["offset"], other["length"]):
            return f"way {number} covers {other['offset']}+{other['length']}, not the same bytes"
        odd = (ranges_of(first) - ranges_of(other)) | (ranges_of(other) - ranges_of(first))
        if odd:
            return f"way {number} differs from the first at {next(iter(odd))}"
    return None


class Timeline:
    """Who wrote what between which points; the brute-force side of every query."""

    def __init__(self, size):
        self.size = size
        self.epoch = 0             # the number of points so far
        self._writes = []          # (offset, length, first epoch, last epoch)

    def write(self, offset, length, first=None, last=None):
        """A write that was in flight during the epochs first..last; by default now."""
        self._writes.append((offset, length, self.epoch if first is None else first,
                             self.epoch if last is None else last))

    def seal(self):
        """A new point; returns its number, 1 for the first."""
        self.epoch += 1
        return self.epoch

    def written(self, limit, target=None):
        """All that an answer from point limit to point target (or now) may be about."""
        target = self.epoch + 1 if target is None else target
        return RangeSet.of_lengths((offset, length) for offset, length, first, last in self._writes
                                   if max(first, limit) < min(last + 1, target))
