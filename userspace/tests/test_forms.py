# SPDX-License-Identifier: GPL-2.0-only
"""Changes range by range, as a bitmap, in larger granules, with small gaps closed."""
import ctypes
import errno
import random
import sys

from common import (ID, TREE, PointId, Range, attached, ctl, directory, load_library, make_image,
                    make_sidecar)

sys.path.append(str(TREE / "selftests/oracle"))

import vhdxoracle  # noqa: E402

MIB = 1 << 20
SIZE, UNIT = 64 * MIB, 4096
TO_END = (1 << 64) - 1
COUNT, BITMAP = 2, 1

library = load_library()
library.vhdx_changes_position.restype = ctypes.c_uint64
library.vhdx_bitmap_bytes.restype = ctypes.c_uint64
library.vhdx_bitmap_bytes.argtypes = [ctypes.c_uint64, ctypes.c_uint64]


class Changes(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("limit", PointId), ("target", PointId),
                ("offset", ctypes.c_uint64), ("length", ctypes.c_uint64),
                ("range_size", ctypes.c_size_t), ("flags", ctypes.c_uint),
                ("unit", ctypes.c_uint32), ("processed", ctypes.c_uint64),
                ("disk_size", ctypes.c_uint64), ("changed_bytes", ctypes.c_uint64),
                ("disk_seq", ctypes.c_uint64), ("gap_time_ns", ctypes.c_uint64),
                ("answer_flags", ctypes.c_uint32), ("granularity", ctypes.c_uint64),
                ("min_gap", ctypes.c_uint64)]


class Bitmap(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("limit", PointId), ("target", PointId),
                ("offset", ctypes.c_uint64), ("length", ctypes.c_uint64),
                ("granularity", ctypes.c_uint64), ("processed", ctypes.c_uint64),
                ("disk_size", ctypes.c_uint64), ("answer_flags", ctypes.c_uint32)]


