# SPDX-License-Identifier: GPL-2.0-only
"""Faults of BAT entries.

The BAT is read page by page, on demand: these images attach, but the block of a bad
entry does not read, and nothing is allocated in a container that cannot be trusted.
"""

from ..bat import State, pack_entry
from ..layout import BAT_REGION, METADATA_REGION, MIB
from .registry import OK, mutation

_BAT = ("BAT",)


def _entry(name, value, note="", **options):
    """Change the entry of the second block with data; value(entry, target)."""
    options = {"structure": _BAT, "same_content": False, "alloc_refused": True, **options}

    @mutation(f"bat-{name}", OK, **options)
    def change(target):
        _, index, entry = list(target.data_entries())[1]
        target.edit.put_bat(index, value(entry, target))
    change.__doc__ = note


for _bit in (3, 11, 19):
    _entry(f"reserved-bit-{_bit}", lambda entry, target, bit=_bit: entry | 1 << bit)
for _state in (4, 5):
    _entry(f"state-{_state}", lambda entry, target, state=_state: entry & ~7 | state)
    _entry(f"state-{_state}-without-offset", lambda entry, target, state=_state: state)
_entry("partially-present-without-parent", lambda entry, target: entry | 7)


def _moved(name, offset):
    """The block is said to be at offset(editor)."""
    _entry(name, lambda entry, target: pack_entry(State.FULLY_PRESENT, offset(target.edit)))


_moved("into-header", lambda edit: 0)
_moved("into-log", lambda edit: edit.header.log_offset)
_moved("into-metadata", lambda edit: edit.region(METADATA_REGION).offset)
_moved("into-bat", lambda edit: edit.region(BAT_REGION).offset)
_moved("at-end-of-file", lambda edit: edit.container.size)
_moved("reaches-beyond-end-of-file", lambda edit: edit.container.size - MIB)
_moved("offset-2-to-63", lambda edit: 1 << 63)
_moved("offset-max", lambda edit: (1 << 64) - MIB)
_entry("all-ones", lambda entry, target: (1 << 64) - 1)
_entry("same-as-another", lambda entry, target: next(target.data_entries())[2],
       "Two blocks share their space: found by the scan before the first allocation.")
_entry("overlaps-another", lambda entry, target: next(target.data_entries())[2] + MIB,
       "Two blocks share 1 MiB.")


@mutation("bat-all-the-same", OK, structure=_BAT, same_content=False, alloc_refused=True)
def _all_the_same(target):
    """Every block has the same space."""
    _, _, entry = next(target.data_entries())
    for block in range(target.edit.geometry.payload_blocks):
        target.edit.put_bat(target.edit.geometry.payload_index(block), entry)


def _bitmap_slot(name, entry, text):
    @mutation(f"bat-sector-bitmap-{name}-without-parent", OK, same_content=False)
    def _change(target):
        target.rebuild(size=6 << 30, content=[(0, b"a"), (5 << 30, b"b")])
        target.edit.put_bat(target.edit.geometry.bitmap_index(0), entry)
    _change.__doc__ = text


_bitmap_slot("zero", 2, "As QEMU before 8.0 left the slot between two chunks, which means nothing.")
_bitmap_slot("of-a-header", pack_entry(State.FULLY_PRESENT, 0), "It names the headers.")
_bitmap_slot("all-ones", ~0 & (1 << 64) - 1, "Reserved bits, too.")
