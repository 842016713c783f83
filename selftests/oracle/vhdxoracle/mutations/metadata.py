# SPDX-License-Identifier: GPL-2.0-only
"""Faults of the metadata table and of the items in it."""

import struct
from uuid import UUID

from ..layout import (FILE_PARAMETERS, IS_REQUIRED, IS_USER, Item, KNOWN_ITEMS, LOGICAL_SECTOR_SIZE,
                      METADATA_REGION, MIB, PARENT_LOCATOR, PHYSICAL_SECTOR_SIZE, VIRTUAL_DISK_ID,
                      VIRTUAL_DISK_SIZE)
from .registry import EOPNOTSUPP, EUCLEAN, OK, mutation

_METADATA = ("metadata",)
UNKNOWN = UUID("0DDBA115-0000-4000-8000-000000000002")


@mutation("metadata-signature", EUCLEAN, structure=_METADATA)
def _signature(target):
    target.put(target.edit.region(METADATA_REGION).offset, b"METADATA")


@mutation("metadata-zero", EUCLEAN, structure=_METADATA)
def _zero(target):
    target.put(target.edit.region(METADATA_REGION).offset, bytes(MIB))


for _count in (0, 2048, 0xFFFF):
    @mutation(f"metadata-count-{_count}", EUCLEAN, structure=_METADATA)
    def _lie(target, count=_count):
        """The table claims another number of items than it has."""
        target.edit.put_items(target.edit.items, count)


def _item(name, guid):
    @mutation(f"metadata-{name}-missing", EUCLEAN, structure=_METADATA)
    def missing(target):
        target.edit.put_items([i for i in target.edit.items if i.guid != guid])

    @mutation(f"metadata-{name}-short", EUCLEAN, structure=_METADATA)
    def short(target):
        """The item is too small for its kind."""
        length = KNOWN_ITEMS[guid][1]
        target.edit.change_item(guid, length=length // 2)

    @mutation(f"metadata-{name}-empty", EUCLEAN, structure=_METADATA)
    def empty(target):
        """The item is there, with length and offset 0."""
        target.edit.change_item(guid, length=0, offset=0)


for _guid, (_name, _length, _flags) in KNOWN_ITEMS.items():
    if _guid != PARENT_LOCATOR:
        _item(_name.replace(" ", "-"), _guid)


def _placed(what, **fields):
    @mutation(f"metadata-item-{what}", EUCLEAN, structure=_METADATA)
    def place(target):
        target.edit.change_item(VIRTUAL_DISK_SIZE, **fields)


_placed("in-table", offset=0x8000)
_placed("offset-zero", offset=0)
_placed("beyond-region", offset=MIB)
_placed("reaches-beyond-region", offset=MIB - 4)
_placed("offset-max", offset=0xFFFFFFFC)
_placed("too-long", length=MIB + 1)
_placed("length-max", length=0xFFFFFFFF)
_placed("length-zero-with-offset", length=0)


@mutation("metadata-items-overlap", EUCLEAN, structure=_METADATA)
def _overlap(target):
    items = {i.guid: i for i in target.edit.items}
    target.edit.change_item(VIRTUAL_DISK_SIZE, offset=items[VIRTUAL_DISK_ID].offset + 4)


@mutation("metadata-item-twice", EUCLEAN, structure=_METADATA)
def _twice(target):
    target.edit.put_items(target.edit.items + [Item(VIRTUAL_DISK_SIZE, 0x20000, 8, 6)])


def _unknown(name, attach, flags, note=""):
    @mutation(f"metadata-unknown-{name}", attach, structure=_METADATA)
    def unknown(target):
        target.edit.put_items(target.edit.items + [Item(UNKNOWN, 0x20000, 100, flags)])
    unknown.__doc__ = note


_unknown("required", EOPNOTSUPP, IS_REQUIRED)
_unknown("user-required", EOPNOTSUPP, IS_REQUIRED | IS_USER)
_unknown("optional", OK, 0, "Must be kept.")
_unknown("user", OK, IS_USER, "Must be kept.")


@mutation("metadata-user-item-of-known-guid", OK)
def _user_item(target):
    """Users may use any GUID: (ItemId, IsUser) is what must be unique."""
    target.edit.put_items([Item(VIRTUAL_DISK_SIZE, 0x20000, 8, IS_USER)] + target.edit.items)


@mutation("metadata-reserved-flags", OK, EUCLEAN, structure=_METADATA)
def _reserved(target):
    items = {i.guid: i for i in target.edit.items}
    target.edit.change_item(VIRTUAL_DISK_SIZE, flags=items[VIRTUAL_DISK_SIZE].flags | 0x80000000)


def _value(name, guid, value, note=""):
    @mutation(name, EUCLEAN, structure=_METADATA + ("size",))
    def put(target):
        target.edit.put_value(guid, value)
    put.__doc__ = note


for _label, _size in (("zero", 0), ("half-mib", MIB // 2), ("3-mib", 3 * MIB),
                      ("512-mib", 512 * MIB), ("max", 0xFFFFFFFF)):
    _value(f"block-size-{_label}", FILE_PARAMETERS, struct.pack("<II", _size, 0))
for _label, _guid in (("logical", LOGICAL_SECTOR_SIZE), ("physical", PHYSICAL_SECTOR_SIZE)):
    for _size in (0, 1, 1024, 8192, 0xFFFFFFFF):
        _value(f"{_label}-sector-{_size}", _guid, struct.pack("<I", _size))
for _label, _size in (("64-tib-and-a-sector", (64 << 40) + 512), ("2-to-62", 1 << 62),
                      ("max", (1 << 64) - 1), ("odd", 48 * MIB + 1), ("half-sector", 48 * MIB + 256)):
    _value(f"disk-size-{_label}", VIRTUAL_DISK_SIZE, struct.pack("<Q", _size))


@mutation("disk-size-64-tib", EUCLEAN, structure=("BAT",))
def _claims_64_tib(target):
    """A legal size, but the BAT is far too small for it."""
    target.edit.put_value(VIRTUAL_DISK_SIZE, (64 << 40).to_bytes(8, "little"))


@mutation("has-parent-without-locator", EUCLEAN, EOPNOTSUPP, structure=("parent", "metadata", "differencing"))
def _no_locator(target):
    target.edit.put_value(FILE_PARAMETERS, struct.pack("<II", 2 * MIB, 2))
