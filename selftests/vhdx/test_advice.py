#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: takes=10
#
# test_advice - what the driver's messages say to do is done here, and helps
#
# vm:
import errno
import os
import pathlib
import sys
import uuid
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
# pylint: disable=wrong-import-position
from vhdxtest import ctl, images, judge, ktap, uapi, udev  # noqa: E402
from vhdxtest.device import Control  # noqa: E402
from vhdxtest.disk import attached, opened, raw_attached  # noqa: E402
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


def name_logs(*paths):
    """As QEMU leaves it where it is killed between its header and the log's first entry."""
    for path in paths:
        with vhdxoracle.Editor(path) as edit:
            edit.change_headers(log_guid=uuid.uuid4())


@ktap.case
def log_that_was_never_begun():
    """"run `vhdxctl check --repair` on it first, or attach it read-only" """
    with images.directory() as scratch:
        parent = images.create(scratch / "parent.vhdx", SIZE, MIB, content=CONTENT)
        leaf = scratch / "leaf.vhdx"
        ctl.run("create", "--parent", parent, leaf)
        with judge.Truth(scratch / "truth", SIZE, parent) as truth:
            name_logs(parent, leaf)
            before = judge.fingerprint(leaf), judge.fingerprint(parent)
            said = ctl.run("attach", leaf, status=ctl.FAILED).stderr
            advised(said, f"{leaf}: log at 0x", "run `vhdxctl check --repair` on it", "or attach it read-only")
            with KernelLog() as log:
                with attached(leaf, "--read-only") as disk:
                    judge.same_disk(disk, truth)
                    ktap.equal([bool(layer.disk_flags & uapi.DISK_LOG_UNWRITTEN)
                                for layer in disk.handle.layers()[1]], [True, True], "flags")
                    ktap.check(ctl.json("info", disk.node)["log_unwritten"], "info")
                said = [text for level, text in log.records() if level <= 4 and "check --repair" in text]
                ktap.equal([name in text for name, text in zip(("leaf", "parent"), said, strict=True)],
                           [True, True], said)
            ktap.check((judge.fingerprint(leaf), judge.fingerprint(parent)) == before, "a file was changed")
            ctl.run("check", "--repair", leaf, status=1)
            with attached(leaf) as disk:
                disk.write(9 * MIB, b"n" * 4096)
                truth.write(9 * MIB, b"n" * 4096)
                judge.same_disk(disk, truth)
            ktap.check(judge.fingerprint(parent) == before[1], "the parent was changed")
            ctl.run("check", "--repair", parent, status=1)
            with attached(leaf, "--read-only") as disk:
                judge.same_disk(disk, truth)


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


def lost_with_its_points(lose, words):
    """Whoever asks or seals hears what happened, and that the disk is to be detached, its container
    put back or another one attached, and a full backup made."""
    with images.directory() as scratch, judge.Truth(scratch / "truth", SIZE) as truth:
        path = images.create(scratch / "disk.vhdx", SIZE, MIB)
        node = ctl.line("attach", "--track", path)
        first = ctl.line("seal", node)
        ctl.run("detach", node)
        images.command("cp", path, scratch / "copy")
        node = ctl.line("attach", path)
        lose(path, scratch)
        for status, *command in (
                (ctl.FAILED, "seal", node), (ctl.FULL_BACKUP, "changes", node, "--since", first),
                (ctl.FAILED, "forget", node, first), (ctl.FAILED, "track", "reset", node),
                (ctl.FAILED, "track", "disable", node)):
            said = ctl.run(*command, status=status).stderr
            advised(said, f"{node}: the container disk.vhdx {words}", "; detach the disk",
                    "put the container back from a copy or attach another one",
                    "make a full backup")
        ctl.run("points", node)
        ktap.equal(ctl.json("list")["list"][0]["reason"], "changed_offline", "reason")
        advised(ctl.run("detach", node, status=ctl.FAILED).stderr, f"the container {words}",
                "put it back from a copy, and make a full backup")
        # Another one.
        other = images.create(scratch / "other.vhdx", SIZE, MIB, content=CONTENT)
        ctl.run("detach", ctl.line("attach", other))
        images.command("cp", scratch / "copy", path)
        node = ctl.line("attach", path)
        ctl.run("changes", node, "--since", first, status=ctl.FULL_BACKUP)
        # The point that a full backup begins with; from then on all is as it was.
        point = ctl.line("seal", node)
        ktap.equal(ctl.json("changes", node, "--since", point)["ranges"], [], "changes")
        ctl.run("detach", node)
        works(path, truth)


def cut_off(path, _):
    """Its end is gone."""
    os.truncate(path, 3 * MIB)


def written_over(path, scratch):
    """By an image of the same length."""
    other = images.create(scratch / "another", SIZE, MIB, seed=2)
    os.truncate(other, os.stat(path).st_size)
    images.command("cp", other, path)


ktap.add("container_that_is_cut", lost_with_its_points, cut_off, "was cut by somebody else: it had")
ktap.add("container_that_is_written_over", lost_with_its_points, written_over,
         "was written by somebody else")

with udev.asleep():
    ktap.main()
