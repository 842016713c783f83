#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: takes=5
#
# test_advice - what the driver's messages say to do is done here, and helps
#
# vm:
import errno
import os
import pathlib
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, judge, ktap, uapi, udev  # noqa: E402
from vhdxtest.device import Control  # noqa: E402
from vhdxtest.disk import opened, raw_attached  # noqa: E402
from vhdxtest.images import MIB  # noqa: E402
from vhdxtest.kernel_log import KernelLog  # noqa: E402
import vhdxoracle  # noqa: E402

SIZE = 16 * MIB
CONTENT = [(0, judge.pattern(1, 4 * MIB))]


def advised(text, *words):
    """The message has the advice that is tried here."""
    for word in words:
        ktap.check(word in text, f"the advice {word!r} is not in: {text}")


def works(path, truth):
    """The container that came of it reads right, and new blocks can be written."""
    with raw_attached(path) as disk:
        judge.same_disk(disk, truth)
        disk.write(9 * MIB, b"n" * 4096)
        truth.write(9 * MIB, b"n" * 4096)
        ktap.equal(disk.sysfs("scan"), "ok", "scan")
    judge.same_container(path, truth, strict=False, qemu=False)


def copied(disk, scratch):
    """The disk, as far as it can be read, in a new container."""
    images.command("dd", f"if={disk.node}", f"of={scratch / 'raw'}", "bs=1M", "iflag=direct",
                   "conv=noerror,sync", "status=none", check=False)
    images.command("qemu-img", "convert", "-f", "raw", "-O", "vhdx", scratch / "raw",
                   scratch / "new.vhdx")
    return scratch / "new.vhdx"


@ktap.case
def bad_entry_of_the_bat():
    """"restore a copy, or attach read-only and copy the other blocks" """
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, MIB, content=CONTENT)
        with judge.Truth(scratch / "truth", SIZE, path) as truth:
            with vhdxoracle.Editor(path) as edit:
                edit.put_bat(edit.geometry.payload_index(2), 5)
            with KernelLog() as log, raw_attached(path) as disk:
                ktap.expect_errno(errno.EIO, disk.write, 9 * MIB, bytes(4096))
                why = disk.sysfs("scan")
                advised(why, "BAT entry 2", "restore a copy",
                        "attach read-only and copy the other blocks")
                ktap.equal(ctl.json("info", disk.node)["scan"], why, "all of it")
                ktap.check(any(f"vhdx{disk.index}: no more blocks" in text
                               for _, text in log.records()), "the kernel log names no disk")
            with raw_attached(path, flags=uapi.ATTACH_READ_ONLY) as disk:
                new = copied(disk, scratch)
            truth.write(2 * MIB, bytes(MIB))
            works(new, truth)


@ktap.case
def no_log():
    """"copy the disk into a new container" """
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, MIB, content=CONTENT)
        with vhdxoracle.Editor(path) as edit:
            edit.change_headers(log_length=0, log_offset=0)
        with judge.Truth(scratch / "truth", SIZE, path) as truth:
            with raw_attached(path) as disk:
                ktap.expect_errno(errno.EIO, disk.write, 9 * MIB, bytes(4096))
                advised(disk.sysfs("scan"), "copy the disk into a new container")
                new = copied(disk, scratch)
            works(new, truth)


@ktap.case
def sectors_too_large():
    """"copy the image to a file" """
    with images.directory() as scratch:
        with images.blank_device(32 * MIB, 4096) as device, Control() as control:
            images.create(device, SIZE, MIB, content=CONTENT)
            with opened(device) as fd:
                ktap.expect_errno(errno.EOPNOTSUPP, control.attach, fd)
            advised(control.message, "copy the image to a file")
            images.command("cp", device, scratch / "disk.vhdx")
        with judge.Truth(scratch / "truth", SIZE, scratch / "disk.vhdx") as truth:
            works(scratch / "disk.vhdx", truth)


@ktap.case
def lost_container():
    """"detach the disk and restore the container from a copy" """
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, MIB, content=CONTENT)
        images.command("cp", path, scratch / "copy")
        with judge.Truth(scratch / "truth", SIZE, path) as truth:
            with raw_attached(path, closes=False) as disk, KernelLog() as log:
                os.truncate(path, 3 * MIB)
                ktap.expect_errno(errno.EIO, disk.read, 0, 4096)
                advised(" ".join(text for _, text in log.records()),
                        "detach the disk and restore the container from a copy")
            images.command("cp", scratch / "copy", path)
            works(path, truth)


with udev.asleep():
    ktap.main()
