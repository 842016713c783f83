# SPDX-License-Identifier: GPL-2.0-only
"""Legal, or written by others often enough: these images must attach and read as before."""

from ..bat import State, entry_offset, pack_entry
from ..builder import create
from ..layout import (BAT_REGION, HEADER_OFFSETS, METADATA_REGION, MIB, NULL_GUID,
                      REGION_TABLE_OFFSETS, pack_file_identifier)
from .registry import OK, mutation


def _fallback(name, offset, length):
    @mutation(f"{name}-zero", OK)
    def zero(target):
        """The other copy is valid."""
        target.put(offset, bytes(length))

    @mutation(f"{name}-checksum", OK)
    def checksum(target):
        """The other copy is valid."""
        target.flip(offset + 4)


for _number in (0, 1):
    _fallback(f"header-{_number + 1}", HEADER_OFFSETS[_number], 4096)
    _fallback(f"region-table-{_number + 1}", REGION_TABLE_OFFSETS[_number], 65536)


@mutation("equal-sequence-numbers", OK)
def _equal_sequence(target):
    """disk2vhd writes two identical headers."""
    for slot in (0, 1):
        target.edit.put_header(slot, target.edit.header)


@mutation("older-header-first", OK)
def _newer_first(target):
    """The current header is in the first slot."""
    header = target.edit.header
    target.edit.put_header(0, header.changed(sequence=header.sequence + 7))


@mutation("zero-write-guids", OK)
def _zero_guids(target):
    target.edit.change_headers(file_write_guid=NULL_GUID, data_write_guid=NULL_GUID)


@mutation("trailing-512-bytes", OK)
def _trailing(target):
    """disk2vhd's files are 512 bytes longer than a multiple of 1 MiB."""
    target.edit.container.grow(target.edit.container.size + 512)


@mutation("last-block-cut-at-disk-end", OK)
def _cut_at_end(target):
    """QEMU's fixed images end with the disk's last byte, inside the last block."""
    block, _, entry = list(target.data_entries())[-1]
    target.edit.container.truncate(entry_offset(entry) + target.edit.geometry.block_range(block)[1])


@mutation("trailing-garbage", OK)
def _garbage(target):
    target.garbage(target.edit.container.size, 3 * MIB + 77)


@mutation("creator-garbage", OK)
def _creator(target):
    """The creator must not influence anything, even if it is no UTF-16."""
    target.garbage(8, 65536 - 8)


@mutation("creator-empty", OK)
def _no_creator(target):
    target.put(0, pack_file_identifier(""))


@mutation("regions-not-required", OK)
def _not_required(target):
    """QEMU does not mark the BAT and the metadata as required."""
    target.rebuild(required=0)


@mutation("region-table-metadata-first", OK)
def _metadata_first(target):
    target.rebuild(table_order=("metadata", "bat"))


@mutation("region-table-stale-entry", OK)
def _stale_region(target):
    """Bytes behind the last entry look like one more."""
    target.edit.put_regions(target.edit.regions * 2, count=len(target.edit.regions))


@mutation("metadata-stale-entry", OK)
def _stale_item(target):
    """Windows leaves a copy of the last entry behind the table's end."""
    items = target.edit.items
    target.edit.put_items(items + items[-1:], count=len(items))


@mutation("metadata-other-order", OK)
def _other_order(target):
    target.edit.put_items(target.edit.items[::-1])


@mutation("structures-reversed", OK)
def _reversed(target):
    target.rebuild(order=("bat", "metadata", "log"))


@mutation("structures-behind-payload", OK)
def _behind(target):
    """Log, metadata and BAT lie behind the space of the blocks."""
    target.rebuild(offsets={"log": 60 * MIB, "metadata": 70 * MIB, "bat": 80 * MIB})


@mutation("structures-with-gaps", OK)
def _gaps(target):
    target.rebuild(gap=5 * MIB)


@mutation("blocks-shuffled", OK)
def _shuffled(target):
    target.rebuild(shuffle=True)


@mutation("bat-oversized", OK)
def _oversized(target):
    """The BAT region is longer than the entries need."""
    target.rebuild(bat_length=16 * MIB)


@mutation("log-long", OK)
def _long_log(target):
    target.rebuild(log_length=8 * MIB)


@mutation("bat-entry-behind-the-last", OK)
def _behind_last(target):
    """QEMU 5.2 wrote state ZERO into the slot behind the last block's."""
    target.edit.put_bat(target.edit.geometry.entries, State.ZERO)


@mutation("bat-garbage-behind-the-last", OK)
def _garbage_behind_last(target):
    start = target.edit.bat_offset(target.edit.geometry.entries)
    target.garbage(start, target.edit.region(BAT_REGION).end - start)


def _offset_kept(state):
    @mutation(f"bat-{state.name.lower().replace('_', '-')}-with-offset", OK, same_content=False)
    def keep(target):
        """The block has no data; its offset is reserved or a mere hint."""
        _, index, entry = next(target.data_entries())
        target.edit.put_bat(index, entry & ~7 | state)


for _state in (State.NOT_PRESENT, State.UNDEFINED, State.ZERO, State.UNMAPPED):
    _offset_kept(_state)


@mutation("bat-not-present-with-wild-offset", OK)
def _wild_offset(target):
    """NOT_PRESENT and ZERO entries: their offsets are reserved, whatever they say."""
    for block, state in ((8, State.NOT_PRESENT), (4, State.ZERO)):
        target.edit.put_bat(target.edit.geometry.payload_index(block), pack_entry(state, 1 << 50))


@mutation("fixed-with-zero-blocks", OK, same_content=False)
def _fixed_zero(target):
    """LeaveBlockAllocated does not mean that every block has space (QEMU)."""
    target.edit.close()
    create(target.path, 8 * MIB, kind="fixed", block_size=MIB, content=[(0, b"f" * 4096)], seed=9,
           states={2: "ZERO", 3: "ZERO", 7: "ZERO"})


@mutation("region-metadata-not-required", OK)
def _mixed_required(target):
    target.edit.change_region(METADATA_REGION, required=0)
