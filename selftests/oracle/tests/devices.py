# SPDX-License-Identifier: GPL-2.0-only
"""Containers that are block devices."""

import random
from contextlib import contextmanager

import ktap
import loop
from vhdxoracle import Image, create, dirty, open_disk, write_raw

from .support import MIB, expect_content, expect_valid, patched, patches

SIZE = 8 * MIB


@contextmanager
def _loop(scratch, size):
    """A loop device full of random bytes."""
    backing = scratch / "backing"
    backing.write_bytes(random.Random(1).randbytes(size))
    with loop.device(backing) as name:
        yield name


def test_device_as_container(scratch):
    writes, more = patches(SIZE, 5, 1), patches(SIZE, 5, 2)
    with _loop(scratch, 40 * MIB) as device:
        create(device, SIZE, block_size=MIB, content=writes[:3])
        expect_valid(device)
        expect_content(device, patched(SIZE, writes[:3]), "on a device")
        dirty(device, more)
        with Image(device) as image:
            ktap.check(image.is_dirty, "the log is dirty")
            ktap.equal(image.container.size, 40 * MIB, "the device's size")
        expect_content(device, patched(SIZE, writes[:3] + more), "after replay")


def test_device_too_small(scratch):
    with _loop(scratch, 6 * MIB) as device:
        try:
            create(device, SIZE, block_size=MIB, content=[(0, b"x" * 5 * MIB)])
        except OSError as error:
            ktap.check("the device has" in str(error), str(error))
        else:
            raise AssertionError("5 blocks went into 2 MiB")


def test_raw_onto_device(scratch):
    path = str(scratch / "disk.vhdx")
    create(path, SIZE, block_size=MIB, content=[(3 * MIB, b"raw" * 1000)])
    with _loop(scratch, SIZE) as device, open_disk(path) as image:
        write_raw(image, device)
        with open(device, "rb") as file:
            ktap.equal(file.read(), bytes(patched(SIZE, [(3 * MIB, b"raw" * 1000)])), "the device")
