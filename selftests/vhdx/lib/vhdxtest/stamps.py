# SPDX-License-Identifier: GPL-2.0-only
"""Content that says of each sector which write it came from, and for which sector.

    stamps.content(number, offset, length)
    stamps.numbers(block, data)             of each sector of a block; 0: zeros
"""

import array
import struct

from .chronicle import BLOCK, SECTOR

_STAMP = struct.Struct("<4sIII")
_TIMES = SECTOR // _STAMP.size
_ZEROS = bytes(SECTOR)


def _sector(number, place):
    return _STAMP.pack(b"SECT", number, place, ~number & 0xFFFFFFFF) * _TIMES


def content(number, offset, length):
    """What the write with this number sends."""
    return b"".join(_sector(number, place)
                    for place in range(offset // SECTOR, (offset + length) // SECTOR))


def numbers(block, data):
    """The numbers of all sectors of a block of the disk; fails where one holds anything else."""
    found = array.array("I", bytes(4 * (BLOCK // SECTOR)))
    if data == bytes(BLOCK):
        return found
    for index in range(len(found)):
        sector = data[index * SECTOR:(index + 1) * SECTOR]
        if sector == _ZEROS:
            continue
        number = _STAMP.unpack_from(sector)[1]
        place = block * (BLOCK // SECTOR) + index
        if sector != _sector(number, place):
            raise AssertionError(f"the sector at {place * SECTOR} holds {sector[:16]!r}")
        found[index] = number
    return found


def of_numbers(block, mine):
    """The content of a block whose sectors are of these writes."""
    first = block * (BLOCK // SECTOR)
    return b"".join(_sector(number, first + index) if number else _ZEROS
                    for index, number in enumerate(mine))
