#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: long=6.12,uml-lockdep,debug takes=40
"""Dirty logs of others: replayed in memory for a reader, on disk for a writer.

The logs are the oracle's, in every shape that MS-VHDX allows, with what must not be
replayed lying about; and QEMU's, which was killed.
"""

import errno
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import images, judge, ktap, uapi, udev
from vhdxtest.disk import attach_once, attached, raw_attached
from vhdxtest.images import MIB, TIB
from tests.replaying import STATES, WAYS
from tests.support import patches
import vhdxoracle

SIZE = 24 * MIB + 8192


def make_dirty(scratch, path, way, sector=512):
    """A container whose log is decisive; what it must read as after replay."""
    images.create(path, SIZE, MIB, sector, content=patches(SIZE, 6, 1, 50000, sector), seed=1)
    truth = judge.Truth(scratch / "truth", SIZE, path)
    writes = patches(SIZE, 8, 2, longest=200000, sector=sector)
    with vhdxoracle.open_disk(path) as image:
        vhdxoracle.apply_to_raw(truth.path, image.geometry, writes, STATES)
    vhdxoracle.dirty(path, writes, STATES, seed=7, **way)
    return truth


def replay(path, truth, qemu=True):
    """A reader sees the replayed content and leaves every byte as it was; a writer replays
    on disk; the next writer finds nothing to do."""
    before = judge.fingerprint(path)
    with raw_attached(path, flags=uapi.ATTACH_READ_ONLY) as disk:
        judge.same_disk(disk, truth)
        ktap.check(disk.handle.info().disk_flags & uapi.DISK_REPLAYED, "it says that it replayed")
    ktap.check(judge.fingerprint(path) == before, "a read-only attach wrote")
    with raw_attached(path) as disk:
        judge.same_disk(disk, truth)
        ktap.check(disk.handle.info().disk_flags & uapi.DISK_REPLAYED, "it says that it replayed")
    judge.same_container(path, truth, strict=False, qemu=qemu)
    before = judge.fingerprint(path)
    with raw_attached(path) as disk:
        ktap.check(not disk.handle.info().disk_flags & uapi.DISK_REPLAYED, "there was nothing to replay")
        judge.same_range(disk, truth, 0, 4 * MIB)
    ktap.check(judge.fingerprint(path) == before, "an attach of a clean container wrote")


def way_of_logging(way, sector, qemu):
    """One of the oracle's ways to write a log."""
    with images.directory() as scratch:
        path = scratch / "disk.vhdx"
        with make_dirty(scratch, path, way, sector) as truth:
            replay(path, truth, qemu)


# Others of these have the same and more: an own case would show nothing else.
COVERED = ({"wrap": True}, {"sequence": 1}, {"applied": 3})

for _number, _way in enumerate(way for way in WAYS if way not in COVERED):
    _name = "_".join(f"{key}_{value}" for key, value in _way.items()) or "windows"
    ktap.add(_name, way_of_logging, _way, 512, _number == 0)
ktap.add("sectors_of_4096", way_of_logging, {"wrap": True}, 4096, False)


@ktap.case
def then_written():
    """A disk that was replayed at attach is written at once."""
    with images.directory() as scratch:
        path = scratch / "disk.vhdx"
        with make_dirty(scratch, path, {"wrap": True, "stale": 3}) as truth:
            with attached(path) as disk:
                for offset in (0, 3 * MIB, 5 * MIB + 4096, 21 * MIB, SIZE - 512):
                    data = judge.pattern(offset, 512)
                    disk.write(offset, data)
                    truth.write(offset, data)
                judge.same_disk(disk, truth)
            judge.same_container(path, truth)


@ktap.case
def into_what_is_not_there_yet():
    """The log makes the container longer, and names a block in what comes to be: zeroes, for a
    reader as for a writer."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, MIB, content=[(0, b"x" * 4096)])
        length = os.stat(path).st_size
        with judge.Truth(scratch / "truth", SIZE, path) as truth:
            vhdxoracle.dirty(path, [(8 * MIB, bytes(MIB))], {}, flushed=0)
            os.truncate(path, length)
            replay(path, truth)


@ktap.case
def on_a_block_device():
    """Replay to a device, which can't grow."""
    with images.directory() as scratch:
        with images.blank_device() as device, \
                make_dirty(scratch, device, {"torn": "sector"}) as truth:
            before = judge.fingerprint(device)
            with raw_attached(device, flags=uapi.ATTACH_READ_ONLY) as disk:
                judge.same_disk(disk, truth)
            ktap.check(judge.fingerprint(device) == before, "a read-only attach wrote")
            with raw_attached(device) as disk:
                judge.same_disk(disk, truth)
            judge.same_container(device, truth)


