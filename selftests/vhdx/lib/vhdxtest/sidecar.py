# SPDX-License-Identifier: GPL-2.0-only
"""A second reader of sidecars, written from Documentation/sidecar.rst alone; and a spoiler.

    Sidecar(path).changes(first, end)       what the deltas before points first + 1 .. end say
    Sidecar(path).blocks()                  {block: what it is}, all that the header leads to
    edit(path, incompat_features=4)         new values of the header, checksum and all
    replace(path, [Delta({0: leaf}, 0, 0)] * 7)     points and deltas as one wishes
"""

import dataclasses
import re
import struct
import uuid

from vhdxoracle.crc32c import crc32c
from vhdxoracle.ranges import RangeSet

BLOCK = 4096
COARSE = 1
ALL_CHANGED = 2 ** 64 - 1
LEAF_UNITS = 32768

_HEADER = struct.Struct("<8sIIIIQ16sQII16s16sQQQIIQIIII8xQQI")
_FIELDS = ("magic version compat_features ro_compat_features incompat_features sequence disk_id "
           "disk_size unit_shift state current_guid next_guid next_point_sequence block_count "
           "points_block points_crc points_count live_block live_crc live_count live_flags "
           "live_gap_reason coarse_offset coarse_length coarse_region_shift").split()
_LINK = struct.Struct("<4sIQI12x")
_POINT = struct.Struct("<16sQQIIQIIII8xI4x64s48x")
_ENTRY = struct.Struct("<IIQ")


def _header_of(block):
    """A slot's fields, or None if it is not intact."""
    if block[:8] != b"vhdxlrct" or crc32c(block[:-4]) != struct.unpack("<I", block[-4:])[0]:
        return None
    return dict(zip(_FIELDS, _HEADER.unpack_from(block)))


def _slots(data):
    return [_header_of(data[at:at + BLOCK]) for at in (0, BLOCK)]


def newest_slot(data):
    """0 or 1."""
    slots = _slots(data)
    return max((slot for slot in (0, 1) if slots[slot]), key=lambda slot: slots[slot]["sequence"])


def _runs(words):
    """(first, end) of the runs of set bits in a leaf, or in one that is all changed."""
    if words is None:
        return [(0, LEAF_UNITS)]
    text = format(int.from_bytes(words, "little"), f"0{LEAF_UNITS}b")[::-1]
    return [match.span() for match in re.finditer("1+", text)]


@dataclasses.dataclass
class Delta:
    """Changed units: {leaf: 4096 bytes, or None for all of it}."""

    leaves: dict
    flags: int
    gap_reason: int


@dataclasses.dataclass
class Point:
    """A point as the file has it."""

    guid: uuid.UUID
    sequence: int
    time_ns: int
    kind: int
    issued: bool
    label: bytes
    before: Delta


