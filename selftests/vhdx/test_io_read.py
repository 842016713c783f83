#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# vm: on=uml,6.1:every_state_512+every_state_r*+neighbours*+bad_entry* full=6.12:every_state_512+neighbours* takes=5
"""Reading: every state of a block, at every alignment; nothing is written by it.

The images are the oracle's, whose blocks without data have space full of 0xEE, or
an offset that leads to another block's data: neither may ever be seen.
"""

import errno
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from vhdxtest import images, judge, ktap, udev
from vhdxtest.disk import attached
from vhdxtest.images import KIB, MIB
import vhdxoracle
from vhdxoracle import Editor
from vhdxoracle.bat import HAS_DATA, State, entry_offset, entry_state, pack_entry

SIZE = 30 * MIB + 12 * KIB
STATES = {1: "ZERO", 2: "UNMAPPED", 3: "UNDEFINED", 4: "NOT_PRESENT+", 5: "ZERO+", 6: "UNMAPPED+",
          7: "UNDEFINED+", 12: "FULLY_PRESENT", 13: "ZERO+", 14: "FULLY_PRESENT"}
BORDERS = (0, MIB, 2 * MIB, 5 * MIB, 8 * MIB, 13 * MIB, 15 * MIB, 18 * MIB, SIZE)
CONTENT = [(0, judge.pattern(1, MIB)), (8 * MIB - 512 * 8, judge.pattern(2, 64 * KIB)),
           (12 * MIB, judge.pattern(3, MIB)), (14 * MIB + 8192, judge.pattern(4, 4096)),
           (16 * MIB, judge.pattern(5, 2 * MIB)), (SIZE - 4096, judge.pattern(6, 4096))]