def refused(path, *errors):
    """A writer is refused with one of these, before anything is written."""
    before = judge.fingerprint(path)
    ktap.expect_errno(errors, attach_once, path)
    ktap.check(judge.fingerprint(path) == before, "a refused attach wrote")


@ktap.case
def device_too_small_for_the_log():
    """The log wants a larger container than the device is, which can't grow: a writer is
    refused, before anything is written."""
    with images.directory() as scratch:
        with images.blank_device() as device, make_dirty(scratch, device, {"last": 100 * MIB}):
            refused(device, errno.EUCLEAN, errno.ENOSPC)


@ktap.case
def file_can_not_grow_for_the_log():
    """The same of a file: no file of ext4 has 100 TiB."""
    with images.directory() as scratch:
        path = scratch / "disk.vhdx"
        with make_dirty(scratch, path, {"last": 100 * TIB}):
            refused(path, errno.EUCLEAN, errno.ENOSPC, errno.EFBIG)


def qemu_with_failing_bat(path, entry):
    """QEMU's image, in a node that fails where QEMU writes this BAT entry in place."""
    with vhdxoracle.open_disk(path) as image:
        sector = image.bat_offset(entry) // 512
    return ("driver=vhdx,file.driver=blkdebug,file.inject-error.0.event=none,file.inject-error.0.iotype=write,"
            f"file.inject-error.0.sector={sector},file.image.driver=file,file.image.filename={path}")


@ktap.case
def qemu_died_before_applying():
    """QEMU logs a BAT page, fails to apply it, and is gone."""
    with images.directory() as scratch:
        path = scratch / "disk.vhdx"
        images.command("qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", path, str(600 * MIB))
        with judge.Truth(scratch / "truth", 600 * MIB) as truth:
            commands = []
            for number, offset in enumerate((0, 3 * MIB, 6 * MIB + 512, 550 * MIB), 1):
                commands += ["-c", f"write -P {number} {offset} 64k"]
                truth.write(offset, bytes([number]) * 65536)
            subprocess.run(["qemu-io", "--image-opts", *commands, "-c", "abort", qemu_with_failing_bat(path, 512)],
                           capture_output=True, check=False)
            with vhdxoracle.open_disk(path) as image:
                ktap.check(image.is_dirty, "QEMU was to leave a dirty log")
            replay(path, truth)


def log_without_entry(path):
    """QEMU names a new log in the header before it writes the first entry: killed in between,
    it leaves what MS-VHDX has refused: no sequence of entries is there to be replayed."""
    return any("no entry of it is valid" in str(finding) for finding in vhdxoracle.check(path))


@ktap.case
def qemu_killed():
    """QEMU is killed in the middle of writes; what it had flushed is there."""
    with images.directory() as scratch:
        path = scratch / "disk.vhdx"
        before = scratch / "before.vhdx"
        images.command("qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", path, str(64 * MIB))
        order = random.Random(3)
        content = {}
        for _ in range(5):
            judge.snapshot(path, before)
            with subprocess.Popen(["qemu-io", "-f", "vhdx", path], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True) as qemu:
                flushed = {}
                for _ in range(order.randrange(1, 6)):
                    place, byte = order.randrange(1024), order.randrange(1, 256)
                    qemu.stdin.write(f"write -P {byte} {place * 65536} 64k\nflush\n")
                    qemu.stdin.flush()
                    while not qemu.stdout.readline().startswith(("64 KiB", "qemu-io> 64 KiB")):
                        pass
                    flushed[place] = byte
                time.sleep(0.2)
                touched = [order.randrange(1024) for _ in range(4)]
                for place in touched:
                    qemu.stdin.write(f"write -P 7 {place * 65536} 64k\n")
                qemu.stdin.flush()
                time.sleep(order.random() / 4)
                qemu.send_signal(signal.SIGKILL)
            if log_without_entry(path):
                refused(path, errno.EUCLEAN)
                judge.snapshot(before, path)
                continue
            content |= flushed
            for place in touched:
                content.pop(place, None)
            with raw_attached(path) as disk:
                for place, byte in content.items():
                    ktap.equal(disk.read(place * 65536, 65536), bytes([byte]) * 65536, f"flushed write to {place}")
            judge.valid(path, strict=False)


with udev.asleep():
    ktap.main()