class Disk:
    """A file with one delta behind its point."""

    def __init__(self, path, pieces, make=True, point=None):
        self.image = make_image(path, SIZE) if make else path
        if point:
            self.point = point
        else:
            self.point, = make_sidecar(self.image, "seal a\n" + "".join(
                f"mark {offset} {length}\n" for offset, length in pieces), UNIT)
        self.units = {unit for offset, length in pieces or ()
                      for unit in range(offset // UNIT, (offset + length - 1) // UNIT + 1)}
        self.handle = ctypes.c_void_p()
        assert not library.vhdx_disk_open(str(self.image).encode(), None, 0,
                                          ctypes.byref(self.handle))

    def close(self):
        library.vhdx_disk_close(self.handle)

    def question(self, kind, **fields):
        question = kind(size=ctypes.sizeof(kind), length=TO_END, **fields)
        assert not library.vhdx_id_parse(self.point.encode(), ctypes.byref(question.limit))
        return question

    def begin(self, **fields):
        question, it = self.question(Changes, **fields), ctypes.c_void_p()
        err = library.vhdx_changes_begin(self.handle, ctypes.byref(question), ctypes.byref(it))
        assert bool(it) == (not err)
        return err or it

    def expected(self, granularity=UNIT, min_gap=0):
        granules = sorted({unit * UNIT // granularity for unit in self.units})
        ranges = []
        for start, end in ((g * granularity, min((g + 1) * granularity, SIZE)) for g in granules):
            if ranges and (start == ranges[-1][1] or start - ranges[-1][1] < min_gap):
                ranges[-1][1] = end
            else:
                ranges.append([start, end])
        return [(start, end - start) for start, end in ranges]


def take(it):
    """The next range, None at the end, or what was wrong."""
    found = Range()
    got = library.vhdx_changes_next(it, ctypes.byref(found), ctypes.sizeof(found))
    return (found.offset, found.length) if got == 1 else got or None


def end(it):
    answer = Changes(size=ctypes.sizeof(Changes))
    return library.vhdx_changes_end(it, ctypes.byref(answer)), answer


def scattered(seed, count):
    rng = random.Random(seed)
    return [(rng.randrange(SIZE - 20000), rng.choice((1, 512, 20000))) for _ in range(count)]


def test_range_by_range():
    """More ranges than a call brings, and where it came to at each of them."""
    with directory() as path:
        # Every second unit: 8192 ranges.
        disk = Disk(path / "disk.vhdx", [(n * 2 * UNIT, 1) for n in range(SIZE // UNIT // 2)])
        it, told = disk.begin(), []
        while one := take(it):
            told.append(one)
            assert sum(one) <= library.vhdx_changes_position(it) <= one[0] + 2 * UNIT
        assert told == disk.expected()
        assert take(it) is None and library.vhdx_changes_position(it) == SIZE
        err, answer = end(it)
        assert not err
        assert (answer.processed, answer.changed_bytes, answer.unit, answer.disk_size) == \
            (SIZE, SIZE // 2, UNIT, SIZE)
        # Gaps are closed across calls, too.
        it = disk.begin(min_gap=UNIT + 1)
        assert take(it) == (0, SIZE - UNIT) and take(it) is None
        err, answer = end(it)
        assert not err and answer.changed_bytes == SIZE - UNIT
        disk.close()


def flagged(disk, **fields):
    """[(offset, length, flags)] of what the iterator tells, and the sum."""
    it, told, found = disk.begin(**fields), [], Range()
    while library.vhdx_changes_next(it, ctypes.byref(found), ctypes.sizeof(found)) == 1:
        told.append((found.offset, found.length, found.flags))
    err, answer = end(it)
    assert not err
    return told, answer.changed_bytes


def test_zeroes():
    """Split where they begin and end; whole for who asks for no flags, or where a parent is missing."""
    with directory() as path:
        parent, child = path / "parent.vhdx", path / "disk.vhdx"
        vhdxoracle.create(parent, SIZE, block_size=MIB, content=[(9 * MIB, b"p" * 512)])
        vhdxoracle.create(child, SIZE, block_size=MIB, parent=parent, states={9: "NOT_PRESENT"},
                          content=[(3 * MIB, b"c" * MIB), (5 * MIB + 512, b"c" * 512)])
        disk = Disk(child, [(0, 12 * MIB), (20 * MIB, MIB)], make=False)
        wanted = [(0, 3 * MIB, 1), (3 * MIB, MIB, 0), (4 * MIB, MIB, 1), (5 * MIB, UNIT, 0),
                  (5 * MIB + UNIT, 4 * MIB - UNIT, 1), (9 * MIB, MIB, 0), (10 * MIB, 2 * MIB, 1),
                  (20 * MIB, MIB, 1)]
        assert flagged(disk) == (wanted, 13 * MIB), flagged(disk)
        whole = [(0, 12 * MIB, 0), (20 * MIB, MIB, 0)]
        assert flagged(disk, range_size=16) == (whole, 13 * MIB)
        assert flagged(disk, min_gap=5 * MIB)[0] == [whole[0], (20 * MIB, MIB, 1)]
        # What was joined over a gap is zeroes only if all of it is.
        assert flagged(disk, min_gap=9 * MIB)[0] == \
            [(0, 10 * MIB, 0), (10 * MIB, 11 * MIB, 1)]
        disk.close()
        parent.unlink()
        disk = Disk(child, None, make=False, point=disk.point)
        assert flagged(disk) == (whole, 13 * MIB)
        disk.close()


def test_zeroes_across_calls():
    """What the end of a call cuts is one again, but for what its flags tell apart."""
    with attached() as (fake, _):
        fake.write("ranges.0", "".join(f"{at} 4096 {flags}\n" for at, flags in (
            (0, 1), (4096, 1), (8192, 0), (12288, 0), (20480, 0), (24576, 1), (32768, 1), (36864, 0))))
        fake.write("step.0", "4096")

        def told(*arguments):
            reply = fake.ctl("changes", "0", "--since", ID, "--length", 40960, "--json",
                             *arguments).expect(0).json
            return [(one["offset"], one["length"], one["zero"]) for one in reply["ranges"]]
        assert told() == [(0, 8192, True), (8192, 8192, False), (20480, 4096, False),
                          (24576, 4096, True), (32768, 4096, True), (36864, 4096, False)]
        assert told("--min-gap", 8192) == [
            (0, 8192, True), (8192, 16384, False), (24576, 4096, True), (32768, 4096, True),
            (36864, 4096, False)]


def test_tail_is_not_lost():
    """Who stops early is told so, and can go on."""
    with directory() as path:
        disk = Disk(path / "disk.vhdx", scattered(1, 50))
        for stop in (0, 1, 5):
            it = disk.begin()
            told = [take(it) for _ in range(stop)]
            position = library.vhdx_changes_position(it)
            err, answer = end(it)
            assert err == -errno.ECANCELED
            assert f"before offset {position}".encode() in library.vhdx_error_message()
            it = disk.begin(offset=position)
            while one := take(it):
                told.append(one)
            assert not end(it)[0] and told == disk.expected()
        disk.close()


def test_failures_stay():
    with directory() as path:
        disk = Disk(path / "disk.vhdx", scattered(2, 5))
        it = disk.begin(offset=SIZE + 1)
        for _ in range(3):
            assert take(it) == -errno.EINVAL
        assert end(it)[0] == -errno.EINVAL
        # Nothing is asked about, and that can be wrong, too.
        question, it = disk.question(Changes), ctypes.c_void_p()
        question.length, question.limit.sequence = 0, 99
        assert not library.vhdx_changes_begin(disk.handle, ctypes.byref(question),
                                              ctypes.byref(it))
        assert take(it) == -errno.ENODATA and end(it)[0] == -errno.ENODATA
        assert disk.begin(flags=COUNT) == -errno.EINVAL
        assert disk.begin(flags=BITMAP) == -errno.EINVAL
        it = disk.begin(granularity=UNIT // 2)
        assert take(it) == -errno.EINVAL and end(it)[0] == -errno.EINVAL
        disk.close()


def test_granules_and_gaps():
    """Ranges, bits and the command say the same."""
    rng = random.Random(3)
    with directory() as path:
        for number in range(6):
            disk = Disk(path / f"{number}.vhdx", scattered(number, rng.choice((0, 1, 20, 300))))
            granularity, min_gap = UNIT << rng.randrange(8), rng.choice((0, 5000, 1 << 20))
            it, told = disk.begin(granularity=granularity, min_gap=min_gap), []
            while one := take(it):
                told.append(one)
            assert not end(it)[0] and told == disk.expected(granularity, min_gap)
            reply = ctl("changes", disk.image, "--since", disk.point, "--json", "--granularity",
                        granularity, "--min-gap", min_gap).expect(0).json
            assert [(r["offset"], r["length"]) for r in reply["ranges"]] == told
            assert reply["changed_bytes"] == sum(length for _, length in told)
            check_bits(disk, granularity)
            disk.close()


def check_bits(disk, granularity):
    size = library.vhdx_bitmap_bytes(SIZE, granularity)
    assert size == -(-SIZE // granularity // 64) * 8
    bits = (ctypes.c_uint8 * (size + 16))(*[0xff] * (size + 16))
    bitmap = disk.question(Bitmap, granularity=granularity)
    assert not library.vhdx_disk_get_change_bitmap(disk.handle, ctypes.byref(bitmap), bits,
                                                   size + 8)
    number = int.from_bytes(bytes(bits[:size + 8]), "little")
    assert {g for g in range(-(-SIZE // granularity)) if number >> g & 1} == \
        {unit * UNIT // granularity for unit in disk.units}
    assert number >> SIZE // granularity == 0 and bytes(bits[size + 8:]) == b"\xff" * 8
    assert (bitmap.processed, bitmap.length, bitmap.disk_size) == (SIZE, SIZE, SIZE)


def test_bitmaps_that_can_not_be():
    with directory() as path:
        disk = Disk(path / "disk.vhdx", scattered(4, 5))
        bits = (ctypes.c_uint8 * 8192)()

        def ask(size=8192, **fields):
            bitmap = disk.question(Bitmap)
            for name, value in fields.items():
                setattr(bitmap, name, value)
            return library.vhdx_disk_get_change_bitmap(disk.handle, ctypes.byref(bitmap), bits,
                                                       size), bitmap
        err, bitmap = ask()
        assert not err and bitmap.granularity == UNIT
        assert ask(2040)[0] == -errno.EINVAL
        assert b"2048 are needed" in library.vhdx_error_message()
        for fields in ({"offset": UNIT}, {"granularity": 3 * UNIT}, {"granularity": 512},
                       {"offset": 64 * UNIT, "granularity": 2 * UNIT}, {"length": SIZE + 1}):
            assert ask(**fields)[0] == -errno.EINVAL, fields
        assert not ask(8, offset=SIZE)[0]
        # Bits from the middle on.
        err, bitmap = ask(offset=128 * UNIT, length=64 * UNIT + 1)
        number = int.from_bytes(bytes(bits), "little")
        assert not err and number == sum(1 << unit - 128 for unit in disk.units
                                         if 128 <= unit < 193)
        disk.close()
        untracked = make_image(path / "untracked.vhdx")
        assert not library.vhdx_disk_open(str(untracked).encode(), None, 0,
                                          ctypes.byref(disk.handle))
        assert ask(0)[0] == -errno.EOPNOTSUPP
        disk.close()
