# SPDX-License-Identifier: GPL-2.0-only
"""What was done to a disk, event by event, and what follows from it for whoever finds it.

    chronicle = Chronicle()
    for event in events:
        chronicle.take(event)

An event is a list: what it is, and its arguments.

    ["write", number, offset, length]   is about to be sent; numbers ascend
    ["zeroes", number, offset, length]  the same, and what is there becomes zeroes
    ["done", number]                    was acknowledged
    ["durable", [number, ...]]          a flush that began after these were done has ended
    ["seal"], ["point", id]             begins; the id was given out
    ["forget", id], ["forgotten", id]   begins; the point is gone
    ["detached"]                        the container was closed cleanly
    ["answers", {id: answer}]           what the driver told after an attach
    ["crash", {block: numbers}]         the power was lost; what is in the sectors of these blocks

No two writes to one sector are on their way at once.
"""

import array
import collections

from vhdxoracle.ranges import RangeSet

SECTOR = 512
BLOCK = 1 << 20
_SECTORS = BLOCK // SECTOR

Write = collections.namedtuple("Write", "offset length begun")


class Point:
    """One that was given out."""

    def __init__(self, asked):
        self.asked = asked          # when the seal began: number of the event
        self.given = None           # when its id was there
        self.must = []              # written behind it, and acknowledged: (start, end)
        self.forgetting = False     # it may be gone


class Numbers:
    """A number for every sector that has one; by block."""

    def __init__(self):
        self.blocks = {}

    def of(self, block):
        """Those of a block, as an array."""
        return self.blocks.get(block, _NONE)

    def put(self, write, number):
        """All sectors of a write get it, unless they have a larger one."""
        at, end = write.offset // SECTOR, (write.offset + write.length) // SECTOR
        while at < end:
            block, within = divmod(at, _SECTORS)
            count = min(end - at, _SECTORS - within)
            mine = array.array("I", self.of(block))
            for index in range(within, within + count):
                mine[index] = max(mine[index], number)
            # A new one: who has the old one knows that it is another.
            self.blocks[block] = mine
            at += count


_NONE = array.array("I", bytes(4 * _SECTORS))


class Chronicle:
    """See the module's text."""

    def __init__(self):
        self.events = 0
        self.writes = {}            # number: Write
        self.zeroes = {}            # those that leave zeroes
        self.done_at = {}           # number: when it was acknowledged
        self.undurable = set()      # done, and not durable as far as anybody was told
        self.points = {}            # id: Point, in the order in which they were given out
        self.gone = set()           # ids that were forgotten
        self.seal_begun = None
        self.before_seal = []
        self.least = Numbers()      # what a sector must hold at least
        self.crashed = Numbers()    # what it held at the last crash,
        self.last_before_crash = 0  # and the last write before that
        self.latest = Numbers()     # the last one that was done
        self.unclean = []           # (crash, what had been touched before it)
        self.open_since = 0         # the event after which nobody closed the container

    def take(self, event):
        """Goes on by one event."""
        kind, *arguments = event
        getattr(self, f"_{kind}")(*arguments)
        self.events += 1

    def _write(self, number, offset, length):
        self.writes[number] = Write(offset, length, self.events)

    def _zeroes(self, number, offset, length):
        self._write(number, offset, length)
        self.zeroes[number] = self.writes[number]

    def are_zeroes(self, place, least):
        """Can this sector be zeroes, where a write not older than that one may be?"""
        return any(number >= least and write.offset <= place < write.offset + write.length
                   for number, write in self.zeroes.items())

    def _done(self, number):
        write = self.writes[number]
        self.done_at[number] = self.events
        self.undurable.add(number)
        self.latest.put(write, number)
        for point in self.points.values():
            if write.begun > point.given:
                point.must.append((write.offset, write.offset + write.length))

    def _durable(self, numbers):
        for number in sorted(numbers):
            self.least.put(self.writes[number], number)
            self.undurable.discard(number)

    def _seal(self):
        self.seal_begun = self.events
        self.before_seal = list(self.undurable)

    def _point(self, name):
        point = Point(self.seal_begun)
        point.given = self.events
        self.points[name] = point
        self._durable(self.before_seal)

    def _forget(self, name):
        # A machine may have been killed when a point was there, and before it could say so.
        if name in self.points:
            self.points[name].forgetting = True

    def _forgotten(self, name):
        self.points.pop(name, None)
        self.gone.add(name)

    def _detached(self):
        self._durable(list(self.undurable))
        self.open_since = self.events

    def _crash(self, found):
        self.last_before_crash = max(self.writes, default=0)
        self.unclean.append((self.events, self._touched()))
        self.undurable.clear()
        for numbers in (self.least, self.crashed, self.latest):
            numbers.blocks = {int(block): array.array("I", mine) for block, mine in found.items()}

    def _answers(self, _told):
        """Of the driver, when it was attached: for others to judge."""

    def _written(self):
        """An event of a case of its own."""

    def may(self, since, until=None):
        """Where something may have been written after this event, and before that one."""
        return RangeSet((write.offset, write.offset + write.length)
                        for number, write in self.writes.items()
                        if self.done_at.get(number, since) >= since and
                        (until is None or write.begun < until))

    def _touched(self):
        """Where something was written since the container was last closed."""
        return RangeSet((write.offset, write.offset + write.length)
                        for write in self.writes.values() if write.begun >= self.open_since)

    def unsaved(self, since):
        """What a crash after this event found, or finds now, in no clean state."""
        found = self._touched()
        for crash, touched in self.unclean:
            if crash >= since:
                found |= touched
        return found
