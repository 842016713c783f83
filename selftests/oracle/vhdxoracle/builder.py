# SPDX-License-Identifier: GPL-2.0-only
"""Creating containers of any legal shape.

Everything that a reader might take for granted can be varied: where structures are and
in which order, how long the log and the BAT are, which block is in which state and where
in the file it lies.  Space of blocks that are not present is filled with a pattern, so
that a reader that trusts it gives itself away.
"""

import os
import random
import struct
from collections import defaultdict
from uuid import UUID

from . import locator
from .bat import BITMAP_BLOCK_SIZE, Geometry, HAS_DATA, State, pack_entry
from .container import Container
from .content import pieces, split
from .image import Image
from .layout import (BAT_REGION, FILE_PARAMETERS, HAS_PARENT, HEADER_OFFSETS, Header, IS_REQUIRED,
                     Item, KIB, KNOWN_ITEMS, LEAVE_BLOCK_ALLOCATED, LOGICAL_SECTOR_SIZE,
                     METADATA_REGION, MIB, PAGE, PARENT_LOCATOR, PHYSICAL_SECTOR_SIZE,
                     REGION_TABLE_OFFSETS, Region, TABLE_SIZE, VIRTUAL_DISK_ID, VIRTUAL_DISK_SIZE,
                     pack_file_identifier, pack_metadata_table, pack_region_table, round_up)
from .ranges import RangeSet
from .space import Space

STALE_BYTE = 0xEE                  # fills space whose content must not be seen
DEFAULT_BLOCK_SIZE = {"dynamic": 32 * MIB, "fixed": 2 * MIB, "differencing": 2 * MIB}
METADATA_LENGTH = MIB


def parse_state(text):
    """("UNMAPPED+") -> (State.UNMAPPED, True); the plus gives the block space of its own."""
    if isinstance(text, State):
        return text, text in HAS_DATA
    name = text.rstrip("+")
    state = State[name]
    return state, text.endswith("+") or state in HAS_DATA


