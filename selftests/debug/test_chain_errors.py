#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# test_chain_errors - a layer of a chain fails in one place: what needs that place fails, no more
#
# The leaf lies on a device that was another's, its parent on another one, and the base is a file.
# What the leaf has itself is read and written whatever becomes of its parents; a write that failed
# leaves what was there, also where that is a parent's; and once the device is well again all works,
# in the same session or, where a commit failed (rule V4), in the next one.
#
# vm: timeout=300 takes=6
import contextlib
import errno
import pathlib
import sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "vhdx/lib"))
# pylint: disable=wrong-import-position
from vhdxtest import faulty, images, judge, ktap, udev  # noqa: E402
from vhdxtest.disk import raw_attached  # noqa: E402
from vhdxtest.images import GIB, KIB, MIB  # noqa: E402
import vhdxoracle  # noqa: E402

# The entry of the sector bitmap is not in the page of the BAT that has the blocks' entries.
DISK = 4 * GIB + 8 * MIB
DEVICE = 32 * MIB
STALE = 0xA5
SECTOR = 512
CHANCE = ktap.chance()

# Blocks, by what the layers have of them.
BASES = 0                       # the base alone
MIXED = 1                       # each of them some sectors
LEAFS = 2                       # the leaf, all of it
MIDDLES_PART = 3                # the middle a part, and the base
MIDDLES = 4                     # the middle, all of it
FREE = (5, 6, 7)                # the base alone, to be written
OWN, OWN_LENGTH = MIXED * MIB + 8 * KIB, 16 * KIB


def refused(call, *arguments):
    """The call fails with EIO; the error."""
    return ktap.expect_errno(errno.EIO, call, *arguments)


class Rig:
    """The chain, and the content that its disk must have."""

    def __init__(self, scratch, leaf, middle, content, block_size):
        self.scratch, self.leaf, self.middle = scratch, leaf, middle
        self.base = images.create(scratch / "base.vhdx", DISK, MIB,
                                  content=[(0, judge.pattern(1, 8 * MIB))])
        vhdxoracle.create(middle.path, parent=self.base, block_size=MIB,
                          content=[(MIXED * MIB + 64 * KIB, judge.pattern(2, 16 * KIB)),
                                   (MIDDLES_PART * MIB + 4 * KIB, judge.pattern(3, 8 * KIB)),
                                   (MIDDLES * MIB, judge.pattern(4, MIB))])
        judge.fill(leaf.path, STALE, 0, DEVICE)
        vhdxoracle.create(leaf.path, parent=middle.path, block_size=block_size,
                          content=content)
        self.parents = [middle.path, self.base]
        self.before = self._fingerprints()
        self.truth = judge.Truth(scratch / "truth", DISK)
        with self.oracle() as image:
            for offset, piece in image.data():
                self.truth.write(offset, piece)

    def _fingerprints(self):
        return [judge.fingerprint(path) for path in self.parents]

    def oracle(self):
        """What it reads."""
        return vhdxoracle.open_disk(self.leaf.path, self.parents)

    def attached(self, closes=True):
        """The disk."""
        return raw_attached(self.leaf.path, closes=closes, parents=self.parents)

    def end_of_leaf(self):
        """Where its next block will be."""
        with vhdxoracle.Image(self.leaf.path) as image:
            ends = [end for _, end, _ in image.structures]
            ends += [at + length for _, at, length in image.bitmap_blocks()]
            ends += [image.block_entry(block)[1] + image.geometry.block_size
                     for block in range(FREE[-1])]
            return max(ends)

    def write(self, disk, offset, length):
        """A write that succeeds."""
        data = CHANCE.randbytes(length)
        disk.write(offset, data)
        self.truth.write(offset, data)

    def write_refused(self, disk, offset, length):
        """A write that fails, and is perhaps there in part: what it was."""
        data = CHANCE.randbytes(length)
        refused(disk.write, offset, data)
        return data

    def settle(self, read, offset, data):
        """Each sector is what it was, or what was written: now it is known which."""
        found, old = read(offset, len(data)), self.truth.read(offset, len(data))
        for at in range(0, len(data), SECTOR):
            one = slice(at, at + SECTOR)
            ktap.check(found[one] in (old[one], data[one]),
                       f"sector at {offset + at} is neither what it was nor what was written")
        self.truth.write(offset, found)

    def same(self, disk, *blocks):
        """These blocks read as they must."""
        for block in blocks:
            judge.same_range(disk, self.truth, block * MIB, MIB)

    def healthy(self, disk):
        """Everything works, in blocks of all kinds."""
        ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
        for block in range(FREE[-1] + 1):
            self.write(disk, block * MIB + 40 * KIB, 4 * KIB + SECTOR)
        disk.data.flush()
        judge.same_disk(disk, self.truth)

    def ends_well(self, clean=True):
        """Detached, and well again: valid, and what it must be; so is the next session."""
        self.leaf.heal()
        self.middle.heal()
        judge.valid(self.leaf.path, clean)
        with self.attached() as disk:
            judge.same_disk(disk, self.truth)
            self.healthy(disk)
        judge.valid(self.leaf.path)
        with self.oracle() as image:
            judge.same_image(image, self.truth)
        ktap.check(self._fingerprints() == self.before, "a parent was written")
        self.truth.close()


