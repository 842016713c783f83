# SPDX-License-Identifier: GPL-2.0-only
"""What the suites share: content, reading it back, and naming what is wrong."""

import hashlib
import random

import ktap
from vhdxoracle import check, compare, faults, open_disk, write_raw


MIB = 1 << 20


def patches(size, count, seed, longest=300000, sector=512):
    """Random sector-aligned writes to a disk, first and last sector included."""
    rng = random.Random(seed)
    writes = [(0, rng.randbytes(sector)), (size - sector, rng.randbytes(sector))]
    for _ in range(count):
        offset = rng.randrange(size // sector) * sector
        length = min(rng.randrange(1, longest // sector) * sector, size - offset)
        writes.append((offset, rng.randbytes(length)))
    return writes


def patched(size, writes, base=b""):
    """A disk's content in memory after writes."""
    disk = bytearray(base.ljust(size, b"\0"))
    for offset, data in writes:
        disk[offset:offset + len(data)] = data
    return disk


def expect_content(path, wanted, what):
    """The disk at path reads as wanted (bytes), in one piece and through raw()."""
    with open_disk(path) as image:
        got = image.read(0, image.size)
    if got != bytes(wanted):
        first = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        raise AssertionError(f"{what}: {len(got)} of {len(wanted)} bytes, first difference at {first}")


def expect_raw(path, raw, what):
    """The disk at path reads as the raw file."""
    out = f"{path}.content"
    with open_disk(path) as image:
        write_raw(image, out)
    different = compare(out, raw)
    ktap.check(not different, f"{what}: content differs at {list(different)[:3]}")


def expect_valid(path, clean=True, strict=True):
    wrong = faults(check(path, clean), strict)
    ktap.check(not wrong, f"{path}: " + "; ".join(map(str, wrong[:5])))


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
