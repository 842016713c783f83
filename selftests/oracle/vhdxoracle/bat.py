# SPDX-License-Identifier: GPL-2.0-only
"""Block allocation table: states, entries, and which slot belongs to which block."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from .layout import MIB

ENTRY_SIZE = 8
SECTORS_PER_BITMAP = 1 << 23       # one sector bitmap block of 1 MiB has this many bits
BITMAP_BLOCK_SIZE = MIB
RESERVED_BITS = 0xFFFF8            # bits 3 to 19


class State(IntEnum):
    """Payload block states; a sector bitmap block is NOT_PRESENT or FULLY_PRESENT."""
    NOT_PRESENT = 0
    UNDEFINED = 1
    ZERO = 2
    UNMAPPED = 3
    FULLY_PRESENT = 6
    PARTIALLY_PRESENT = 7


STATES = frozenset(State)
HAS_DATA = frozenset((State.FULLY_PRESENT, State.PARTIALLY_PRESENT))


def pack_entry(state, offset=0):
    """A BAT entry; offset is in bytes, a multiple of 1 MiB."""
    if offset % MIB:
        raise ValueError(f"block offset {offset:#x} is not a multiple of 1 MiB")
    return int(state) | offset     # bits 20 to 63 count MiB, so the byte offset fits as is


def entry_state(entry):
    return entry & 7


def entry_offset(entry):
    return entry & ~(MIB - 1)


@dataclass(frozen=True)
class Geometry:
    """The BAT arithmetic of one virtual disk."""
    size: int
    block_size: int
    logical_sector: int
    differencing: bool = False

    @cached_property
    def chunk_ratio(self):
        """Payload blocks that one sector bitmap block describes."""
        return SECTORS_PER_BITMAP * self.logical_sector // self.block_size

    @cached_property
    def payload_blocks(self):
        return -(-self.size // self.block_size)

    @property
    def bitmap_blocks(self):
        return -(-self.payload_blocks // self.chunk_ratio)

    @cached_property
    def entries(self):
        """Entries that the BAT must have; a differencing disk's has whole chunks."""
        if self.differencing:
            return self.bitmap_blocks * (self.chunk_ratio + 1)
        blocks = self.payload_blocks
        return blocks + (blocks - 1) // self.chunk_ratio if blocks else 0

    @property
    def bat_bytes(self):
        return self.entries * ENTRY_SIZE

    def payload_index(self, block):
        return block + block // self.chunk_ratio

    def bitmap_index(self, chunk):
        return (chunk + 1) * self.chunk_ratio + chunk

    def slot(self, index):
        """("payload", block), ("bitmap", chunk) or ("padding", index) for a BAT index."""
        chunk, place = divmod(index, self.chunk_ratio + 1)
        if index >= self.entries:
            return "padding", index
        if place == self.chunk_ratio:
            return "bitmap", chunk
        block = chunk * self.chunk_ratio + place
        return ("payload", block) if block < self.payload_blocks else ("padding", index)

    def block_range(self, block):
        """(virtual offset, length) of a block, the last one cut at the disk's end."""
        start = block * self.block_size
        return start, min(self.block_size, self.size - start)

    def sector_bit(self, block, byte_in_block=0):
        """The bit in the chunk's sector bitmap that a byte of a block belongs to."""
        return ((block % self.chunk_ratio) * self.block_size + byte_in_block) // self.logical_sector


def entry_fault(geometry, index, entry, limit, structures):
    """Why a BAT entry may not be used, or None.

    limit is the container's size, structures a list of (start, end, name) that blocks
    must keep clear of.  Offsets of states without data are reserved or mere hints and
    not judged here.  The part of the last block that is behind the disk's end may be
    missing from the container: QEMU's fixed images end with the disk's last byte.
    A disk without parent has no sector bitmaps: whatever their entries hold is ignored.
    """
    kind, number = geometry.slot(index)
    if kind == "padding" or kind == "bitmap" and not geometry.differencing:
        return None
    if entry & RESERVED_BITS:
        return f"reserved bits {entry & RESERVED_BITS:#x} are set"
    state = entry_state(entry)
    if state not in STATES:
        return f"state {state} is reserved"
    if kind == "bitmap":
        if state not in (State.NOT_PRESENT, State.FULLY_PRESENT):
            return f"state {state} is not a sector bitmap's"
    elif state == State.PARTIALLY_PRESENT and not geometry.differencing:
        return "partially present, but the disk has no parent"
    if state not in HAS_DATA:
        return None
    start = entry_offset(entry)
    end = start + (BITMAP_BLOCK_SIZE if kind == "bitmap" else geometry.block_size)
    for low, high, name in structures:
        if start < high and low < end:
            return f"block {start:#x}..{end:#x} overlaps the {name} at {low:#x}..{high:#x}"
    if kind == "payload":
        end = start + geometry.block_range(number)[1]
    if end > limit:
        return f"block {start:#x}..{end:#x} ends beyond the container ({limit:#x})"
    return None
