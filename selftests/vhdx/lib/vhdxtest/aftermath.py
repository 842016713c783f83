# SPDX-License-Identifier: GPL-2.0-only
"""What must be true of a container and its sidecar when the power was lost.

    aftermath = Aftermath(container, sidecar)   parents=[...] where the container is a child
    aftermath.remember(point, chronicle)        what the disk holds when a point was given out
    aftermath.judge(chronicle)                  at a later crash

The container is valid for the oracle's checker. Every sector holds what was made durable, or
something that was written there later, never what was another's. For every point that was
given out, the answer to what changed since then has every byte that is another now, and
every one that was written and acknowledged; more only as far as is stated. It is the library
that is asked, about files.
"""

import collections
import errno
import hashlib

from vhdxoracle.ranges import RangeSet
import ktap
import vhdxoracle

from . import judge, library, stamps, uapi
from .chronicle import BLOCK, SECTOR
from .images import command
from .sidecar import region_shift

# Regions that are set ahead where one after the other is written.
AHEAD = 8
# Regions that are set around each, at most; the machines see to it.
AROUND = 4


def with_groups(regions):
    """All of each group that one of them is in."""
    return {region // AROUND * AROUND + number for region in regions for number in range(AROUND)}


def recovered(ranges, size):
    """What an answer may have besides after a crash: whole regions of what was written, some that
    were set ahead: as many as there are behind each other, up to AHEAD; and those around."""
    regions = with_groups(region for start, end in ranges
                          for region in range(start // size, -(-end // size)))
    for region in sorted(regions):
        run = 0
        while run < AHEAD and region - run - 1 in regions:
            run += 1
        regions |= set(range(region + 1, region + 1 + run))
    return RangeSet((region * size, (region + 1) * size) for region in with_groups(regions))


class Content:
    """Of a block; what is known of it is kept by its name, and holds for all that are equal."""

    def __init__(self, data):
        self.data = data
        self.name = hashlib.blake2b(data, digest_size=16).digest()


_ZEROS = Content(bytes(BLOCK))


class Aftermath:
    """See the module's text."""

    def __init__(self, container, sidecar, stamped=True, parents=()):
        self.container, self.sidecar, self.parents = container, sidecar, parents
        self.stamped = stamped      # or else the content is anybody's
        self.last = {}              # block: its Content when it was read last
        self.below = None           # {block: Content} of the parent, once it is read
        self.at_points = {}         # id: {block: its Content then}
        self.unsure = {}            # id: where that is not known
        self.numbers = {}           # (block, name): which write each sector is of
        self.different = {}         # (name, name): where two contents differ
        self.found_good = {}        # (block, name, id of least): least
        self.counts = collections.Counter()

    def moved(self, container, sidecar):
        """One that knows as much, for files elsewhere."""
        other = Aftermath(container, sidecar, self.stamped, self.parents)
        other.at_points, other.unsure = dict(self.at_points), dict(self.unsure)
        return other

    def read(self, container=None):
        """{block: content} of all that may not be zeros, by the oracle, replay in memory."""
        container = container or self.container
        faults = vhdxoracle.faults(vhdxoracle.check(container))
        ktap.check(not faults, "; ".join(map(str, faults[:5])))
        return self._contents(container, self.parents)

    def _contents(self, container, parents):
        found = {}
        with vhdxoracle.open_disk(container, parents) as image:
            for start, end in image.touched():
                for block in range(start // BLOCK, -(-end // BLOCK)):
                    data = image.read(block * BLOCK, BLOCK).ljust(BLOCK, b"\0")
                    if data != self.last.get(block, _ZEROS).data:
                        self.last[block] = Content(data)
                    elif block not in self.last:
                        self.last[block] = _ZEROS
                    found[block] = self.last[block]
        return found

    def numbers_of(self, block, content):
        """Which write each sector of a block is of."""
        key = block, content.name
        if key not in self.numbers:
            self.numbers[key] = stamps.numbers(block, content.data)
        return self.numbers[key]

    def differences(self, one, other):
        """(start, end) of sectors in which two blocks differ."""
        key = one.name, other.name
        if key not in self.different:
            self.different[key] = [
                (at, at + SECTOR) for at in range(0, BLOCK, SECTOR)
                if one.data[at:at + SECTOR] != other.data[at:at + SECTOR]]
        return self.different[key]

    def remember(self, point):
        """The disk is what it was when this point was given out."""
        self.at_points[point] = self.read()

    def remember_as_told(self, point, chronicle):
        """The same, from what was acknowledged; not known is what was under way."""
        self.at_points[point] = {
            block: Content(stamps.of_numbers(block, (0 if number in chronicle.zeroes else number
                                                     for number in numbers)))
            for block, numbers in chronicle.latest.blocks.items()}
        made = chronicle.points[point]
        self.unsure[point] = chronicle.may(made.asked, made.given)

    # ---- data ----

    def _judge_block(self, chronicle, block, content):
        least = chronicle.least.of(block)
        crashed = chronicle.crashed.of(block)
        key = block, content.name, id(least)
        if key in self.found_good:
            return
        for index, number in enumerate(self.numbers_of(block, content)):
            place = (block * BLOCK // SECTOR + index) * SECTOR
            if not number and (least[index] or crashed[index]) and \
                    chronicle.are_zeroes(place, max(least[index], 1)):
                continue
            ktap.check(number >= least[index],
                       f"the sector at {place} is back at write {number}: "
                       f"{least[index]} is durable")
            if number > chronicle.last_before_crash:
                write = chronicle.writes[number]
                ktap.check(write.offset <= place < write.offset + write.length,
                           f"the sector at {place} holds write {number}, which was elsewhere")
            else:
                ktap.equal(number, crashed[index], f"the write in the sector at {place}")
        # An id is that of one array as long as it is kept.
        self.found_good[key] = least

    def _judge_data(self, chronicle, found):
        for block in found.keys() | chronicle.least.blocks.keys():
            self._judge_block(chronicle, block, found.get(block, _ZEROS))

    # ---- answers ----

    def _different(self, before, found):
        pairs = []
        for block in before.keys() | found.keys():
            one, other = before.get(block, _ZEROS), found.get(block, _ZEROS)
            if one.name != other.name:
                pairs += [(block * BLOCK + start, block * BLOCK + end)
                          for start, end in self.differences(one, other)]
        return RangeSet(pairs)

    def _judge_answer(self, what, answer, must, may, unsaved):
        """An answer has all of must, and nothing but may; one that says that it is coarse may
        have what is recovered of unsaved as well."""
        missing = must - answer.ranges
        ktap.check(not missing,
                   f"{what}: missing {missing.lengths()[:3]} ({missing.total()} bytes)")
        self.counts["answers"] += 1
        self.counts["coarse answers"] += answer.coarse
        if not self.stamped:
            return          # nobody knows what may be written
        may = may.widened(answer.unit)
        if answer.coarse:
            may |= recovered(unsaved, 1 << region_shift(answer.size, answer.unit.bit_length() - 1))
        extra = answer.ranges - may
        ktap.check(not extra, f"{what}: too much {extra.lengths()[:3]} ({extra.total()} bytes)")

    def _asked(self, files, chronicle, *names):
        """An answer, or None where one of the points may be gone."""
        try:
            return files.changes(*map(uapi.PointId.parse, names))
        except library.Refused as refused:
            if (refused.errno, refused.reason) != (errno.ENODATA, uapi.ID_MISSING) or \
                    not any(chronicle.points[name].forgetting for name in names):
                raise
            return None

    def _judge_since(self, files, chronicle, name, found):
        """What changed until now."""
        answer = self._asked(files, chronicle, name)
        if not answer:
            return
        point = chronicle.points[name]
        must = self._different(self.at_points[name], found) | RangeSet(point.must)
        must -= self.unsure.get(name, RangeSet())
        self._judge_answer(f"since {name}", answer, must.clip(0, files.size),
                           chronicle.may(point.asked), chronicle.unsaved(point.asked))

    def _judge_between(self, files, chronicle, names):
        """What lies between two points is as it was sealed."""
        answer = self._asked(files, chronicle, *names)
        if not answer:
            return
        one, other = (chronicle.points[name] for name in names)
        must = self._different(*(self.at_points[name] for name in names))
        # What was written while the second one was sealed may belong behind it.
        must -= self.unsure.get(names[0], RangeSet()) | chronicle.may(other.asked, other.given)
        self._judge_answer("from {} to {}".format(*names), answer, must.clip(0, files.size),
                           chronicle.may(one.asked, other.given), chronicle.may(0))

    def _judge_points(self, files, chronicle):
        """Those given out are there, none that was forgotten is, and none twice."""
        there = [str(point) for point in files.points()]
        ktap.equal(len(set(there)), len(there), "different points")
        for name, point in chronicle.points.items():
            ktap.check(name in there or point.forgetting, f"{name} was given out, and is not there")
        back = chronicle.gone & set(there)
        ktap.check(not back, f"{back} was forgotten, and is there")
        own = [name for name in chronicle.points if name in there]
        ktap.equal([name for name in there if name in chronicle.points], own, "the line of points")
        return own

    def _judge_frozen(self, files, found):
        """Whatever is another now than in the parent changed since that was frozen: the child
        has it. Where the library does not find the parents there is no such point."""
        frozen = [point for point in files.points() if point.kind == uapi.POINT_SNAPSHOT]
        if not frozen:
            return
        if self.below is None:
            self.below = self._contents(self.parents[0], self.parents[1:])
        missing = self._different(self.below, found).clip(0, files.size) - \
            files.changes(frozen[-1]).ranges
        ktap.check(not missing, f"since {frozen[-1]}: missing {missing.lengths()[:3]}")

    def judge(self, chronicle):
        """Of one crash; {block: content} of what was found."""
        for name in self.at_points.keys() - chronicle.points.keys():
            del self.at_points[name]
        found = self.read()
        if self.stamped:
            self._judge_data(chronicle, found)
        self.counts["crash points"] += 1
        if not chronicle.points:
            return found
        with library.Files(self.container, self.sidecar) as files:
            names = self._judge_points(files, chronicle)
            for name in names:
                self._judge_since(files, chronicle, name, found)
            self._judge_frozen(files, found)
            for pair in zip(names[-3:], names[-2:]):
                self._judge_between(files, chronicle, pair)
        return found

    def judge_by_qemu(self, copy):
        """QEMU repairs a copy of the container, and it has the same content then. It opens no
        child."""
        if self.parents:
            return
        before = self.read()
        judge.snapshot(self.container, copy)
        command("qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", copy)
        command("qemu-img", "check", "-q", "-f", "vhdx", copy)
        after = self.read(copy)
        different = self._different(before, after)
        ktap.check(not different, f"QEMU reads another content at {different.lengths()[:3]}")
        self.counts["asked of QEMU"] += 1

    def crash_of(self, found):
        """The event that says what the disk holds from now on."""
        return ["crash", {block: list(self.numbers_of(block, content))
                          for block, content in found.items()} if self.stamped else {}]

    def answers(self):
        """{id: [(offset, length)], or [errno, reason]} of what changed since each point."""
        told = {}
        with library.Files(self.container, self.sidecar) as files:
            for point in files.points():
                try:
                    told[str(point)] = files.changes(point).ranges.lengths()
                except library.Refused as refused:
                    told[str(point)] = [refused.errno, refused.reason]
        return told
