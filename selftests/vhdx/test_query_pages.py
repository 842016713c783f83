#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_query_pages - one answer, however the question is cut
#
# Sidecars are written here, with deltas of any shape, so that the answers do not hang on
# what the driver itself would record; the truth is read back from the file by the letter
# of Documentation/sidecar.rst.
#
# vm: timeout=400 takes=25
import contextlib
import errno
import pathlib
import random
import re
import sys
import zlib
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, ktap, sidecar, uapi  # noqa: E402
from vhdxtest.device import expect_failure  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import KIB, MIB, TIB  # noqa: E402
from vhdxtest.sidecar import COARSE, Delta, EVERY_SECOND, LEAF_UNITS, leaf_of  # noqa: E402
from vhdxoracle import check_answer, join  # noqa: E402
from vhdxoracle.ranges import RangeSet  # noqa: E402

CAPACITIES = (1, 2, 3, 7, 511, 4095, 4096, 4097)


class Disk:
    """An attached disk with a sidecar of our own making, and what it must say."""

    def __init__(self, disk, read, live=()):
        self.disk = disk
        self.handle = disk.handle
        self.ids = disk.handle.ids()
        self.size = disk.size
        self.unit = read.unit
        self._read = read
        self._truths = {}
        self._live = RangeSet((s, min(e, self.size)) for s, e in
                              RangeSet.of_lengths(live).widened(read.unit))

    def truth(self, first, last):
        """Between two points by position; None: now."""
        if (first, last) not in self._truths:
            told = RangeSet.of_lengths(self._read.changes(first, last))
            self._truths[first, last] = told | self._live if last is None else told
        return self._truths[first, last]

    def pages(self, first, last, offset, length, capacity):
        """A query cut by its capacity; each page is checked for its form."""
        target = uapi.NOW if last is None else self.ids[last]
        pages = self.handle.pages(self.ids[first], target, offset, length, capacity)
        for page in pages:
            faults = check_answer(page)
            ktap.check(not faults, f"{offset}+{length}, {capacity} ranges: {faults}")
            ktap.check(len(page["ranges"]) <= capacity, "more ranges than there is room for")
            ktap.equal(page["unit"], self.unit, "unit")
            ktap.equal(page["live"], last is None, "LIVE")
            ktap.equal(page["complete_to"], target, "complete_to_id")
        return pages

    def check(self, first, last, offset, length, capacity):
        """One way of cutting gives the truth."""
        pages = self.pages(first, last, offset, length, capacity)
        told = RangeSet.of_lengths((one["offset"], one["length"])
                                   for one in join(pages)["ranges"])
        ktap.equal(sum(page["processed"] for page in pages), length, "processed")
        wanted = self.truth(first, last).clip(offset, offset + length)
        odd = (told - wanted) | (wanted - told)
        ktap.check(not odd, f"{first} to {last}, {offset}+{length}, {capacity} ranges: wrong at "
                            f"{odd.lengths()[:3]}")
        return len(pages)


@contextlib.contextmanager
def made(size, unit, deltas, behind=Delta({}, 0, 0), writes=(), block_size=MIB):
    """A disk whose points have these deltas before them; and then it is written."""
    with images.directory() as directory:
        path = images.create(directory / "disk.vhdx", size, block_size=block_size)
        lrct = directory / "disk.vhdx.lrct"
        with attached(path, "--track", "--unit", unit):
            pass
        sidecar.replace(lrct, deltas, behind)
        read = sidecar.Sidecar(lrct)
        with attached(path) as disk:
            for offset, length in writes:
                disk.write(offset, b"w" * length)
            yield Disk(disk, read, writes)