CONTENT = ((OWN, judge.pattern(5, OWN_LENGTH)), (LEAFS * MIB, judge.pattern(6, MIB)))


@contextlib.contextmanager
def rig(content=CONTENT, block_size=MIB):
    """A Rig."""
    with images.directory() as scratch, \
            faulty.device(scratch / "leaf", DEVICE, "leaf") as leaf, \
            faulty.device(scratch / "middle", DEVICE, "middle") as middle:
        yield Rig(scratch, leaf, middle, content, block_size)


def bat_page(path, index):
    """The page of a container's BAT that has this entry."""
    with vhdxoracle.Image(path) as image:
        return image.bat_offset(index) // 4096 * 4096, 4096


def bitmap_page(path):
    """The page of its sector bitmap that has the bits of all blocks here."""
    with vhdxoracle.Image(path) as image:
        return next(image.bitmap_blocks())[1], 4096


def payload(path, block, offset, length):
    """A part of a block, where it is in a container."""
    with vhdxoracle.Image(path) as image:
        return image.block_entry(block)[1] + offset, length


# Of the BAT: that of the first blocks, and that of their sector bitmap.
BLOCKS_ENTRY, BITMAPS_ENTRY = 0, 4096


# ---- the leaf -------------------------------------------------------------------------------

@ktap.case
def leaf_payload_read():
    """Of a block that is the leaf's in part, its own sectors fail and no others."""
    with rig() as r:
        with r.attached() as disk:
            r.leaf.fail(payload(r.leaf.path, MIXED, 8 * KIB, 4 * KIB))
            refused(disk.read, OWN, SECTOR)
            refused(disk.read, MIXED * MIB, 64 * KIB)
            judge.same_range(disk, r.truth, OWN + 4 * KIB, MIB - 12 * KIB)
            judge.same_range(disk, r.truth, MIXED * MIB, 8 * KIB)
            r.same(disk, BASES, LEAFS, MIDDLES_PART, MIDDLES)
            r.write(disk, MIXED * MIB + 128 * KIB, 4 * KIB)
            r.leaf.heal()
            r.healthy(disk)
        r.ends_well()


def leaf_payload_write(block):
    """Sectors that could not be written are what they were: a parent's, of which the leaf has
    none; and not what was at that place before (rule V1)."""
    with rig() as r:
        end = r.end_of_leaf()
        with r.attached() as disk:
            bad = payload(r.leaf.path, MIXED, 256 * KIB, 4 * KIB) if block == MIXED else \
                (end + 256 * KIB, 4 * KIB)
            r.leaf.fail(bad)
            offset = block * MIB + 254 * KIB
            data = r.write_refused(disk, offset, 4 * KIB)
            r.settle(disk.read, offset, data)
            r.write(disk, block * MIB + 512 * KIB, 4 * KIB)
            disk.data.flush()
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
            r.leaf.heal()
            r.same(disk, block)
            r.healthy(disk)
        r.ends_well()


for _name, _block in (("in_part", MIXED), ("new", FREE[0])):
    ktap.add(f"leaf_payload_write_{_name}", leaf_payload_write, _block)


def leaf_bitmap(where, needed_by_all):
    """Where it can't be read, blocks that are there in part fail, and first writes that need it:
    to all of a block only where no entry of the BAT can be made without it."""
    with rig() as r:
        with r.attached() as disk:
            r.leaf.fail(where(r.leaf.path))
            for offset in (OWN, MIXED * MIB, MIXED * MIB + 64 * KIB):
                refused(disk.read, offset, SECTOR)
            r.same(disk, BASES, LEAFS, MIDDLES_PART, MIDDLES)
            r.write_refused(disk, MIXED * MIB + 4 * KIB, 4 * KIB)
            r.write_refused(disk, FREE[0] * MIB + 4 * KIB, 4 * KIB)
            r.write(disk, LEAFS * MIB, 4 * KIB)
            if needed_by_all:
                r.write_refused(disk, FREE[1] * MIB, MIB)
            else:
                r.write(disk, FREE[1] * MIB, MIB)
            disk.data.flush()
            r.same(disk, *FREE)
            r.leaf.heal()
            r.healthy(disk)
        r.ends_well()


ktap.add("leaf_bitmap_page", leaf_bitmap, bitmap_page, False)
# The scan before the first new block reads it.
ktap.add("leaf_bitmap_entry", leaf_bitmap, lambda path: bat_page(path, BITMAPS_ENTRY), True)


