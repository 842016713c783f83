# SPDX-License-Identifier: GPL-2.0-only
"""A second reader of sidecars, written from Documentation/sidecar.rst alone; and a spoiler.

    Sidecar(path).changes(first, end)       what the deltas before points first + 1 .. end say
    Sidecar(path).blocks()                  {block: what it is}, all that the header leads to
    Sidecar(path).found()                   the regions that are set in the coarse area
    edit(path, incompat_features=4)         new values of the header, checksum and all
    set_regions(path, [0, 7])               what the coarse area says, and nothing else
    tear(path, [0, 7], sectors=[1])         the same, but only some sectors have arrived
    replace(path, [Delta({0: leaf}, 0, 0)] * 7)     points and deltas as one wishes
"""

import dataclasses
import re
import struct
import uuid

from vhdxoracle.crc32c import crc32c
from vhdxoracle.ranges import RangeSet

BLOCK = 4096
COARSE = 1          # in incompat_features, and in the flags of a delta
ALL_CHANGED = 2 ** 64 - 1
LEAF_UNITS = 32768

_HEADER = struct.Struct("<8sIIIIQ16sQII16s16sQQQIIQIIIIQQ8xII")
_FIELDS = ("magic version compat_features ro_compat_features incompat_features sequence disk_id "
           "disk_size unit_shift state current_guid next_guid next_point_sequence block_count "
           "points_block points_crc points_count live_block live_crc live_count live_flags "
           "live_gap_reason live_gap_time live_units flags region_shift").split()
_HEAD = struct.Struct("<4sI8x")
_TABLE = struct.Struct("<QIHH")
_POINT = struct.Struct("<16sQQIIQIIIIQQ8xQII64s24x")
_ENTRY = struct.Struct("<HHIQ")
_SECTOR = struct.Struct("<4sIQQ488s")
SECTOR = 512
REGIONS = 3904      # in a sector


def _header_of(block):
    """A slot's fields, or None if it is not intact."""
    if block[:8] != b"vhdxlrct" or crc32c(block[:-4]) != struct.unpack("<I", block[-4:])[0]:
        return None
    return dict(zip(_FIELDS, _HEADER.unpack_from(block)))


def _slots(data):
    return [_header_of(data[at:at + BLOCK]) for at in (0, BLOCK)]


