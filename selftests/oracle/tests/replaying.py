# SPDX-License-Identifier: GPL-2.0-only
"""Dirty logs of every kind: replayed in memory to the right content, nothing written."""

import shutil

import ktap
from vhdxoracle import Editor, Image, apply_to_raw, create, dirty, open_disk, write_raw
from vhdxoracle.headers import read_copy
from vhdxoracle.layout import NULL_GUID

from .support import MIB, digest, expect_content, expect_raw, expect_valid, patches

SIZE = 24 * MIB + 8192
WAYS = ({}, {"group": 0}, {"group": 3}, {"first_empty": False}, {"guid_per_entry": True, "sequence": 1},
        {"applied": 3}, {"applied": 3, "poison": True}, {"torn": "sector"}, {"torn": "checksum"},
        {"torn": "header"}, {"stale": 4}, {"older": 4}, {"start": 77 * 4096}, {"wrap": True},
        {"wrap": True, "first_empty": False}, {"zero_pages": True}, {"zeros": [(0, 0)]},
        {"sequence": 1}, {"sequence": (1 << 64) - 100},
        {"wrap": True, "stale": 2, "older": 2, "torn": "sector", "applied": 2, "poison": True})
STATES = {3: "ZERO", 4: "UNMAPPED", 5: "NOT_PRESENT", 20: "FULLY_PRESENT", 21: "UNMAPPED+"}


def _without_log(path, copy):
    """A copy of a dirty image whose log is forgotten: what a reader sees that skips it."""
    shutil.copyfile(path, copy)
    with open(copy, "r+b") as file, Image(path) as image:
        for slot in (0, 1):
            header = read_copy(image.container, slot)
            file.seek(header.offset)
            file.write(header.header.changed(log_guid=NULL_GUID).pack())


def test_ways_of_logging(scratch):
    clean, path, raw = (str(scratch / name) for name in ("clean.vhdx", "disk.vhdx", "disk.raw"))
    for sector in (512, 4096):
        create(clean, SIZE, block_size=MIB, logical_sector=sector, content=patches(SIZE, 6, 1, sector=sector))
        writes = patches(SIZE, 8, 2, longest=1500000, sector=sector)
        for way in WAYS:
            shutil.copyfile(clean, path)
            with open_disk(path) as image:
                write_raw(image, raw)
                apply_to_raw(raw, image.geometry, writes, STATES)
            dirty(path, writes, STATES, seed=7, **way)
            before = digest(path)
            expect_raw(path, raw, f"{sector} {way}")
            expect_valid(path, clean=False, strict=False)
            ktap.equal(digest(path), before, f"container after reading it ({way})")


def test_log_is_decisive(scratch):
    """Without replay the content is another one, so a missed replay is noticed."""
    path, copy = str(scratch / "disk.vhdx"), str(scratch / "copy.vhdx")
    create(path, SIZE, block_size=MIB, content=[(0, b"old" * 1000)])
    dirty(path, [(5 * MIB, b"new" * 1000)], {0: "ZERO"})
    _without_log(path, copy)
    with open_disk(path) as replayed, open_disk(copy) as ignored:
        ktap.equal(replayed.read(5 * MIB, 3), b"new", "replayed")
        ktap.equal(replayed.read(0, 3), bytes(3), "replayed")
        ktap.equal(ignored.read(5 * MIB, 3), bytes(3), "not replayed")
        ktap.equal(ignored.read(0, 3), b"old", "not replayed")


def test_every_slot_of_a_page(scratch):
    """Each of the 512 entries of a BAT page, and of its neighbours', changed in the log."""
    path = str(scratch / "disk.vhdx")
    create(path, 1030 * MIB, block_size=MIB, content=[(b * MIB, b"old") for b in range(0, 1030, 5)])
    writes = [(b * MIB + 512, b.to_bytes(2, "little") * 256) for b in range(1030)]
    dirty(path, writes, group=103)
    with open_disk(path) as image:
        for block in range(1030):
            ktap.equal(image.read(block * MIB, 1024),
                       (b"" if block % 5 else b"old").ljust(512, b"\0") + block.to_bytes(2, "little") * 256,
                       f"block {block}")


def test_long_log(scratch):
    """A wrapped log of 8 MiB that is nearly full."""
    path = str(scratch / "disk.vhdx")
    create(path, 1030 * MIB, block_size=MIB, log_length=8 * MIB)
    writes = [(b * MIB, b.to_bytes(2, "little") * 256) for b in range(1000)]
    dirty(path, writes, start=5 * MIB)
    with open_disk(path) as image:
        ktap.equal(len(image.sequence.replayed), 1001, "entries")
        for offset, data in writes:
            ktap.equal(image.read(offset, 512), data, f"block at {offset}")


def test_log_without_changes(scratch):
    path = str(scratch / "disk.vhdx")
    create(path, SIZE, content=[(0, b"content")])
    dirty(path)
    with open_disk(path) as image:
        ktap.check(image.is_dirty, "the log is dirty")
        ktap.equal(image.read(0, 7), b"content", "content")


def test_child_with_dirty_log(scratch):
    """Sector bitmaps go through the log too, new ones and changes of old ones."""
    for sector in (512, 4096):
        parent, child, raw = (str(scratch / name) for name in ("parent.vhdx", "child.vhdx", "disk.raw"))
        create(parent, SIZE, block_size=4 * MIB, logical_sector=sector, content=patches(SIZE, 9, 4, sector=sector))
        for old in ((), patches(SIZE, 3, 5, sector=sector)):
            create(child, parent=parent, block_size=MIB, content=old)
            with open_disk(child) as image:
                write_raw(image, raw)
                writes = patches(SIZE, 8, 6, longest=1500000, sector=sector)
                apply_to_raw(raw, image.geometry, writes, {7: "ZERO", 8: "UNMAPPED"})
            dirty(child, writes, {7: "ZERO", 8: "UNMAPPED"}, group=2)
            expect_raw(child, raw, f"dirty child of sector size {sector}")
            expect_valid(child, clean=False)


def test_dirty_needs_a_clean_image(scratch):
    path = str(scratch / "disk.vhdx")
    create(path, SIZE)
    dirty(path, [(0, b"x" * 512)])
    try:
        Editor(path)
    except ValueError as error:
        ktap.check("dirty" in str(error), str(error))
    else:
        raise AssertionError("a dirty image was edited")


def test_full_ring(scratch):
    """A sequence that takes the whole ring ends the scan."""
    path = str(scratch / "disk.vhdx")
    create(path, 300 * MIB, block_size=MIB)
    dirty(path, [(b * MIB, b"f" * 512) for b in range(128)], first_empty=False)
    with open_disk(path) as image:
        ktap.equal(len(image.sequence.replayed), 128, "entries")
    expect_content(path, b"".join(b"f" * 512 + bytes(MIB - 512) for _ in range(128)) + bytes(172 * MIB), "full ring")
