#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_read_only - nothing writes a disk that is attached read-only, whoever tries
#
# The block layer only warns of a write to a read-only device, and device mapper does not
# look: a table that is loaded for writing sends them. And what can only be read is enough.
#
# vm: full=6.1:linear*+below*+romfs takes=10
import contextlib
import errno
import os
import pathlib
import struct
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, dio, dm, filesystem, images, judge, ktap, mapper  # noqa: E402
from vhdxtest import uapi, udev  # noqa: E402
from vhdxtest.disk import attached  # noqa: E402
from vhdxtest.images import KIB, MIB  # noqa: E402

SIZE = 64 * MIB
THERE = judge.pattern(1, MIB)
LVM = "devices { filter = [ \"a|^/dev/vhdx|\", \"r|.*|\" ] use_devicesfile = 0 }"


def unharmed(disk):
    """It answers, and reads."""
    ktap.check(disk.handle.info().disk_flags & uapi.DISK_READ_ONLY, "flags")
    ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
    ktap.equal(disk.read(0, len(THERE)), THERE, "content")


@contextlib.contextmanager
def unchanged(path, *options):
    """The disk, attached read-only; its container and its sidecar stay as they are."""
    files = [path, *(one for one in [pathlib.Path(f"{path}.lrct")] if one.exists())]
    before = [judge.fingerprint(one) for one in files]
    with attached(path, "--read-only", *options) as disk:
        yield disk
    ktap.check([judge.fingerprint(one) for one in files] == before, "it was written")


def linear(tracked):
    """Writes through a dm-linear device: to a block that is there, to one that is not,
    with and without FUA; an empty flush changes nothing, and succeeds."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, MIB, content=[(0, THERE)])
        if tracked:
            with attached(path, "--track") as disk:
                disk.write(2 * MIB, THERE)
        with unchanged(path) as disk, \
                mapper.mapped("writable", f"0 {SIZE // 512} linear {disk.node} 0") as node:
            with dio.Direct(node, True) as data, \
                    dio.Direct(node, True, os.O_DIRECT | os.O_DSYNC) as fua:
                for target in (data, fua):
                    for offset in (0, 9 * MIB, MIB - 4 * KIB):
                        ktap.expect_errno(errno.EIO, target.write, offset, bytes(8 * KIB))
                data.flush()
                ktap.equal(data.read(0, len(THERE)), THERE, "content")
            with dio.buffered(node, True) as cached:
                cached.write(10 * MIB, b"x" * 4096)
                ktap.expect_errno(errno.EIO, cached.flush)
            unharmed(disk)


ktap.add("linear", linear, False)
ktap.add("linear_tracked", linear, True)


@contextlib.contextmanager
def volume():
    """The logical volume, activated for writing."""
    try:
        images.command("vgchange", "--config", LVM, "--noudevsync", "-ay", "vhdxtest")
        yield dm.node("vhdxtest-lv")
    finally:
        udev.settle()
        images.command("vgchange", "--config", LVM, "--noudevsync", "-an", "vhdxtest")


@ktap.case
def journal_on_a_logical_volume():
    """ext4 on LVM, as it is after a crash: whoever mounts it replays its journal."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, MIB)
        mounted, crashed = scratch / "mounted", scratch / "crashed.vhdx"
        mounted.mkdir()
        with attached(path) as disk:
            images.command("pvcreate", "--config", LVM, "-q", disk.node)
            images.command("vgcreate", "--config", LVM, "-q", "vhdxtest", disk.node)
            images.command("lvcreate", "--config", LVM, "--noudevsync", "-q", "-an", "-Zn", "-n",
                           "lv", "-l", "100%FREE", "vhdxtest")
            with volume() as node:
                images.command("mkfs.ext4", "-q", node)
                images.command("mount", node, mounted)
                (mounted / "file").write_bytes(THERE)
                images.command("sync", "-f", mounted)
                judge.snapshot(path, crashed)
                images.command("umount", mounted)
        with unchanged(crashed) as disk:
            with volume() as node:
                done = images.command("sh", "-c", f"mount {node} {mounted} 2>&1 || echo refused")
                ktap.check("refused" in done, "a journal was replayed on a read-only disk")
                images.command("mount", "-o", "ro,noload", node, mounted)
                ktap.check((mounted / "file").exists(), "the file")
                images.command("umount", mounted)
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")


