# SPDX-License-Identifier: GPL-2.0-only
"""The fixed structures of MS-VHDX: file identifier, headers, region and metadata tables."""

import struct
from dataclasses import dataclass, field, replace
from uuid import UUID

from .crc32c import sealed

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
PAGE = 4 * KIB

FILE_SIGNATURE = b"vhdxfile"
FILE_ID_SIZE = 64 * KIB
HEADER_OFFSETS = (64 * KIB, 128 * KIB)
HEADER_SIZE = 4 * KIB
REGION_TABLE_OFFSETS = (192 * KIB, 256 * KIB)
TABLE_SIZE = 64 * KIB              # of a region table and of the metadata table
HEADER_SECTION = MIB               # nothing else lies below this offset
MAX_TABLE_ENTRIES = 2047
MAX_USER_ITEMS = 1024
MAX_ITEM_LENGTH = MIB
MAX_DISK_SIZE = 64 * TIB
MIN_BLOCK_SIZE, MAX_BLOCK_SIZE = MIB, 256 * MIB
MAX_LOG_LENGTH = GIB

NULL_GUID = UUID(int=0)
BAT_REGION = UUID("2DC27766-F623-4200-9D64-115E9BFD4A08")
METADATA_REGION = UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")

FILE_PARAMETERS = UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
VIRTUAL_DISK_SIZE = UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
VIRTUAL_DISK_ID = UUID("BECA12AB-B2E6-4523-93EF-C309E000C746")
LOGICAL_SECTOR_SIZE = UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
PHYSICAL_SECTOR_SIZE = UUID("CDA348C7-445D-4471-9CC9-E9885251C556")
PARENT_LOCATOR = UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")

IS_USER, IS_VIRTUAL_DISK, IS_REQUIRED = 1, 2, 4
LEAVE_BLOCK_ALLOCATED, HAS_PARENT = 1, 2

# name, expected length (None: varies), expected flags
KNOWN_ITEMS = {
    FILE_PARAMETERS: ("file parameters", 8, IS_REQUIRED),
    VIRTUAL_DISK_SIZE: ("virtual disk size", 8, IS_VIRTUAL_DISK | IS_REQUIRED),
    VIRTUAL_DISK_ID: ("virtual disk id", 16, IS_VIRTUAL_DISK | IS_REQUIRED),
    LOGICAL_SECTOR_SIZE: ("logical sector size", 4, IS_VIRTUAL_DISK | IS_REQUIRED),
    PHYSICAL_SECTOR_SIZE: ("physical sector size", 4, IS_VIRTUAL_DISK | IS_REQUIRED),
    PARENT_LOCATOR: ("parent locator", None, IS_REQUIRED),
}

_HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
_REGION_HEAD = struct.Struct("<4sIII")
_REGION_ENTRY = struct.Struct("<16sQII")
_METADATA_HEAD = struct.Struct("<8sHH20s")
_METADATA_ENTRY = struct.Struct("<16sIIII")


def round_up(value, unit):
    return -(-value // unit) * unit


def round_down(value, unit):
    return value // unit * unit


def pack_file_identifier(creator="vhdxoracle"):
    text = creator.encode("utf-16-le")[:512]
    return (FILE_SIGNATURE + text).ljust(FILE_ID_SIZE, b"\0")


@dataclass(frozen=True)
class Header:
    """One of the two headers.  unpack() does not judge; see structures.py."""
    sequence: int
    log_offset: int
    log_length: int
    file_write_guid: UUID = NULL_GUID
    data_write_guid: UUID = NULL_GUID
    log_guid: UUID = NULL_GUID
    log_version: int = 0
    version: int = 1

    def pack(self):
        raw = _HEADER.pack(b"head", 0, self.sequence, self.file_write_guid.bytes_le,
                           self.data_write_guid.bytes_le, self.log_guid.bytes_le,
                           self.log_version, self.version, self.log_length, self.log_offset)
        return sealed(raw.ljust(HEADER_SIZE, b"\0"))

    @classmethod
    def unpack(cls, raw):
        (_, _, sequence, file_write, data_write, log_guid, log_version, version,
         log_length, log_offset) = _HEADER.unpack_from(raw)
        return cls(sequence, log_offset, log_length, UUID(bytes_le=file_write),
                   UUID(bytes_le=data_write), UUID(bytes_le=log_guid), log_version, version)

    def changed(self, **fields):
        return replace(self, **fields)


@dataclass(frozen=True)
class Region:
    guid: UUID
    offset: int
    length: int
    required: int = 1

    @property
    def end(self):
        return self.offset + self.length

    @property
    def name(self):
        return {BAT_REGION: "BAT", METADATA_REGION: "metadata"}.get(self.guid, str(self.guid))


def pack_region_table(regions, count=None):
    """count overrides the entry count, for tables that lie about it."""
    head = _REGION_HEAD.pack(b"regi", 0, len(regions) if count is None else count, 0)
    body = b"".join(_REGION_ENTRY.pack(r.guid.bytes_le, r.offset, r.length, r.required)
                    for r in regions)
    return sealed((head + body).ljust(TABLE_SIZE, b"\0"))


def unpack_region_table(raw):
    """(entry count as stored, regions); regions holds no more than fit."""
    _, _, count, _ = _REGION_HEAD.unpack_from(raw)
    regions = []
    for index in range(min(count, MAX_TABLE_ENTRIES)):
        guid, offset, length, required = _REGION_ENTRY.unpack_from(raw, 16 + 32 * index)
        regions.append(Region(UUID(bytes_le=guid), offset, length, required))
    return count, regions


@dataclass(frozen=True)
class Item:
    """A metadata table entry; offset is relative to the metadata region."""
    guid: UUID
    offset: int
    length: int
    flags: int
    reserved: int = 0

    @property
    def name(self):
        return KNOWN_ITEMS[self.guid][0] if self.guid in KNOWN_ITEMS else str(self.guid)


def pack_metadata_table(items, count=None):
    head = _METADATA_HEAD.pack(b"metadata", 0, len(items) if count is None else count, bytes(20))
    body = b"".join(_METADATA_ENTRY.pack(i.guid.bytes_le, i.offset, i.length, i.flags, i.reserved)
                    for i in items)
    return (head + body).ljust(TABLE_SIZE, b"\0")


def unpack_metadata_table(raw):
    """(entry count as stored, items); items holds no more than fit."""
    _, _, count, _ = _METADATA_HEAD.unpack_from(raw)
    items = []
    for index in range(min(count, MAX_TABLE_ENTRIES)):
        guid, offset, length, flags, reserved = _METADATA_ENTRY.unpack_from(raw, 32 + 32 * index)
        items.append(Item(UUID(bytes_le=guid), offset, length, flags, reserved))
    return count, items


@dataclass
class Parameters:
    """The decoded metadata items that make a virtual disk."""
    size: int
    block_size: int
    logical_sector: int = 512
    physical_sector: int = 4096
    flags: int = 0
    disk_id: UUID = NULL_GUID
    locator: dict = field(default_factory=dict)

    @property
    def has_parent(self):
        return bool(self.flags & HAS_PARENT)

    @property
    def kind(self):
        if self.has_parent:
            return "differencing"
        return "fixed" if self.flags & LEAVE_BLOCK_ALLOCATED else "dynamic"
