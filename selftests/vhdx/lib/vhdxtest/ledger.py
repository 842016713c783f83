# SPDX-License-Identifier: GPL-2.0-only
"""Who was told what: points, and what was written since.

    ledger = Ledger()
    ledger.sealed(disk.handle.seal())
    ledger.wrote(offset, length)        also a write that failed: it may be there
    ledger.judge(disk.handle)           every answer has all of it
"""

from vhdxoracle.ranges import RangeSet

import ktap

from .device import Failure


class Ledger:
    """Of one disk."""

    def __init__(self):
        self.points = {}        # id: [(offset, length)] since then

    def sealed(self, point):
        """From now on there is another point."""
        self.points[point] = []
        return point

    def forgot(self, point):
        """There is one less."""
        del self.points[point]

    def wrote(self, offset, length):
        """Something may be different there, for whoever asks from now on."""
        for ranges in self.points.values():
            ranges.append((offset, length))

    def taken_down(self):
        """What has been noted so far, for nothing_of_it()."""
        return {point: list(ranges) for point, ranges in self.points.items()}

    def nothing_of_it(self, before):
        """All that was tried since then failed, and is not there: nobody need know of it."""
        self.points.update(before)

    def judge(self, handle, excuses=()):
        """Each answer has all that was written since, or fails with one of the excuses,
        (errno, reason). How many answers there were."""
        answers = 0
        for point, ranges in self.points.items():
            try:
                told = RangeSet.of_lengths(handle.changes(point))
            except Failure as failure:
                if (failure.errno, failure.reason) not in excuses:
                    raise
                continue
            missing = RangeSet.of_lengths(ranges) - told
            ktap.check(not missing, f"missing since {point}: {list(missing)[:3]}")
            answers += 1
        return answers