class Sidecar:
    """All of a sidecar."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        self.slot = newest_slot(self.data)
        self.header = _slots(self.data)[self.slot]
        self._blocks = {0: "header", 1: "header"}
        header = self.header
        self.unit = 1 << header["unit_shift"]
        self.points = [self._point(record) for record in self._records(
            header["points_block"], header["points_crc"], header["points_count"], b"PNTS", _POINT)]
        self.live = self._delta(header["live_block"], header["live_crc"], header["live_count"],
                                header["live_flags"], header["live_gap_reason"])

    def _block(self, number, crc, what):
        if number in self._blocks:
            raise ValueError(f"block {number} is named twice: {self._blocks[number]}, {what}")
        if not 2 <= number < self.header["block_count"]:
            raise ValueError(f"{what}: block {number} of {self.header['block_count']}")
        block = self.data[number * BLOCK:(number + 1) * BLOCK]
        if len(block) != BLOCK or crc32c(block) != crc:
            raise ValueError(f"{what}: block {number} has another checksum")
        self._blocks[number] = what
        return block

    def _records(self, number, crc, count, magic, record):
        per_block = (BLOCK - _LINK.size) // record.size
        while count:
            block = self._block(number, crc, magic.decode())
            found, here, number, crc = _LINK.unpack_from(block)
            if (found, here) != (magic, min(count, per_block)):
                raise ValueError(f"a chain's block has {here} records of {found}")
            for index in range(here):
                yield record.unpack_from(block, _LINK.size + index * record.size)
            count -= here

    def _delta(self, number, crc, count, flags, gap_reason):
        leaves, last = {}, -1
        for leaf, leaf_crc, block in self._records(number, crc, count, b"INDX", _ENTRY):
            if leaf <= last:
                raise ValueError("the entries of an index do not ascend")
            last = leaf
            leaves[leaf] = None if block == ALL_CHANGED else self._block(block, leaf_crc, "leaf")
        return Delta(leaves, flags, gap_reason)

    def _point(self, record):
        guid, sequence, time_ns, kind, flags, *delta, label_length, label = record
        return Point(uuid.UUID(bytes_le=guid), sequence, time_ns, kind, bool(flags & 1),
                     label[:label_length], self._delta(*delta))

    def blocks(self):
        """{number of block: what it is}."""
        return dict(self._blocks)

    def changes(self, first, end=None):
        """[(offset, length)] between points first and end, by position; None: until now."""
        deltas = [point.before for point in self.points[first + 1:end + 1 if end else end]]
        if end is None:
            deltas.append(self.live)
        size = self.header["disk_size"]
        pairs = [(leaf * LEAF_UNITS + first, leaf * LEAF_UNITS + end) for delta in deltas
                 for leaf, words in delta.leaves.items() for first, end in _runs(words)]
        return RangeSet((first * self.unit, min(end * self.unit, size))
                        for first, end in pairs).lengths()


def edit(path, **values):
    """Changes fields of the header that counts; its checksum is made right."""
    with open(path, "r+b") as file:
        data = file.read(2 * BLOCK)
        slot = newest_slot(data)
        block = bytearray(data[slot * BLOCK:(slot + 1) * BLOCK])
        fields = _header_of(bytes(block)) | values
        _HEADER.pack_into(block, 0, *(fields[name] for name in _FIELDS))
        struct.pack_into("<I", block, BLOCK - 4, crc32c(bytes(block[:-4])))
        file.seek(slot * BLOCK)
        file.write(block)


def flip(path, offset, bit=0):
    """One bit, as decay does it."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def leaf_of(units):
    """A leaf with these units, counted from its first one."""
    bits = bytearray(BLOCK)
    for unit in units:
        bits[unit >> 3] |= 1 << (unit & 7)
    return bytes(bits)


# The leaf with the most ranges: every second unit, from the first one on.
EVERY_SECOND = b"\x55" * BLOCK


class _Appender:
    """Puts blocks behind all that there are."""

    def __init__(self, file, end):
        self.file = file
        self.end = end

    def block(self, data):
        """One block; its number and checksum."""
        self.file.seek(self.end * BLOCK)
        self.file.write(data.ljust(BLOCK, b"\0"))
        self.end += 1
        return self.end - 1, crc32c(data.ljust(BLOCK, b"\0"))

    def chain(self, magic, records):
        """(first block, its checksum, number of records)"""
        if not records:
            return 0, 0, 0
        per_block = (BLOCK - _LINK.size) // len(records[0])
        number, crc = 0, 0
        for first in reversed(range(0, len(records), per_block)):
            part = records[first:first + per_block]
            number, crc = self.block(_LINK.pack(magic, len(part), number, crc) + b"".join(part))
        return number, crc, len(records)

    def delta(self, delta):
        """The fields of a delta, with its index and leaves written."""
        entries = []
        for leaf, words in sorted(delta.leaves.items()):
            number, crc = (ALL_CHANGED, 0) if words is None else self.block(words)
            entries.append(_ENTRY.pack(leaf, crc, number))
        return *self.chain(b"INDX", entries), delta.flags, delta.gap_reason


def replace(path, deltas, live=Delta({}, 0, 0)):
    """New points instead of those there are: deltas[i] lies before point i; live behind all."""
    header = Sidecar(path).header
    with open(path, "r+b") as file:
        out = _Appender(file, header["block_count"])
        records = [_POINT.pack(uuid.uuid4().bytes_le, number, number, 1, 1, *out.delta(delta),
                               0, b"") for number, delta in enumerate(deltas, 1)]
        points = dict(zip(("points_block", "points_crc", "points_count"),
                          out.chain(b"PNTS", records)))
        behind = dict(zip(("live_block", "live_crc", "live_count", "live_flags",
                           "live_gap_reason"), out.delta(live)))
    edit(path, **points, **behind, block_count=out.end,
         next_point_sequence=max(len(deltas) + 1, header["next_point_sequence"]))