# ---- file systems that nobody can write -----------------------------------------------------

def both(number, layout="I"):
    """A number of ISO 9660: in both byte orders."""
    return struct.pack("<" + layout, number) + struct.pack(">" + layout, number)


def iso9660(data):
    """An image with one file, d.vhd, from sector 19 on."""
    def entry(name, sector, length, flags):
        raw = bytes([0]) + both(sector) + both(length) + bytes([100, 1, 1, 0, 0, 0, 0, flags, 0, 0])
        raw += both(1, "H") + bytes([len(name)]) + name + bytes(not len(name) % 2)
        return bytes([len(raw) + 1]) + raw

    sectors = 19 + -(-len(data) // 2048)
    root = entry(b"\0", 18, 2048, 2)
    volume = b"\1CD001\1\0" + b" " * 64 + bytes(8) + both(sectors) + bytes(32)
    volume += both(1, "H") + both(1, "H") + both(2048, "H") + both(10) + bytes(16) + root
    listing = root + entry(b"\1", 18, 2048, 2) + entry(b"D.VHD;1", 19, len(data), 0)
    return b"".join(part.ljust(2048, b"\0") for part in
                    (bytes(16 * 2048), volume, b"\xffCD001\1", listing)) + data


def romfs(data):
    """An image with one file, d.vhd, from byte 96 on."""
    def entry(following, kind, what, size, name):
        return struct.pack(">4I", following | kind, what, size, 0) + name.ljust(16, b"\0")

    files = entry(0, 1, 64, 0, b".") + entry(0, 2, 0, len(data), b"d.vhd")
    head = b"-rom1fs-" + struct.pack(">II", 96 + len(data), 0) + b"test".ljust(16, b"\0") + files
    whole = bytearray(head + data)
    total = sum(struct.unpack(">128I", whole[:512]))
    struct.pack_into(">I", whole, 12, -total & 0xffffffff)
    return bytes(whole) + bytes(-len(whole) % 4096)


def without_writing(kind, module, build, above=None):
    """Its files can be read, which is all that an attach for reading needs; one for writing
    says what helps."""
    if "missing" in images.command("sh", "-c", f"modprobe -q {module} || grep -w {kind} "
                                   "/proc/filesystems || echo missing"):
        ktap.skip(f"this kernel has no {kind}")
    with images.directory() as scratch:
        source = images.create(scratch / "disk.vhdx", 8 * MIB, MIB, content=[(0, THERE)])
        (scratch / "image").write_bytes(build(source.read_bytes()))
        mounted = scratch / "mounted"
        mounted.mkdir()
        with images.loop(scratch / "image", direct=False) as below:
            images.command("mount", "-t", kind, "-o", "ro", below, mounted)
            try:
                path = mounted / "d.vhd"
                ktap.check(path.read_bytes() == source.read_bytes(), "the image of the file system")
                with attached(path, "--read-only") as disk:
                    ktap.equal(disk.sysfs("io"), "buffered", "io")
                    unharmed(disk)
                    # What the file system hasn't got is not asked of it.
                    disk.data.flush()
                    unharmed(disk)
                    ktap.equal(disk.read(7 * MIB, MIB), bytes(MIB), "a block that is not there")
                said = ctl.run("attach", path, status=ctl.FAILED).stderr
                ktap.check("read-only" in said, said)
                if above:
                    above(mounted, scratch)
            finally:
                images.command("umount", mounted)


def overlay(lower, scratch):
    """An overlay takes direct I/O of every file; what is below it doesn't."""
    with filesystem.overlay(lower, scratch / "upper") as merged:
        with attached(merged / "d.vhd", "--read-only") as disk:
            unharmed(disk)
        with attached(merged / "d.vhd") as disk:
            disk.write(7 * MIB, THERE)
            ktap.equal(disk.read(0, len(THERE)) + disk.read(7 * MIB, MIB), 2 * THERE, "content")


ktap.add("iso9660", without_writing, "iso9660", "isofs", iso9660)
ktap.add("below_an_overlay", without_writing, "iso9660", "isofs", iso9660, overlay)
ktap.add("romfs", without_writing, "romfs", "romfs", romfs)
ktap.main()