def random_delta(rng, size, unit):
    """Some leaves with runs of some length, some full, some by the full mark, most absent."""
    leaves = {}
    units = -(-size // unit)
    for leaf in range(-(-units // LEAF_UNITS)):
        kind = rng.random()
        here = min(LEAF_UNITS, units - leaf * LEAF_UNITS)
        if kind < 0.15:
            leaves[leaf] = None
        elif kind < 0.7:
            longest = rng.choice((1, 2, 30, 5000))
            changed = set()
            at = rng.randrange(longest + 1)
            for _ in range(rng.choice((1, 5, 700))):
                run = rng.randint(1, longest)
                changed.update(range(at, min(at + run, here)))
                at += run + rng.randint(1, longest)
            # Across the edges of leaves.
            changed.update((0, here - 1) if rng.random() < 0.7 else ())
            leaves[leaf] = leaf_of(unit for unit in changed if unit < here)
    return Delta(leaves, 0, 0)


def random_cuts(size, unit, rng, count):
    """(offset, length) of questions: whole, at edges, odd bytes, small and empty."""
    leaf = LEAF_UNITS * unit
    edges = [0, size, *(edge for edge in (unit, leaf - unit, leaf, 2 * leaf) if edge < size)]
    cuts = [(0, size), (0, 0), (size, 0), (size - 1, 1), (1, size - 2), (0, 1)]
    while len(cuts) < count:
        start, end = sorted(
            min(size, max(0, rng.choice(edges) + rng.randint(-2, 2))) if rng.random() < 0.5
            else rng.randrange(size + 1) for _ in range(2))
        cuts.append((start, end - start))
    return cuts


def shapes(size, unit, seed):
    """Every pair of points, cut in many ways."""
    rng = random.Random(seed)
    deltas = [Delta({}, 0, 0)] + [random_delta(rng, size, unit) for _ in range(3)]
    writes = [(rng.randrange(size // 512) * 512, 512) for _ in range(5)]
    with made(size, unit, deltas, random_delta(rng, size, unit), writes) as disk:
        pages = 0
        pairs = [(first, last) for first in range(4) for last in (*range(first, 4), None)]
        for offset, length in random_cuts(size, unit, rng, 30):
            first, last = rng.choice(pairs)
            pages += disk.check(first, last, offset, length, rng.choice(CAPACITIES))
        for first, last in pairs:
            pages += disk.check(first, last, 0, size, 4096)
        ktap.diag(f"{pages} pages")


for name, disk_size, disk_unit in (
        ("unit_4K_odd_size", 300 * MIB + 512, 4 * KIB),
        ("unit_16K", 2048 * MIB, 16 * KIB),
        ("unit_64K_odd_size", 5000 * MIB + 3 * 512, 64 * KIB),
        ("unit_1M", 100 << 30, MIB),
        ("one_unit", 512, 4 * KIB)):
    ktap.add(name, shapes, disk_size, disk_unit, zlib.crc32(name.encode()))


@ktap.case
def dense():
    """Every second unit of a leaf; all capacities around what the driver copies at once."""
    with made(256 * MIB, 4 * KIB, [Delta({}, 0, 0), Delta({0: EVERY_SECOND}, 0, 0)]) as disk:
        for capacity in (511, 4095, 4096, 4097, 20000):
            pages = disk.check(0, 1, 0, disk.size, capacity)
            ktap.check(pages <= -(-16384 // capacity) + 1, f"{pages} pages of {capacity}")
        disk.check(0, None, 5, 4 * MIB, 1)
        # A page ends where the caller's array ends, not where the driver's own does.
        argument, ranges = disk.handle.query(disk.ids[0], disk.ids[1], 0, disk.size, 600)
        ktap.equal(len(ranges), 600, "ranges")
        ktap.check(argument.processed_byte_length >= 1199 * 4 * KIB, "processed too little")


def bitmap_of(disk, first, last, offset, length, granularity, capacity):
    """A question asked in pieces; ranges of what is set, and how many calls it took."""
    target = uapi.NOW if last is None else disk.ids[last]
    granule, at, runs, calls, changed = granularity or disk.unit, offset, [], 0, 0
    while at < offset + length:
        argument, bits = disk.handle.bits(disk.ids[first], target, at, offset + length - at,
                                          capacity, granularity)
        done = argument.processed_byte_length
        ktap.check(done > 0 and (done % (64 * granule) == 0 or at + done == offset + length),
                   f"{done} bytes processed")
        ktap.equal(len(bits), -(-done // granule // 64 if done % (64 * granule) == 0 else
                                -(done // granule // 64 + 1)) * 8, "bytes of bits")
        number = int.from_bytes(bits, "little")
        ktap.check(number >> -(-done // granule) == 0, "bits behind the last granule")
        runs += [(at + run.start() * granule, min(at + done, at + run.end() * granule))
                 for run in re.finditer("1+", format(number, "b")[::-1])]
        changed += argument.changed_bytes
        at, calls = at + done, calls + 1
    told = RangeSet(runs)
    ktap.equal(changed, sum(n for _, n in told.lengths()), "changed_bytes")
    return told, calls


@ktap.case
def bitmaps():
    """They say what ranges of the same granularity say, however they are cut."""
    rng = random.Random(14)
    size, unit = 900 * MIB + 512, 4 * KIB
    deltas = [Delta({}, 0, 0)] + [random_delta(rng, size, unit) for _ in range(3)]
    writes = [(rng.randrange(size // 512) * 512, 512) for _ in range(5)]
    with made(size, unit, deltas, random_delta(rng, size, unit), writes) as disk:
        for first, last in ((0, 3), (0, None), (1, 2), (3, None), (2, 2)):
            for granularity in (0, unit, 8 * unit, 1 << 31):
                granule = granularity or unit
                offset = rng.randrange(size // (64 * granule) + 1) * 64 * granule
                length = rng.choice((size - offset, rng.randrange(size - offset) + 1))
                wanted = RangeSet((max(s, offset), min(e, offset + length)) for s, e in
                                  disk.truth(first, last).clip(offset, offset + length)
                                  .widened(granule))
                for capacity in (8, 4096, 1 << 20):
                    if capacity == 8 and length > 64 * 64 * granule:
                        continue
                    told, _ = bitmap_of(disk, first, last, offset, length, granularity, capacity)
                    ktap.equal(told, wanted, f"{first} to {last}, {offset}+{length} by {granule}")
                _, ranges = disk.handle.query(disk.ids[first], uapi.NOW if last is None else
                                              disk.ids[last], offset, length, 1 << 17,
                                              granularity=granularity)
                ktap.equal(RangeSet.of_lengths(ranges), wanted, f"ranges of {granule}")
        for page in (0, size // 2 // (64 * unit) * 64 * unit):
            _, calls = bitmap_of(disk, 0, 3, page, size - page, 0, 1 << 20)
            ktap.equal(calls, 1, "calls")


@ktap.case
def small_gaps():
    """Ranges that are closer than min_gap are one, and nothing else is told."""
    deltas = [Delta({}, 0, 0), Delta({0: leaf_of((1, 4, 6, 100, 131)), 1: leaf_of((0, 2))}, 0, 0)]
    with made(256 * MIB, 4 * KIB, deltas) as disk:
        def ask(min_gap, capacity=4096, **fields):
            argument, ranges = disk.handle.query(disk.ids[0], disk.ids[1], capacity=capacity,
                                                 min_gap=min_gap, **fields)
            ktap.equal(argument.changed_bytes, sum(n for _, n in ranges), "changed_bytes")
            return argument, [(o // (4 * KIB), n // (4 * KIB)) for o, n in ranges]
        leaf = [(LEAF_UNITS, 1), (LEAF_UNITS + 2, 1)]
        ktap.equal(ask(0)[1], [(1, 1), (4, 1), (6, 1), (100, 1), (131, 1), *leaf])
        ktap.equal(ask(4 * KIB)[1], ask(0)[1], "as large as the smallest gap")
        ktap.equal(ask(4 * KIB + 1)[1],
                   [(1, 1), (4, 3), (100, 1), (131, 1), (LEAF_UNITS, 3)])
        ktap.equal(ask(8 * KIB + 1)[1], [(1, 6), (100, 1), (131, 1), (LEAF_UNITS, 3)])
        ktap.equal(ask((1 << 64) - 1)[1], [(1, LEAF_UNITS + 2)], "everything")
        argument, ranges = ask(8 * KIB + 1, capacity=1)
        ktap.equal(ranges, [(1, 6)], "a full array takes what joins its last range")
        ktap.check(7 * 4 * KIB <= argument.processed_byte_length <= 100 * 4 * KIB, "processed")
        ktap.equal(ask(16 * KIB, granularity=16 * KIB)[1],
                   [(0, 8), (100, 4), (128, 4), (LEAF_UNITS, 4)], "with granules")


@ktap.case
def union_of_deltas_that_interlock():
    """Ranges of several deltas join to one, across a leaf too."""
    start = LEAF_UNITS - 300
    # 300 is a multiple of 3 and the rest is not: in leaf 1 others come first.
    thirds = [Delta({0: leaf_of(range(start + n, LEAF_UNITS, 3)),
                     1: leaf_of(range((n + 1) % 3, 100, 3))}, 0, 0) for n in range(3)]
    with made(512 * MIB, 4 * KIB, [Delta({}, 0, 0), *thirds[:2]], thirds[2]) as disk:
        for first in range(3):
            for end in (*range(first, 3), None):
                disk.check(first, end, 0, disk.size, 4096)
        argument, ranges = disk.handle.query(disk.ids[0], capacity=1)
        ktap.equal(ranges, [(start * 4 * KIB, 400 * 4 * KIB)], "joined")
        ktap.check(argument.processed_byte_length >= sum(ranges[0]), "processed too little")


@ktap.case
def huge_disk():
    """64 TiB, 64 KiB units: nothing, the last unit, all."""
    size = 64 * TIB
    last = size // (64 * KIB) // LEAF_UNITS - 1
    deltas = [Delta({}, 0, 0), Delta({last: leaf_of([LEAF_UNITS - 1])}, 0, 0),
              Delta({leaf: None for leaf in range(last + 1)}, 0, 0)]
    with made(size, 64 * KIB, deltas, block_size=256 * MIB) as disk:
        disk.check(0, 0, 0, size, 1)
        disk.check(0, 1, 0, size, 1)
        ktap.equal(disk.handle.changes(disk.ids[0], disk.ids[1]), [(size - 64 * KIB, 64 * KIB)])
        ktap.equal(disk.handle.changes(disk.ids[1], disk.ids[2]), [(0, size)])
        ktap.equal(disk.handle.changes(disk.ids[0], uapi.NOW, 12345, size - 54321),
                   [(12345, size - 54321)])


@ktap.case
def coarse_is_told():
    """An answer that holds what was recovered after a crash says so, and no other does."""
    deltas = [Delta({}, 0, 0), Delta({0: leaf_of([1])}, 0, 0), Delta({0: None}, COARSE, 0),
              Delta({0: leaf_of([2])}, 0, 0)]
    with made(64 * MIB, 16 * KIB, deltas) as disk:
        def coarse(first, last):
            pages = disk.pages(first, last, 0, disk.size, 16)
            return {page["coarse"] for page in pages}
        for first in range(4):
            for last in (*range(first, 4), None):
                end = 4 if last is None else last
                ktap.equal(coarse(first, last), {first < 2 <= end}, f"{first} to {last}")
        shown = ctl.json("changes", disk.disk.node, "--since", disk.ids[1])
        ktap.equal(shown["coarse"], True, "coarse in JSON")
        # Joined with its neighbour it stays coarse.
        disk.handle.forget(disk.ids[2])
        argument, _ = disk.handle.query(disk.ids[1], disk.ids[3])
        ktap.equal(argument.answer_flags, uapi.ANSWER_COARSE, "answer_flags")


@ktap.case
def nothing_to_process():
    with made(64 * MIB, 16 * KIB, [Delta({}, 0, 0), Delta({0: leaf_of([1])}, 0, 0)]) as disk:
        for offset in (0, 1, 16 * KIB, disk.size - 1, disk.size):
            argument, ranges = disk.handle.query(disk.ids[0], offset=offset, length=0)
            ktap.equal((argument.processed_byte_length, ranges), (0, []), "processed")
            ktap.equal(argument.virtual_disk_size, disk.size, "virtual_disk_size")
            ktap.equal(argument.unit, 16 * KIB, "unit")
        # Also of nothing one wants to know whether it can be told.
        for limit, number in ((uapi.PointId(kind=1), errno.ENODATA), (uapi.NOW, errno.EINVAL)):
            ktap.expect_errno(number, disk.handle.query, limit, offset=disk.size, length=0)


@ktap.case
def beyond_the_disk():
    with made(64 * MIB + 512, 16 * KIB, [Delta({}, 0, 0)]) as disk:
        most = (1 << 64) - 1
        for offset, length in ((0, disk.size + 1), (disk.size, 1), (disk.size + 1, 0),
                               (1, most), (most, 1), (most, most), (most, 0), (0, most)):
            failure = expect_failure(errno.EINVAL, uapi.ARGUMENT, disk.handle.query, disk.ids[0],
                                     offset=offset, length=length)
            ktap.equal((failure.argument.processed_byte_length, failure.argument.output_count),
                       (0, 0), "processed")


@ktap.case
def limit_is_target():
    with made(64 * MIB, 16 * KIB, [Delta({}, 0, 0), Delta({0: None}, 0, 0)]) as disk:
        for point in disk.ids:
            argument, ranges = disk.handle.query(point, point)
            ktap.equal(ranges, [], "changes between a point and itself")
            ktap.equal(argument.processed_byte_length, disk.size, "processed")
            ktap.equal(argument.complete_to_id, point, "complete_to_id")
            ktap.equal(argument.answer_flags, 0, "answer_flags")
        expect_failure(errno.EINVAL, uapi.ARGUMENT, disk.handle.query, disk.ids[1], disk.ids[0])


@ktap.case
def others_do_not_disturb():
    """Between the pages of one agent, another seals and forgets; until it forgets the limit."""
    deltas = [Delta({}, 0, 0)] + [Delta({0: EVERY_SECOND}, 0, 0)] * 6
    with made(128 * MIB, 4 * KIB, deltas) as disk:
        told, offset = [], 0
        others = iter([disk.handle.seal, lambda: disk.handle.forget(disk.ids[2]),
                       disk.handle.seal, lambda: disk.handle.forget(disk.ids[0]),
                       lambda: disk.handle.forget(disk.ids[6])])
        while offset < disk.size:
            argument, ranges = disk.handle.query(disk.ids[1], disk.ids[5], offset, capacity=1000)
            told += ranges
            offset += argument.processed_byte_length
            next(others, lambda: None)()
        ktap.equal(next(others, None), None, "interruptions that are left")
        ktap.equal(RangeSet.of_lengths(told), disk.truth(1, 5), "changes")
        disk.handle.forget(disk.ids[1])
        expect_failure(errno.ENODATA, uapi.ID_MISSING, disk.handle.query, disk.ids[1],
                       disk.ids[5], 4096)


@ktap.case
def command_loops_to_the_end():
    """`changes` is whole, with an offset and a length, attached or not."""
    rng = random.Random(8)
    size = 300 * MIB
    deltas = [Delta({}, 0, 0)] + [random_delta(rng, size, 4 * KIB) for _ in range(2)]
    with images.directory() as directory:
        path = images.create(directory / "disk.vhdx", size, block_size=MIB)
        with attached(path, "--track", "--unit", 4 * KIB):
            pass
        lrct = directory / "disk.vhdx.lrct"
        sidecar.replace(lrct, deltas, random_delta(rng, size, 4 * KIB))
        with attached(path) as attached_disk:
            disk = Disk(attached_disk, sidecar.Sidecar(lrct))
            wanted = [((first, last, offset, length),
                       disk.truth(first, last).clip(offset, offset + length))
                      for first, last in ((0, None), (0, 2), (1, 2))
                      for offset, length in ((0, size), (12345, 200 * MIB), (MIB, 0))]
            ask_command(attached_disk.node, disk.ids, wanted)
        ask_command(path, disk.ids, wanted)


def ask_command(name, ids, wanted):
    """Each question to vhdxctl, in JSON."""
    for (first, last, offset, length), ranges in wanted:
        shown = ctl.json("changes", name, "--since", ids[first], "--offset", offset,
                         "--length", length, *([] if last is None else ["--target", ids[last]]))
        ktap.equal(RangeSet.of_lengths((one["offset"], one["length"])
                                       for one in shown["ranges"]), ranges, "ranges")
        ktap.equal((shown["offset"], shown["length"], shown["processed"]),
                   (offset, length, length), "offset, length, processed")


ktap.main()
