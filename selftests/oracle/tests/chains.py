# SPDX-License-Identifier: GPL-2.0-only
"""Differencing disks: chains against a plain byte array, and broken links."""

import random

import ktap
from vhdxoracle import VhdxError, create, open_disk

from .support import MIB, expect_content, expect_valid, patched, patches

SIZE = 12 * MIB + 4096


def test_random_chains(scratch):
    """Layers with different block sizes, states, order of blocks; whole and partial blocks."""
    for seed, sector in ((1, 512), (2, 4096), (3, 512), (4, 4096)):
        rng = random.Random(seed)
        disk, parent = bytearray(SIZE), None
        for depth in range(5):
            path = str(scratch / f"{seed}-{depth}.vhdx")
            block = rng.choice((1, 2, 4, 8)) * MIB
            writes = patches(SIZE, 5, seed * 10 + depth, longest=3 * MIB, sector=sector)
            free = set(range(-(-SIZE // block)))
            free -= {b for o, d in writes for b in range(o // block, (o + len(d) - 1) // block + 1)}
            states = {b: rng.choice(("ZERO", "UNMAPPED", "UNMAPPED+", "UNDEFINED+", "FULLY_PRESENT", "NOT_PRESENT"))
                      for b in sorted(free)}
            create(path, None if parent else SIZE, parent=parent, block_size=block, logical_sector=sector,
                   content=writes, states=states, seed=seed, shuffle=depth % 2 == 1)
            expect_valid(path)
            disk = patched(SIZE, writes, disk)
            for number, state in states.items():
                if state != "NOT_PRESENT":
                    disk[number * block:min((number + 1) * block, SIZE)] = bytes(min(block, SIZE - number * block))
            expect_content(path, disk, f"seed {seed}, {depth} parents")
            parent = path


def test_alternating_sectors(scratch):
    """One sector here, the next one from the parent."""
    parent, child = str(scratch / "p.vhdx"), str(scratch / "c.vhdx")
    create(parent, 4 * MIB, content=[(0, b"p" * 4 * MIB)])
    writes = [(n * 1024, b"c" * 512) for n in range(100)] + [(2 * MIB - 512, b"l" * 512)]
    create(child, parent=parent, content=writes)
    expect_content(child, patched(4 * MIB, writes, b"p" * 4 * MIB), "alternating sectors")


def test_whole_block_ignores_bitmap(scratch):
    """FULLY_PRESENT in a chunk with a bitmap whose bits say otherwise."""
    parent, child = str(scratch / "p.vhdx"), str(scratch / "c.vhdx")
    create(parent, 6 * MIB, content=[(0, b"p" * 6 * MIB)])
    writes = [(0, b"c" * 512), (2 * MIB, b"w" * 2 * MIB)]
    create(child, parent=parent, content=writes, states={2: "FULLY_PRESENT"})
    expect_content(child, patched(6 * MIB, writes + [(4 * MIB, bytes(2 * MIB))], b"p" * 6 * MIB), "whole block")


def test_larger_child(scratch):
    """What lies behind the parent's end is zeros."""
    parent, child = str(scratch / "p.vhdx"), str(scratch / "c.vhdx")
    create(parent, 3 * MIB, content=[(0, b"p" * 3 * MIB)])
    create(child, 9 * MIB, parent=parent, content=[(8 * MIB, b"c" * 512)])
    expect_content(child, patched(9 * MIB, [(8 * MIB, b"c" * 512)], b"p" * 3 * MIB), "larger child")


def test_bitmaps_of_several_chunks(scratch):
    """256 MiB blocks: a bitmap for each 16 of them."""
    parent, child, size = str(scratch / "p.vhdx"), str(scratch / "c.vhdx"), 40 * 256 * MIB
    create(parent, size, block_size=256 * MIB)
    places = [256 * MIB * n + at for n in (0, 15, 16, 31, 32, 39) for at in (0, 256 * MIB - 512)]
    create(child, parent=parent, block_size=256 * MIB, content=[(at, at.to_bytes(8, "big") * 64) for at in places])
    expect_valid(child)
    with open_disk(child) as image:
        ktap.equal([chunk for chunk, _, _ in image.bitmap_blocks()], [0, 1, 2], "chunks with bitmaps")
        for at in places:
            ktap.equal(image.read(at, 512), at.to_bytes(8, "big") * 64, f"sector at {at}")


def _expect_refused(path, word):
    try:
        open_disk(path).close()
    except VhdxError as error:
        ktap.check(word in str(error), f"{error} does not mention {word}")
    else:
        raise AssertionError(f"{path} was opened")


def test_broken_links(scratch):
    parent, child = str(scratch / "p.vhdx"), str(scratch / "c.vhdx")
    create(parent, 4 * MIB)
    create(child, parent=parent)
    (scratch / "p.vhdx").rename(scratch / "elsewhere.vhdx")
    _expect_refused(child, "not found")
    open_disk(child, [str(scratch / "elsewhere.vhdx")]).close()
    create(parent, 4 * MIB)
    _expect_refused(child, "DataWriteGuid")


def test_cycle(scratch):
    """A child that is its own parent."""
    child = str(scratch / "c.vhdx")
    create(str(scratch / "p.vhdx"), 4 * MIB, seed=1)
    create(child, parent=str(scratch / "p.vhdx"), seed=2)
    with open_disk(child) as image:
        own = "{" + str(image.header.data_write_guid) + "}"
    create(child, parent=str(scratch / "p.vhdx"), seed=2,
           pairs={"parent_linkage": own, "relative_path": ".\\c.vhdx"})
    _expect_refused(child, "back to itself")
