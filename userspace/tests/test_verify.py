# SPDX-License-Identifier: GPL-2.0-only
"""`vhdxctl verify`: a delta that misses a byte is found, and one that does not is believed."""
import errno
import random
import sys

from common import TREE, ID, ctl, directory, make_image, make_sidecar

sys.path.append(str(TREE / "selftests/oracle"))

import vhdxoracle  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
SIZE, UNIT = 16 * MIB, 16384


def make_disk(path, pieces, marks, block_size=MIB):
    """A file with content, and a sidecar in which this is marked since its one point."""
    vhdxoracle.create(path, SIZE, block_size=block_size, content=pieces)
    point, = make_sidecar(path, "seal a\n" + "".join(f"mark {at} {n}\n" for at, n in marks))
    return point


def old_image(path, pieces, size=SIZE):
    with open(path, "wb") as file:
        for at, data in pieces:
            file.seek(at)
            file.write(data)
        file.truncate(size)
    return path


def verify(image, base, point, *options):
    return ctl("verify", "--base", base, "--since", point, "--json", image, *options)


def missed(done):
    """What it tells of, as (offset, length); the first is in the message."""
    reply = done.json
    found = [(one["offset"], one["length"]) for one in reply["ranges"]]
    assert reply["complete"] == (not found) and done.code == bool(found), done.err
    assert (f"at offset {found[0][0]} it differs" in done.err) if found else not done.err
    return found


def test_complete():
    """All that differs is marked: new, changed, and gone."""
    rng = random.Random(3)
    with directory() as path:
        before = [(at * UNIT, rng.randbytes(UNIT)) for at in (3, 70, 200, 900)]
        after = [before[0], (70 * UNIT, rng.randbytes(UNIT)), before[2], (500 * UNIT, b"new")]
        base = old_image(path / "old.raw", before)
        point = make_disk(path / "disk.vhdx", after,
                          [(70 * UNIT, 1), (500 * UNIT, 1), (900 * UNIT, UNIT)])
        done = verify(path / "disk.vhdx", base, point)
        assert not missed(done)
        reply = done.json
        assert (reply["changed_bytes"], reply["compared_bytes"], reply["size"]) == \
            (3 * UNIT, SIZE - 3 * UNIT, SIZE)
        assert (reply["limit"], reply["target"], reply["disk_seq"]) == (point, None, None)
        done = ctl("verify", "--base", base, "--since", point, path / "disk.vhdx").expect(0)
        assert done.lines == ["complete: 49152 may have changed, and the other "
                              f"{SIZE - 49152} are as they were"]


def test_each_byte():
    """One byte, wherever it lies: at an edge of the delta, a block, a window, and the disk."""
    with directory() as path:
        data = bytes(range(1, 256)) * 65
        pieces = [(at, data[:UNIT]) for at in (0, MIB - UNIT, MIB, 5 * MIB, SIZE - UNIT)]
        marks = [(5 * MIB, UNIT), (8 * MIB, UNIT)]
        point = make_disk(path / "disk.vhdx", pieces, marks)
        base = old_image(path / "old.raw", pieces)
        assert not missed(verify(path / "disk.vhdx", base, point))
        for at in (0, 1, 4095, UNIT, MIB - 1, MIB, 5 * MIB - 1, 5 * MIB + UNIT, 7 * MIB + 12345,
                   8 * MIB - 1, 8 * MIB + UNIT, SIZE - 1):
            with open(base, "r+b") as file:
                file.seek(at)
                old = file.read(1)
                file.seek(at)
                file.write(bytes([old[0] ^ 255]))
                file.flush()
                assert missed(verify(path / "disk.vhdx", base, point)) == [(at, 1)]
                file.seek(at)
                file.write(old)
        # What is in the delta may differ as it likes.
        with open(base, "r+b") as file:
            for at in (5 * MIB, 5 * MIB + UNIT - 1, 8 * MIB):
                file.seek(at)
                file.write(b"\x00\xff")
        assert missed(verify(path / "disk.vhdx", base, point)) == [(5 * MIB + UNIT, 1)]


def test_range_that_is_left_out():
    """The same disk with a delta that lacks one of its ranges."""
    with directory() as path:
        marks = [(n * MIB, 3 * UNIT) for n in range(1, 9)]
        pieces = [(at, b"n" * length) for at, length in marks]
        base = old_image(path / "old.raw", [])
        point = make_disk(path / "disk.vhdx", pieces, marks)
        assert not missed(verify(path / "disk.vhdx", base, point))
        for gone in marks:
            (path / "disk.vhdx").unlink()
            point = make_disk(path / "disk.vhdx", pieces, [one for one in marks if one != gone])
            done = verify(path / "disk.vhdx", base, point)
            assert missed(done) == [gone], done.out
        # Several, each by itself; near ones together.
        (path / "disk.vhdx").unlink()
        point = make_disk(path / "disk.vhdx", [*pieces, (100, b"a"), (4000, b"b")], marks[2:])
        done = verify(path / "disk.vhdx", base, point)
        assert missed(done) == [(100, 3901), *marks[:2]] and "there is more" in done.err
        done = ctl("verify", "--base", base, "--since", point, path / "disk.vhdx")
        assert [line.split() for line in done.lines] == [
            ["OFFSET", "LENGTH"], ["100", "3901"], *([str(at), str(n)] for at, n in marks[:2])]


