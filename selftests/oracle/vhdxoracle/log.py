# SPDX-License-Identifier: GPL-2.0-only
"""Log entries: their form on disk, composed and parsed.

An entry is a 64-byte header and its descriptors, 126 in the first 4 KiB sector and 128
in each further one, then a 4 KiB data sector for each data descriptor.  The data sector
keeps 4084 bytes of the page; its first 8 and last 4 bytes travel in the descriptor, so
that every sector can carry its sequence number.
"""

import struct
from dataclasses import dataclass, field
from uuid import UUID

from .crc32c import is_sealed, sealed
from .layout import MIB, PAGE

_ENTRY = struct.Struct("<4sIIIQII16sQQ")
_DATA_DESCRIPTOR = struct.Struct("<4s4s8sQQ")
_ZERO_DESCRIPTOR = struct.Struct("<4sIQQQ")
ENTRY_HEAD = 64
DESCRIPTOR_SIZE = 32


@dataclass(frozen=True)
class Data:
    """Replace the page at offset."""
    offset: int
    page: bytes

    length = PAGE


@dataclass(frozen=True)
class Zero:
    """Make length bytes at offset zero."""
    offset: int
    length: int


@dataclass(frozen=True)
class Entry:
    offset: int                    # in the log
    length: int
    tail: int
    sequence: int
    log_guid: UUID
    flushed_file_offset: int
    last_file_offset: int
    descriptors: tuple = field(repr=False)


def descriptor_sectors(count):
    return -(-(ENTRY_HEAD + count * DESCRIPTOR_SIZE) // PAGE)


def entry_length(descriptors):
    pages = sum(isinstance(d, Data) for d in descriptors)
    return (descriptor_sectors(len(descriptors)) + pages) * PAGE


def compose(log_guid, sequence, tail, descriptors, flushed, last):
    """The bytes of an entry.  tail is an offset in the log."""
    table, sectors = bytearray(), []
    for item in descriptors:
        if isinstance(item, Zero):
            table += _ZERO_DESCRIPTOR.pack(b"zero", 0, item.length, item.offset, sequence)
            continue
        page = item.page
        if len(page) != PAGE:
            raise ValueError("a data descriptor holds one page of 4096 bytes")
        table += _DATA_DESCRIPTOR.pack(b"desc", page[-4:], page[:8], item.offset, sequence)
        sectors.append(struct.pack("<4sI", b"data", sequence >> 32) + page[8:-4]
                       + struct.pack("<I", sequence & 0xFFFFFFFF))
    length = entry_length(descriptors)
    head = _ENTRY.pack(b"loge", 0, length, tail, sequence, len(descriptors), 0,
                       log_guid.bytes_le, flushed, last)
    area = (head + table).ljust(descriptor_sectors(len(descriptors)) * PAGE, b"\0")
    return sealed(area + b"".join(sectors))


class EntryFault(Exception):
    """Bytes in the log that are not a valid entry."""


def _require(condition, message):
    if not condition:
        raise EntryFault(message)


def _parse_descriptor(raw, index, sequence, sector):
    """One descriptor; sector() gives the next data sector."""
    at = ENTRY_HEAD + index * DESCRIPTOR_SIZE
    signature = raw[at:at + 4]
    if signature == b"zero":
        _, _, length, offset, own = _ZERO_DESCRIPTOR.unpack_from(raw, at)
        _require(own == sequence, f"descriptor {index} has sequence number {own}")
        _require(length % PAGE == 0 and offset % PAGE == 0, f"descriptor {index} is not 4 KiB aligned")
        return Zero(offset, length)
    _require(signature == b"desc", f"descriptor {index} has no signature")
    _, trailing, leading, offset, own = _DATA_DESCRIPTOR.unpack_from(raw, at)
    _require(own == sequence, f"descriptor {index} has sequence number {own}")
    _require(offset % PAGE == 0, f"descriptor {index} is not 4 KiB aligned")
    data = sector()
    _require(data[:4] == b"data", f"data sector of descriptor {index} has no signature")
    torn = struct.unpack_from("<I", data, 4)[0] << 32 | struct.unpack_from("<I", data, PAGE - 4)[0]
    _require(torn == sequence, f"data sector of descriptor {index} has sequence number {torn}")
    return Data(offset, leading + data[8:-4] + trailing)


def parse(read, offset, log_length, log_guid=None):
    """The entry at offset, or EntryFault.

    read(offset, length) reads the ring and wraps; log_guid None accepts any.
    """
    head = read(offset, ENTRY_HEAD)
    (signature, _, length, tail, sequence, count, _, guid, flushed, last) = _ENTRY.unpack(head)
    _require(signature == b"loge", "no signature")
    guid = UUID(bytes_le=guid)
    _require(length and length % PAGE == 0, f"entry length {length} is not a multiple of 4 KiB")
    _require(length <= log_length, f"entry length {length} exceeds the log")
    _require(tail % PAGE == 0 and tail < log_length, f"tail {tail:#x} is not a sector of the log")
    _require(sequence > 0, "sequence number 0")
    _require(log_guid in (None, guid), f"log GUID {guid} is another log's")
    _require(flushed % MIB == 0, f"FlushedFileOffset {flushed:#x} is not a multiple of 1 MiB")
    _require(last % MIB == 0, f"LastFileOffset {last:#x} is not a multiple of 1 MiB")
    table = descriptor_sectors(count) * PAGE
    _require(table <= length, f"{count} descriptors don't fit into {length} bytes")
    raw = read(offset, length)
    _require(is_sealed(raw), "wrong checksum")

    position = table

    def sector():
        nonlocal position
        _require(position + PAGE <= length, "fewer data sectors than data descriptors")
        position += PAGE
        return raw[position - PAGE:position]

    descriptors = tuple(_parse_descriptor(raw, i, sequence, sector) for i in range(count))
    _require(position == length, "more data sectors than data descriptors")
    return Entry(offset, length, tail, sequence, guid, flushed, last, descriptors)


# Bytes of a log that is read in one piece.
AT_ONCE = 16 * MIB


class Ring:
    """The log area of a container as a ring of bytes."""

    def __init__(self, container, offset, length):
        self.container = container
        self.offset = offset
        self.length = length

    def read(self, offset, length):
        first = min(length, self.length - offset)
        data = self.container.read(self.offset + offset, first)
        if first < length:
            data += self.container.read(self.offset, length - first)
        return data

    def at_rest(self):
        """A read() for many reads of a ring that nobody writes: it is read at once, unless it
        is large."""
        if not PAGE <= self.length <= AT_ONCE:
            return self.read
        data = self.container.read(self.offset, self.length)

        def read(offset, length):
            part = data[offset:offset + length]
            return part if len(part) == length else part + data[:length - len(part)]

        return read

    def write(self, offset, data):
        first = min(len(data), self.length - offset)
        self.container.write(self.offset + offset, data[:first])
        if first < len(data):
            self.container.write(self.offset, data[first:])

    def entries(self, log_guid=None):
        """Every valid entry at any sector, stale ones included, by offset."""
        read = self.at_rest()
        for start, end in self.container.data_extents(self.offset, self.offset + self.length):
            for offset in range((start - self.offset) // PAGE * PAGE, end - self.offset, PAGE):
                # Most sectors begin no entry: exceptions would take longer to say so.
                if read(offset, 4) != b"loge":
                    continue
                try:
                    yield parse(read, offset, self.length, log_guid)
                except EntryFault:
                    continue