def leaf_commit(where, logged):
    """Bits that can't be logged, or not be applied: the commit fails, and the disk is only read
    from then on. Next time each sector is what it was, or what was written; and the latter, if the
    bits were logged, for then it was flushed."""
    with rig() as r:
        with r.attached(closes=False) as disk:
            r.write(disk, MIXED * MIB + 100 * KIB, 4 * KIB)
            r.write(disk, FREE[0] * MIB + 100 * KIB, 4 * KIB)
            disk.data.flush()
            r.leaf.fail(where(r.leaf.path))
            lost = {block * MIB + 200 * KIB: CHANCE.randbytes(8 * KIB) for block in (MIXED, *FREE)}
            for offset, data in lost.items():
                disk.write(offset, data)
            if logged:
                disk.data.flush()
            else:
                refused(disk.data.flush)
            ktap.eventually(lambda: disk.sysfs("poisoned") == "1", "poisoned")
            for offset, data in lost.items():
                ktap.equal(disk.read(offset, len(data)), data, "what was written")
            r.leaf.heal()
            r.write_refused(disk, FREE[0] * MIB, 4 * KIB)
            r.same(disk, BASES, LEAFS, MIDDLES_PART, MIDDLES)
        with r.oracle() as image:
            for offset, data in lost.items():
                if logged:
                    ktap.equal(image.read(offset, len(data)), data, "what was flushed")
                r.settle(image.read, offset, data)
        r.ends_well(clean=False)


def ring(path):
    """The log."""
    with vhdxoracle.Image(path) as image:
        return image.header.log_offset, image.header.log_length


ktap.add("leaf_log", leaf_commit, ring, False)
ktap.add("leaf_bitmap_apply", leaf_commit, bitmap_page, True)


def leaf_new_bitmap(block_size):
    """A place that can't be zeroed costs the write that needed a sector bitmap, and no other; also
    where no block would take it."""
    with rig(((LEAFS * MIB, judge.pattern(6, 2 * MIB)),), block_size) as r:
        end = r.end_of_leaf()
        with r.attached() as disk:
            r.leaf.fail((end + 4 * KIB, 4 * KIB))
            r.write_refused(disk, FREE[0] * MIB + 4 * KIB, 4 * KIB)
            r.same(disk, FREE[0])
            r.write(disk, FREE[0] * MIB + 4 * KIB, 4 * KIB)
            r.write(disk, FREE[1] * MIB, MIB)
            r.leaf.heal()
            r.healthy(disk)
        r.ends_well()


for _size in (1, 2):
    ktap.add(f"leaf_new_bitmap_{_size}M_blocks", leaf_new_bitmap, _size * MIB)


# ---- parents ---------------------------------------------------------------------------------

def parent(where, fails, reads):
    """A page of its BAT or of its sector bitmap, or payload: what the leaf does not have of some
    blocks can't be read. It is written all the same, and read again when the device is well."""
    with rig() as r:
        r.middle.fail(where(r.middle.path))
        with r.attached() as disk:
            for _ in range(2):
                for offset in fails:
                    refused(disk.read, offset, SECTOR)
            for offset, length in (*reads, (OWN, OWN_LENGTH), (LEAFS * MIB, MIB)):
                judge.same_range(disk, r.truth, offset, length)
            for offset in fails:
                r.write(disk, offset, SECTOR)
                judge.same_range(disk, r.truth, offset, SECTOR)
            disk.data.flush()
            ktap.equal(disk.sysfs("poisoned"), "0", "poisoned")
            r.middle.heal()
            r.healthy(disk)
        r.ends_well()


_BASES, _PART, _ALL = BASES * MIB, MIDDLES_PART * MIB, MIDDLES * MIB
ktap.add("parent_bat", parent, lambda path: bat_page(path, BLOCKS_ENTRY),
         (_BASES, _PART, _PART + 4 * KIB, _ALL, MIXED * MIB), ())
ktap.add("parent_bitmap_page", parent, bitmap_page,
         (_PART, _PART + 4 * KIB, MIXED * MIB, MIXED * MIB + 64 * KIB),
         ((_BASES, MIB), (_ALL, MIB)))
ktap.add("parent_bitmap_entry", parent, lambda path: bat_page(path, BITMAPS_ENTRY),
         (_PART, _PART + 4 * KIB, MIXED * MIB), ((_BASES, MIB), (_ALL, MIB)))
ktap.add("parent_payload", parent, lambda path: payload(path, MIDDLES_PART, 4 * KIB, 4 * KIB),
         (_PART + 4 * KIB, _PART + 6 * KIB),
         ((_BASES, MIB), (_ALL, MIB), (_PART, 4 * KIB), (_PART + 8 * KIB, 8 * KIB)))

with udev.asleep():
    ktap.main(brief=3)
