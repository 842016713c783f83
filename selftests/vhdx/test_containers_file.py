#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: on=uml,6.1:btrfs+ramfs+xfs*+through*+below* full=6.1:load_on_xfs,6.12:btrfs*+ntfs3+load_on_btrfs+load_on_ntfs3+through* takes=20
"""Containers in files: which file systems, direct or buffered, and what sysfs says of it.

A file whose direct I/O wants larger pieces than the disk's sectors or mixes with the page
cache, or that takes none, is used buffered (rule V8); a disk on it works all the same, and
what is acknowledged is in the file.
"""

import errno
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import dio, filesystem, images, judge, ktap, uapi
from vhdxtest.device import expect_failure
from vhdxtest.disk import attach_once, attached, raw_attached
from vhdxtest.images import KIB, MIB, command

SIZE = 16 * MIB


def kernel():
    """(6, 12)"""
    return tuple(int(part) for part in os.uname().release.split(".")[:2])


def works(directory, sector, wanted):
    """Reads, writes, flushes and detaches; the file is right at each step."""
    path = images.create(directory / "disk.vhdx", SIZE, MIB, sector,
                         content=[(MIB, judge.pattern(1, 2 * MIB))])
    with images.directory() as scratch, judge.Truth(scratch / "truth", SIZE, path) as truth:
        with attached(path) as disk:
            ktap.check(disk.sysfs("io") in wanted, f"io is {disk.sysfs('io')}, not one of {wanted}")
            with dio.Direct(disk.node, True, os.O_DIRECT | os.O_DSYNC) as data:
                for number, offset in enumerate((0, 2 * MIB - 4096, 5 * MIB + 4096, 9 * MIB - 8192,
                                                 SIZE - 16 * KIB)):
                    content = judge.pattern(number, 16 * KIB)
                    data.write(offset, content)
                    truth.write(offset, content)
                if sector == 512:
                    data.write(7 * MIB + 512, judge.pattern(9, 512))
                    truth.write(7 * MIB + 512, judge.pattern(9, 512))
            judge.same_disk(disk, truth)
            judge.snapshot(path, scratch / "copy.vhdx")
            judge.same_to_oracle(scratch / "copy.vhdx", truth)
        judge.same_container(path, truth, qemu=sector == 512)


def on(kind, sector, device_sector, wanted):
    """One file system and sector size."""
    with filesystem.mounted(kind, sector_size=device_sector) as directory:
        works(directory, sector, wanted)


ktap.add("ext4_disk_of_4096", on, "ext4", 4096, 512, ("direct",))
# Direct I/O on tmpfs came with 6.6.
ktap.add("tmpfs", on, "tmpfs", 512, 512, ("buffered",) if kernel() < (6, 6) else ("buffered", "direct"))
ktap.add("tmpfs_disk_of_4096", on, "tmpfs", 4096, 512,
         ("buffered",) if kernel() < (6, 6) else ("buffered", "direct"))
ktap.add("ramfs", on, "ramfs", 512, 512, ("buffered",))
ktap.add("ext4_on_sectors_of_4096_disk_of_4096", on, "ext4", 4096, 4096, ("direct",))
ktap.add("xfs_on_sectors_of_4096", on, "xfs", 512, 4096, ("buffered",))


# Not all kernels have them. Direct I/O of btrfs takes whole pages, and not all versions say so.
ktap.add("btrfs", on, "btrfs", 512, 512, ("buffered", "direct"))
ktap.add("btrfs_disk_of_4096", on, "btrfs", 4096, 512,
         ("buffered", "direct") if kernel() < (7, 0) else ("direct",))
# Direct I/O that turns to the page cache: of ntfs3 before 7.0, of FUSE on a block device always.
ktap.add("ntfs3", on, "ntfs3", 512, 512, ("buffered",) if kernel() < (7, 0) else ("direct",))
ktap.add("fuse", on, "ntfs-3g", 512, 512, ("buffered",))


