# SPDX-License-Identifier: GPL-2.0-only
"""VHD Sets, as Microsoft's example has them; and the chains that they are about."""
import os
import pathlib
import struct
import sys

from common import TREE, ctl, ktap

sys.path.append(str(TREE / "selftests/oracle"))

from vhdxoracle import crc32c  # noqa: E402

HEADERS = (0x10000, 0x20000)
NAME = 0x40000
SIZE = 0x41000
# signature, unknown, sequence, version, checksum, unknown, offset and length of the name
HEADER = struct.Struct("<4sIQIIIII")


def header(sequence=0, version=1, at=NAME, length=0, signature=b"shdr"):
    page = bytearray(4096)
    HEADER.pack_into(page, 0, signature, 0xffffe000, sequence, version, 0, 7, at, length)
    return crc32c.sealed(page, 0x14)


def content(name, headers=(0, 1), **fields):
    """All of a set; headers: the sequence of each, or what it is instead."""
    text = name if isinstance(name, bytes) else name.encode("utf-16-le")
    fields.setdefault("length", len(text))
    data = bytearray(SIZE)
    data[:8] = b"vhdsetv1"
    data[8:72] = "Microsoft Windows 10.0.10011.163".encode("utf-16-le")
    for offset, one in zip(HEADERS, headers):
        data[offset:offset + 4096] = header(one, **fields) if isinstance(one, int) else one
    data[NAME:NAME + len(text)] = text
    return data


def make_set(path, name, **fields):
    path.write_bytes(content(name, **fields))
    return path


def make_chain(path, names=("base.vhdx", "middle.avhdx", "leaf.avhdx")):
    """Files that are made of each other, the first of them of none; their paths."""
    paths = [path / name for name in names]
    ctl("create", "--size", "16M", paths[0]).expect(0)
    for parent, child in zip(paths, paths[1:]):
        ctl("create", "--parent", parent, child).expect(0)
    return paths


def example():
    """Of the corpus."""
    corpus = pathlib.Path(os.environ.get("VHDX_CORPUS", TREE.parent / "shared/corpus"))
    path = corpus / "rsvd.vhds"
    if not path.exists():
        ktap.skip(f"{path} is not there")
    return path.read_bytes()