class _Builder:
    """One create() call: geometry, space and BAT while they come together."""

    def __init__(self, container, geometry):
        self.container = container
        self.geometry = geometry
        self.space = Space()
        self.entries = {}          # BAT index: entry
        self.bitmaps = {}          # chunk: bytearray

    def place(self, lengths, order, offsets, gap):
        """Offsets of log, metadata and BAT: given ones, else in order with gaps."""
        placed = dict(offsets)
        for name in placed:
            self.space.take(placed[name], lengths[name])
        for name in order:
            if name not in placed:
                self.space.cursor += gap if self.space.cursor > MIB else 0
                placed[name] = self.space.allocate(lengths[name])
        return placed

    def give_space(self, block, state, stale):
        offset = self.space.allocate(self.geometry.block_size)
        self.entries[self.geometry.payload_index(block)] = pack_entry(state, offset)
        self.container.grow(offset + self.geometry.block_size)
        if stale:
            for at in (0, self.geometry.block_size // 2, self.geometry.block_size - 64 * KIB):
                self.container.write(offset + at, bytes([STALE_BYTE]) * 64 * KIB)
        elif self.container.is_device:
            self.container.zero(offset, self.geometry.block_size)
        return offset

    def bitmap(self, chunk):
        """The bits of a chunk, with space allocated for them."""
        if chunk not in self.bitmaps:
            offset = self.space.allocate(BITMAP_BLOCK_SIZE)
            index = self.geometry.bitmap_index(chunk)
            self.entries[index] = pack_entry(State.FULLY_PRESENT, offset)
            self.container.grow(offset + BITMAP_BLOCK_SIZE)
            self.bitmaps[chunk] = offset, bytearray(BITMAP_BLOCK_SIZE)
        return self.bitmaps[chunk][1]

    def mark_present(self, block, within, length):
        set_bits(self.bitmap(block // self.geometry.chunk_ratio),
                 self.geometry.sector_bit(block, within), length // self.geometry.logical_sector)

    def write_bat(self, bat_offset):
        pages = defaultdict(lambda: bytearray(PAGE))
        for index, entry in self.entries.items():
            page, slot = divmod(index * 8, PAGE)
            struct.pack_into("<Q", pages[page], slot, entry)
        for page, data in sorted(pages.items()):
            self.container.write(bat_offset + page * PAGE, data)


def set_bits(bitmap, first, count):
    """Set count bits from first, LSB first."""
    low, high = first // 8, -(-(first + count) // 8)
    value = int.from_bytes(bitmap[low:high], "little") | ((1 << count) - 1) << first % 8
    bitmap[low:high] = value.to_bytes(high - low, "little")


def _plan_blocks(geometry, content, states, fixed):
    """{block: (State, has space)}; a partially written block of a child is partial."""
    plan = {b: (State.FULLY_PRESENT, True) for b in range(geometry.payload_blocks)} if fixed else {}
    covered = defaultdict(list)
    for offset, data in content:
        if offset + len(data) > geometry.size:
            raise ValueError(f"content at {offset} goes beyond the disk's end")
        if geometry.differencing and (offset | len(data)) % geometry.logical_sector:
            raise ValueError(f"content at {offset} is not made of whole sectors")
        for block, within, part in split(offset, data, geometry.block_size):
            covered[block].append((within, within + len(part)))
    for block, pairs in covered.items():
        partial = geometry.differencing and RangeSet(pairs).total() < geometry.block_range(block)[1]
        plan[block] = State.PARTIALLY_PRESENT if partial else State.FULLY_PRESENT, True
    plan.update({block: parse_state(state) for block, state in states.items()})
    return plan


def _fill_blocks(builder, content, plan, order):
    """Allocate in the given order of blocks, then write the content."""
    geometry, where = builder.geometry, {}
    for block in order:
        state, has_space = plan[block]
        if state == State.PARTIALLY_PRESENT:
            builder.bitmap(block // geometry.chunk_ratio)
        if has_space:
            where[block] = builder.give_space(block, state, state not in HAS_DATA)
        else:
            builder.entries[geometry.payload_index(block)] = pack_entry(state)
    for offset, data in content:
        for block, within, part in split(offset, data, geometry.block_size):
            if plan[block][0] not in HAS_DATA:
                continue
            builder.container.write(where[block] + within, part)
            if plan[block][0] == State.PARTIALLY_PRESENT:
                builder.mark_present(block, within, len(part))
    for offset, bits in builder.bitmaps.values():
        builder.container.write(offset, bits)


def _pack_metadata(items):
    """The metadata region: table, then the items' values in order."""
    entries, values, offset = [], b"", TABLE_SIZE
    for guid, value, flags in items:
        entries.append(Item(guid, offset if value else 0, len(value), flags))
        values += value
        offset += len(value)
    return pack_metadata_table(entries) + values


def _system_items(geometry, kind, physical_sector, disk_id, pairs):
    flags = {"fixed": LEAVE_BLOCK_ALLOCATED, "differencing": HAS_PARENT}.get(kind, 0)
    values = {FILE_PARAMETERS: struct.pack("<II", geometry.block_size, flags),
              VIRTUAL_DISK_SIZE: struct.pack("<Q", geometry.size),
              VIRTUAL_DISK_ID: disk_id.bytes_le,
              LOGICAL_SECTOR_SIZE: struct.pack("<I", geometry.logical_sector),
              PHYSICAL_SECTOR_SIZE: struct.pack("<I", physical_sector)}
    items = [(guid, value, KNOWN_ITEMS[guid][2]) for guid, value in values.items()]
    if pairs:
        items.append((PARENT_LOCATOR, locator.pack(pairs), IS_REQUIRED))
    return items


def _locator_pairs(path, parent):
    directory = os.path.dirname(os.path.abspath(path))
    relative = os.path.relpath(os.path.abspath(parent.path), directory).replace("/", "\\")
    if not relative.startswith(".."):
        relative = ".\\" + relative
    return {"parent_linkage": locator.guid_text(parent.header.data_write_guid),
            "relative_path": relative,
            "parent_linkage2": locator.guid_text(UUID(int=0))}


def create(path, size=None, *, kind="dynamic", block_size=None, logical_sector=None,
           physical_sector=None, content=(), states=None, parent=None, pairs=None,
           log_length=MIB, bat_length=None, order=("log", "metadata", "bat"), offsets=None, gap=0,
           table_order=("bat", "metadata"), required=1, extra_items=(), extra_regions=(),
           shuffle=False, trailing=0, sequence=1, disk_id=None, creator="vhdxoracle", seed=None):
    """Write a clean VHDX to path, a new file or a block device.

    content        path of a raw file, or (offset, bytes) pairs
    states         {block: "ZERO" | "UNMAPPED" | "UNMAPPED+" ...}; "+" with (stale) space
    parent         path of the parent: makes a differencing disk of its size, sectors and id
    pairs          the parent locator's pairs, instead of those that lead to parent
    order, gap     how log, metadata and bat follow each other; offsets={"bat": n} pins one
    table_order    order in the region table; required is their flag there
    shuffle        place blocks in random order instead of ascending
    trailing       bytes behind the last structure
    seed           makes GUIDs and shuffling repeatable
    """
    rng = random.Random(seed)

    def guid():
        return UUID(int=rng.getrandbits(128), version=4)

    if parent is not None:
        kind = "differencing"
        with Image(parent) as above:
            size = above.size if size is None else size
            logical_sector = logical_sector or above.geometry.logical_sector
            physical_sector = physical_sector or above.parameters.physical_sector
            disk_id = disk_id or above.parameters.disk_id
            pairs = _locator_pairs(path, above) if pairs is None else pairs
    geometry = Geometry(size, block_size or DEFAULT_BLOCK_SIZE[kind], logical_sector or 512,
                        kind == "differencing")
    content = pieces(content)
    plan = _plan_blocks(geometry, content, states or {}, kind == "fixed")
    lengths = {"log": log_length, "metadata": METADATA_LENGTH,
               "bat": bat_length or max(MIB, round_up(geometry.bat_bytes, MIB))}
    items = _system_items(geometry, kind, physical_sector or 4096, disk_id or guid(), pairs)

    with Container(path, create=True) as container:
        builder = _Builder(container, geometry)
        at = builder.place(lengths, order, offsets or {}, gap)
        for region in extra_regions:
            builder.space.take(region.offset, region.length)
        container.grow(builder.space.end)
        if container.is_device:
            container.zero(0, builder.space.end)
        container.write(0, pack_file_identifier(creator))
        header = Header(sequence, at["log"], log_length, guid(), guid())
        for slot, where in enumerate(HEADER_OFFSETS):
            container.write(where, header.changed(sequence=sequence + slot).pack())
        known = {"bat": Region(BAT_REGION, at["bat"], lengths["bat"], required),
                 "metadata": Region(METADATA_REGION, at["metadata"], lengths["metadata"], required)}
        table = pack_region_table([known[name] for name in table_order] + list(extra_regions))
        for where in REGION_TABLE_OFFSETS:
            container.write(where, table)
        container.write(at["metadata"], _pack_metadata(items + list(extra_items)))

        blocks = sorted(plan)
        if shuffle:
            rng.shuffle(blocks)
        _fill_blocks(builder, content, plan, blocks)
        builder.write_bat(at["bat"])
        if not container.is_device:
            container.truncate(builder.space.end + trailing)