def load(kind):
    """A file system on a disk, filled and read again: many new blocks at a time, in any order."""
    with filesystem.mounted(kind, 512 * MIB) as directory, images.directory() as scratch:
        path = images.create(directory / "disk.vhdx", 160 * MIB, 2 * MIB)
        with attached(path) as disk:
            command("mkfs.ext4", "-q", disk.node)
            command("mount", disk.node, scratch)
            try:
                command("cp", "-r", "/usr/lib/python3", scratch)
                command("dd", "if=/dev/urandom", f"of={scratch}/big", "bs=1M", "count=20",
                        "status=none")
                command("sync", "-f", scratch)
                command("diff", "-rq", "/usr/lib/python3", scratch / "python3")
            finally:
                command("umount", scratch)
            command("e2fsck", "-fn", disk.node)
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
        judge.valid(path)
        with attached(path, "--read-only") as disk:
            command("e2fsck", "-fn", disk.node)


for _kind in ("ext4", "xfs", "btrfs", "ntfs3"):
    ktap.add(f"load_on_{_kind}", load, _kind)


@ktap.case
def read_only_file_system():
    """A read-only attach of a file that can't be written; a writable one is refused."""
    with filesystem.mounted("ext4") as directory:
        path = images.create(directory / "disk.vhdx", SIZE, MIB, content=[(0, b"r" * 4096)])
        before = judge.fingerprint(path)
        images.command("mount", "-o", "remount,ro", directory)
        with attached(path, "--read-only") as disk:
            ktap.equal(disk.read(0, 4096), b"r" * 4096, "content")
        done = images.command("sh", "-c", f"vhdxctl attach {path} 2>&1; echo status $?")
        ktap.check("status 1" in done and "disk.vhdx" in done, done)
        ktap.check(judge.fingerprint(path) == before, "it was changed")


@ktap.case
def busy_file_system():
    """The file system of an attached container can't be unmounted; after detach it can."""
    with filesystem.mounted("ext4") as directory:
        path = images.create(directory / "disk.vhdx", SIZE, MIB)
        with attached(path) as disk:
            disk.write(0, bytes(4096))
            done = images.command("sh", "-c", f"umount {directory} 2>&1 || echo busy")
            ktap.check("busy" in done, done)


@ktap.case
def through_an_overlay():
    """A file of an overlay and the one below it are one container: one writer, or readers."""
    with images.directory() as scratch:
        (scratch / "lower").mkdir()
        images.create(scratch / "lower" / "disk.vhdx", SIZE, MIB)
        with filesystem.overlay(scratch / "lower", scratch / "upper") as merged:
            path, below = merged / "disk.vhdx", scratch / "upper" / "disk.vhdx"

            def refused(other, *modes):
                for flags in modes:
                    expect_failure(errno.EBUSY, uapi.IN_USE, attach_once, other, flags=flags)

            with raw_attached(path, flags=uapi.ATTACH_READ_ONLY):
                with raw_attached(scratch / "lower" / "disk.vhdx", flags=uapi.ATTACH_READ_ONLY):
                    pass
                # It is copied up when it is opened for writing: its readers see the copy then.
                refused(path, 0)
                refused(below, 0)
            with raw_attached(path) as disk:
                disk.write(0, b"o" * 4096)
                refused(below, 0, uapi.ATTACH_READ_ONLY)
            with raw_attached(below) as disk:
                ktap.equal(disk.read(0, 4096), b"o" * 4096, "content")
                refused(path, 0, uapi.ATTACH_READ_ONLY)
            judge.valid(below)


@ktap.case
def below_an_overlay():
    """Whether memory must stay as it is while it is written is for the file system to say that
    the file is in, not for the overlay."""
    for kind in ("btrfs", "ext4"):
        with filesystem.mounted(kind) as where:
            (where / "lower").mkdir()
            images.create(where / "disk.vhdx", SIZE, MIB)
            images.create(where / "lower" / "disk.vhdx", SIZE, MIB)
            found = []
            with filesystem.overlay(where / "lower", where / "upper") as merged:
                for path in (where / "disk.vhdx", merged / "disk.vhdx"):
                    with raw_attached(path) as disk:
                        queue = pathlib.Path(f"/sys/block/vhdx{disk.index}/queue/stable_writes")
                        found.append((disk.sysfs("io"), queue.read_text(encoding="ascii")))
            ktap.diag(f"{kind}: {found}")
            ktap.equal(found[1], found[0], kind)


ktap.main()
