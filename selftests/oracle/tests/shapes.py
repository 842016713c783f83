# SPDX-License-Identifier: GPL-2.0-only
"""Images that the factory makes: valid, and with the content that was asked for."""

import random

import ktap
from vhdxoracle import Image, check, create, faults, open_disk

from .support import MIB, expect_content, expect_raw, expect_valid, patched, patches

_SIZE = 24 * MIB + 3 * 4096
_LAYOUTS = ({}, {"order": ("bat", "log", "metadata"), "gap": 3 * MIB}, {"shuffle": True, "trailing": 512},
            {"offsets": {"bat": 6 * MIB, "log": 20 * MIB}, "log_length": 3 * MIB},
            {"bat_length": 9 * MIB, "table_order": ("metadata", "bat"), "required": 0})


def test_layouts(scratch):
    writes = patches(_SIZE, 12, 1, sector=4096)
    wanted = patched(_SIZE, writes)
    path = str(scratch / "disk.vhdx")
    for number, shape in enumerate(_LAYOUTS):
        for kind, sector, block in (("dynamic", 512, MIB), ("dynamic", 4096, 8 * MIB), ("fixed", 4096, 2 * MIB)):
            create(path, _SIZE, kind=kind, logical_sector=sector, physical_sector=4096, block_size=block,
                   content=writes, seed=number, **shape)
            expect_valid(path, strict="trailing" not in shape and "required" not in shape)
            expect_content(path, wanted, f"{kind} {sector} {block} {shape}")


def test_block_sizes(scratch):
    """All of 1 to 256 MiB, the disk's end inside a block, data in its last sector."""
    path = str(scratch / "disk.vhdx")
    for shift in range(9):
        size = (3 << 20 + shift) + 512
        create(path, size, block_size=1 << 20 + shift, content=[(size - 512, b"e" * 512), (size // 2, b"m" * 999)])
        expect_valid(path)
        with open_disk(path) as image:
            ktap.equal(image.size, size, "size")
            ktap.equal(image.read(size - 512, 4096), b"e" * 512, "the last sector")
            ktap.equal(image.read(size // 2 - 1, 1001), b"\0" + b"m" * 999 + b"\0", "the middle")


def test_block_states(scratch):
    """What has no data reads as zeros, with and without (stale) space."""
    states = {1: "NOT_PRESENT", 2: "UNDEFINED", 3: "ZERO", 4: "UNMAPPED", 5: "UNDEFINED+", 6: "UNMAPPED+",
              7: "NOT_PRESENT+", 8: "ZERO+", 9: "FULLY_PRESENT"}
    path = str(scratch / "disk.vhdx")
    create(path, 11 * MIB, block_size=MIB, content=[(0, b"a" * MIB), (10 * MIB, b"z" * MIB)], states=states)
    ktap.check(not faults(check(path, clean=True)), "the states are legal")
    expect_content(path, patched(11 * MIB, [(0, b"a" * MIB), (10 * MIB, b"z" * MIB)]), "states")
    with Image(path) as image:
        for block, state in states.items():
            found, offset = image.block_entry(block)
            ktap.equal(found.name, state.rstrip("+"), f"state of block {block}")
            ktap.equal(bool(offset), state.endswith("+") or state == "FULLY_PRESENT", f"space of {block}")


def test_raw_file_as_content(scratch):
    raw, path = scratch / "disk.raw", str(scratch / "disk.vhdx")
    with open(raw, "wb") as file:
        file.truncate(1 << 30)
        for offset, data in patches(1 << 30, 10, 2):
            file.seek(offset)
            file.write(data)
    create(path, 1 << 30, content=raw)
    expect_valid(path)
    expect_raw(path, raw, "content from a raw file")


def test_64_tib(scratch):
    """First, last and chunk borders of the largest disk, with the smallest blocks."""
    path, size = str(scratch / "disk.vhdx"), 64 << 40
    places = [0, size - 512, 4096 * MIB - 512, 4096 * MIB, 4097 * MIB, size // 2, 3 * 4096 * MIB - 1024]
    create(path, size, block_size=MIB, content=[(at, (at + 1).to_bytes(8, "little") * 64) for at in places])
    expect_valid(path)
    with open_disk(path) as image:
        for at in places:
            ktap.equal(image.read(at, 512), (at + 1).to_bytes(8, "little") * 64, f"sector at {at}")
        ktap.equal(sum(len(p.strip(b"\0")) > 0 for _, p in image.data()), len(places), "pieces")


def test_reads_in_pieces(scratch):
    """Any offset and length gives the same as the whole."""
    rng, path = random.Random(5), str(scratch / "disk.vhdx")
    writes = patches(_SIZE, 9, 5)
    create(path, _SIZE, block_size=MIB, content=writes, states={3: "UNMAPPED+"}, shuffle=True)
    with open_disk(path) as image:
        whole = image.read(0, _SIZE)
        for _ in range(100):
            offset, length = rng.randrange(_SIZE), rng.randrange(3 * MIB)
            ktap.check(image.read(offset, length) == whole[offset:offset + length], f"{length} bytes at {offset}")
        ktap.equal(image.read(_SIZE, 5), b"", "behind the end")


def test_seed_repeats(scratch):
    for name in ("a", "b"):
        create(scratch / name, 8 * MIB, block_size=MIB, seed=3, shuffle=True, content=[(0, b"x" * 3 * MIB)])
    ktap.check((scratch / "a").read_bytes() == (scratch / "b").read_bytes(), "two images of one seed differ")