def reads(disk, truth, sector):
    """Requests of all sizes, at and across the borders of blocks and states."""
    for length, borders in ((sector, BORDERS), (4096, BORDERS), (64 * KIB, BORDERS), (8 * MIB, (13 * MIB,))):
        for border in borders:
            for offset in {border - length, border - sector, border, border - length // 2 // sector * sector}:
                offset = min(max(offset, 0), SIZE - length)
                got, wanted = disk.read(offset, length), truth.read(offset, length)
                ktap.check(got == wanted, f"{length} bytes at {offset} are wrong")


def every_state(sector, options):
    """One disk has blocks in all states; reads leave the container as it was."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, block_size=MIB, sector_size=sector,
                             content=CONTENT, states=STATES, shuffle=True, seed=5)
        before = judge.fingerprint(path)
        with judge.Truth(scratch / "truth", SIZE, path) as truth:
            with attached(path, *options) as disk:
                reads(disk, truth, sector)
                judge.same_disk(disk, truth)
                ktap.equal(disk.sysfs("scan"), "pending", "scan")
        ktap.check(judge.fingerprint(path) == before, "reading changed the container")


for _sector in (512, 4096):
    ktap.add(f"every_state_{_sector}", every_state, _sector, ())
ktap.add("every_state_read_only", every_state, 512, ("--read-only",))


def offsets_of_others(state):
    """An entry without data whose offset is that of another block's data, or wild."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, block_size=MIB, content=CONTENT, states=STATES)
        with Editor(path) as edit:
            data = entry_offset(edit.bat(12))
            for block, offset in ((8, data), (20, data), (21, 1 << 50), (22, MIB)):
                edit.put_bat(edit.geometry.payload_index(block), pack_entry(state, offset))
        with judge.Truth(scratch / "truth", SIZE, path) as truth, attached(path) as disk:
            for block in (8, 20, 21, 22):
                ktap.check(not any(disk.read(block * MIB, MIB)), f"block {block} is not zeros")
            judge.same_disk(disk, truth)


for _state in (State.NOT_PRESENT, State.UNDEFINED, State.ZERO, State.UNMAPPED):
    ktap.add(f"offset_of_another_block_in_{_state.name.lower()}", offsets_of_others, _state)


def reads_completed(disk):
    """How many the disk has counted."""
    stat = pathlib.Path("/sys/block", pathlib.Path(disk.node).name, "stat")
    return int(stat.read_text(encoding="ascii").split()[0])


@ktap.case
def neighbours_are_one_piece():
    """A request is cut where blocks meet that do not lie side by side in the container, and only
    there."""
    seen = set()
    with udev.asleep(), images.directory() as scratch:
        for shuffle in (False, True):
            path = images.create(scratch / "disk.vhdx", SIZE, block_size=MIB, shuffle=shuffle,
                                 content=[(0, judge.pattern(7, 20 * MIB))], seed=5)
            with vhdxoracle.open_disk(path) as image:
                places = [next(image.segments(block * MIB, MIB)).at for block in range(20)]
            with judge.Truth(scratch / "truth", SIZE, path) as truth, attached(path) as disk:
                for block in range(1, 20):
                    before = reads_completed(disk)
                    judge.same_range(disk, truth, block * MIB - 32 * KIB, 64 * KIB)
                    pieces = 1 if places[block] == places[block - 1] + MIB else 2
                    ktap.equal(reads_completed(disk) - before, pieces, f"block {block}: pieces")
                    seen.add(pieces)
    ktap.equal(seen, {1, 2}, "what was seen")


@ktap.case
def bad_entry_is_one_block():
    """The block of an entry that is wrong by itself is EIO; all others read and can be
    overwritten; what needs a new block is refused, and sysfs says why."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, block_size=MIB, content=CONTENT, states=STATES)
        with judge.Truth(scratch / "truth", SIZE, path) as truth:
            with Editor(path) as edit:
                ktap.check(entry_state(edit.bat(16)) in HAS_DATA, "block 16 has data")
                edit.put_bat(16, edit.bat(16) | 1 << 7)
                where = edit.bat_offset(16)
            with attached(path) as disk:
                for offset in (16 * MIB, 17 * MIB - 512, 16 * MIB + 4096):
                    ktap.expect_errno(errno.EIO, disk.read, offset, 512)
                ktap.expect_errno(errno.EIO, disk.write, 16 * MIB, bytes(512))
                judge.same_range(disk, truth, 0, 16 * MIB)
                judge.same_range(disk, truth, 17 * MIB, SIZE - 17 * MIB)
                for block in (0, 12, 17):
                    data = judge.pattern(block, 8192)
                    disk.write(block * MIB + 4096, data)
                    truth.write(block * MIB + 4096, data)
                for block in (1, 2, 25):
                    ktap.expect_errno(errno.EIO, disk.write, block * MIB, bytes(4096))
                why = disk.sysfs("scan")
                ktap.check(why.startswith("failed: ") and "BAT entry 16" in why and f"{where:#x}" in why, why)
            with attached(path) as disk:
                judge.same_range(disk, truth, 0, 16 * MIB)
                judge.same_range(disk, truth, 17 * MIB, SIZE - 17 * MIB)


@ktap.case
def scan_finds_overlap():
    """Two blocks with the same space: both read, in-place writes go on, the first write
    that needs a block finds it out."""
    with images.directory() as scratch:
        path = images.create(scratch / "disk.vhdx", SIZE, block_size=MIB, content=CONTENT)
        with Editor(path) as edit:
            edit.put_bat(20, edit.bat(16))
        with attached(path) as disk:
            ktap.check(disk.read(20 * MIB, MIB) == disk.read(16 * MIB, MIB), "they share it")
            disk.write(12 * MIB, bytes(4096))
            ktap.equal(disk.sysfs("scan"), "pending", "scan")
            ktap.expect_errno(errno.EIO, disk.write, 25 * MIB, bytes(4096))
            why = disk.sysfs("scan")
            ktap.check(why.startswith("failed: ") and "overlap" in why and "0x" in why, why)
            ktap.equal(disk.read(25 * MIB, 4096), bytes(4096), "what could not be written")


ktap.main()
