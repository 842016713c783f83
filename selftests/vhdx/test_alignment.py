#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_alignment - sectors, sizes and bios that fit badly (rule V8)
#
# vm: on=uml,6.1:tmpfs takes=8
import contextlib
import errno
import mmap
import os
import pathlib
import random
import sys
import time
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, filesystem, images, judge, ktap, scsi, uapi  # noqa: E402
from vhdxtest.device import expect_failure  # noqa: E402
from vhdxtest.disk import attach_once, attached, raw_attached  # noqa: E402
from vhdxtest.images import KIB, MIB, TIB  # noqa: E402
from vhdxtest.judge import pattern  # noqa: E402


def works(path, size, sector, lengths):
    """Pieces of these lengths at, before and across the borders of blocks of 1 MiB, and at the end;
    others judge the container afterwards."""
    with images.directory() as scratch, judge.Truth(scratch / "truth", size, path) as truth:
        with raw_attached(path) as disk:
            for number, length in enumerate(lengths):
                for border in (MIB, 3 * MIB + length, size - length):
                    offset = max(border - length // 2 // sector * sector, 0)
                    offset = min(offset, size - length)
                    data = pattern(1000 * number + border % 997, length)
                    disk.write(offset, data)
                    truth.write(offset, data)
            judge.same_disk(disk, truth)
        judge.same_container(path, truth, strict=False, qemu=sector == 512)


# ---- sectors of 4096 bytes ------------------------------------------------------------------

SECTORS = "sector_size=4096"
SIZE = 16 * MIB


@ktap.case
def device_with_sectors_of_4096():
    """A real SCSI disk, not a loop device that pretends: what is not whole sectors it refuses."""
    with scsi.disk(SECTORS) as device:
        images.create(device, SIZE, MIB, 512)
        expect_failure(errno.EOPNOTSUPP, uapi.UNSUPPORTED, attach_once, device)
        images.create(device, SIZE, MIB, 4096)
        works(device, SIZE, 4096, (4 * KIB, 12 * KIB, 2 * MIB + 4 * KIB))


@ktap.case
def file_on_sectors_of_4096():
    """A disk of 512 is written buffered there, as a whole; one of 4096 directly."""
    with scsi.disk(SECTORS) as device, images.directory() as where:
        images.command("mkfs.ext4", "-q", device)
        images.command("mount", device, where / ".")
        try:
            for sector, wanted in ((512, "buffered"), (4096, "direct")):
                path = images.create(where / f"{sector}.vhdx", SIZE, MIB, sector)
                with attached(path) as disk:
                    ktap.equal(disk.sysfs("io"), wanted, f"io of a disk of {sector}")
                works(path, SIZE, sector, (sector, 3 * sector, 2 * MIB + sector))
                path.unlink()
        finally:
            images.command("umount", where)


# ---- file systems ---------------------------------------------------------------------------

@ktap.case
def tmpfs():
    """Without direct I/O before 6.6."""
    old = tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 6)
    with filesystem.mounted("tmpfs") as where:
        path = images.create(where / "disk.vhdx", SIZE + 512, MIB)
        with attached(path) as disk:
            ktap.check(disk.sysfs("io") == "buffered" or not old, disk.sysfs("io"))
        works(path, SIZE + 512, 512, (512, 4 * KIB, 2 * MIB + 512))


# ---- sizes ----------------------------------------------------------------------------------

def available():
    """Bytes of memory."""
    with open("/proc/meminfo", encoding="ascii") as found:
        return next(int(line.split()[1]) for line in found if line.startswith("MemAvailable")) * KIB


@ktap.case
def of_64_tib_in_blocks_of_1_mib():
    """The largest BAT there is, 512 MiB: nothing of it is read before it is needed."""
    size = 64 * TIB
    with images.directory() as scratch:
        path = scratch / "disk.vhdx"
        ctl.run("create", "--size", "64T", "--block-size", "1M", path)
        # Once, so that the second is of the disk alone.
        attach_once(path)
        before, start = available(), time.monotonic()
        with raw_attached(path) as disk:
            took, memory = time.monotonic() - start, before - available()
            ktap.diag(f"attached in {took * 1000:.0f} ms, {memory // KIB} KiB less are available")
            ktap.check(took < 5, f"it took {took} s")
            ktap.check(memory < 64 * MIB, f"it took {memory} bytes")
            for offset in (0, size - MIB, size - 4096):
                ktap.equal(disk.read(offset, 4096), bytes(4096), f"content at {offset}")
        ktap.check(path.stat().st_blocks * 512 < 16 * MIB, "reading filled the file")


# ---- bios -----------------------------------------------------------------------------------

@ktap.case
def bios_of_any_length():
    """Of one sector, and of many blocks that are not neighbours in the container, from memory in
    large pages and at any sector of them."""
    size, rng = 24 * MIB, random.Random(16)
    memory = mmap.mmap(-1, 20 * MIB)
    # Not all kernels have them.
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    memory[:] = pattern(7, len(memory))
    view = memoryview(memory)
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", size, MIB, shuffle=True, seed=5,
                             content=[(0, pattern(3, 20 * MIB))])
        with judge.Truth(scratch / "truth", size, path) as truth:
            with raw_attached(path) as disk:
                for length in (512, 1024, 64 * KIB + 512, 3 * MIB + 512, 16 * MIB):
                    at = rng.randrange(MIB // 512) * 512
                    offset = rng.randrange((size - length) // 512) * 512
                    ktap.equal(os.pwritev(disk.data.fd, [view[at:at + length]], offset), length,
                               "written")
                    truth.write(offset, bytes(view[at:at + length]))
                judge.same_disk(disk, truth)
                ktap.equal(os.preadv(disk.data.fd, [view[:16 * MIB]], 512), 16 * MIB, "read")
                ktap.check(view[:16 * MIB] == truth.read(512, 16 * MIB), "content")
            judge.same_container(path, truth, strict=False)


ktap.main()
