# SPDX-License-Identifier: GPL-2.0-only
"""Containers that other programs wrote: in $VHDX_CORPUS, or beside the tree.

They are no part of the project; where they are not, what would look at them is skipped.
"""

import gzip
import lzma
import os
import pathlib

from .layout import MIB

_TREE = pathlib.Path(__file__).resolve().parents[3]
DIRECTORY = pathlib.Path(os.environ.get("VHDX_CORPUS", _TREE.parent / "shared" / "corpus"))
# A parent before its child, which looks for it beside itself. A set (.vhds) is no container.
NAMES = ("ext2.vhdx", "fat-parent.vhdx", "fat-differential.vhdx", "qemu-5.2-convert-9G.vhdx", "swap.vhdx")
_OPENERS = {".xz": lzma.open, ".gz": gzip.open}


def unpacked(name, directory):
    """The path of one in this directory, sparse where it has zeroes; or None."""
    for suffix, opener in _OPENERS.items():
        packed = DIRECTORY / (name + suffix)
        if packed.exists():
            break
    else:
        return None
    path, size = pathlib.Path(directory) / name, 0
    with opener(packed, "rb") as source, open(path, "wb") as target:
        while piece := source.read(MIB):
            if any(piece):
                target.seek(size)
                target.write(piece)
            size += len(piece)
        target.truncate(size)
    return path
