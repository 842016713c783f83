# SPDX-License-Identifier: GPL-2.0-only
"""Reading and judging the metadata region."""

import struct
from uuid import UUID

from . import locator
from .container import is_zero
from .findings import UNSUPPORTED
from .layout import (FILE_PARAMETERS, HAS_PARENT, IS_REQUIRED, IS_USER, KNOWN_ITEMS,
                     LEAVE_BLOCK_ALLOCATED, LOGICAL_SECTOR_SIZE, MAX_BLOCK_SIZE, MAX_DISK_SIZE,
                     MAX_ITEM_LENGTH, MAX_TABLE_ENTRIES, MAX_USER_ITEMS, MIN_BLOCK_SIZE,
                     PARENT_LOCATOR, PHYSICAL_SECTOR_SIZE, TABLE_SIZE, VIRTUAL_DISK_ID,
                     VIRTUAL_DISK_SIZE, Parameters, unpack_metadata_table)
from .regions import overlaps

TABLE = "metadata table"
ITEM = "metadata item"
_REQUIRED = [g for g in KNOWN_ITEMS if g != PARENT_LOCATOR]


def _judge_entry(number, item, region, report):
    def fatal(message, *errno):
        report.fatal(TABLE, region.offset, f"entry {number} ({item.name}): {message}", *errno)

    known = KNOWN_ITEMS.get(item.guid) if not item.flags & IS_USER else None
    if not known and item.flags & IS_REQUIRED:
        fatal("a required item that is not known", UNSUPPORTED)
    if item.length > MAX_ITEM_LENGTH:
        fatal(f"length {item.length} exceeds 1 MiB")
    if not item.length and item.offset:
        fatal(f"empty, but with offset {item.offset:#x}")
    if item.length and (item.offset < TABLE_SIZE or item.offset + item.length > region.length):
        fatal(f"{item.length} bytes at {item.offset:#x} are not behind the table and inside the region")
    if known and known[1] not in (None, item.length):
        fatal(f"length {item.length}, must be {known[1]}")
    if known and item.flags & 7 != known[2]:
        report.warning(TABLE, region.offset, f"entry {number} ({item.name}): unusual flags {item.flags:#x}")
    if item.flags & ~7 or item.reserved:
        report.error(TABLE, region.offset, f"entry {number} ({item.name}): reserved bits are set")


def judge_table(view, region, report):
    """The system items by GUID."""
    raw = view.read(region.offset, TABLE_SIZE)
    if raw[:8] != b"metadata":
        report.stop(TABLE, region.offset, "no signature")
    count, items = unpack_metadata_table(raw)
    if count > MAX_TABLE_ENTRIES:
        report.stop(TABLE, region.offset, f"{count} entries, at most 2047 fit")
    if not is_zero(raw[8:10] + raw[12:32]):
        report.error(TABLE, region.offset, "reserved bytes are not zero")
    if not is_zero(raw[32 + 32 * count:]):     # Windows leaves a copy of the last entry there
        report.info(TABLE, region.offset, "bytes behind the last entry are not zero")
    keys = set()
    for number, item in enumerate(items):
        _judge_entry(number, item, region, report)
        key = item.guid, item.flags & IS_USER
        if key in keys:
            report.fatal(TABLE, region.offset, f"entry {number} ({item.name}) occurs twice")
        keys.add(key)
    if sum(bool(i.flags & IS_USER) for i in items) > MAX_USER_ITEMS:
        report.fatal(TABLE, region.offset, "more than 1024 user items")
    for one, other in overlaps((i.offset, i.offset + i.length, i.name) for i in items if i.length):
        report.fatal(TABLE, region.offset, f"items {one[2]} and {other[2]} overlap at {other[0]:#x}")
    system = {i.guid: i for i in items if not i.flags & IS_USER}
    for guid in _REQUIRED:
        if guid not in system:
            report.fatal(TABLE, region.offset, f"the {KNOWN_ITEMS[guid][0]} is missing")
    report.stop_if_fatal()
    return system


def _judge_values(p, place, report):
    def fatal(guid, message):
        report.fatal(ITEM, place(guid), f"{KNOWN_ITEMS[guid][0]} {message}")

    if not MIN_BLOCK_SIZE <= p.block_size <= MAX_BLOCK_SIZE or p.block_size & (p.block_size - 1):
        fatal(FILE_PARAMETERS, f"give block size {p.block_size}, not a power of two in 1..256 MiB")
    if p.flags & ~(LEAVE_BLOCK_ALLOCATED | HAS_PARENT):
        report.error(ITEM, place(FILE_PARAMETERS), f"file parameters have reserved flags {p.flags:#x}")
    for guid, value in ((LOGICAL_SECTOR_SIZE, p.logical_sector), (PHYSICAL_SECTOR_SIZE, p.physical_sector)):
        if value not in (512, 4096):
            fatal(guid, f"is {value}, not 512 or 4096")
    if p.size > MAX_DISK_SIZE:
        fatal(VIRTUAL_DISK_SIZE, f"{p.size} exceeds 64 TiB")
    elif p.logical_sector in (512, 4096) and p.size % p.logical_sector:
        fatal(VIRTUAL_DISK_SIZE, f"{p.size} is not a multiple of the sector size {p.logical_sector}")


def judge_metadata(view, region, report):
    """The decoded Parameters."""
    items = judge_table(view, region, report)

    def place(guid):
        return region.offset + items[guid].offset

    def value(guid):
        return view.read(place(guid), items[guid].length)

    block_size, flags = struct.unpack("<II", value(FILE_PARAMETERS))
    p = Parameters(size=int.from_bytes(value(VIRTUAL_DISK_SIZE), "little"), block_size=block_size,
                   logical_sector=int.from_bytes(value(LOGICAL_SECTOR_SIZE), "little"),
                   physical_sector=int.from_bytes(value(PHYSICAL_SECTOR_SIZE), "little"),
                   flags=flags, disk_id=UUID(bytes_le=value(VIRTUAL_DISK_ID)))
    _judge_values(p, place, report)
    if p.has_parent and PARENT_LOCATOR not in items:
        report.fatal(TABLE, region.offset, "the disk has a parent, but no parent locator")
    elif p.has_parent:
        try:
            p.locator = locator.unpack(value(PARENT_LOCATOR))
        except locator.LocatorFault as fault:
            report.fatal("parent locator", place(PARENT_LOCATOR), str(fault))
    elif PARENT_LOCATOR in items:
        report.warning(TABLE, region.offset, "a parent locator, but the disk has no parent")
    report.stop_if_fatal()
    return p