def _divide_up(number, by):
    return -(-number // by)


def region_shift(disk_size, unit_shift):
    """log2 of what a bit of the coarse area stands for."""
    shift = max(22, unit_shift)
    while disk_size > 1 << shift + 20:
        shift += 1
    return min(shift, unit_shift + 15)


def _sectors(header):
    """Of the coarse area."""
    return _divide_up(header["disk_size"], REGIONS << header["region_shift"])


def _fixed_blocks(header):
    """Slots, tokens, coarse area."""
    return 4 + _divide_up(_sectors(header) * SECTOR, BLOCK)


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


def _units(words):
    """How many units of a leaf changed, were none of them behind the end of the disk."""
    return LEAF_UNITS if words is None else int.from_bytes(words, "little").bit_count()


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
        self.header = header = _slots(self.data)[self.slot]
        if header["version"] != 2 or header["incompat_features"] != COARSE:
            raise ValueError(f"version {header['version']}, features {header['incompat_features']}")
        if header["region_shift"] != region_shift(header["disk_size"], header["unit_shift"]):
            raise ValueError(f"region shift {header['region_shift']}")
        self._fixed = _fixed_blocks(header)
        self._blocks = {number: "coarse" for number in range(4, self._fixed)}
        self._blocks |= {0: "header", 1: "header", 2: "token", 3: "token"}
        self.unit = 1 << header["unit_shift"]
        self.points = [self._point(record) for record in self._records(
            header["points_block"], header["points_crc"], header["points_count"], b"PNTS", _POINT)]
        self.live = self._delta(*(header[f"live_{field}"] for field in (
            "block crc count flags gap_reason gap_time units").split()))

    def _block(self, number, crc, what):
        if number in self._blocks:
            raise ValueError(f"block {number} is named twice: {self._blocks[number]}, {what}")
        if not self._fixed <= number < self.header["block_count"]:
            raise ValueError(f"{what}: block {number} of {self.header['block_count']}")
        block = self.data[number * BLOCK:(number + 1) * BLOCK]
        if len(block) != BLOCK or crc32c(block) != crc:
            raise ValueError(f"{what}: block {number} has another checksum")
        self._blocks[number] = what
        return block

    def _table(self, number, crc, magic, record, what):
        """The records of one block."""
        block = self._block(number, crc, what)
        found, count = _HEAD.unpack_from(block)
        if found != magic or not 1 <= count <= (BLOCK - _HEAD.size) // record.size:
            raise ValueError(f"{what}: block {number} has {count} records of {found}")
        return [record.unpack_from(block, _HEAD.size + index * record.size)
                for index in range(count)]

    def _records(self, root, crc, count, magic, record):
        """The records of a whole table; firsts are looked at where there are any."""
        found, last = 0, -1
        if not count:
            return
        for number, table_crc, first, here in self._table(root, crc, b"ROOT", _TABLE,
                                                           f"ROOT of {magic.decode()}"):
            records = self._table(number, table_crc, magic, record, magic.decode())
            if len(records) != here:
                raise ValueError(f"a table has {len(records)} records, not {here}")
            if magic == b"INDX":
                if records[0][0] != first or first <= last:
                    raise ValueError(f"a table begins with leaf {first}")
                last = records[-1][0]
            found += here
            yield from records
        if found != count:
            raise ValueError(f"{found} records of {magic}, not {count}")

    def _delta(self, root, crc, count, flags, gap_reason, gap_time, changed):
        leaves, last, total = {}, -1, 0
        for leaf, units, leaf_crc, block in self._records(root, crc, count, b"INDX", _ENTRY):
            if leaf <= last:
                raise ValueError("the entries of an index do not ascend")
            last = leaf
            leaves[leaf] = None if block == ALL_CHANGED else self._block(block, leaf_crc, "leaf")
            if units != min(_units(leaves[leaf]), self._units_of(leaf)):
                raise ValueError(f"leaf {leaf} has not {units} units")
            total += units
        if total != changed:
            raise ValueError(f"a delta of {total} units, not {changed}; gap at {gap_time}")
        return Delta(leaves, flags, gap_reason)

    def _units_of(self, leaf):
        """Units of the disk that are in a leaf."""
        return min(_divide_up(self.header["disk_size"], self.unit) - leaf * LEAF_UNITS, LEAF_UNITS)

    def _point(self, record):
        guid, sequence, time_ns, kind, flags, *delta, _size, _layer, label_length, label = record
        return Point(uuid.UUID(bytes_le=guid), sequence, time_ns, kind, bool(flags & 1),
                     label[:label_length], self._delta(*delta))

    def coarse(self):
        """[(generation, commit, [regions])] of the sectors of the coarse area; None: damaged."""
        told = []
        for number in range(_sectors(self.header)):
            at = 4 * BLOCK + number * SECTOR
            sector = self.data[at:at + SECTOR]
            magic, crc, generation, commit, bits = _SECTOR.unpack(sector)
            if magic != b"CORS" or crc != crc32c(
                    sector[:4] + struct.pack("<I", number) + sector[8:]):
                told.append(None)
                continue
            told.append((generation, commit, [
                number * REGIONS + bit for bit in range(REGIONS)
                if bits[bit >> 3] >> (bit & 7) & 1]))
        return told

    def found(self):
        """Regions that are set, in order; a damaged sector sets all of its own."""
        regions = []
        for number, told in enumerate(self.coarse()):
            if told is None:
                told = (0, 0, range(number * REGIONS, (number + 1) * REGIONS))
            if told[0] > self.header["sequence"]:
                raise ValueError(f"sector {number} is of header {told[0]}, which is not there")
            regions += told[2]
        return [region for region in regions if region < self._regions()]

    def _regions(self):
        return _divide_up(self.header["disk_size"], 1 << self.header["region_shift"])

    def blocks(self):
        """{number of block: what it is}."""
        return dict(self._blocks)

    def changes(self, first, end=None):
        """[(offset, length)] between points first and end, by position; None: until now."""
        deltas = [point.before for point in self.points[first + 1:end + 1 if end else end]]
        size, shift = self.header["disk_size"], self.header["region_shift"]
        whole = []
        if end is None:
            deltas.append(self.live)
            whole = [(region << shift, min(region + 1 << shift, size)) for region in self.found()]
        pairs = [(leaf * LEAF_UNITS + first, leaf * LEAF_UNITS + end) for delta in deltas
                 for leaf, words in delta.leaves.items() for first, end in _runs(words)]
        return RangeSet([(first * self.unit, min(end * self.unit, size))
                         for first, end in pairs] + whole).lengths()


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


def _sector(number, generation, commit, regions):
    bits = bytearray(REGIONS // 8)
    for bit in (region - number * REGIONS for region in regions):
        if 0 <= bit < REGIONS:
            bits[bit >> 3] |= 1 << (bit & 7)
    sector = _SECTOR.pack(b"CORS", number, generation, commit, bytes(bits))
    return sector[:4] + struct.pack("<I", crc32c(sector)) + sector[8:]


def tear(path, regions, sectors, generation=None):
    """Writes these sectors of the coarse area as they are where these regions are set."""
    with open(path, "r+b") as file:
        data = file.read()
        header = _slots(data)[newest_slot(data)]
        last = max(told[1] for told in Sidecar(path).coarse() if told)
        if generation is None:
            generation = header["sequence"]
        for number in sectors:
            file.seek(4 * BLOCK + number * SECTOR)
            file.write(_sector(number, generation, last + 1, regions))


def set_regions(path, regions, generation=None):
    """These regions are set in the coarse area, and no others."""
    tear(path, regions, range(_sectors(Sidecar(path).header)), generation)


def leaf_of(units):
    """A leaf with these units, counted from its first one."""
    bits = bytearray(BLOCK)
    for unit in units:
        bits[unit >> 3] |= 1 << (unit & 7)
    return bytes(bits)


# The leaf with the most ranges: every second unit, from the first one on.
EVERY_SECOND = b"\x55" * BLOCK


def dense(leaves=1):
    """Two points for replace(), with every second unit of so many leaves between them."""
    return [Delta({}, 0, 0), Delta(dict.fromkeys(range(leaves), EVERY_SECOND), 0, 0)]


class _Appender:
    """Puts blocks behind all that there are."""

    def __init__(self, file, header):
        self.file = file
        self.end = header["block_count"]
        self.units = _divide_up(header["disk_size"], 1 << header["unit_shift"])

    def block(self, data):
        """One block; its number and checksum."""
        self.file.seek(self.end * BLOCK)
        self.file.write(data.ljust(BLOCK, b"\0"))
        self.end += 1
        return self.end - 1, crc32c(data.ljust(BLOCK, b"\0"))

    def table(self, magic, records, firsts):
        """(root, its checksum, number of records); firsts: what each record begins with."""
        if not records:
            return 0, 0, 0
        per_table = (BLOCK - _HEAD.size) // len(records[0])
        tables = []
        for at in range(0, len(records), per_table):
            part = records[at:at + per_table]
            number, crc = self.block(_HEAD.pack(magic, len(part)) + b"".join(part))
            tables.append(_TABLE.pack(number, crc, firsts[at], len(part)))
        return *self.block(_HEAD.pack(b"ROOT", len(tables)) + b"".join(tables)), len(records)

    def delta(self, delta):
        """The fields of a delta, with its index and leaves written."""
        entries, changed = [], 0
        leaves = sorted(delta.leaves.items())
        for leaf, words in leaves:
            number, crc = (ALL_CHANGED, 0) if words is None else self.block(words)
            units = min(_units(words), self.units - leaf * LEAF_UNITS)
            entries.append(_ENTRY.pack(leaf, units, crc, number))
            changed += units
        return (*self.table(b"INDX", entries, [leaf for leaf, _words in leaves]), delta.flags,
                delta.gap_reason, 0, changed)


def replace(path, deltas, live=Delta({}, 0, 0), pending=False):
    """New points instead of those there are: deltas[i] lies before point i; live behind all.

    pending     the last one was not issued, and no block is free: what was there is written over
    """
    header = Sidecar(path).header
    with open(path, "r+b") as file:
        out = _Appender(file, header)
        if pending:
            out.end = _fixed_blocks(header)
            file.truncate(out.end * BLOCK)
        records = [_POINT.pack(uuid.uuid4().bytes_le, number, number, 1,
                               not pending or number < len(deltas), *out.delta(delta),
                               header["disk_size"], 0, 0, b"")
                   for number, delta in enumerate(deltas, 1)]
        points = dict(zip(("points_block", "points_crc", "points_count"),
                          out.table(b"PNTS", records, [0] * len(records))))
        behind = dict(zip(("live_block", "live_crc", "live_count", "live_flags",
                           "live_gap_reason", "live_gap_time", "live_units"), out.delta(live)))
    edit(path, **points, **behind, block_count=out.end,
         next_point_sequence=max(len(deltas) + 1, header["next_point_sequence"]))
