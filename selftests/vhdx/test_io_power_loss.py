#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: takes=45
"""Power loss at any sector: dm-log-writes records what the driver sends to a container,
and at many moments of the recording the container is judged as it would be found.

It is valid, for the oracle and for QEMU, and replays (invariant 4); what was acknowledged
by then is there (invariant 5); every sector is zeros or something that was written there,
never what the container held before; and the driver reads what the oracle reads.
"""

import collections
import itertools
import os
import pathlib
import random
import struct
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import dio, images, judge, ktap, uapi
from vhdxtest.disk import attached, raw_attached
from vhdxtest.images import GIB, KIB, MIB, sparse
from vhdxtest.log_writes import SECTOR, Recording, recorded, torn
import vhdxoracle
from vhdxoracle.container import is_zero

DISK = 90 * MIB
CONTAINER = 110 * MIB
STALE = 0xA5
# How many are judged; crash/log_writes has others, of tracked disks.
MOMENTS, MOMENTS_OF_FILE = (48, 18) if ktap.LONG else (24, 9)

Slot = collections.namedtuple("Slot", "number offset length")
_STAMP = struct.Struct("<4sIII")


def make_slots(chance):
    """Ranges that do not overlap, of one sector up to 64 KiB, in all blocks, many across
    the border of two."""
    slots, at = [], 0
    while at < DISK - 2 * MIB:
        length = chance.choice((1, 1, 8, 8, 16, 128)) * SECTOR
        slots.append(Slot(len(slots), at, length))
        at += chance.choice((length, 200 * KIB, 400 * KIB, MIB - at % MIB + MIB - length // 2 // SECTOR * SECTOR))
    return slots


def content(slot, version):
    """Each sector says whose it is, which one of it, and of what version."""
    return b"".join((_STAMP.pack(b"SLOT", slot.number, index, version) * (SECTOR // _STAMP.size))
                    for index in range(slot.length // SECTOR))


class Part(collections.namedtuple("Part", "slot first offset length")):
    """What one block has of a slot: from its sector first on, at an offset of the block."""

    def judge(self, data, least, most):
        """Its sectors are of versions that were written, and none is older than least."""
        # Mostly all of them are of one version.
        version = version_of(self.slot, self.first, data[:SECTOR])
        expected = content(self.slot, version) if version else bytes(self.slot.length)
        start = self.first * SECTOR
        whole = data == expected[start:start + self.length]
        for index in range(1 if whole else self.length // SECTOR):
            found = version_of(self.slot, self.first + index, data[index * SECTOR:(index + 1) * SECTOR])
            ktap.check(least <= found <= most,
                       f"sector {self.first + index} of slot {self.slot.number} at {self.slot.offset} "
                       f"is of version {found}; {least} was acknowledged")


def parts_of_blocks(slots):
    """{block: its parts of slots, in order}"""
    parts = collections.defaultdict(list)
    for slot in slots:
        at = slot.offset
        while at < slot.offset + slot.length:
            block, within = divmod(at, MIB)
            length = min(slot.offset + slot.length - at, MIB - within)
            parts[block].append(Part(slot, (at - slot.offset) // SECTOR, within, length))
            at += length
    return parts


class Load:
    """Writers that never stop at a good moment, and what they were told."""

    def __init__(self, recorder, slots):
        self.recorder, self.slots = recorder, slots
        self.parts = parts_of_blocks(slots)
        self.numbers = itertools.count(1)
        self.versions = [0] * len(slots)
        self.promises = {}         # number: [(slot, version)]

    def _promise(self, done):
        number = next(self.numbers)
        self.promises[number] = done
        self.recorder.acknowledge(number)

    def _write(self, data, slot):
        self.versions[slot.number] += 1
        data.write(slot.offset, content(slot, self.versions[slot.number]))
        return slot.number, self.versions[slot.number]

    def _with_flush(self, data, mine, chance, count):
        for _ in range(count):
            done = [self._write(data, slot) for slot in chance.sample(mine, 5)]
            data.flush()
            self._promise(done)

    def _with_fua(self, data, mine, chance, count):
        for slot in chance.choices(mine, k=count):
            self._promise([self._write(data, slot)])

    def _with_neither(self, data, mine, chance, count):
        for slot in chance.choices(mine, k=count):
            self._write(data, slot)

    def alone(self, disk, seed):
        """One writer: nobody else's flush makes up for one that the driver omits."""
        with dio.Direct(disk.node, True) as data:
            self._with_flush(data, self.slots, random.Random(seed), 15)

    def together(self, disk, seed):
        """Four threads, each with slots of its own."""
        with dio.Direct(disk.node, True) as plain, \
                dio.Direct(disk.node, True, os.O_DIRECT | os.O_DSYNC) as fua:
            jobs = ((self._with_flush, plain, 10), (self._with_fua, fua, 30),
                    (self._with_fua, fua, 30), (self._with_neither, plain, 30))
            threads = [threading.Thread(target=job, args=(data, self.slots[number::4],
                                                          random.Random(seed + number), count))
                       for number, (job, data, count) in enumerate(jobs)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def version_of(slot, index, sector):
    """0 for zeros, the version, or a failure."""
    if is_zero(sector):
        return 0
    magic, number, place, version = _STAMP.unpack_from(sector)
    if (magic, number, place) != (b"SLOT", slot.number, index) or sector != sector[:_STAMP.size] * 32:
        raise AssertionError(f"sector {index} of slot {slot.number} at {slot.offset} holds {sector[:16]!r}")
    return version


def judge_content(read, touched, load, acknowledged):
    """All that was acknowledged is there, and nothing is there that nobody wrote."""
    must = [0] * len(load.slots)
    for number in acknowledged:
        for slot, version in load.promises[number]:
            must[slot] = max(must[slot], version)
    blocks = {block for start, end in touched for block in range(start // MIB, -(-end // MIB))}
    for block in sorted(blocks | load.parts.keys()):
        # Each is read once, and at once: the oracle takes its time.
        data = read(block * MIB, MIB) if block in blocks else bytes(MIB)
        end = 0
        for part in [*load.parts.get(block, ()), Part(None, 0, MIB, 0)]:
            ktap.check(is_zero(data[end:part.offset]),
                       f"there is something between {block * MIB + end} and {block * MIB + part.offset}, "
                       f"where nobody wrote")
            end = part.offset + part.length
            if part.slot:
                part.judge(data[part.offset:end], must[part.slot.number], load.versions[part.slot.number])


def judge_container(path, load, acknowledged):
    """By the oracle, in memory."""
    judge.valid(path, clean=False)
    with vhdxoracle.open_disk(path) as image:
        judge_content(image.read, image.touched(), load, acknowledged)


def judge_by_others(path, copy, truth, parents):
    """The driver reads what the oracle reads, before and after its own replay; so does QEMU."""
    with judge.Truth(truth, DISK, path) as content_now:
        before = judge.fingerprint(path)
        with raw_attached(path, flags=uapi.ATTACH_READ_ONLY, parents=parents) as disk:
            judge.same_disk(disk, content_now)
        ktap.check(judge.fingerprint(path) == before, "a read-only attach wrote")
        if not parents:
            judge.snapshot(path, copy)
            subprocess.run(["qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", copy], check=False,
                           capture_output=True)
            judge.valid(copy, strict=False)
            judge.same_to_oracle(copy, content_now)
        judge.snapshot(path, copy)
        with raw_attached(copy, parents=parents) as disk:
            judge.same_disk(disk, content_now)
            disk.write(DISK - MIB, b"a" * 512)
        content_now.write(DISK - MIB, b"a" * 512)
        judge.valid(copy)
        judge.same_to_oracle(copy, content_now)


def chosen_moments(recording, chance, count):
    """Those around changes of the headers, those right behind an acknowledgement, and others."""
    everyone = range(len(recording.groups))
    with_header = [number for number in everyone
                   if any(write.offset in (64 * KIB, 128 * KIB) for write in recording.groups[number])]
    just_told = [number for number in everyone if recording.acknowledged[number]]
    chosen = set()
    for some, part in ((with_header, count // 3), (just_told, count // 3), (everyone, count)):
        left = [number for number in some if number not in chosen]
        chosen |= set(chance.sample(left, min(len(left), part, count - len(chosen))))
    return chosen


def on_a_device(block_size, differencing):
    """Sessions on a block device that had another owner."""
    chance = random.Random(int(os.environ.get("VHDX_SEED", "1")))
    with images.directory() as scratch:
        parents = [images.create(scratch / "parent.vhdx", DISK, MIB)] if differencing else []
        shape = {"parent": parents[0]} if differencing else {}
        backing, log = sparse(scratch / "backing", CONTAINER + MIB), sparse(scratch / "log", 2048 * MIB)
        judge.fill(backing, STALE, 0, CONTAINER)
        vhdxoracle.create(backing, DISK, block_size=block_size, **shape)
        os.truncate(backing, CONTAINER + MIB)
        judge.fill(backing, STALE, 4 * MIB, CONTAINER)
        image = scratch / "image"
        judge.snapshot(backing, image)
        with images.loop(backing) as device, images.loop(log) as log_device:
            with recorded(device, log_device, CONTAINER) as recorder:
                load = Load(recorder, make_slots(chance))
                for seed, session in enumerate((load.alone, *[load.together] * 3)):
                    with raw_attached(recorder.path, parents=parents) as disk:
                        session(disk, seed * 100)
            judge.valid(backing)
        recording = Recording(log)
        moments = chosen_moments(recording, chance, MOMENTS)
        ktap.diag(f"{len(load.slots)} slots, {len(load.promises)} acknowledgements, "
                  f"{len(recording.groups)} groups, {len(moments)} moments")
        ktap.check(len(recording.groups) > 100, "the recording is too short")
        for count, moment in enumerate(recording.moments([(image, CONTAINER)], map(torn, moments),
                                                         chance.random())):
            try:
                judge_container(image, load, moment.acknowledged)
                if count % 16 == 0:
                    judge_by_others(image, scratch / "copy", scratch / "truth", parents)
            except Exception as error:
                raise AssertionError(f"at moment {moment.number}: {error}") from error
        recording.close()


ktap.add("container_on_a_device", on_a_device, MIB, False)
# Partially present blocks are never there without their bits, nor bits before their sectors.
ktap.add("child_on_a_device", on_a_device, MIB, True)
ktap.add("child_of_large_blocks", on_a_device, 4 * MIB, True)


def is_old_or_new(found, old, new):
    """Each sector of a block is one of both."""
    return found in (old, new) or all(
        found[at:at + SECTOR] in (old[at:at + SECTOR], new[at:at + SECTOR])
        for at in range(0, MIB, SECTOR))


def stale_child(path, parent):
    """A child on a device that had another owner; a crash left bits of blocks that it lacks."""
    vhdxoracle.create(path, parent=parent, block_size=MIB, content=[(0, b"x" * SECTOR)])
    end = path.stat().st_size
    os.truncate(path, CONTAINER)
    judge.fill(path, STALE, end, CONTAINER)
    with vhdxoracle.Image(path) as image:
        at = next(image.bitmap_blocks())[1]
    judge.fill(path, 0xff, at + MIB // SECTOR // 8, at + 64 * MIB // SECTOR // 8)


@ktap.case
def first_parts_of_blocks():
    """Of a child, one after the other, and then a flush: at every moment each sector is the
    parent's, or what was written (rule V7). The first blocks have bits in several pages of a sector bitmap,
    and stale ones; the entry of the last one is in the page of the BAT that names the bitmap which
    both of the last need."""
    blocks = (1, 20, 40, 4097, 8191)
    old, new = judge.pattern(1, MIB), judge.pattern(2, 3 * SECTOR)
    written = old[:5 * SECTOR] + new + old[8 * SECTOR:]
    with images.directory() as scratch:
        parent = images.create(scratch / "parent.vhdx", 8 * GIB, MIB,
                               content=[(block * MIB, old) for block in blocks])
        backing, log = scratch / "backing", sparse(scratch / "log", 512 * MIB)
        stale_child(backing, parent)
        image = scratch / "image"
        judge.snapshot(backing, image)
        with images.loop(backing) as device, images.loop(log) as log_device:
            with recorded(device, log_device, CONTAINER) as recorder:
                with raw_attached(recorder.path, parents=[parent]) as disk:
                    for block in blocks:
                        disk.write(block * MIB + 5 * SECTOR, new)
                    disk.data.flush()
                    recorder.acknowledge(1)
        recording = Recording(log)
        cuts = recording.boundaries()
        ktap.diag(f"{len(cuts)} moments")
        for moment in recording.moments([(image, CONTAINER)], cuts, 0):
            judge.valid(image, clean=False)
            with vhdxoracle.open_disk(image, [parent]) as found:
                for block in blocks:
                    data = found.read(block * MIB, MIB)
                    ktap.check(data == written or not moment.acknowledged and
                               is_old_or_new(data, old, written), f"block {block} at {moment.cut}")
        recording.close()


@ktap.case
def container_in_a_file():
    """The same with a file on ext4: what counts is what the file system shows after its own
    recovery."""
    chance = random.Random(int(os.environ.get("VHDX_SEED", "2")))
    size = 512 * MIB
    with images.directory() as scratch:
        backing, log = sparse(scratch / "backing", size + MIB), sparse(scratch / "log", 2048 * MIB)
        mounted, image = scratch / "mounted", scratch / "image"
        mounted.mkdir()
        with images.loop(backing) as device, images.loop(log) as log_device:
            images.command("mkfs.ext4", "-q", "-E", "nodiscard", device, f"{size // KIB}k")
            images.command("mount", device, mounted)
            images.create(mounted / "disk.vhdx", DISK, MIB)
            images.command("umount", mounted)
            judge.snapshot(backing, image)
            with recorded(device, log_device, size) as recorder:
                images.command("mount", recorder.path, mounted)
                load = Load(recorder, make_slots(chance))
                for seed, session in enumerate((load.alone, load.together)):
                    with attached(mounted / "disk.vhdx") as disk:
                        session(disk, seed * 100)
                images.command("umount", mounted)
        recording = Recording(log)
        moments = chosen_moments(recording, chance, MOMENTS_OF_FILE)
        ktap.diag(f"{len(load.promises)} acknowledgements, {len(recording.groups)} groups")
        for moment in recording.moments([(image, size)], map(torn, moments), chance.random()):
            # ext4 recovers on a copy: the recording goes on with the image.
            judge.snapshot(image, scratch / "copy")
            with images.loop(scratch / "copy") as device:
                images.command("mount", device, mounted)
                try:
                    judge_container(mounted / "disk.vhdx", load, moment.acknowledged)
                except Exception as error:
                    raise AssertionError(f"at moment {moment.number}: {error}") from error
                finally:
                    images.command("umount", mounted)
        recording.close()


ktap.main()
