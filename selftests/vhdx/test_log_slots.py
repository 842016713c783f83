#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: takes=20
"""Our own log: every slot of BAT pages, generations of the log, and many pages at once.

The container is copied while it is in use. In the copy, what the last log entry would
apply is overwritten with garbage, as if the power had failed just before: so the log
alone decides. Then QEMU, the oracle and the driver itself replay copies of it.
"""

import os
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import dio, images, judge, ktap, uapi, udev
from vhdxtest.disk import attached, raw_attached
from vhdxtest.images import MIB
import vhdxoracle
from vhdxoracle.container import Container

GARBAGE = b"\xff" * 4096


def content_of(block):
    """A sector that is this block's own, and a byte for QEMU to look for."""
    return bytes([block * 7 % 251 + 1]) * 512


def unapplied(path, copy):
    """A copy in which the pages that the log would write are garbage; the entries."""
    judge.snapshot(path, copy)
    with vhdxoracle.open_disk(copy) as image:
        ktap.check(image.is_dirty, "the log is empty")
        entries = image.sequence.replayed
        log_length = image.header.log_length
    with Container(copy, writable=True) as file:
        for entry in entries:
            ktap.check(entry.offset + entry.length <= log_length, "an entry goes across the ring's end")
            for item in entry.descriptors:
                file.write(item.offset, GARBAGE)
    return entries


def by_oracle(path, blocks, offset_of):
    """The oracle replays in memory."""
    judge.valid(path, clean=False)
    with vhdxoracle.open_disk(path) as image:
        for block in blocks:
            got = image.read(offset_of(block), 1024)
            ktap.check(got == content_of(block) + bytes(512), f"the oracle: block {block}")


def by_us(path, blocks, offset_of):
    """The driver replays in memory, then on disk."""
    for flags in (uapi.ATTACH_READ_ONLY, 0):
        with raw_attached(path, flags=flags) as disk:
            for block in blocks:
                got = disk.read(offset_of(block), 1024)
                ktap.check(got == content_of(block) + bytes(512), f"the driver: block {block}")
    judge.valid(path)


def by_qemu(path, blocks, offset_of):
    """QEMU replays when it is asked to repair."""
    subprocess.run(["qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", path], check=False,
                   capture_output=True)
    commands = "".join(f"read -P {content_of(block)[0]} {offset_of(block)} 512\n"
                       f"read -P 0 {offset_of(block) + 512} 512\n" for block in blocks)
    said = images.command("qemu-io", "-r", "-f", "vhdx", path, stdin=commands)
    ktap.check("fail" not in said.lower(), said[-2000:])
    images.command("qemu-img", "check", "-q", "-f", "vhdx", path)
    judge.valid(path, strict=False)


def all_replay(copy, blocks, offset_of):
    """The oracle, and QEMU and the driver on copies of their own."""
    by_oracle(copy, blocks, offset_of)
    for judge_it in (by_qemu, by_us):
        own = f"{copy}.own"
        judge.snapshot(copy, own)
        judge_it(own, blocks, offset_of)
        os.unlink(own)


@ktap.case
def every_slot_of_a_page():
    """1030 blocks: all slots of two BAT pages and some of a third."""
    count = 1030

    def offset_of(block):
        return block * MIB + block % 3 * 1024

    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", count * MIB, MIB)
        order = list(range(count))
        random.Random(1).shuffle(order)
        last = [0, 511, 1022, 1023, count - 1]      # of each page: these are in the last entry
        order = [block for block in order if block not in last] + last
        with attached(path) as disk:
            for block in order:
                if block == last[0]:
                    disk.data.flush()
                disk.write(offset_of(block), content_of(block))
            disk.data.flush()
            unapplied(path, scratch / "copy.vhdx")
            for block in (0, 511, 512, 1023, 1024, count - 1):
                ktap.equal(disk.read(offset_of(block), 512), content_of(block), f"block {block}")
        by_oracle(path, order, offset_of)
        by_qemu(path, order, offset_of)
        all_replay(scratch / "copy.vhdx", range(count), offset_of)


@ktap.case
def generations():
    """Three times around a ring of 1 MiB, a commit for each new block (rule V5): the log
    replays at every moment, around each change of generation too."""
    count, per_generation = 390, (1 << 20) // 8192 - 1

    def offset_of(block):
        return block * MIB

    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", count * MIB, MIB)
        copy = scratch / "copy.vhdx"
        guids, done = set(), []
        looks = {turn * per_generation + near for turn in (1, 3) for near in (-1, 0, 1, 2)} | {1, 333}
        order = list(range(count))
        random.Random(2).shuffle(order)
        with attached(path) as disk, dio.Direct(disk.node, True, os.O_DIRECT | os.O_DSYNC) as data:
            for block in order:
                data.write(offset_of(block), content_of(block))
                done.append(block)
                if len(done) not in looks:
                    continue
                entry, = unapplied(path, copy)
                guids.add(entry.log_guid)
                ktap.diag(f"commit {len(done)} is at {entry.offset:#x} of the log")
                by_oracle(copy, done[-9:] + done[::20], offset_of)
            entry, = unapplied(path, copy)
            guids.add(entry.log_guid)
            all_replay(copy, done, offset_of)
        ktap.check(len(guids) >= 4, f"only {len(guids)} generations")
        by_oracle(path, order, offset_of)


@ktap.case
def more_pages_than_an_entry_holds():
    """300 BAT pages change before one flush."""
    pages, step = 300, 512

    def offset_of(number):
        return number * step * MIB + number * 512

    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", pages * step * MIB, MIB)
        with attached(path) as disk:
            for number in range(pages):
                disk.write(offset_of(number), content_of(number))
            disk.data.flush()
            judge.snapshot(path, scratch / "copy.vhdx")
            all_replay(scratch / "copy.vhdx", range(pages), offset_of)
        by_oracle(path, range(pages), offset_of)


@ktap.case
def longer_log():
    """A log of 3 MiB at a place of its own."""
    def offset_of(block):
        return block * MIB

    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", 200 * MIB, MIB, log_length=3 * MIB, offsets={"log": 40 * MIB})
        with attached(path) as disk, dio.Direct(disk.node, True, os.O_DIRECT | os.O_DSYNC) as data:
            for block in range(150):
                data.write(offset_of(block), content_of(block))
            entry, = unapplied(path, scratch / "copy.vhdx")
            ktap.check(entry.offset > MIB, "the log is used beyond its first MiB")
            all_replay(scratch / "copy.vhdx", range(150), offset_of)


@ktap.case
def clean_after_detach():
    """After detach the log is empty, however much went through it; QEMU adds to it, and we
    go on with what QEMU left."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", 64 * MIB, MIB)
        with judge.Truth(scratch / "truth", 64 * MIB) as truth:
            for turn in range(3):
                with attached(path) as disk:
                    for block in range(turn * 20, turn * 20 + 15):
                        disk.write(block * MIB, content_of(block))
                        truth.write(block * MIB, content_of(block))
                        disk.data.flush()
                judge.same_container(path, truth, strict=False)
                judge.qemu_io(path, f"write -P 9 {(turn * 20 + 17) * MIB} 4k")
                truth.write((turn * 20 + 17) * MIB, b"\x09" * 4096)


with udev.asleep():
    ktap.main()