def test_sectors_of_4096():
    with directory() as path:
        vhdxoracle.create(path / "disk.vhdx", SIZE, block_size=MIB, logical_sector=4096,
                          content=[(3 * MIB + 4096, b"x" * 4096)])
        point, = make_sidecar(path / "disk.vhdx", "seal a\n")
        base = old_image(path / "old.raw", [(3 * MIB + 4096, b"x" * 4095 + b"y")])
        assert missed(verify(path / "disk.vhdx", base, point)) == [(3 * MIB + 8191, 1)]


def test_chain():
    """What a parent has counts; and what a child has sectors of."""
    with directory() as path:
        content = [[(n * 3 * MIB + 512 * n, bytes([n + 1]) * 1024)] for n in range(3)]
        for n, name in enumerate(("base", "middle", "leaf")):
            vhdxoracle.create(path / f"{name}.vhdx", SIZE, block_size=MIB, content=content[n],
                              parent=path / ("base.vhdx", "middle.vhdx")[n - 1] if n else None)
        leaf = path / "leaf.vhdx"
        point, = make_sidecar(leaf, "seal a\n")
        base = old_image(path / "old.raw", sum(content, []))
        assert not missed(verify(leaf, base, point))
        old_image(base, content[0] + content[2])
        assert missed(verify(leaf, base, point)) == [(3 * MIB + 512, 1024)]


def test_until_a_point():
    with directory() as path:
        vhdxoracle.create(path / "disk.vhdx", SIZE, block_size=MIB,
                          content=[(MIB, b"a"), (2 * MIB, b"b")])
        a, b = make_sidecar(path / "disk.vhdx", f"seal a\nmark {MIB} 1\nseal b\nmark {2 * MIB} 1\n")
        base = old_image(path / "old.raw", [])
        assert not missed(verify(path / "disk.vhdx", base, a))
        assert missed(verify(path / "disk.vhdx", base, a, "--target", b)) == [(2 * MIB, 1)]


def test_holes_are_not_read():
    """64 TB of nothing, twice: in no time, and what is in them is seen."""
    with directory() as path:
        size = 1 << 46
        vhdxoracle.create(path / "disk.vhdx", size, block_size=256 * MIB)
        point, = make_sidecar(path / "disk.vhdx", "seal a\n", unit=1 << 20)
        # The largest file that ext4 has is not as large: then the disk is smaller.
        try:
            base = old_image(path / "old.raw", [], size)
        except OSError:
            size = 1 << 43
            (path / "disk.vhdx").unlink()
            vhdxoracle.create(path / "disk.vhdx", size, block_size=256 * MIB)
            point, = make_sidecar(path / "disk.vhdx", "seal a\n", unit=1 << 20)
            base = old_image(path / "old.raw", [], size)
        assert not missed(verify(path / "disk.vhdx", base, point))
        with open(base, "r+b") as file:
            file.seek(size - 5)
            file.write(b"x")
        assert missed(verify(path / "disk.vhdx", base, point)) == [(size - 5, 1)]


def test_what_can_not_be_compared():
    with directory() as path:
        image = make_image(path / "disk.vhdx", SIZE)
        base = old_image(path / "old.raw", [])
        verify(image, base, ID).expect_error(3, errno.EOPNOTSUPP, "disabled", "full backup")
        point, = make_sidecar(image, "seal a\n")
        verify(image, base, ID).expect_error(3, errno.ENODATA, "id_missing", "full backup")
        verify(image, base, "x").expect_error(3, errno.EINVAL, "id_malformed")
        for size in (SIZE - 1, SIZE + 512, 0):
            old_image(base, [], size)
            verify(image, base, point).expect_error(
                1, errno.EINVAL, "argument", f"{base}: it has {size} bytes, and the disk {SIZE}",
                "`vhdxctl convert --type raw`")
        verify(image, path / "none", point).expect_error(
            1, errno.ENOENT, None, f"{path}/none: it can't be opened: No such file")
        verify(image, path, point).expect_error(1, errno.EINVAL, "argument", "neither a file")
        verify(path / "none", base, point).expect_error(1, errno.ENOENT, None, "none")
