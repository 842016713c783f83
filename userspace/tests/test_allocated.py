# SPDX-License-Identifier: GPL-2.0-only
"""What a file that is not attached has, with its parents."""
import ctypes
import errno
import random
import sys

from common import TREE, Range, ctl, directory, load_library, make_image

sys.path.append(str(TREE / "selftests/oracle"))

import vhdxoracle  # noqa: E402

MIB = 1 << 20
TO_END = (1 << 64) - 1
ZEROES = ZERO = 1

library = load_library()
RangeFn = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Range))


class Allocated(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("flags", ctypes.c_uint),
                ("offset", ctypes.c_uint64), ("length", ctypes.c_uint64),
                ("min_gap", ctypes.c_uint64), ("processed", ctypes.c_uint64),
                ("disk_size", ctypes.c_uint64)]


def ask(path, result=0, **fields):
    """(what it returned, {flags: [(start, end)]}, the question)"""
    disk, told = ctypes.c_void_p(), {0: [], ZERO: []}
    assert not library.vhdx_disk_open(str(path).encode(), None, 0, ctypes.byref(disk))
    question = Allocated(size=ctypes.sizeof(Allocated), **{"length": TO_END} | fields)

    def tell(_, found):
        one = found[0]
        told[one.flags].append((one.offset, one.offset + one.length))
        return result
    err = library.vhdx_disk_get_allocated(disk, ctypes.byref(question), RangeFn(tell), None)
    library.vhdx_disk_close(disk)
    return err, told, question


def joined(ranges, min_gap=0):
    found = []
    for start, end in ranges:
        if found and (start == found[-1][1] or start - found[-1][1] < min_gap):
            found[-1][1] = end
        else:
            found.append([start, end])
    return [tuple(one) for one in found]


def present(path, parents=()):
    with vhdxoracle.open_disk(path, parents) as image:
        return joined((one.offset, one.offset + one.length)
                      for one in image.segments(0, image.size) if one.view)


def make_chain(path, rng, sector):
    """Three files, each with sectors here and there, and blocks that mask."""
    names = [path / f"{n}.vhdx" for n in range(3)]
    for n in (2, 1, 0):
        pieces = [(rng.randrange(16 * MIB // sector) * sector, bytes([n + 1]) * sector)
                  for _ in range(12)]
        vhdxoracle.create(names[n], 16 * MIB, block_size=MIB, logical_sector=sector,
                          parent=names[n + 1] if n < 2 else None, content=pieces,
                          states={4: "ZERO", 9: "UNMAPPED"} if n == 0 else {})
    return names


def test_chains():
    """All that some layer has, to the sector."""
    rng = random.Random(6)
    with directory() as path:
        for number, sector in enumerate((512, 4096)):
            place = path / str(number)
            place.mkdir()
            names = make_chain(place, rng, sector)
            wanted = present(names[0], names[1:])
            err, told, question = ask(names[0])
            assert not err and told == {0: wanted, ZERO: []}
            assert (question.processed, question.disk_size) == (16 * MIB, 16 * MIB)
            err, told, _ = ask(names[0], flags=ZEROES)
            assert not err and told[0] == wanted
            assert joined(sorted(told[0] + told[ZERO])) == [(0, 16 * MIB)]
            err, told, _ = ask(names[0], min_gap=MIB)
            assert not err and told[0] == joined(wanted, MIB)
            start, end = 2 * MIB + 5, 11 * MIB + 77
            err, told, _ = ask(names[0], offset=start, length=end - start)
            assert not err and told[0] == [(max(start, s), min(end, e)) for s, e in wanted
                                           if max(start, s) < min(end, e)]


def test_questions_that_fail():
    with directory() as path:
        image = make_image(path / "disk.vhdx", 16 * MIB)
        assert ask(image)[:2] == (0, {0: [], ZERO: []})
        assert ask(image, offset=16 * MIB)[0] == 0
        for fields in ({"offset": 16 * MIB + 1}, {"length": 16 * MIB + 1}, {"flags": 2},
                       {"flags": ZEROES, "min_gap": 1}):
            assert ask(image, **fields)[0] == -errno.EINVAL, fields
        assert ask(image, 3, flags=ZEROES)[0] == 3
        assert ask(image, -5, flags=ZEROES)[0] == -errno.ECANCELED


def test_parent_is_missing():
    with directory() as path:
        names = make_chain(path, random.Random(7), 512)
        names[2].unlink()
        assert ask(names[0])[0] == -errno.ENOENT
        assert b"2.vhdx" in library.vhdx_error_message(), library.vhdx_error_message()


def test_entry_that_can_not_be_used():
    """Not to tell its block would say that it is zeroes."""
    with directory() as path:
        name = path / "bad.vhdx"
        vhdxoracle.create(name, 16 * MIB, block_size=MIB, content=[(3 * MIB, b"x" * 4096)])
        with vhdxoracle.open_disk(name) as image:
            at = image.bat_offset(5)
        with open(name, "r+b") as file:
            file.seek(at)
            file.write((7 | 1 << 50).to_bytes(8, "little"))
        err, told, _ = ask(name)
        assert not err and told[0] == [(3 * MIB, 4 * MIB), (5 * MIB, 6 * MIB)]


def shown(*words):
    reply = ctl("allocated", "--json", *words).expect(0).json
    return [(one["offset"], one["offset"] + one["length"]) for one in reply["ranges"]
            if not one["zero"]], reply


def test_command():
    """What the library says, with the options of `changes`."""
    rng = random.Random(11)
    with directory() as path:
        names = make_chain(path, rng, 512)
        wanted = present(names[0], names[1:])
        found, reply = shown(names[0])
        assert found == wanted
        assert (reply["offset"], reply["length"], reply["size"], reply["disk_seq"]) == \
            (0, 16 * MIB, 16 * MIB, None)
        assert reply["allocated_bytes"] == sum(end - start for start, end in wanted)
        found, reply = shown(names[0], "--zeroes")
        assert found == wanted and len(reply["ranges"]) > len(wanted)
        assert sum(one["length"] for one in reply["ranges"]) == 16 * MIB
        assert reply["allocated_bytes"] == sum(end - start for start, end in wanted)
        assert shown(names[0], "--min-gap", "1M")[0] == joined(wanted, MIB)
        found, reply = shown(names[0], "--offset", "2M", "--length", "5M")
        assert found == [(max(2 * MIB, s), min(7 * MIB, e)) for s, e in wanted
                         if max(2 * MIB, s) < min(7 * MIB, e)]
        assert (reply["offset"], reply["length"]) == (2 * MIB, 5 * MIB)
        lines = ctl("allocated", names[0]).expect(0).lines
        assert [line.split() for line in lines] == [
            ["OFFSET", "LENGTH"], *([str(s), str(e - s)] for s, e in wanted)]
        lines = ctl("allocated", "--zeroes", names[0]).expect(0).lines
        assert lines[0].split() == ["OFFSET", "LENGTH", "ZERO"]
        assert {line.split()[2] for line in lines[1:]} == {"yes", "no"}
        ctl("allocated", names[0], "--offset", "17M").expect(1, "has only 16777216")
        names[2].unlink()
        ctl("allocated", "--json", names[0]).expect_error(1, errno.ENOENT, None, "2.vhdx")
