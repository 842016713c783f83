# SPDX-License-Identifier: GPL-2.0-only
"""The model of change tracking: right answers pass, every kind of wrong one is found."""

import random

import ktap
from vhdxoracle import RangeSet, Timeline, check_answer, compare, join, same_answer

from .support import MIB

UNIT = 16384
SIZE = 4 * MIB + 512


def _answer(ranges, offset=0, length=SIZE, processed=None, **more):
    return {"offset": offset, "length": length, "processed": length if processed is None else processed,
            "unit": UNIT, "ranges": [{"offset": o, "length": n} for o, n in ranges], **more}


def _disks(scratch, writes):
    """Raw files before and after; the first byte of each write stays as it was."""
    before, after = scratch / "before", scratch / "after"
    disk = bytearray(random.Random(1).randbytes(SIZE))
    before.write_bytes(disk)
    for offset, length in writes:
        disk[offset:offset + length] = bytes(b ^ 0x55 for b in disk[offset:offset + length])
    after.write_bytes(disk)
    return before, after


_WRITES = [(5, 1), (UNIT - 1, 2), (10 * UNIT, 3 * UNIT), (SIZE - 512, 512)]
_RIGHT = [(0, 2 * UNIT), (10 * UNIT, 3 * UNIT), (4 * MIB, 512)]


def test_right_answers(scratch):
    before, after = _disks(scratch, _WRITES)
    ktap.equal(check_answer(_answer(_RIGHT), before, after, _WRITES), [], "the whole disk")
    ktap.equal(check_answer(_answer([(10 * UNIT + 7, 100)], 10 * UNIT + 7, 100), before, after, _WRITES),
               [], "a piece at an odd offset")
    ktap.equal(check_answer(_answer([], 3 * UNIT, UNIT), before, after, _WRITES), [], "nothing changed")
    ktap.equal(check_answer(_answer([], SIZE, 0), before, after, _WRITES), [], "at the disk's end")
    ktap.equal(check_answer(_answer(_RIGHT[:1], processed=10 * UNIT), before, after, _WRITES), [], "a first page")
    ktap.equal(check_answer(_answer([(0, SIZE)], coarse=True), before, after, _WRITES), [], "a coarse answer")
    ktap.equal(check_answer(_answer([(0, 13 * UNIT), (4 * MIB, 512)]), before, after, _WRITES, min_gap=9 * UNIT),
               [], "small gaps closed")
    ktap.equal(check_answer(_answer([(0, 65536), (131072, 131072), (4 * MIB, 512)]), before, after, _WRITES,
                              granularity=65536), [], "a larger granularity")


def test_wrong_answers(scratch):
    before, after = _disks(scratch, _WRITES)
    for word, answer in (
            ("no range covers", _answer(_RIGHT[1:])),
            ("no range covers", _answer([(0, UNIT), *_RIGHT[1:]])),
            ("no range covers", _answer(_RIGHT[:2])),
            ("not written", _answer([(0, 3 * UNIT), *_RIGHT[1:]])),
            ("touches", _answer([(0, UNIT), (UNIT, UNIT), *_RIGHT[1:]])),
            ("starts before", _answer([*_RIGHT[1:], _RIGHT[0]])),
            ("starts before", _answer([(0, 2 * UNIT), (UNIT, UNIT), *_RIGHT[1:]])),
            ("not inside", _answer([(0, 2 * UNIT), (10 * UNIT, 3 * UNIT), (4 * MIB, UNIT)])),
            ("not inside", _answer([(0, 2 * UNIT)], UNIT, UNIT)),
            ("is empty", _answer([(0, 2 * UNIT), (5 * UNIT, 0), *_RIGHT[1:]])),
            ("processed only", _answer([], processed=0)),
            ("processed", _answer(_RIGHT, processed=SIZE + 1))):
        wrong = check_answer(answer, before, after, _WRITES)
        ktap.check(any(word in sentence for sentence in wrong), f"{word!r} not found in {wrong}")


def test_cutting(scratch):
    """Any cut of a right answer is right, and joins to the same; a lost range is found."""
    rng = random.Random(2)
    before, after = _disks(scratch, _WRITES)
    whole, ways = RangeSet.of_lengths(_RIGHT), []
    for _ in range(20):
        cuts = sorted({0, SIZE, *(rng.randrange(SIZE) for _ in range(5))})
        pages = [_answer(whole.clip(a, b).lengths(), a, b - a) for a, b in zip(cuts, cuts[1:])]
        for page in pages:
            ktap.equal(check_answer(page, before, after, _WRITES), [], "a page")
        ktap.equal(check_answer(join(pages), before, after, _WRITES), [], "joined pages")
        ways.append(pages)
    ktap.equal(same_answer(ways), None, "all ways")
    ways[7] = [_answer([])]
    ktap.check("way 7" in same_answer(ways), "a different way must be found")
    try:
        join([_answer([], 0, UNIT), _answer([], 2 * UNIT, UNIT)])
    except ValueError:
        return
    raise AssertionError("pages with a gap were joined")


def test_compare(scratch):
    """Against a byte by byte comparison, dense and sparse."""
    rng = random.Random(3)
    for spots in (1, 20, 20000):
        before, after = scratch / "a", scratch / "b"
        disk = bytearray(rng.randbytes(MIB) + bytes(MIB) + rng.randbytes(777))
        before.write_bytes(disk)
        for _ in range(spots):
            disk[rng.randrange(len(disk))] ^= rng.randrange(256)
        after.write_bytes(disk)
        old = before.read_bytes()
        exact = RangeSet((i, i + 1) for i, (x, y) in enumerate(zip(old, disk)) if x != y)
        ktap.equal(compare(before, after), exact, f"{spots} bytes")
        for unit in (512, 4096, UNIT):
            ktap.equal(compare(before, after, unit), exact.widened(unit).clip(0, len(disk)), f"units of {unit}")


def test_compare_sparse(scratch):
    before, after = scratch / "a", scratch / "b"
    for path, data in ((before, b"x"), (after, b"y")):
        with open(path, "wb") as file:
            file.truncate(1 << 40)
            file.seek(1 << 39)
            file.write(data)
    ktap.equal(list(compare(before, after)), [(1 << 39, (1 << 39) + 1)], "one byte in 1 TiB")


def test_timeline(_):
    line = Timeline(SIZE)
    line.write(0, 10)
    ktap.equal(line.seal(), 1, "first point")
    line.write(100, 10)
    ktap.equal(line.seal(), 2, "second point")
    line.write(200, 10)
    line.write(300, 10, first=1)
    for limit, target, wanted in ((1, None, [(100, 110), (200, 210), (300, 310)]), (1, 2, [(100, 110), (300, 310)]),
                                  (2, None, [(200, 210), (300, 310)]), (2, 2, []), (0, 1, [(0, 10)])):
        ktap.equal(list(line.written(limit, target)), wanted, f"{limit} to {target}")
