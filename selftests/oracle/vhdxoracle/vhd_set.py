# SPDX-License-Identifier: GPL-2.0-only
"""Writes VHD Sets (.vhds), as Microsoft's example has them: Documentation/vhd-set.rst."""

import struct

from .crc32c import sealed

HEADERS = (0x10000, 0x20000)
NAME = 0x40000
SIZE = 0x41000
# signature, unknown, sequence, version, checksum, unknown, offset and length of the name
_HEADER = struct.Struct("<4sIQIIIII")


# pylint: disable-next=too-many-arguments
def header(sequence=0, version=1, at=NAME, length=0, signature=b"shdr"):
    """One header; at, length: of the name."""
    page = bytearray(4096)
    _HEADER.pack_into(page, 0, signature, 0xffffe000, sequence, version, 0, 7, at, length)
    return sealed(page, 0x14)


def content(name, headers=(0, 1), **fields):
    """All of a set that names a file; headers: the sequence of each, or what it is instead."""
    text = name if isinstance(name, bytes) else name.encode("utf-16-le")
    fields.setdefault("length", len(text))
    data = bytearray(SIZE)
    data[:8] = b"vhdsetv1"
    data[8:72] = "Microsoft Windows 10.0.10011.163".encode("utf-16-le")
    for offset, one in zip(HEADERS, headers):
        data[offset:offset + 4096] = header(one, **fields) if isinstance(one, int) else one
    data[NAME:NAME + len(text)] = text
    return data


def write(path, name, **fields):
    """A new set; its path."""
    path.write_bytes(content(name, **fields))
    return path
